"""The queue of pages to fetch: accounts that were begun first, then each source in turn."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from phonesys._concurrency import WaitQueue

if TYPE_CHECKING:
    from phonesys.model import Cursor
    from phonesys.sweep.account import AccountProgress

    Item = tuple[AccountProgress, Cursor | None]


class SourceQueue:
    """The accounts of one source that were not begun yet."""

    __slots__ = ("items", "putters")

    def __init__(self) -> None:
        self.items: deque[Item] = deque()
        self.putters = WaitQueue()


class WorkQueue:
    """Pages that can be fetched now.

    Pages of accounts that were begun come before new accounts, so that few accounts are open at a time. New
    accounts come from each source in turn, so that a source of a hundred thousand does not hold up one of
    ten.
    """

    def __init__(self, source_size: int) -> None:
        self._begun: deque[Item] = deque()
        self._sources: deque[SourceQueue] = deque()
        self._source_size = source_size
        self._getters = WaitQueue()
        self._count = 0

    def add_source(self) -> SourceQueue:
        """Add a source."""
        source = SourceQueue()
        self._sources.append(source)
        return source

    def __len__(self) -> int:
        return self._count

    @property
    def has_waiters(self) -> bool:
        """True if a worker waits for a page to fetch."""
        return bool(self._getters)

    def put(self, item: Item, *, wake: bool = True) -> None:
        """Add a page of an account that was begun, and wake a worker for it.

        A worker that is about to ask for its next page need not wake another: that costs two turns of the
        event loop a page.
        """
        self._begun.append(item)
        self._count += 1
        if wake and self._getters:
            self._getters.wake_one()

    def wake(self) -> None:
        """Wake a worker if there is a page for it."""
        if self._count and self._getters:
            self._getters.wake_one()

    def put_new(self, source: SourceQueue, item: Item) -> None:
        """Add the first page of a new account."""
        source.items.append(item)
        self._count += 1
        if self._getters:
            self._getters.wake_one()

    def has_capacity(self, source: SourceQueue) -> bool:
        """Return True if the source may add another account."""
        return len(source.items) < self._source_size

    async def wait_for_capacity(self, source: SourceQueue) -> None:
        """Wait until the source may add another account."""
        while len(source.items) >= self._source_size:
            await source.putters.wait()

    async def get(self) -> Item:
        """Wait for the next page and remove it."""
        while (item := self.get_nowait()) is None:
            await self._getters.wait()
        return item

    def get_nowait(self) -> Item | None:
        """Remove the next page, or return None if there is none."""
        while self._begun:
            self._count -= 1
            progress, cursor = item = self._begun.popleft()
            if not progress.waiting:
                return item
            self._defer(progress, cursor)
        return self._next_new() if self._count else None

    def _next_new(self) -> Item:
        source = self._sources[0]
        while not source.items:
            self._sources.rotate(-1)
            source = self._sources[0]
        self._sources.rotate(-1)
        self._count -= 1
        item = source.items.popleft()
        if source.putters and len(source.items) <= self._source_size // 2:
            source.putters.wake_one()
        return item

    def _defer(self, progress: AccountProgress, cursor: Cursor | None) -> None:
        """Set a page aside: calls of its account wait already, and this one would only join them."""
        if progress.deferred is None:
            progress.deferred = deque()
        progress.deferred.append(cursor)

    def resume(self, progress: AccountProgress) -> None:
        """Queue an account's deferred pages before all others, once none of its calls waits."""
        if progress.deferred and not progress.waiting:
            deferred, progress.deferred = progress.deferred, None
            self._begun.extendleft((progress, cursor) for cursor in reversed(deferred))
            self._count += len(deferred)
            for _ in deferred:
                self._getters.wake_one()
