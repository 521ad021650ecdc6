"""The cost of storing: bounded memory, and time compared with a sweep that stores nothing."""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import time
import tracemalloc
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import LeadConnector, Page, PhoneSystem
from phonesys.backends.leadconnector import LeadConnectorNumber
from phonesys.inventory import Inventory
from phonesys.inventory.store import rows
from phonesys.model import Capabilities
from tests.sweep.memory import number

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


class Big:
    """A backend of one account with pages of a thousand numbers, made on request."""

    name = "big"

    def __init__(self, pages: int) -> None:
        self.pages = pages

    async def accounts(self) -> AsyncIterator[str]:
        yield "a"

    async def page(self, account: str, cursor: Any = None) -> Page[Any]:
        index = int(cursor or 0)
        numbers = tuple(
            LeadConnectorNumber(
                number=f"+1{index:07}{i:03}", sid=f"PN{index:07}{i:025}", label=f"Line {i}",
                country_code="US",
                capability_flags=Capabilities(True, True, True, False), type="local",
                linked_user="0IHuJvc2ofPAAA8GzTRi",
                account=account, date_added="2024-03-01T10:00:00Z",
            )
            for i in range(1000)
        )  # fmt: skip
        following = (index + 1,) if index + 1 < self.pages else ()
        return Page(account=account, provider=self.name, cursor=cursor, numbers=numbers, next=following)


async def peak_memory(where: Path, pages: int) -> int:
    """Store and read back. Return the peak memory without the ids that any sweep remembers."""
    peak = 0
    async with PhoneSystem(Big(pages)) as phones, Inventory(where) as inventory:
        async with inventory.sweep(phones) as sweep:
            gc.collect()
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            async for _ in sweep:
                pass
        # A sweep remembers the ids of an account of several pages: some 150 bytes each.
        peak = tracemalloc.get_traced_memory()[1] - before - pages * 1000 * 150
        tracemalloc.reset_peak()
        count = 0
        async for _ in (await inventory.snapshot()).records():
            count += 1
        assert count == pages * 1000
        peak = max(peak, tracemalloc.get_traced_memory()[1] - before - pages * 1000 * 150)
        tracemalloc.stop()
    return peak


def test_encoding_a_page_keeps_nothing() -> None:
    """A watch encodes pages for weeks."""
    page = [number(index) for index in range(5)]
    tracemalloc.start(1)
    try:
        rows.encode_page(page)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            rows.encode_page(page)
        assert tracemalloc.get_traced_memory()[0] - before < 100_000
    finally:
        tracemalloc.stop()


async def test_storing_takes_the_same_memory_for_more_numbers(tmp_path: Path) -> None:
    """Memory holds a few batches for any number of numbers."""
    assert await peak_memory(tmp_path / "i.db", 40) < 40_000_000


@pytest.mark.long
def test_a_million_numbers_are_stored_in_bounded_memory(tmp_path: Path) -> None:
    """The peak size of a process, as the system measures it, does not grow with the stored numbers."""
    sizes = {pages: _in_a_process(tmp_path / f"{pages}.db", pages) for pages in (50, 1000)}
    print({f"{pages * 1000:,} numbers": f"{kilobytes // 1024} MB" for pages, kilobytes in sizes.items()})  # noqa: T201
    # The ids that a sweep remembers grow with the numbers. Stored pages do not stay in memory.
    assert sizes[1000] - sizes[50] < 300 * 1024


def _in_a_process(where: Path, pages: int) -> int:
    program = (
        "import asyncio, resource, sys\n"
        "from tests.inventory.test_inventory_store_size import Big, stored\n"
        "asyncio.run(stored(sys.argv[1], int(sys.argv[2])))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program, where, str(pages)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


async def stored(where: str, pages: int) -> None:
    async with PhoneSystem(Big(pages)) as phones, Inventory(where) as inventory:
        report = await inventory.collect(phones)
        assert report.numbers == (await inventory.snapshot()).numbers == pages * 1000


WORLD = """
import asyncio
from phonesys.sandbox import Sandbox
async def main():
    async with Sandbox(locations=60, numbers=1000, leadping=0, agents=0, enforce_limits=False) as world:
        print(world.leadconnector_url, world.leadconnector_token, *world.location_ids, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.fixture
def world() -> Iterator[list[str]]:
    """A sandbox of pages of a thousand numbers, in a process of its own."""
    command = [sys.executable, "-c", WORLD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        yield process.stdout.readline().split()
        process.kill()


@pytest.mark.long
async def test_storing_does_not_double_a_sweep(tmp_path: Path, world: list[str]) -> None:
    """Storing pages of a thousand numbers in SQLite less than doubles the time of a sweep."""
    url, token, *locations = world
    took: dict[str, list[float]] = {"bare": [], "stored": [], "stored again": []}
    for turn in range(5):
        for how, times in took.items():
            async with (
                PhoneSystem(LeadConnector(token, base_url=url)) as phones,
                Inventory(tmp_path / f"{turn}.db") as inventory,
            ):
                sweep = phones.sweep if how == "bare" else partial(inventory.sweep, phones)
                begun = time.perf_counter()
                async with sweep(leadconnector=locations, concurrency=16) as pages:
                    async for _ in pages:
                        pass
                times.append(time.perf_counter() - begun)
    medians = {how: statistics.median(times) for how, times in took.items()}
    print({how: f"{seconds / len(locations) * 1000:.1f} ms a page" for how, seconds in medians.items()})  # noqa: T201
    assert medians["stored"] < 2 * medians["bare"]
    assert medians["stored again"] < 2 * medians["bare"]
