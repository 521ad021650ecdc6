"""The workers of a sweep: as many requests under way as there are places, whatever waits."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

from phonesys import scope
from phonesys.places import Places

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from anyio.abc import TaskGroup

    from phonesys.model import Cursor
    from phonesys.sweep.account import AccountProgress
    from phonesys.sweep.report import SweepReport
    from phonesys.sweep.work import WorkQueue

    Fetch: TypeAlias = Callable[[AccountProgress, Cursor | None], Awaitable[None]]

# A waiting call keeps its task but not its place. This bounds the tasks when everything waits.
_TASKS_PER_PLACE = 16


class Crew:
    """Takes pages from the queue and fetches them; the scope of the calls that this makes."""

    def __init__(
        self, work: WorkQueue, fetch: Fetch, group: TaskGroup, report: SweepReport, concurrency: int
    ) -> None:
        self._work = work
        self._fetch = fetch
        self._group = group
        self._report = report
        self._concurrency = concurrency
        self._places = Places(concurrency)
        self._tasks = 0

    def staff(self) -> None:
        """Start another worker if there is work that nobody waits for and a place that nobody uses."""
        if self._work.wanted or not len(self._work):
            return
        at_work = self._tasks - self._report.waiting
        if at_work < self._concurrency and self._tasks < self._concurrency * _TASKS_PER_PLACE:
            self._tasks += 1
            self._group.start_soon(self._serve)

    async def _serve(self) -> None:
        """Fetch pages, until more workers than places are at work because those that waited are back."""
        scope.current.set(self)
        while self._tasks - self._report.waiting <= self._concurrency:
            progress, cursor = self._work.next() or await self._work.take()
            if self._places.free:
                self._places.take()
            else:
                await self._places.acquire()
            try:
                if progress.error is None:
                    await self._fetch(progress, cursor)
            finally:
                self._places.release()
        self._tasks -= 1

    # The scope

    def sent(self) -> None:
        """Count a request."""
        self._report.requests += 1

    def retried(self) -> None:
        """Count a retry."""
        self._report.retries += 1

    @asynccontextmanager
    async def waiting(self) -> AsyncGenerator[None]:
        """Let another account have the place, and come back to one that is free."""
        self._report.waits += 1
        self._report.waiting += 1
        self._places.release()
        self.staff()
        try:
            yield
        finally:
            self._report.waiting -= 1
            await self._come_back()

    async def _come_back(self) -> None:
        """Wait for a place; whoever is cancelled takes one at once, since it will give one back."""
        try:
            await self._places.acquire()
        except asyncio.CancelledError:
            self._places.take()
            raise
