"""The buffer between the workers and the consumer, which gives back-pressure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from phonesys._concurrency import WaitQueue

if TYPE_CHECKING:
    from phonesys.model import Page, PhoneNumber
    from phonesys.sweep.account import AccountProgress

    BufferedPage: TypeAlias = tuple[AccountProgress, Page[PhoneNumber]]

# The limits let the consumer find a page ready, and the page still in the processor's cache. With four times
# as many numbers, big pages were a sixth slower.
_MAX_PAGES = 64
_MAX_NUMBERS = 4_000


class PageBuffer:
    """Pages that were fetched and not consumed yet. Workers wait while it is full.

    `asyncio.Queue` bounds only the count of items, but a page may hold one number or a thousand.
    """

    def __init__(self) -> None:
        self._pages: deque[BufferedPage] = deque()
        self._numbers = 0
        self._closed = False
        self._putters = WaitQueue()
        self._getters = WaitQueue()

    @property
    def has_capacity(self) -> bool:
        """True if a page can be added without waiting."""
        return len(self._pages) < _MAX_PAGES and self._numbers < _MAX_NUMBERS

    def put_nowait(self, item: BufferedPage) -> None:
        """Add a page; drop it if the buffer is closed."""
        if not self._closed:
            self._pages.append(item)
            self._numbers += len(item[1].numbers)
            if self._getters:
                self._getters.wake_one()

    async def wait_for_capacity(self) -> None:
        """Wait until the consumer has caught up.

        The caller may turn out to have no page to add. So the next one that waits looks for itself.
        """
        while not self.has_capacity:
            await self._putters.wait()
        self._putters.wake_one()

    async def get(self) -> BufferedPage | None:
        """Wait for the next page and remove it. Return None once the buffer is closed."""
        while (item := self.get_nowait()) is None:
            if self._closed:
                self._getters.wake_one()
                return None
            await self._getters.wait()
        return item

    def get_nowait(self) -> BufferedPage | None:
        """Remove the next page, or return None if there is none."""
        if not self._pages:
            return None
        item = self._pages.popleft()
        self._numbers -= len(item[1].numbers)
        if self._putters:
            self._putters.wake_one()
        return item

    def close(self) -> None:
        """Drop the pages that were not consumed and wake the consumers that wait for one."""
        self._closed = True
        self._pages.clear()
        self._numbers = 0
        self._getters.wake_one()
