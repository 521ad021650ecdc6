"""An interrupted sweep is resumed, and ends with exactly the vendors' numbers."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import Forbidden, InvalidArgument, LeadConnector, NotOpen, Outcome, PhoneSystem, UsageError
from phonesys.inventory import Inventory, NoSnapshot, SweepSuperseded
from phonesys.sandbox import Sandbox
from tests.sweep.memory import Memory, number, simple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from phonesys.inventory import Snapshot

WORKER = Path(__file__).with_name("worker.py")


async def held(snapshot: Snapshot) -> dict[tuple[str, str], Counter[str]]:
    """Count each number of every account."""
    found: dict[tuple[str, str], Counter[str]] = {}
    async for record in snapshot.records():
        found.setdefault((record.backend, record.account), Counter())[record.number] += 1
    return found


# Killed


class Killed:
    """Runs workers on one store until one of them finishes, and kills all others."""

    def __init__(self, store: str, sandbox: Sandbox, draw: random.Random) -> None:
        self.store, self.sandbox, self.draw = store, sandbox, draw
        self.kills = 0
        self.fetched: Counter[str] = Counter()

    async def run(self, kills: int, longest: float) -> None:
        while self.kills < kills:
            await self._once(self.draw.random() * longest)
        await self._once(None)

    async def _once(self, moment: float | None) -> None:
        """Run a worker for a moment. Check that it requests no account that was complete."""
        done = await done_accounts(self.store)
        before = len(self.sandbox.requests)
        sandbox = self.sandbox
        process = await asyncio.create_subprocess_exec(
            sys.executable, WORKER, self.store, sandbox.leadconnector_url, sandbox.leadconnector_token,
            *sandbox.location_ids, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        if moment is not None:
            try:
                await asyncio.wait_for(process.wait(), moment)
            except TimeoutError:
                process.kill()
                self.kills += 1
        reported = await process.stdout.read()
        assert await process.wait() in ({0} if moment is None else {0, -9})
        asked = {served.account for served in list(sandbox.requests)[before:]}
        assert not asked & done, "a complete account was read again"
        await self._check_reported(reported, finished=process.returncode == 0)

    async def _check_reported(self, reported: bytes, *, finished: bool) -> None:
        """Check that every page that the worker received is in the store."""
        lines = reported.decode().rpartition("\n")[0].splitlines()
        in_store = await stored(self.store)
        for line in lines:
            account, *numbers = line.split(" ")
            missing = set(numbers) - in_store.get(account, set())
            assert not missing, (account, missing, finished)


async def stored(store: str) -> dict[str, set[str]]:
    """Return the numbers of the newest sweep, finished or not."""
    from sqlalchemy import text

    from phonesys.inventory.store.database import connect

    database = await connect(store)
    async with database.reading() as connection:
        rows = await connection.execute(
            text("SELECT account, number FROM inventory WHERE sweep_id = (SELECT max(id) FROM sweeps)")
        )
        found: dict[str, set[str]] = {}
        for account, held_ in rows:
            found.setdefault(account, set()).add(held_)
    await database.close()
    return found


async def done_accounts(store: str) -> set[str]:
    """Return the accounts that an unfinished sweep read completely."""
    from sqlalchemy import text

    from phonesys.inventory.store.database import connect

    database = await connect(store)
    async with database.reading() as connection:
        rows = await connection.execute(
            text(
                "SELECT a.account FROM accounts AS a JOIN sweeps AS s ON s.id = a.sweep_id"
                " WHERE s.finished_at IS NULL AND a.outcome IN ('done', 'empty', 'not_connected')"
            )
        )
        found = {account for (account,) in rows}
    await database.close()
    return found


@pytest.fixture
async def slow_world() -> AsyncIterator[Sandbox]:
    async with Sandbox(
        locations=40,
        numbers=(0, 45),
        not_connected=2,
        leadping=0,
        agents=0,
        latency=0.03,
        enforce_limits=False,
        log_size=None,
    ) as world:
        yield world


async def killed_until_true(where: str, world: Sandbox, kills: int, seed: int) -> Killed:
    runs = Killed(where, world, random.Random(seed))
    await runs.run(kills, longest=0.6)
    async with Inventory(where) as inventory:
        found = await held(await inventory.snapshot())
    truth = {key: Counter(numbers) for key, numbers in world.truth.items() if numbers}
    assert found == truth
    return runs


async def test_a_killed_sweep_ends_with_the_truth(where: str, slow_world: Sandbox) -> None:
    """Kill -9 loses no yielded page. Complete accounts are not read again, and no number is stored twice."""
    runs = await killed_until_true(where, slow_world, kills=2, seed=7)
    assert runs.kills >= 2


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
async def test_killed_at_a_hundred_moments(where: str, slow_world: Sandbox, seed: int) -> None:
    """A sweep that is killed ten times ends with the truth, ten times over, on either database."""
    await killed_until_true(where, slow_world, kills=10, seed=100 + seed)


# Ended otherwise


def system(*backends: Any) -> PhoneSystem:
    return PhoneSystem(*backends)


async def test_a_break_is_resumed(where: str) -> None:
    """Complete accounts are not read again, and the report of the second sweep includes them."""
    backend = simple(50, numbers=2)
    async with system(backend) as phones, Inventory(where) as inventory:
        async with inventory.sweep(phones, concurrency=1) as sweep:
            async for _ in sweep:
                if len(backend.asked) >= 5:
                    break
        assert not sweep.finished
        with pytest.raises(NoSnapshot):
            await inventory.snapshot()
        async with inventory.sweep(phones) as sweep:
            pages = [page async for page in sweep]
        assert sweep.finished
        assert sweep.resumed + len(pages) == 50
        assert sweep.resumed > 0
        assert sweep.report.complete
        assert len(sweep.report.accounts) == sweep.report.outcomes[Outcome.DONE] == 50
        assert sweep.report.numbers == 100
        assert sweep.report.pages == len(pages)
        snapshot = await inventory.snapshot()
        assert sum(1 for _ in [record async for record in snapshot.records()]) == 100
        assert snapshot.numbers == 100


async def test_an_incomplete_account_is_read_again_from_the_start(where: str) -> None:
    """The rows of the account are replaced, so that rows that moved between pages are stored once."""
    first, second = [number(i) for i in range(3)], [number(i) for i in range(3, 6)]
    backend = Memory({"a": [first, RuntimeError("the network"), second]})
    async with system(backend) as phones, Inventory(where) as inventory:
        async with inventory.sweep(phones, on_error="raise") as sweep:
            with pytest.raises(Exception, match="the network"):
                _ = [page async for page in sweep]
        backend.pages = {"a": [second, first]}
        await inventory.collect(phones)
        assert await held(await inventory.snapshot()) == {
            ("memory", "a"): Counter(row.number for row in (*first, *second))
        }


async def test_a_sweep_with_failed_accounts_is_finished(where: str) -> None:
    """A finished sweep is a snapshot, which names failed accounts and their errors."""
    backend = Memory({"a": [[number(1)]], "b": [Forbidden("no", status=403)]})
    async with system(backend) as phones, Inventory(where) as inventory:
        report = await inventory.collect(phones)
        assert report.outcomes[Outcome.FAILED] == 1
        accounts = [row async for row in (await inventory.snapshot()).accounts()]
    assert [row[:3] for row in accounts] == [("memory", "a", "done"), ("memory", "b", "failed")]
    assert "403" in str(accounts[1][3])


async def test_a_failed_account_is_read_again_when_resuming(where: str) -> None:
    """Only complete accounts are kept when a sweep is resumed."""
    backend = Memory({"bad": [Forbidden("no", status=403)], "good": [[number(1, "good")]]})
    async with system(backend) as phones, Inventory(where) as inventory:
        async with inventory.sweep(phones, deadline=60, concurrency=1) as sweep:
            async for _ in sweep:
                break
        backend.pages = {**backend.pages, "bad": [[number(2, "bad")]]}
        report = await inventory.collect(phones)
        assert report.complete
        assert len(await held(await inventory.snapshot())) == 2


def test_a_timed_out_sweep_is_resumed(tmp_path: Path, jumping: Any) -> None:
    """A sweep that exceeds its deadline is no snapshot, and the next one reads the rest."""

    async def main() -> None:
        backend = simple(20, delay=1.0)
        async with system(backend) as phones, Inventory(tmp_path / "i.db") as inventory:
            async with inventory.sweep(phones, concurrency=1, deadline=5.5) as sweep:
                first = [page.account async for page in sweep]
            assert not sweep.finished
            assert sweep.report.timed_out
            async with inventory.sweep(phones, concurrency=1) as sweep:
                second = [page.account async for page in sweep]
            assert sweep.finished
            assert sorted(first + second) == sorted(backend.pages)

    jumping(main())


async def test_an_old_sweep_is_not_resumed(where: str) -> None:
    """An old unfinished sweep is deleted, and so is any with `resume=False`."""
    backend = simple(10)
    async with system(backend) as phones, Inventory(where) as inventory:
        for options in ({"resume": False}, {"resume_within": timedelta(0)}):
            async with inventory.sweep(phones, concurrency=1) as sweep:
                async for _ in sweep:
                    break
            async with inventory.sweep(phones, **options) as again:
                assert again.resumed == 0
                assert again.id != sweep.id
                assert len([page async for page in again]) == 10


async def test_other_backends_are_another_sweep(where: str) -> None:
    """An unfinished sweep of one backend is not resumed by a sweep of two."""
    async with system(simple(9), simple(3, name="other")) as phones, Inventory(where) as inventory:
        async with inventory.sweep(phones, only="memory", concurrency=1) as sweep:
            async for _ in sweep:
                break
        async with inventory.sweep(phones) as other:
            assert other.resumed == 0
            assert len([page async for page in other]) == 12
        async with inventory.sweep(phones, only="memory") as sweep:
            assert sweep.resumed > 0


async def test_two_sweeps_at_once_do_not_mix(where: str) -> None:
    """The later process takes over the sweep. The other fails and stores nothing more."""
    backend = simple(600)
    async with system(backend) as phones, Inventory(where) as inventory:
        async with inventory.sweep(phones, concurrency=1) as one:
            assert (await anext(one)).account
            async with inventory.sweep(phones) as two:
                assert two.id == one.id
                with pytest.raises(SweepSuperseded, match="resumed"):
                    _ = [page async for page in one]
                _ = [page async for page in two]
        assert len(await held(await inventory.snapshot())) == 600


async def test_a_page_that_cannot_be_stored_is_not_yielded(tmp_path: Path) -> None:
    """An error of the database ends the sweep with InventoryError, and no task is left."""
    from phonesys.inventory import InventoryError

    store = tmp_path / "inventory.db"
    async with system(simple(10)) as phones, Inventory(store) as inventory:
        async with inventory.sweep(phones) as sweep:
            async with inventory._database.writing() as connection:
                await connection.exec_driver_sql("DROP TABLE numbers")
            with pytest.raises(InventoryError, match="numbers"):
                await anext(sweep)
    assert len(asyncio.all_tasks()) == 1


# SQLAlchemy stops the thread of a cancelled connection and leaves the connection to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
async def test_cancelling_at_any_point_leaks_nothing(tmp_path: Path) -> None:
    """The block ends with its tasks, and the store remains usable."""
    async with Sandbox(locations=30, leadping=0, agents=0, enforce_limits=False) as world:
        backend = LeadConnector(world.leadconnector_token, base_url=world.leadconnector_url)
        async with system(backend) as phones, Inventory(tmp_path / "i.db") as inventory:
            for turns in range(0, 60, 7):
                task = asyncio.create_task(inventory.collect(phones, leadconnector=world.location_ids))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
            await inventory.collect(phones, leadconnector=world.location_ids)
            found = await held(await inventory.snapshot())
            truth = {key: Counter(numbers) for key, numbers in world.truth.items() if numbers}
            assert found == truth
    gc.collect()  # raises the warning in this test


async def test_misuse_is_an_error(tmp_path: Path) -> None:
    """Wrong use raises before a request is sent."""
    inventory = Inventory(tmp_path / "i.db")
    async with system(simple(1)) as phones:
        with pytest.raises(NotOpen):
            inventory.sweep(phones)
        async with inventory:
            with pytest.raises(NotOpen):
                _ = inventory.sweep(phones).id
            with pytest.raises(InvalidArgument, match="keep_done"):
                inventory.sweep(phones, keep_done=False)
            with pytest.raises(UsageError, match="already open"):
                async with inventory:
                    pass
