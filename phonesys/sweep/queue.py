"""The queue of pages to fetch: from many sources in turn, what was begun first."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from phonesys._concurrency import WaitQueue

if TYPE_CHECKING:
    from phonesys.model import Cursor
    from phonesys.sweep.account import AccountProgress

    Item = tuple[AccountProgress, Cursor | None]


class SourceQueue:
    """The accounts of one source that are next in turn."""

    __slots__ = ("items", "room")

    def __init__(self) -> None:
        self.items: deque[Item] = deque()
        self.room = WaitQueue()


class WorkQueue:
    """Pages that can be fetched now.

    Pages of accounts that were begun come before new accounts, so that few are open at a time; new accounts
    come from each source in turn, so that a source of a hundred thousand does not hold up one of ten.
    """

    def __init__(self, lane_size: int) -> None:
        self._begun: deque[Item] = deque()
        self._lanes: deque[SourceQueue] = deque()
        self._lane_size = lane_size
        self._waiters = WaitQueue()
        self._count = 0

    def add_source(self) -> SourceQueue:
        """Add a source."""
        lane = SourceQueue()
        self._lanes.append(lane)
        return lane

    def __len__(self) -> int:
        return self._count

    @property
    def has_waiters(self) -> bool:
        """Whether somebody waits for work."""
        return bool(self._waiters)

    def push(self, item: Item) -> None:
        """Add a page of an account that was begun."""
        self._begun.append(item)
        self._count += 1
        if self._waiters:
            self._waiters.wake_one()

    def push_new(self, lane: SourceQueue, item: Item) -> None:
        """Add the first page of a new account; while it has room."""
        lane.items.append(item)
        self._count += 1
        if self._waiters:
            self._waiters.wake_one()

    def has_capacity(self, lane: SourceQueue) -> bool:
        """Say whether the source may add another account."""
        return len(lane.items) < self._lane_size

    async def wait_for_capacity(self, lane: SourceQueue) -> None:
        """Wait until the source may add another account."""
        while len(lane.items) >= self._lane_size:
            await lane.room.wait()

    async def get(self) -> Item:
        """Take what is next, once there is something."""
        while (item := self.get_nowait()) is None:
            await self._waiters.wait()
        return item

    def get_nowait(self) -> Item | None:
        """Take what is next, if there is something."""
        while self._begun:
            self._count -= 1
            progress, cursor = item = self._begun.popleft()
            if not progress.waiting:
                return item
            self._defer(progress, cursor)
        if not self._count:
            return None
        lane = self._lanes[0]
        while not lane.items:
            self._lanes.rotate(-1)
            lane = self._lanes[0]
        self._lanes.rotate(-1)
        self._count -= 1
        item = lane.items.popleft()
        if lane.room and len(lane.items) <= self._lane_size // 2:
            lane.room.wake_one()
        return item

    def _defer(self, progress: AccountProgress, cursor: Cursor | None) -> None:
        """Leave a page for later: calls of its account wait already, and it would only join them."""
        if progress.deferred is None:
            progress.deferred = deque()
        progress.deferred.append(cursor)

    def resume(self, progress: AccountProgress) -> None:
        """Put an account's parked pages before everything else, once none of its calls waits."""
        if progress.deferred and not progress.waiting:
            parked, progress.deferred = progress.deferred, None
            self._begun.extendleft((progress, cursor) for cursor in reversed(parked))
            self._count += len(parked)
            for _ in parked:
                self._waiters.wake_one()
