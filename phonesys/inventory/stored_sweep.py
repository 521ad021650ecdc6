"""A sweep that stores each page, so that an interrupted sweep can be resumed."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Self

from phonesys._concurrency import run_shielded, wait_finished
from phonesys.errors import NotOpen
from phonesys.sweep import AccountReport, Failure, Outcome, SweepReport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import TracebackType

    from phonesys.inventory.store.database import Database
    from phonesys.inventory.store.writing import PreparedPage, SweepWriter
    from phonesys.model import Page, PhoneNumber
    from phonesys.sweep import Sweep

    Key = tuple[str, str]

# Pages are read ahead during a transaction, and form the next transaction.
_MAX_PAGES = 256
_MAX_NUMBERS = 8_000


class StoredSweep:
    """Yields the pages of a sweep after storing them; made by `Inventory.sweep`.

    An async context manager and an async iterator of pages, like a sweep. A yielded page is in the database.
    A sweep that is read to its end becomes a snapshot (`finished`). A sweep that ends earlier, by `break`, an
    error, a deadline or the end of the process, can be resumed. A shard becomes a part of a snapshot instead.
    """

    def __init__(
        self,
        database: Database,
        sweep: Sweep,
        report: RecordingReport,
        begin: Callable[[Database], Awaitable[SweepWriter]],
    ) -> None:
        self._database = database
        self._sweep = sweep
        self._begin = begin
        self._writer: SweepWriter | None = None
        self._recording = report
        self._stored: deque[Page[PhoneNumber]] = deque()
        self._read_ahead = _ReadAhead(sweep, self._recording)
        self.resumed = 0
        """The number of accounts that an earlier run read completely. The report includes them."""
        self.finished = False
        """True once the sweep, or this shard, was read to its end."""

    @property
    def report(self) -> SweepReport:
        """The sweep's report, including the outcomes and numbers of resumed accounts."""
        return self._sweep.report

    @property
    def unfinished_shards(self) -> tuple[int, ...]:
        """Once this shard is finished: the others that are not. The snapshot is complete without any."""
        return self._require_writer().unfinished_shards

    @property
    def id(self) -> int:
        """The id of the sweep in the store. Raises NotOpen before its block is entered."""
        return self._require_writer().id

    def _require_writer(self) -> SweepWriter:
        if self._writer is None:
            raise NotOpen("a stored sweep is used inside its block: `async with inventory.sweep(…) as sweep`")
        return self._writer

    async def __aenter__(self) -> Self:
        self._writer = writer = await self._begin(self._database)
        self.finished = writer.is_finished
        await run_shielded(self._restore(writer))
        if not self.finished:
            await self._sweep.__aenter__()
            self._read_ahead.start(writer)
        return self

    async def _restore(self, writer: SweepWriter) -> None:
        writer.names = self._recording.account_names
        async for key, result, name in writer.stored_accounts():
            self._recording.restore(*key, result)
            if name is not None:
                self._recording.account_names[key] = name
            self.resumed += 1

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if not self._read_ahead.is_started:
            return None
        try:
            await self._read_ahead.stop()
        finally:
            ended = await self._sweep.__aexit__(kind, error, trace)
        self._recording.unsaved.clear()
        return ended

    def __aiter__(self) -> AsyncIterator[Page[PhoneNumber]]:
        return self

    async def __anext__(self) -> Page[PhoneNumber]:
        writer = self._require_writer()
        if not self._read_ahead.is_started:  # the shard was finished before
            raise StopAsyncIteration
        while not self._stored:
            pages, outcomes = await self._read_ahead.get()
            if pages or outcomes:
                await writer.write(pages, outcomes)
                self._stored.extend(one.page for one in pages)
            elif (error := self._read_ahead.error) is not None:
                raise error
            else:
                await self._finish(writer)
                raise StopAsyncIteration
        return self._stored.popleft()

    async def numbers(self) -> AsyncIterator[PhoneNumber]:
        """Yield the numbers of all pages, each once it is stored: `async for number in sweep.numbers()`."""
        async for page in self:
            for number in page.numbers:
                yield number

    def __repr__(self) -> str:
        return f"<StoredSweep{'' if self._writer is None else f' {self._writer.id}'}: {self._sweep!r}>"

    async def _finish(self, writer: SweepWriter) -> None:
        if not self.finished and not self.report.timed_out:
            lists = [failure for failure in self.report.failures if failure.account is None]
            await writer.finish(
                ((failure.provider, ""), AccountReport(outcome=Outcome.FAILED, error=failure.error))
                for failure in lists
            )
            self.finished = True


class RecordingReport(SweepReport):
    """A report that also collects the outcomes of accounts that are to be stored."""

    def __init__(self) -> None:
        super().__init__()
        self.unsaved: list[tuple[Key, AccountReport]] = []
        self.changed = asyncio.Event()

    def restore(self, provider: str, account: str, result: AccountReport) -> None:
        """Add an account of an earlier run. The sweep skips it, like an account that is named twice."""
        if not account and result.error is not None:  # a list of accounts that could not be read
            self.failures.append(Failure(provider, None, result.error))
            return
        super().record(provider, account, result)
        self.numbers += result.numbers
        self.rejected += result.rejected
        self.numbers_by_provider[provider] += result.numbers

    def record(self, provider: str, account: str, result: AccountReport, *, keep: bool = True) -> None:
        """Add the outcome of an account, also for the store."""
        super().record(provider, account, result, keep=keep)
        # An account that was not reached is read when the sweep is resumed.
        if result.outcome is not Outcome.NOT_REACHED:
            self.unsaved.append(((provider, account), result))
            self.changed.set()


class _ReadAhead:
    """Reads pages of a sweep while earlier pages are being stored."""

    def __init__(self, sweep: Sweep, recording: RecordingReport) -> None:
        self._sweep = sweep
        self._recording = recording
        self._pages: list[PreparedPage] = []
        self._numbers = 0
        self._has_capacity = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.error: BaseException | None = None

    @property
    def is_started(self) -> bool:
        """True once `start` was called."""
        return self._task is not None

    def start(self, writer: SweepWriter) -> None:
        """Start to read and encode pages."""
        self._task = asyncio.get_running_loop().create_task(self._read(writer))

    async def stop(self) -> None:
        """Stop reading, and drop the pages that are left."""
        if self._task is not None:
            self._task.cancel()
            await wait_finished(self._task)

    async def get(self) -> tuple[list[PreparedPage], list[tuple[Key, AccountReport]]]:
        """Wait for pages or outcomes, and return all of them. Returns nothing at the end.

        The outcome of an account never comes before its last page.
        """
        recording, task = self._recording, self._task
        assert task is not None  # noqa: S101 -- `start` was called on entry
        while not (self._pages or recording.unsaved or task.done()):
            recording.changed.clear()
            await recording.changed.wait()
        pages, self._pages, self._numbers = self._pages, [], 0
        outcomes, recording.unsaved = recording.unsaved, []
        self._has_capacity.set()
        return pages, outcomes

    async def _read(self, writer: SweepWriter) -> None:
        try:
            async for page in self._sweep:
                self._pages.append(writer.prepare(page))
                self._numbers += len(page.numbers)
                self._recording.changed.set()
                while len(self._pages) >= _MAX_PAGES or self._numbers >= _MAX_NUMBERS:
                    self._has_capacity.clear()
                    await self._has_capacity.wait()
        except Exception as error:  # noqa: BLE001 -- raised by the reader of the pages
            self.error = error
        finally:
            self._recording.changed.set()
