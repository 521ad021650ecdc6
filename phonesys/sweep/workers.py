"""The workers of a sweep: as many requests under way as there are places, whatever waits."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

from phonesys import _observer as scope
from phonesys._concurrency import Semaphore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from anyio.abc import TaskGroup

    from phonesys.model import Cursor
    from phonesys.sweep.account import AccountProgress
    from phonesys.sweep.queue import WorkQueue
    from phonesys.sweep.report import SweepReport

    Fetch: TypeAlias = Callable[[AccountProgress, Cursor | None], Awaitable[None]]

# A waiting call keeps its task but not its place. This bounds the tasks when everything waits, and so for how
# long the last of them waits for its turn in a window that all share, such as that of an agency's tokens.
_TASKS_PER_PLACE = 16
_MOST_TASKS = 1024


class WorkerPool:
    """Takes pages from the queue and fetches them."""

    def __init__(
        self, work: WorkQueue, fetch: Fetch, group: TaskGroup, report: SweepReport, concurrency: int
    ) -> None:
        self.work = work
        self.fetch = fetch
        self.report = report
        self.places = Semaphore(concurrency)
        self._group = group
        self._concurrency = concurrency
        self._most_tasks = min(concurrency * _TASKS_PER_PLACE, max(_MOST_TASKS, 2 * concurrency))
        self._tasks = 0

    def spawn_if_needed(self) -> None:
        """Start another worker if there is work that nobody waits for and a place that nobody uses."""
        if self.work.has_waiters or not len(self.work):
            return
        at_work = self._tasks - self.report.waiting
        if at_work < self._concurrency and self._tasks < self._most_tasks:
            self._tasks += 1
            self._group.start_soon(Worker(self).run)

    @property
    def has_surplus(self) -> bool:
        """Whether more workers than places are at work, because those that waited are back."""
        return self._tasks - self.report.waiting > self._concurrency

    def on_worker_exit(self) -> None:
        """Count one worker less."""
        self._tasks -= 1


class Worker:
    """Fetches one page after the other; the scope of the calls that this makes."""

    __slots__ = ("_crew", "_progress")

    def __init__(self, crew: WorkerPool) -> None:
        self._crew = crew
        self._progress: AccountProgress | None = None

    async def run(self) -> None:
        """Fetch pages until others do."""
        scope.current.set(self)
        crew = self._crew
        while not crew.has_surplus:
            self._progress, cursor = crew.work.get_nowait() or await crew.work.get()
            if crew.places.locked():
                await crew.places.acquire()
            else:
                crew.places.acquire_nowait()
            try:
                if self._progress.error is None:
                    await crew.fetch(self._progress, cursor)
            finally:
                crew.places.release()
        crew.on_worker_exit()

    # The scope

    def on_request(self) -> None:
        """Count a request."""
        self._crew.report.requests += 1

    def on_retry(self) -> None:
        """Count a retry."""
        self._crew.report.retries += 1

    @asynccontextmanager
    async def waiting(self) -> AsyncGenerator[None]:
        """Let another account have the place, and come back to one that is free.

        Meanwhile the other pages of this one stay in the queue: they would only wait as well.
        """
        crew, progress = self._crew, self._progress
        assert progress is not None  # noqa: S101 -- calls are made while a page is fetched
        crew.report.waits += 1
        crew.report.waiting += 1
        progress.waiting += 1
        crew.places.release()
        crew.spawn_if_needed()
        try:
            yield
        finally:
            crew.report.waiting -= 1
            progress.waiting -= 1
            crew.work.resume(progress)
            crew.spawn_if_needed()
            await self._reacquire()

    async def _reacquire(self) -> None:
        """Wait for a place; whoever is cancelled takes one at once, since it will give one back."""
        try:
            await self._crew.places.acquire()
        except asyncio.CancelledError:
            self._crew.places.force_acquire()
            raise
