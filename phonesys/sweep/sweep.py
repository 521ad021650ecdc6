"""The sweep: fans out over accounts and pages, and streams pages back with back-pressure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Collection, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

import anyio
import msgspec

from phonesys.errors import (
    BackendFault,
    CallError,
    DeadlineExceeded,
    InconsistentListing,
    InvalidArgument,
    NotOpen,
    PhonesysError,
    PhoneSystemMissing,
    UsageError,
)
from phonesys.provider import SearchesNumbers, VerifiesRows
from phonesys.sweep.account import AccountProgress
from phonesys.sweep.buffer import PageBuffer
from phonesys.sweep.queue import SourceQueue, WorkQueue
from phonesys.sweep.report import AccountReport, Failure, Outcome, SweepReport
from phonesys.sweep.workers import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from types import TracebackType

    from anyio.abc import TaskGroup

    from phonesys.model import Cursor, Page, PhoneNumber
    from phonesys.sweep.source import Source
    from phonesys.sweep.verify import ListingPass

OnError: TypeAlias = Literal["collect", "raise"]


class Sweep:
    """Yields the pages of all accounts as they land; made by `PhoneSystem.sweep`.

    An async context manager, so that everything it started has ended when its block ends, and an async
    iterator of pages. `report` is live while it runs. Use it once.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        *,
        concurrency: int = 64,
        on_error: OnError = "collect",
        keep_done: bool = True,
        deadline: float | None = None,
        match: str | None = None,
        verify: bool = True,
    ) -> None:
        if not isinstance(concurrency, int) or concurrency < 1:
            raise InvalidArgument(f"concurrency: expected a whole number from 1, got {concurrency!r}")
        if on_error not in {"collect", "raise"}:
            raise InvalidArgument(f"on_error: expected 'collect' or 'raise', got {on_error!r}")
        if deadline is not None and not deadline > 0:
            raise InvalidArgument(f"deadline: expected a positive number of seconds, got {deadline!r}")
        self.report = SweepReport()
        self._sources = tuple(sources)
        self._concurrency = concurrency
        self._on_error = on_error
        self._keep_done = keep_done
        self._deadline = deadline
        self._match = match
        self._verify = verify
        self._work = WorkQueue(lane_size=concurrency)
        self._handover = PageBuffer()
        self._open: dict[tuple[str, str], AccountProgress] = {}
        self._unread: list[tuple[Source, Iterator[str]]] = []
        self._feeding = len(self._sources)
        self._ended = False
        self._error: PhonesysError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._group: TaskGroup | None = None

    # The block

    async def __aenter__(self) -> Self:
        if self._group is not None:
            raise UsageError("a sweep can be used once; make another one")
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._crew = WorkerPool(self._work, self._fetch, self._group, self.report, self._concurrency)
        for source in self._sources:
            self._group.start_soon(self._feed, source, self._work.add_source())
        if self._deadline is not None:
            self._timer = self._loop.call_later(self._deadline, self._expire)
        self._settle()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        assert self._group is not None  # noqa: S101 -- `async with` entered it
        if self._timer is not None:
            self._timer.cancel()
        self._group.cancel_scope.cancel()
        try:
            return await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            # anyio wraps what the block raised; whoever catches it should see it as it was.
            if any(inner is not error for inner in group.exceptions):
                raise
            return False
        finally:
            self._close_report()

    # The pages

    def __aiter__(self) -> AsyncIterator[Page[PhoneNumber]]:
        return self

    async def __anext__(self) -> Page[PhoneNumber]:
        if self._group is None:
            raise NotOpen("a sweep is read inside of its block: `async with phones.sweep(…) as sweep`")
        while (read := self._handover.get_nowait() or await self._handover.get()) is not None:
            progress, page = read
            if progress.error is None:
                self._deliver(progress, page)
                return page
        self.report.elapsed = self._loop.time() - self._started
        raise self._error or StopAsyncIteration

    def _deliver(self, progress: AccountProgress, page: Page[PhoneNumber]) -> None:
        """Count a page that is now the consumer's; its account is done only when its last one is."""
        report, numbers, rejected = self.report, len(page.numbers), len(page.rejected)
        progress.pages += 1
        progress.numbers += numbers
        progress.rejected += rejected
        report.pages += 1
        report.numbers += numbers
        report.rejected += rejected
        report.numbers_by_provider[progress.source.name] += numbers
        progress.pending -= 1
        if not progress.pending:
            self._conclude(progress)

    # The accounts

    async def _feed(self, source: Source, lane: SourceQueue) -> None:
        """Read the source's accounts, never further ahead than the queue has room."""
        try:
            await self._read(source, lane)
        except UsageError as mistake:
            self._error = self._error or mistake
            self._end()
        except Exception as failure:  # noqa: BLE001 -- whatever a backend or an iterable raises
            error = _ours(failure, source, "accounts", "")
            self.report.failures.append(Failure(source.name, None, error))
            self._stop_on(error)
        finally:
            self._feeding -= 1
            self._settle()

    async def _read(self, source: Source, lane: SourceQueue) -> None:
        if source.accounts is None:
            async with _closed(source.provider.accounts()) as accounts:
                await self._read_later(source, accounts, lane)
        elif isinstance(source.accounts, AsyncIterable):
            await self._read_later(source, source.accounts, lane)
        else:
            await self._read_now(source, source.accounts, lane)

    async def _read_now(self, source: Source, accounts: Iterable[str], lane: SourceQueue) -> None:
        iterator = iter(accounts)
        if isinstance(accounts, Collection):
            self._unread.append((source, iterator))
        for account in iterator:
            if not self._begin(source, lane, account):
                await self._work.wait_for_capacity(lane)

    async def _read_later(self, source: Source, accounts: AsyncIterable[str], lane: SourceQueue) -> None:
        async for account in accounts:
            if not self._begin(source, lane, account):
                await self._work.wait_for_capacity(lane)

    def _begin(self, source: Source, lane: SourceQueue, account: str) -> bool:
        """Open an account, unless it was named before; say whether there is room for another."""
        if not isinstance(account, str):
            raise InvalidArgument(f"accounts: expected strings, got {account!r:.80}")
        key = source.name, account
        if key not in self._open and key not in self.report.accounts:
            progress = self._open[key] = AccountProgress(source, account, self._verify)
            self._work.push_new(lane, (progress, None))
            self._crew.spawn_if_needed()
        return self._work.has_capacity(lane)

    def _close(self, progress: AccountProgress, outcome: Outcome | None) -> None:
        """Write down what came of an account, once."""
        name = progress.source.name
        if self._open.pop((name, progress.account), None) is not None:
            self.report.record(name, progress.account, progress.result(outcome), keep=self._keep_done)
            self._settle()

    # The fetching of pages

    async def _fetch(self, progress: AccountProgress, cursor: Cursor | None) -> None:
        try:
            page = progress.accept(await self._ask(progress, cursor))
        except Exception as failure:  # noqa: BLE001 -- whatever a backend raises is its account's failure
            self._fail(progress, failure)
            return
        if page.next or progress.listing_pass is not None:
            self._queue(progress, progress.following(page))
        await self._hand_over(progress, page if self._match is None else _matching(page, self._match))
        if progress.listing_pass is not None and progress.verify:
            await self._look_again(progress, progress.listing_pass)
        self._finish(progress)

    def _queue(self, progress: AccountProgress, cursors: Iterable[Cursor | None]) -> None:
        for cursor in cursors:
            progress.fetching += 1
            progress.pending += 1
            self._work.push((progress, cursor))
            self._crew.spawn_if_needed()

    def _ask(self, progress: AccountProgress, cursor: Cursor | None) -> Awaitable[Page[PhoneNumber]]:
        provider = progress.source.provider
        if self._match is not None and isinstance(provider, SearchesNumbers):
            return provider.search(progress.account, self._match, cursor)
        return provider.page(progress.account, cursor)

    async def _hand_over(self, progress: AccountProgress, page: Page[PhoneNumber]) -> None:
        """Give the page to the consumer as soon as it keeps up."""
        if progress.previous is not None and not (page.numbers or page.rejected):
            return
        if not self._handover.has_capacity:
            await self._handover.wait_for_capacity()
        progress.pending += 1
        self._handover.put_nowait((progress, page))

    async def _look_again(self, progress: AccountProgress, reading: ListingPass) -> None:
        """Look whether rows moved between this page and those beside it."""
        provider = progress.source.provider
        if self._match is None and isinstance(provider, VerifiesRows):
            for place, row in reading.pop_boundaries():
                try:
                    still = await provider.has_row_at(progress.account, place, row)
                except Exception as failure:  # noqa: BLE001 -- as for a page
                    self._fail(progress, failure)
                    return
                reading.row_moved = reading.row_moved or not still

    def _finish(self, progress: AccountProgress) -> None:
        """Count a page as dealt with; begin the account again if it was the last and they do not add up."""
        progress.fetching -= 1
        progress.pending -= 1
        if not progress.fetching and progress.error is None and progress.restart_if_inconsistent():
            self._queue(progress, [None])
        if not progress.pending:
            self._conclude(progress)

    def _conclude(self, progress: AccountProgress) -> None:
        """Close an account that was read and is in the consumer's hands."""
        if progress.inconsistency is None:
            self._close(progress, None)
        else:
            self._fail(progress, InconsistentListing(progress.inconsistency))

    def _fail(self, progress: AccountProgress, failure: Exception) -> None:
        """End an account whose page cannot be had; without a phone system only if it never had one."""
        if isinstance(failure, PhoneSystemMissing) and progress.listing_pass is None:
            self._close(progress, Outcome.NOT_CONNECTED)
        elif progress.error is None:
            error = _ours(failure, progress.source, "page", progress.account)
            progress.error = error
            self._close(progress, Outcome.FAILED)
            self._stop_on(error)

    # The end

    def _stop_on(self, error: PhonesysError) -> None:
        if self._on_error == "raise":
            self._error = self._error or error
            self._end()

    def _settle(self) -> None:
        """End the iteration once no account is left to be read nor to be named."""
        if not self._feeding and not self._open:
            self._end()

    def _expire(self) -> None:
        self.report.timed_out = True
        if self._on_error == "raise":
            self._error = self._error or DeadlineExceeded(f"the sweep took longer than {self._deadline} s")
        self._end()

    def _end(self) -> None:
        """Let the consumer's loop end.

        Pages that it has not taken are dropped. Once all accounts are settled, those are pages of accounts
        that failed since; when the sweep is ended early, their accounts are not reached.
        """
        if not self._ended:
            self._ended = True
            self._handover.close()

    def _close_report(self) -> None:
        """Name what was not reached: accounts that were begun, and the rest of lists that were not read."""
        self._ended = True
        self.report.elapsed = self._loop.time() - self._started
        for progress in tuple(self._open.values()):
            self._close(progress, Outcome.NOT_REACHED)
        for source, rest in self._unread:
            for account in rest:
                if isinstance(account, str) and (source.name, account) not in self.report.accounts:
                    self.report.record(source.name, account, _NOT_REACHED, keep=True)


@asynccontextmanager
async def _closed(accounts: AsyncIterator[str]) -> AsyncGenerator[AsyncIterator[str]]:
    """Close a backend's iterator of accounts, where it can be: a generator may hold a connection."""
    try:
        yield accounts
    finally:
        if isinstance(accounts, AsyncGenerator):
            await accounts.aclose()


_NOT_REACHED = AccountReport(outcome=Outcome.NOT_REACHED)


def _matching(page: Page[PhoneNumber], number: str) -> Page[PhoneNumber]:
    """Keep what was asked for: a vendor's search finds more than that."""
    return msgspec.structs.replace(page, numbers=tuple(n for n in page.numbers if n.number == number))


def _ours(failure: Exception, source: Source, operation: str, account: str) -> PhonesysError:
    """Make any failure one of ours, without the frames that would keep its page in memory."""
    if isinstance(failure, PhonesysError):
        failure.__traceback__ = None
        if isinstance(failure, CallError) and not failure.backend:
            failure.with_call(backend=source.name, operation=operation, account=account)
        return failure
    fault = BackendFault(f"{type(failure).__name__}: {failure}")
    fault.__cause__ = failure
    return fault.with_call(backend=source.name, operation=operation, account=account)
