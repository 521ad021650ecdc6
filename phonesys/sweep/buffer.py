"""From the workers to the consumer, with back-pressure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from phonesys._concurrency import WaitQueue

if TYPE_CHECKING:
    from phonesys.model import Page, PhoneNumber
    from phonesys.sweep.account import AccountProgress

    Read: TypeAlias = tuple[AccountProgress, Page[PhoneNumber]]

# As many small pages as land at once, or a few big ones: for the consumer to find one ready, and in the
# processor's cache still. With four times as many numbers, big pages were a sixth slower.
_MOST_PAGES = 64
_MOST_NUMBERS = 4_000


class PageBuffer:
    """Pages that were read and not yet taken; workers wait while there are many.

    asyncio.Queue bounds items only, where a page may hold one number or a thousand.
    """

    def __init__(self) -> None:
        self._pages: deque[Read] = deque()
        self._numbers = 0
        self._ended = False
        self._givers = WaitQueue()
        self._takers = WaitQueue()

    @property
    def has_capacity(self) -> bool:
        """Whether a page can be given without waiting."""
        return len(self._pages) < _MOST_PAGES and self._numbers < _MOST_NUMBERS

    def put_nowait(self, read: Read) -> None:
        """Add a page; nobody takes it after the end."""
        if not self._ended:
            self._pages.append(read)
            self._numbers += len(read[1].numbers)
            if self._takers:
                self._takers.wake_one()

    async def wait_for_capacity(self) -> None:
        """Wait until the consumer has kept up."""
        while not self.has_capacity:
            await self._givers.wait()

    async def get(self) -> Read | None:
        """Take the next page, once there is one; None at the end."""
        while (read := self.get_nowait()) is None:
            if self._ended:
                self._takers.wake_one()
                return None
            await self._takers.wait()
        return read

    def get_nowait(self) -> Read | None:
        """Take the next page, if there is one."""
        if not self._pages:
            return None
        read = self._pages.popleft()
        self._numbers -= len(read[1].numbers)
        if self._givers:
            self._givers.wake_one()
        return read

    def close(self) -> None:
        """Drop what was not taken, and let whoever waits for a page go."""
        self._ended = True
        self._pages.clear()
        self._numbers = 0
        self._takers.wake_one()
