"""How many may be at something at once."""

from __future__ import annotations

import asyncio
from collections import deque


class Places:
    """A semaphore that can be taken without waiting, first come, first served.

    `take` takes a place at once: where `free` says that there is one, or for a holder that is being
    cancelled and cannot wait, so that what it releases later was its own.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def free(self) -> bool:
        """Whether a place can be taken without waiting."""
        return self._free > 0 and not self._waiters

    def take(self) -> None:
        """Take a place at once, whether or not one is free."""
        self._free -= 1

    async def acquire(self) -> None:
        """Take a place when one is free."""
        if self.free:
            self._free -= 1
            return
        mine = asyncio.get_running_loop().create_future()
        self._waiters.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.release()
            elif mine in self._waiters:  # `release` may have passed it over already
                self._waiters.remove(mine)
            raise

    def release(self) -> None:
        """Give a place back, to whoever waits the longest."""
        self._free += 1
        while self._waiters and self._free > 0:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self._free -= 1
                waiter.set_result(None)
