"""The workers of a sweep: as many requests under way as it may have, however many calls wait."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

from phonesys import _slot
from phonesys._concurrency import Semaphore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from anyio.abc import TaskGroup

    from phonesys.model import Cursor
    from phonesys.sweep.account import AccountProgress
    from phonesys.sweep.buffer import PageBuffer
    from phonesys.sweep.queue import WorkQueue
    from phonesys.sweep.report import SweepReport

    Fetch: TypeAlias = Callable[[AccountProgress, Cursor | None], Awaitable[None]]

# A waiting call keeps its task but not its slot. This bounds the tasks while everything waits, and so the
# time until the last of them has its turn in a shared window, such as that of an agency's tokens.
_TASKS_PER_SLOT = 16
_MAX_TASKS = 1024


class WorkerPool:
    """Workers that fetch the pages of a queue."""

    def __init__(
        self,
        work: WorkQueue,
        buffer: PageBuffer,
        fetch: Fetch,
        group: TaskGroup,
        report: SweepReport,
        concurrency: int,
    ) -> None:
        self.work = work
        self.buffer = buffer
        self.fetch = fetch
        self.report = report
        self.slots = Semaphore(concurrency)
        self._group = group
        self._concurrency = concurrency
        self._max_tasks = min(concurrency * _TASKS_PER_SLOT, max(_MAX_TASKS, 2 * concurrency))
        self._tasks = 0
        self._waiting = 0

    def spawn_if_needed(self) -> None:
        """Start a worker if a page is queued, no worker waits for one, and a slot is free."""
        if self.work.has_waiters or not len(self.work):
            return
        if self._tasks - self._waiting < self._concurrency and self._tasks < self._max_tasks:
            self._tasks += 1
            self._group.start_soon(Worker(self).run)

    @property
    def has_surplus(self) -> bool:
        """True if more workers than slots are active, because workers that waited are back."""
        return self._tasks - self._waiting > self._concurrency

    def on_worker_exit(self) -> None:
        """Count one worker less."""
        self._tasks -= 1

    def on_wait(self) -> None:
        """Give up the slot of a worker whose call waits."""
        self._waiting += 1
        self.report.waits += 1
        self.report.waiting = self._waiting
        self.slots.release()
        self.spawn_if_needed()

    async def on_wait_ended(self) -> None:
        """Acquire a slot for a worker whose call goes on."""
        self._waiting -= 1
        self.report.waiting = self._waiting
        self.spawn_if_needed()
        await self.slots.reacquire()


class Worker:
    """Fetches one page after the other, and is the slot of the calls made for it."""

    __slots__ = ("_pool", "_progress")

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._progress: AccountProgress | None = None

    async def run(self) -> None:
        """Fetch pages until there are more workers than slots."""
        _slot.current.set(self)
        pool = self._pool
        while not pool.has_surplus:
            self._progress, cursor = pool.work.get_nowait() or await pool.work.get()
            if not pool.slots.try_acquire():
                await pool.slots.acquire()
            try:
                if self._progress.error is None:
                    await pool.fetch(self._progress, cursor)
            finally:
                pool.slots.release()
        pool.on_worker_exit()
        pool.work.wake()

    # RequestSlot

    def on_request(self) -> None:
        """Count a request."""
        self._pool.report.requests += 1

    def on_retry(self) -> None:
        """Count a retry."""
        self._pool.report.retries += 1

    async def wait_for_capacity(self) -> None:
        """Wait until the buffer has capacity for a page."""
        await self._pool.buffer.wait_for_capacity()

    @asynccontextmanager
    async def waiting(self) -> AsyncGenerator[None]:
        """Release the slot while the block waits, for another account, and acquire one afterwards.

        Other pages of the same account stay in the queue meanwhile: they would only wait as well.
        """
        pool, progress = self._pool, self._progress
        assert progress is not None  # noqa: S101 -- calls are made while a page is fetched
        progress.waiting += 1
        pool.on_wait()
        try:
            yield
        finally:
            progress.waiting -= 1
            pool.work.resume(progress)
            await pool.on_wait_ended()
