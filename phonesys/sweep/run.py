"""A sweep while it is open: reads accounts, fetches their pages, and records their outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Collection, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, cast

import msgspec

from phonesys._matching import NumberQuery
from phonesys.errors import (
    BackendFault,
    CallError,
    DeadlineExceeded,
    InconsistentListing,
    InvalidArgument,
    PhonesysError,
    PhoneSystemMissing,
    UsageError,
)
from phonesys.provider import AccountsWithNames
from phonesys.sweep.account import AccountProgress
from phonesys.sweep.buffer import PageBuffer
from phonesys.sweep.fetch import PageFetcher
from phonesys.sweep.queue import SourceQueue, WorkQueue
from phonesys.sweep.report import AccountReport, Failure, Outcome
from phonesys.sweep.verify import EndCheck
from phonesys.sweep.workers import WorkerPool
from phonesys.telemetry.events import AccountEnded, PageRead
from phonesys.telemetry.observers import Observers

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from phonesys.model import Cursor, Page, PhoneNumber
    from phonesys.sweep.report import SweepReport
    from phonesys.sweep.source import Source
    from phonesys.sweep.verify import ListingPass, RowCheck

T = TypeVar("T")
OnError: TypeAlias = Literal["collect", "raise"]

_NOT_REACHED = AccountReport(outcome=Outcome.NOT_REACHED)


class SweepOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of a sweep, checked."""

    concurrency: int
    on_error: OnError
    keep_done: bool
    deadline: float | None
    query: NumberQuery | None
    verify: bool
    observers: Observers


class SweepRun:
    """The state of a sweep from the beginning of its block to the end."""

    def __init__(
        self, sources: Iterable[Source], options: SweepOptions, report: SweepReport, group: TaskGroup
    ) -> None:
        self.group = group
        self._sources = tuple(sources)
        self._options = options
        self._observers = options.observers
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._work = WorkQueue(source_size=options.concurrency)
        self._buffer = PageBuffer()
        self._pool = WorkerPool(self._work, self._buffer, self._fetch, group, report, options.concurrency)
        self._open: dict[tuple[str, str], AccountProgress] = {}
        self._unread: list[tuple[Source, Iterator[str]]] = []
        self._readers = len(self._sources)
        self._error: PhonesysError | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to read accounts."""
        for source in self._sources:
            self.group.start_soon(self._read_source, source, self._work.add_source())
        if self._options.deadline is not None:
            self._timer = self._loop.call_later(self._options.deadline, self._on_deadline)
        self._end_if_finished()

    def cancel(self) -> None:
        """Cancel everything that was started."""
        if self._timer is not None:
            self._timer.cancel()
        self.group.cancel_scope.cancel()

    # Pages to the consumer

    async def next_page(self) -> Page[PhoneNumber]:
        """Wait for the next page. Raise StopAsyncIteration at the end, or the error that ended the sweep."""
        while (item := self._buffer.get_nowait() or await self._buffer.get()) is not None:
            progress, page = item
            if progress.error is None:
                self._on_delivered(progress, page)
                return page
        if not self.group.cancel_scope.cancel_called:
            self._report.elapsed = self._loop.time() - self._started
        raise self._error or StopAsyncIteration

    def _on_delivered(self, progress: AccountProgress, page: Page[PhoneNumber]) -> None:
        """Count a page. Its account is done only once its last page is delivered."""
        numbers, rejected = len(page.numbers), len(page.rejected)
        progress.pages += 1
        progress.numbers += numbers
        progress.rejected += rejected
        self._report.add(page)
        self._report.numbers_by_provider[progress.fetcher.source.name] += numbers
        if self._observers:
            self._observers.notify(
                PageRead(
                    backend=progress.fetcher.source.name,
                    account=progress.account,
                    numbers=numbers,
                    rejected=rejected,
                )
            )
        progress.undelivered -= 1
        if not progress.undelivered:
            self._conclude(progress)

    # Accounts

    async def _read_source(self, source: Source, queue: SourceQueue) -> None:
        """Read the accounts of a source, never further ahead than its queue has capacity."""
        fetcher = PageFetcher(source, self._options.query, verify=self._options.verify)
        try:
            await self._read_accounts(fetcher, queue)
        except UsageError as mistake:
            self._error = self._error or mistake
            self._end()
        except Exception as failure:  # noqa: BLE001 -- a backend or an iterable may raise anything
            error = as_phonesys_error(failure, source, "accounts", "")
            self._report.failures.append(Failure(source.name, None, error))
            self._end_on(error)
        finally:
            self._readers -= 1
            self._end_if_finished()

    async def _read_accounts(self, fetcher: PageFetcher, queue: SourceQueue) -> None:
        source = fetcher.source
        if source.accounts is None:
            async with _closing(self._listed_accounts(source)) as accounts:
                await self._read_async(fetcher, accounts, queue)
        elif isinstance(source.accounts, AsyncIterable):
            await self._read_async(fetcher, source.accounts, queue)
        else:
            await self._read_sync(fetcher, source.accounts, queue)

    def _listed_accounts(self, source: Source) -> AsyncIterator[str]:
        provider = source.provider
        if self._options.keep_done and isinstance(provider, AccountsWithNames):
            return self._named_accounts(source.name, provider)
        return provider.accounts()

    async def _named_accounts(self, backend: str, provider: AccountsWithNames) -> AsyncGenerator[str]:
        async with _closing(provider.accounts_with_names()) as accounts:
            async for account in accounts:
                if account.name:
                    self._report.account_names[backend, account.id] = account.name
                yield account.id

    async def _read_sync(self, fetcher: PageFetcher, accounts: Iterable[str], queue: SourceQueue) -> None:
        iterator = iter(accounts)
        if isinstance(accounts, Collection):
            self._unread.append((fetcher.source, iterator))
        for account in iterator:
            self._open_account(fetcher, queue, account)
            if not self._work.has_capacity(queue):
                await self._work.wait_for_capacity(queue)

    async def _read_async(
        self, fetcher: PageFetcher, accounts: AsyncIterable[str], queue: SourceQueue
    ) -> None:
        async for account in accounts:
            self._open_account(fetcher, queue, account)
            if not self._work.has_capacity(queue):
                await self._work.wait_for_capacity(queue)

    def _open_account(self, fetcher: PageFetcher, queue: SourceQueue, account: str) -> None:
        """Queue the first page of an account, unless the account was named before."""
        if not isinstance(account, str):
            raise InvalidArgument(f"accounts: expected strings, got {account!r:.80}")
        key = fetcher.source.name, account
        if key not in self._open and key not in self._report.accounts:
            progress = self._open[key] = AccountProgress(fetcher, account, fetcher.overlaps)
            self._work.put_new(queue, (progress, None))
            self._pool.spawn_if_needed()

    def _close_account(self, progress: AccountProgress, outcome: Outcome | None) -> None:
        """Record the result of an account, once."""
        name = progress.fetcher.source.name
        if self._open.pop((name, progress.account), None) is not None:
            self._record(name, progress.account, progress.result(outcome), keep=self._options.keep_done)
            self._end_if_finished()

    def _record(self, name: str, account: str, result: AccountReport, *, keep: bool) -> None:
        self._report.record(name, account, result, keep=keep)
        if self._observers:
            self._observers.notify(
                AccountEnded(
                    backend=name,
                    account=account,
                    outcome=result.outcome,
                    numbers=result.numbers,
                    pages=result.pages,
                    passes=result.passes,
                    error=result.error,
                )
            )

    # Fetching

    async def _fetch(self, progress: AccountProgress, cursor: Cursor | None) -> None:
        """Fetch one page, hand it to the consumer, and queue the pages that follow it."""
        listing_pass = progress.listing_pass
        if listing_pass is not None and progress.has_ended:
            await self._on_listed(progress, listing_pass)
            self._on_fetched(progress)
            return
        request = progress.fetcher.page(progress.account, cursor, overlapping=progress.overlapping)
        try:
            page = progress.add(await request)
        except Exception as failure:  # noqa: BLE001 -- a backend may raise anything; its account fails
            if not progress.hold(failure):
                self._fail(progress, failure)
                return
        else:
            if progress.listing_pass is not None:
                cursors = progress.listing_pass.next_cursors(page.next)
                self._queue(progress, cursors, wake=len(cursors) != 1 or progress.has_checks)
            if not self._buffer.has_capacity:
                await self._buffer.wait_for_capacity()
            self._buffer_page(progress, page)
        if progress.listing_pass is not None:
            await self._on_listed(progress, progress.listing_pass)
        self._on_fetched(progress)

    def _queue(self, progress: AccountProgress, cursors: Iterable[Cursor | None], *, wake: bool) -> None:
        for cursor in cursors:
            progress.unfetched += 1
            progress.undelivered += 1
            self._work.put((progress, cursor), wake=wake)
            if wake:
                self._pool.spawn_if_needed()

    def _buffer_page(self, progress: AccountProgress, page: Page[PhoneNumber]) -> None:
        """Add a page to the buffer, unless it is of a later pass and holds nothing new."""
        query = self._options.query
        if query is not None:
            page = _matching(page, query)
        if progress.previous is None or page.numbers or page.rejected:
            progress.undelivered += 1
            self._buffer.put_nowait((progress, page))

    async def _run_checks(self, progress: AccountProgress, listing_pass: ListingPass) -> None:
        """Check that no row moved between pages that meet without overlap."""
        if not progress.fetcher.verify:
            return
        for check in listing_pass.pop_checks():
            try:
                unmoved = await self._holds(progress, check)
            except Exception as failure:  # noqa: BLE001 -- as for a page
                self._fail(progress, failure)
                return
            listing_pass.row_moved = listing_pass.row_moved or not unmoved

    async def _holds(self, progress: AccountProgress, check: RowCheck | EndCheck) -> bool:
        fetcher, account = progress.fetcher, progress.account
        if isinstance(check, EndCheck):
            page = await fetcher.page(account, check.cursor, overlapping=progress.overlapping)
            return not (page.numbers or page.rejected)
        return await fetcher.has_row_at(account, check.offset, check.row)

    async def _on_listed(self, progress: AccountProgress, listing_pass: ListingPass) -> None:
        """Count a page of a pass. After its last page, begin another pass if it was not consistent."""
        if listing_pass.checks:
            await self._run_checks(progress, listing_pass)
        progress.unfetched -= 1
        if not progress.unfetched and progress.error is None:
            await self._end_pass(progress, listing_pass)

    def _on_fetched(self, progress: AccountProgress) -> None:
        """Count a fetched page. Its account may be done before a page is delivered, if it has none."""
        progress.undelivered -= 1
        if not progress.undelivered:
            self._conclude(progress)

    async def _end_pass(self, progress: AccountProgress, listing_pass: ListingPass) -> None:
        listing_pass.add_remaining_checks()
        await self._run_checks(progress, listing_pass)
        if progress.error is not None:
            return
        failure = progress.end_pass()
        if failure is not None:
            self._fail(progress, failure)
        elif progress.restart_if_inconsistent():
            self._queue(progress, [None], wake=False)

    def _conclude(self, progress: AccountProgress) -> None:
        """Close an account whose pages are all delivered."""
        if progress.inconsistency is None:
            self._close_account(progress, None)
        else:
            self._fail(progress, InconsistentListing(progress.inconsistency))

    def _fail(self, progress: AccountProgress, failure: Exception) -> None:
        """Close an account after a failure; as not connected only if none of its pages was read before."""
        if isinstance(failure, PhoneSystemMissing) and progress.listing_pass is None:
            self._close_account(progress, Outcome.NOT_CONNECTED)
        elif progress.error is None:
            error = as_phonesys_error(failure, progress.fetcher.source, "page", progress.account)
            progress.error = error
            self._close_account(progress, Outcome.FAILED)
            self._end_on(error)

    # The end

    def _end_on(self, error: PhonesysError) -> None:
        if self._options.on_error == "raise":
            self._error = self._error or error
            self._end()

    def _end_if_finished(self) -> None:
        """End the iteration once no account is open and no source has more."""
        if not self._readers and not self._open:
            self._end()

    def _on_deadline(self) -> None:
        self._report.timed_out = True
        if self._options.on_error == "raise":
            deadline = self._options.deadline
            self._error = self._error or DeadlineExceeded(f"the sweep took longer than {deadline} s")
        self._end()

    def _end(self) -> None:
        """End the consumer's loop, and drop the pages that it has not consumed.

        Once all accounts are closed, those are pages of accounts that have failed since. If the sweep ends
        early, their accounts are not reached.
        """
        self._buffer.close()

    def finish_report(self) -> None:
        """Record the accounts that were not reached: those still open, and the unread rest of lists."""
        self._end()
        self._report.elapsed = self._loop.time() - self._started
        for progress in tuple(self._open.values()):
            self._close_account(progress, Outcome.NOT_REACHED)
        for source, rest in self._unread:
            for account in rest:
                if isinstance(account, str) and (source.name, account) not in self._report.accounts:
                    self._record(source.name, account, _NOT_REACHED, keep=True)


@asynccontextmanager
async def _closing(accounts: AsyncIterator[T]) -> AsyncGenerator[AsyncIterator[T]]:
    """Close a backend's iterator of accounts if it is a generator, which may hold a connection."""
    try:
        yield accounts
    finally:
        if isinstance(accounts, AsyncGenerator):
            await cast("AsyncGenerator[T]", accounts).aclose()


def _matching(page: Page[PhoneNumber], query: NumberQuery) -> Page[PhoneNumber]:
    """Keep the rows with this number. A vendor's search finds more than that."""
    return msgspec.structs.replace(page, numbers=tuple(n for n in page.numbers if query.matches(n.number)))


def as_phonesys_error(failure: Exception, source: Source, operation: str, account: str) -> PhonesysError:
    """Convert any exception to a PhonesysError, without the frames that would keep its page in memory."""
    if isinstance(failure, PhonesysError):
        failure.__traceback__ = None
        if isinstance(failure, CallError) and not failure.backend:
            failure.with_call(backend=source.name, operation=operation, account=account)
        return failure
    fault = BackendFault(f"{type(failure).__name__}: {failure}")
    fault.__cause__ = failure
    return fault.with_call(backend=source.name, operation=operation, account=account)
