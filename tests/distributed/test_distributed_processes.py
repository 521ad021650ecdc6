"""Sweeps by several processes of this machine."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from phonesys import InvalidArgument, NotOpen, Outcome, PhoneSystem, UnknownProvider, UsageError
from phonesys.distributed import (
    DistributedSweep,
    Processes,
    ShardGivenUp,
    ShardSpec,
    ShardSummary,
    run_shard,
    sweep,
)
from phonesys.distributed.partition import Partition
from phonesys.inventory import DatabaseUnavailable, Inventory
from tests.conftest import PATIENCE
from tests.distributed import systems
from tests.sweep.memory import simple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from phonesys.sandbox import Sandbox

_ROOT = Path(__file__).parents[2]


def arguments(sandbox: Sandbox) -> dict[str, Any]:
    return {
        "url": sandbox.leadconnector_url,
        "token": sandbox.leadconnector_token,
        "locations": list(sandbox.location_ids),
    }


async def numbers_in(store: str | Path) -> Counter[tuple[str, str]]:
    async with Inventory(store) as inventory:
        snapshot = await inventory.snapshot()
        return Counter([(record.account, record.number) async for record in snapshot.records()])


def truth(sandbox: Sandbox) -> Counter[tuple[str, str]]:
    held = {key: numbers for key, numbers in sandbox.truth.items() if key[0] == "leadconnector"}
    return Counter((account, number) for (_, account), numbers in held.items() for number in numbers)


async def consume(work: DistributedSweep) -> list[ShardSummary]:
    async with work:
        return [summary async for summary in work]


async def test_processes_find_what_one_process_finds(sandbox: Sandbox, tmp_path: Path) -> None:
    """The snapshot holds every number once, and the report is that of a sweep in one process."""
    store, runner = tmp_path / "s.db", Processes(2)
    work = sweep(
        systems.of_sandbox, arguments=arguments(sandbox), runner=runner, store=store, snapshot="n", shards=6
    )
    async with work:
        summaries = [summary async for summary in work]
        assert len(runner.pids) == 2
    assert runner.pids == []
    assert await numbers_in(store) == truth(sandbox)
    assert sorted(one.index for one in summaries) == [1, 2, 3, 4, 5, 6]
    report = work.report
    assert (work.finished, report.complete, work.shards) == (True, True, 6)
    assert report.numbers == sum(truth(sandbox).values())
    assert report.outcomes[Outcome.NOT_CONNECTED] == 1
    assert sum(report.outcomes.values()) == len(sandbox.location_ids)
    assert report.by_provider["leadconnector"] == report.outcomes
    assert report.requests >= len(sandbox.location_ids)
    assert [result.outcome for result in report.accounts.values()] == [Outcome.NOT_CONNECTED]
    # Again: everything is there, and nothing is requested.
    before = len(sandbox.requests)
    again = sweep(
        systems.of_sandbox, arguments=arguments(sandbox), runner=Processes(1), store=store, snapshot="n",
        keep_done=True,
    )  # fmt: skip
    await consume(again)
    assert len(sandbox.requests) == before
    assert again.resumed == len(again.report.accounts) == len(sandbox.location_ids)
    assert again.report.outcomes == report.outcomes


async def test_a_shard_that_kills_its_workers_is_given_up(tmp_path: Path) -> None:
    """All others are swept, the report names the shard, and the snapshot stays unfinished."""
    store = tmp_path / "s.db"
    work = sweep(
        systems.deadly, arguments={"count": 40}, runner=Processes(2), store=store, snapshot="n", shards=10
    )
    await consume(work)
    report = work.report
    assert not report.complete
    assert not work.finished
    (failure,) = report.failures
    assert isinstance(failure.error, ShardGivenUp)
    assert "was given up: a worker process died (exit status -9)" in str(failure.error)
    assert report.outcomes[Outcome.DONE] + report.outcomes[Outcome.NOT_REACHED] == 40
    assert 0 < report.outcomes[Outcome.NOT_REACHED] < 15
    async with Inventory(store) as inventory:
        assert await inventory.snapshots() == []


@pytest.mark.parametrize(
    ("system", "error", "message"),
    [
        (systems.broken, RuntimeError, "no configuration here"),
        (systems.not_a_system, UsageError, "to return a PhoneSystem, got 'surprise'"),
        ("tests.distributed.systems", InvalidArgument, "'package.module:function'"),
        ("tests.distributed.systems:nothing", UsageError, "a worker cannot import"),
        ("no.such.module:make", UsageError, "a worker cannot import"),
        (lambda: None, InvalidArgument, "expected a function of a module"),
    ],
    ids=["broken", "no-system", "no-path", "no-function", "no-module", "lambda"],
)
async def test_a_system_that_cannot_be_made_is_an_error(
    tmp_path: Path, system: Any, error: type[Exception], message: str
) -> None:
    """The error is the system's own, before a process is started."""
    with pytest.raises(error, match=message):
        await consume(sweep(system, store=tmp_path / "s.db", runner=Processes(1)))


async def test_misuse_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit together raises before anything is sent."""
    monkeypatch.delenv("PHONESYS_STORE", raising=False)
    make: dict[str, Any] = {"arguments": {"count": 1}, "runner": Processes(1)}
    with pytest.raises(InvalidArgument, match="without a password"):
        sweep(systems.in_memory, store="postgresql://me:secret@db/phones", **make)
    with pytest.raises(InvalidArgument, match="and not both"):
        sweep(systems.in_memory, store="s.db", folder="f", **make)
    with pytest.raises(InvalidArgument, match="shard: expected 1 to"):
        sweep(systems.in_memory, store="s.db", shards=0, **make)
    with pytest.raises(InvalidArgument, match="processes: expected"):
        Processes(0)
    with pytest.raises(NotOpen):
        await anext(sweep(systems.in_memory, store="s.db", **make))
    with pytest.raises(UsageError, match="PHONESYS_STORE"):
        await consume(sweep(systems.in_memory, **make))
    with pytest.raises(UnknownProvider):
        await consume(sweep(systems.in_memory, store=tmp_path / "s.db", nothing=["a"], **make))


async def test_a_driver_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    """Its workers end at once, and another driver resumes the snapshot."""
    script = (
        "import asyncio\n"
        "from phonesys.distributed import Processes, sweep\n"
        "async def main():\n"
        "    runner = Processes(2)\n"
        "    work = sweep('tests.distributed.systems:in_memory', runner=runner, shards=20, snapshot='n',\n"
        "                 store='s.db', arguments={'count': 100, 'delay': 0.1}, concurrency=1)\n"
        "    async with work:\n"
        "        await anext(work)\n"
        "        print(*runner.pids, flush=True)\n"
        "        await anext(work)\n"
        "        await asyncio.sleep(3600)\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    (tmp_path / "driver.py").write_text(script)
    with subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "driver.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as driver:
        assert driver.stdout is not None
        pids = [int(pid) for pid in (await asyncio.to_thread(driver.stdout.readline)).split()]
        driver.kill()
    assert len(pids) == 2
    async with asyncio.timeout(PATIENCE):
        while any(map(is_running, pids)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    work = sweep(systems.in_memory, arguments={"count": 100}, runner=InProcess(), store=tmp_path / "s.db")
    await consume(work)
    assert work.snapshot == "n"
    assert work.shards == 20
    assert work.resumed > 0
    assert work.report.outcomes == {Outcome.DONE: 100}


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# With a runner of the test's own


class InProcess:
    """Runs shards in this process, and can fail as an engine does."""

    def __init__(self, capacity: int = 2, before: Callable[[ShardSpec], None] | None = None) -> None:
        self.capacity = capacity
        self.specs: list[ShardSpec] = []
        self.under_way = self.most_under_way = 0
        self._before = before

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def run(self, spec: ShardSpec) -> ShardSummary:
        self.specs.append(spec)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self._before is not None:
                self._before(spec)
            return await run_shard(spec)
        finally:
            self.under_way -= 1


async def test_work_is_pulled(tmp_path: Path) -> None:
    """A runner never holds more shards than its capacity, and the accounts are divided without loss."""
    runner = InProcess(3)
    work = sweep(
        systems.in_memory, arguments={"count": 300}, runner=runner, store=tmp_path / "s.db", shards=12,
        count_numbers=True,
    )  # fmt: skip
    summaries = await consume(work)
    assert runner.most_under_way == 3
    swept = [account for spec in runner.specs for account in spec.accounts.get("memory") or ()]
    assert sorted(swept) == sorted(f"acc_{i}" for i in range(300))
    assert work.totals == {"memory": 300}
    assert sum(sum(one.statuses.values()) for one in summaries) == 300
    assert work.report.elapsed > 0


@pytest.mark.parametrize(
    ("accounts", "companies", "shards"),
    [(0, 0, 1), (3, 0, 3), (20_000, 0, 32), (10**6, 0, 500), (10**8, 0, 4096), (0, 999, 16), (0, 10**4, 100)],
)  # fmt: skip
def test_the_number_of_shards_fits_the_work(accounts: int, companies: int, shards: int) -> None:
    """Shards are worth a message, and one of companies holds many of them, since windows limit each."""
    work = sweep(systems.in_memory, runner=InProcess(8), folder="unused")
    work._partition = Partition()
    work._partition.count = accounts
    work._partition._companies = {f"agency{number}": ("", None) for number in range(companies)}
    assert work._default_shards() == shards
    work._partition.close()


async def test_a_spec_is_plain_data(tmp_path: Path) -> None:
    """Any queue can carry a spec: it survives JSON and pickle."""
    runner = InProcess()
    work = sweep(systems.in_memory, arguments={"count": 9}, runner=runner, store=tmp_path / "s.db", shards=2)
    await consume(work)
    spec = runner.specs[0]
    assert msgspec.json.decode(msgspec.json.encode(spec), type=ShardSpec) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec  # noqa: S301 -- our own


async def test_the_report_is_live_while_shards_are_under_way(tmp_path: Path) -> None:
    """Counts arrive before the first shard is finished, and none is counted twice at the end."""
    work = sweep(
        systems.in_memory, arguments={"count": 60, "delay": 0.05}, runner=Processes(1),
        store=tmp_path / "s.db", shards=1, concurrency=1,
    )  # fmt: skip
    async with work:
        while not work.report.numbers:  # noqa: ASYNC110 -- the report is what a display reads, too
            await asyncio.sleep(0.01)
        assert 0 < work.report.outcomes[Outcome.DONE] < 60
        assert 0 < work.report.numbers_by_provider["memory"] < 60
        _ = [summary async for summary in work]
    assert work.report.outcomes == {Outcome.DONE: 60}
    assert work.report.by_provider == {"memory": {Outcome.DONE: 60}}
    assert work.report.numbers == work.report.numbers_by_provider["memory"] == 60


@pytest.mark.jumping
async def test_a_database_that_is_away_is_tried_again(tmp_path: Path) -> None:
    """A shard that could not reach the store is run again after a pause; other errors end the sweep."""
    failures = 3

    def away(spec: ShardSpec) -> None:
        nonlocal failures
        if spec.index == 2 and failures:
            failures -= 1
            raise DatabaseUnavailable("away")

    work = sweep(
        systems.in_memory, arguments={"count": 30}, runner=InProcess(2, away), folder=tmp_path, shards=3,
        snapshot="n",
    )  # fmt: skip
    await consume(work)
    assert work.report.complete
    assert work.report.outcomes == {Outcome.DONE: 30}

    def refuse(spec: ShardSpec) -> None:
        raise InvalidArgument("nothing fits")

    other = sweep(
        systems.in_memory, arguments={"count": 30}, runner=InProcess(2, refuse), folder=tmp_path, shards=3,
        snapshot="m",
    )  # fmt: skip
    with pytest.raises(InvalidArgument, match="nothing fits"):
        await consume(other)
    assert other.report.outcomes == {Outcome.NOT_REACHED: 30}


async def test_leaving_the_block_counts_what_was_not_reached(tmp_path: Path) -> None:
    """A break cancels the rest, and every account has an outcome."""
    work = sweep(
        systems.in_memory, arguments={"count": 100}, runner=InProcess(1), store=tmp_path / "s.db", shards=10
    )
    async with work:
        await anext(work)
    outcomes = work.report.outcomes
    assert outcomes[Outcome.DONE] + outcomes[Outcome.NOT_REACHED] == 100
    assert outcomes[Outcome.DONE] > 0
    assert outcomes[Outcome.NOT_REACHED] > 0
    assert not work.report.complete
    with pytest.raises(UsageError, match="used once"):
        await work.__aenter__()


async def test_accounts_are_divided_on_disk() -> None:
    """Twenty thousand accounts cost the driver less than half a megabyte."""
    phones = PhoneSystem(simple(1))
    partition = Partition()
    tracemalloc.start()
    await partition.read(phones, ["memory"], {"memory": (f"location-{i:012}" for i in range(20_000))})
    await partition.divide(64)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert partition.count == 20_000
    found = [len(partition.accounts_of(index).accounts["memory"] or ()) for index in range(1, 65)]
    assert sum(found) == 20_000
    partition.close()
    assert most < 500_000
