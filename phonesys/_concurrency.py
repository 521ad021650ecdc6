"""Concurrency primitives: a semaphore, and waits that finish even under cancellation."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Semaphore:
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

    def acquire_nowait(self) -> None:
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


T = TypeVar("T")


async def wait_finished(task: asyncio.Task[Any]) -> None:
    """Wait until it has ended, even while being cancelled; the cancellation is raised afterwards.

    What it came to is not looked at.
    """
    cancelled = None
    # A scope of anyio's cancels every wait inside of it, again and again: the loop would do nothing else.
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as cancellation:
                cancelled = cancellation
    if cancelled is not None:
        raise cancelled


async def run_shielded(work: Coroutine[Any, Any, T]) -> T:
    """Carry it to its end, even while being cancelled; the cancellation is raised afterwards."""
    task = asyncio.get_running_loop().create_task(work)
    await wait_finished(task)
    return task.result()
