"""A sweep that several workers share: hands out shards, and adds up what comes back."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import msgspec

from phonesys._concurrency import wait_finished
from phonesys.distributed.partition import Partition
from phonesys.distributed.runners.protocol import ReportsProgress
from phonesys.distributed.spec import ShardGivenUp, ShardProgress, ShardSpec, ShardSummary, WorkerLost
from phonesys.distributed.work import make_system, store_of
from phonesys.errors import NotOpen, UsageError
from phonesys.inventory import DatabaseUnavailable, Inventory
from phonesys.inventory.folder import SnapshotFolder
from phonesys.inventory.shard import Shard
from phonesys.inventory.snapshot import LISTED, NAMED
from phonesys.sweep import Failure, Outcome, SweepReport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from phonesys.distributed.runners.protocol import Runner
    from phonesys.sweep import Accounts

_ACCOUNTS_PER_SHARD = 2000  # 10 to 30 seconds of a worker, where the vendor answers in 0.1 s
_COMPANIES_PER_SHARD = 100  # whose exchanges, ten a second each, keep a worker busy
_SHARDS_PER_WORKER = 4  # at least, so that a slow one holds up little
_SHARDS_PER_WORKER_OF_COMPANIES = 2
_MAX_DEFAULT = 4096
_MAX_LOSSES = 3
_MAX_OUTAGES = 5
_PAUSE = 0.5  # seconds, doubled with every outage


class DistributedOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of a distributed sweep, checked."""

    system: str
    arguments: dict[str, Any]
    store: str | None
    folder: str | None
    snapshot: str | None
    shards: int | None
    split_companies: bool
    keep_done: bool
    count_numbers: bool
    sweep: dict[str, Any]


class DistributedSweep:
    """Yields the summary of each shard as it is finished; made by `phonesys.distributed.sweep`.

    An async context manager, so that everything it started has ended when its block ends, and an async
    iterator of summaries. `report` is live while it runs. It can be used once.

    Shards are pulled: a worker gets its next one when it has finished the last, so that a slow company holds
    up one worker. A shard whose worker dies is run again, and fetches what is missing. A shard that kills its
    worker three times is set aside: its accounts are not reached, and the snapshot stays unfinished.
    """

    def __init__(
        self,
        runner: Runner,
        accounts: Mapping[str, Accounts],
        only: Iterable[str] | None,
        options: DistributedOptions,
    ) -> None:
        self.report = SweepReport()
        """Counts of all workers. Accounts that are done or empty are only counted, unless `keep_done`."""
        self.resumed = 0
        """The number of accounts that an earlier run had read. The report includes them."""
        self.snapshot = options.snapshot or ""
        """The name of the snapshot."""
        self.shards = 0
        """The number of shards."""
        self.finished = False
        """True once all shards are finished, and make a snapshot."""
        self.totals: dict[str, int | None] = {}
        """The number of accounts by backend, None where a worker lists them."""
        self._runner = runner
        self._accounts = accounts
        self._only = only
        self._options = options
        self._stack = AsyncExitStack()
        self._partition: Partition
        self._coverage: dict[str, str] = {}
        self._waiting: list[int] = []
        self._unfinished: set[int] = set()
        self._results: asyncio.Queue[ShardSummary | BaseException | None] = asyncio.Queue()
        self._under_way: dict[int, ShardProgress] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._started: float | None = None

    async def __aenter__(self) -> Self:
        if self._started is not None:
            raise UsageError("a sweep can be used once; make another one")
        self._started = asyncio.get_running_loop().time()
        self._partition = Partition()
        try:
            await self._read_accounts()
            await self._stack.enter_async_context(self._runner)
            await self._divide()
        except BaseException:
            await self._stack.aclose()
            self._partition.close()
            raise
        self._start()
        return self

    async def _read_accounts(self) -> None:
        options = self._options
        phones = make_system(options.system, options.arguments)
        names = phones.select(self._only)
        phones.select(self._accounts)  # raises UnknownProvider
        named = {**phones.configured_accounts, **self._accounts}
        self._coverage = {name: NAMED if name in named else LISTED for name in names}
        async with phones:
            await self._partition.read(phones, names, named, split_companies=options.split_companies)
        self.totals = {name: self._partition.by_backend.get(name) for name in names}

    async def _divide(self) -> None:
        """Divide the accounts into shards, as many as the snapshot was begun with."""
        options, begun = self._options, await self._begun()
        self.snapshot, self.shards = begun or (options.snapshot or _default_name(), self._default_shards())
        if options.shards is not None and begun is None:
            self.shards = options.shards
        Shard(1, self.shards)  # raises InvalidArgument
        await self._partition.divide(self.shards)
        self._waiting = list(range(self.shards, 0, -1))
        self._unfinished = set(self._waiting)

    async def _begun(self) -> tuple[str, int] | None:
        """Return the name and the number of shards of the snapshot, if it was begun."""
        options = self._options
        if options.folder is None:
            async with Inventory(store_of(options.store)) as inventory:
                return await inventory.begun_snapshot(self._coverage, options.snapshot)
        if options.snapshot is None:
            return None
        count = SnapshotFolder(options.folder, options.snapshot).begun_shards()
        return None if count is None else (options.snapshot, count)

    def _default_shards(self) -> int:
        """Return a number of shards of a size that is worth a message and bearable to lose.

        Companies are limited by their windows, so that a worker needs many of them at a time.
        """
        count, companies = self._partition.count, self._partition.companies
        each = _SHARDS_PER_WORKER_OF_COMPANIES if companies else _SHARDS_PER_WORKER
        wanted = max(
            each * self._runner.capacity, count // _ACCOUNTS_PER_SHARD, companies // _COMPANIES_PER_SHARD
        )
        return max(1, min(wanted, count + companies, _MAX_DEFAULT))

    def _on_progress(self, progress: ShardProgress) -> None:
        """Show a shard's counts in the report, until its summary replaces them."""
        if progress.index in self._under_way:
            self._forget_progress(progress.index)
            self._under_way[progress.index] = progress
            progress.add_to(self.report)

    def _forget_progress(self, index: int) -> None:
        before = self._under_way.pop(index, None)
        if before is not None:
            before.add_to(self.report, -1)

    def _start(self) -> None:
        if isinstance(self._runner, ReportsProgress):
            self._runner.on_progress = self._on_progress
        count = min(self._runner.capacity, self.shards)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._pull()) for _ in range(count)]
        for task in self._tasks:
            task.add_done_callback(self._on_end)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._results.put_nowait(error)
        elif all(one.done() for one in self._tasks):
            self._results.put_nowait(None)

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        try:
            await self._stack.aclose()  # the runner cancels what it runs
        finally:
            for task in self._tasks:
                await wait_finished(task)
            self._record_not_reached()
            self._partition.close()
            self._set_elapsed()

    def __aiter__(self) -> AsyncIterator[ShardSummary]:
        return self

    async def __anext__(self) -> ShardSummary:
        if self._started is None:
            raise NotOpen("a sweep is read inside its block: `async with sweep(…) as sweep`")
        result = await self._results.get()
        if isinstance(result, ShardSummary):
            return result
        self._set_elapsed()
        self._results.put_nowait(result)  # for those who ask again
        raise StopAsyncIteration if result is None else result

    def _set_elapsed(self) -> None:
        if self._started is not None:
            self.report.elapsed = asyncio.get_running_loop().time() - self._started

    # Shards

    async def _pull(self) -> None:
        """Run one shard after the other, until none is left."""
        while self._waiting:
            spec = self._spec(self._waiting.pop())
            try:
                summary = await self._run(spec)
            except ShardGivenUp as failure:
                self._set_aside(spec, failure)
                continue
            self._unfinished.discard(spec.index)
            self.finished = self.finished or not summary.unfinished
            self.resumed += summary.resumed
            summary.add_to(self.report)
            self._results.put_nowait(summary)

    async def _run(self, spec: ShardSpec) -> ShardSummary:
        """Run a shard, again if its worker dies or the database is away for a moment."""
        losses = outages = 0
        while True:
            self._under_way[spec.index] = ShardProgress.of(spec, SweepReport())
            try:
                return await self._runner.run(spec)
            except ShardGivenUp:
                raise
            except WorkerLost as failure:
                losses += 1
                if losses == _MAX_LOSSES:
                    raise ShardGivenUp(f"{failure}, {losses} times") from None
            except DatabaseUnavailable:
                outages += 1
                if outages == _MAX_OUTAGES:
                    raise
                await asyncio.sleep(_PAUSE * 2 ** (outages - 1))
            finally:
                self._forget_progress(spec.index)

    def _spec(self, index: int) -> ShardSpec:
        options, those = self._options, self._partition.accounts_of(index)
        return ShardSpec(
            snapshot=self.snapshot,
            index=index,
            count=self.shards,
            coverage=self._coverage,
            system=options.system,
            arguments=options.arguments,
            accounts=those.accounts,
            names=those.names,
            store=options.store,
            folder=options.folder,
            options=options.sweep,
            keep_done=options.keep_done,
            count_numbers=options.count_numbers,
        )

    def _set_aside(self, spec: ShardSpec, failure: ShardGivenUp) -> None:
        lost = ShardGivenUp(f"shard {spec.shard} was given up: {failure}")
        self.report.failures += [Failure(name, None, lost) for name in spec.accounts]

    def _record_not_reached(self) -> None:
        """Count the accounts of shards that were not finished."""
        for index in self._unfinished:
            for name, accounts in self._partition.accounts_of(index).accounts.items():
                counts = self.report.by_provider.setdefault(name, Counter())
                counts[Outcome.NOT_REACHED] += len(accounts or ())
                self.report.outcomes[Outcome.NOT_REACHED] += len(accounts or ())


def _default_name() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}-{os.urandom(2).hex()}"
