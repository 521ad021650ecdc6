"""A sweep that keeps what it finds: page by page, so that a broken one is resumed where it ended."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Self

from phonesys._concurrency import run_shielded, wait_finished
from phonesys.errors import NotOpen
from phonesys.sweep import AccountReport, Outcome, SweepReport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import timedelta
    from types import TracebackType

    from phonesys.inventory.store.database import Database
    from phonesys.inventory.store.writing import Prepared, SweepWriter
    from phonesys.model import Page, PhoneNumber
    from phonesys.sweep import Sweep

    Key = tuple[str, str]

# Read ahead while a transaction is under way, which then are the next transaction.
_MOST_PAGES = 256
_MOST_NUMBERS = 8_000


class StoredSweep:
    """Yields the pages of a sweep after they are stored; made by `Inventory.sweep`.

    Used as a sweep is: an async context manager and an async iterator of pages. A page that was handed on is
    in the database, whatever happens next. Read to its end, the sweep is a snapshot: `finished`. Ended
    before, by `break`, an error, a deadline or the end of the process, it can be resumed.
    """

    def __init__(self, database: Database, sweep: Sweep, scope: str, resume_within: timedelta | None) -> None:
        self._database = database
        self._sweep = sweep
        self._scope = scope
        self._resume_within = resume_within
        self._writer: SweepWriter | None = None
        self._journal = RecordingReport()
        sweep.report = self._journal
        self._stored: deque[Page[PhoneNumber]] = deque()
        self._ahead = _Ahead(sweep, self._journal)
        self.resumed = 0
        """How many accounts were read whole before, and are not read again; the report has them too."""
        self.finished = False
        """Whether it was read to its end, and is a snapshot now."""

    @property
    def report(self) -> SweepReport:
        """The sweep's report; outcomes and numbers are also those of accounts that were read before."""
        return self._sweep.report

    @property
    def id(self) -> int:
        """What the sweep is called in the store; raises NotOpen before its block is entered."""
        return self._opened().id

    def _opened(self) -> SweepWriter:
        if self._writer is None:
            raise NotOpen(
                "a stored sweep is used inside of its block: `async with inventory.sweep(…) as sweep`"
            )
        return self._writer

    async def __aenter__(self) -> Self:
        # SQLAlchemy gives up a connection whose statement is cancelled, and leaves its transaction, and the
        # lock on the database with it, to the garbage collector. So transactions are carried to their end.
        await run_shielded(self._resume())
        await self._sweep.__aenter__()
        self._ahead.start(self._opened())
        return self

    async def _resume(self) -> None:
        from phonesys.inventory.store.writing import begin

        self._writer = writer = await begin(self._database, self._scope, self._resume_within)
        async for (backend, account), result in writer.whole():
            self._journal.remember(backend, account, result)
            self.resumed += 1

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        try:
            await self._ahead.stop()
        finally:
            ended = await self._sweep.__aexit__(kind, error, trace)
        self._journal.settled.clear()
        return ended

    def __aiter__(self) -> AsyncIterator[Page[PhoneNumber]]:
        return self

    async def __anext__(self) -> Page[PhoneNumber]:
        writer = self._opened()
        while not self._stored:
            pages, settled = await self._ahead.take()
            if pages or settled:
                await run_shielded(writer.write(pages, settled))
                self._stored.extend(one.page for one in pages)
            elif (error := self._ahead.error) is not None:
                raise error
            else:
                await run_shielded(self._finish(writer))
                raise StopAsyncIteration
        return self._stored.popleft()

    async def _finish(self, writer: SweepWriter) -> None:
        if not self.finished and not self.report.timed_out:
            lists = [failure for failure in self.report.failures if failure.account is None]
            await writer.finish(
                ((failure.provider, ""), AccountReport(outcome=Outcome.FAILED, error=failure.error))
                for failure in lists
            )
            self.finished = True


class RecordingReport(SweepReport):
    """A report that also lists what came of accounts in the order in which it is known."""

    def __init__(self) -> None:
        super().__init__()
        self.settled: list[tuple[Key, AccountReport]] = []
        self.news = asyncio.Event()

    def remember(self, provider: str, account: str, result: AccountReport) -> None:
        """Write down what came of an account before: the sweep passes over it, as over one named twice."""
        super().record(provider, account, result)
        self.numbers += result.numbers
        self.numbers_by_provider[provider] += result.numbers

    def record(self, provider: str, account: str, result: AccountReport, *, keep: bool = True) -> None:
        """Write down what came of an account, for the store too."""
        super().record(provider, account, result, keep=keep)
        # An account that was not reached has no outcome yet: whoever resumes reads it.
        if result.outcome is not Outcome.NOT_REACHED:
            self.settled.append(((provider, account), result))
            self.news.set()


class _Ahead:
    """Reads a sweep while what was read before is being stored."""

    def __init__(self, sweep: Sweep, journal: RecordingReport) -> None:
        self._sweep = sweep
        self._journal = journal
        self._pages: list[Prepared] = []
        self._numbers = 0
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.error: BaseException | None = None

    def start(self, writer: SweepWriter) -> None:
        """Begin to read, and to prepare what is read."""
        self._task = asyncio.get_running_loop().create_task(self._read(writer))

    async def stop(self) -> None:
        """End, whatever was not taken yet."""
        if self._task is not None:
            self._task.cancel()
            await wait_finished(self._task)

    async def take(self) -> tuple[list[Prepared], list[tuple[Key, AccountReport]]]:
        """Take all that was read so far, once there is something; nothing at the end.

        An account's outcome comes with its last page, never before.
        """
        journal, task = self._journal, self._task
        assert task is not None  # noqa: S101 -- started with the block
        while not (self._pages or journal.settled or task.done()):
            journal.news.clear()
            await journal.news.wait()
        pages, self._pages, self._numbers = self._pages, [], 0
        settled, journal.settled = journal.settled, []
        self._room.set()
        return pages, settled

    async def _read(self, writer: SweepWriter) -> None:
        try:
            async for page in self._sweep:
                self._pages.append(writer.prepare(page))
                self._numbers += len(page.numbers)
                self._journal.news.set()
                while len(self._pages) >= _MOST_PAGES or self._numbers >= _MOST_NUMBERS:
                    self._room.clear()
                    await self._room.wait()
        except Exception as error:  # noqa: BLE001 -- raised where the pages are taken
            self.error = error
        finally:
            self._journal.news.set()
