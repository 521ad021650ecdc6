"""Time-outs of many requests by one timer: to arm and drop one for each would cost more than to watch."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class TimeoutScheduler:
    """Ends requests whose time is over.

    The timer is armed for the one that ends first, and stays armed when that one is done in time: most are,
    so that it fires about once in a time-out rather than being set for every request.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: set[Timeout] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = inf
        self._closed = False

    def until(self, end: float) -> Timeout:
        """Make a block that raises TimeoutError if it is not done at that time of the loop's clock."""
        return Timeout(self, end)

    def close(self) -> None:
        """Let go of the timer, when the last request that is still under way has ended."""
        self._closed = True
        self._let_go()

    def end_all(self, error: Callable[[], Exception]) -> None:
        """End whatever is under way, each with an error of its own."""
        watched, self._watched = self._watched, set()
        for each in watched:
            each.end_with(error())

    def add(self, watched: Timeout) -> None:
        """Look after one more."""
        self._watched.add(watched)
        if watched.end < self._armed_for:
            self._arm(watched.end)

    def drop(self, watched: Timeout) -> None:
        """Leave one; the timer finds out."""
        self._watched.discard(watched)
        if self._closed:
            self._let_go()

    def _let_go(self) -> None:
        if self._timer is not None and not self._watched:
            self._timer.cancel()
            self._timer, self._armed_for = None, inf

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._armed_for = self._loop.call_at(when, self._look), when

    def _look(self) -> None:
        self._timer, self._armed_for = None, inf
        now = self._loop.time()
        for watched in [each for each in self._watched if each.end <= now]:
            self._watched.discard(watched)
            watched.end_with(TimeoutError())
        if (nearest := min((watched.end for watched in self._watched), default=inf)) < inf:
            self._arm(nearest)


class Timeout:
    """One request, as a block that ends like `asyncio.timeout_at` does.

    Being cancelled from outside wins over the time-out, whichever came first: a count of cancellations, the
    task's own, tells them apart.
    """

    __slots__ = ("_before", "_error", "_task", "_watch", "end")

    def __init__(self, watch: TimeoutScheduler, end: float) -> None:
        self._watch = watch
        self.end = end
        self._error: Exception | None = None

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("requests are made in tasks")
        self._task: asyncio.Task[object] = task
        self._before = task.cancelling()
        self._watch.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._error is None:
            self._watch.drop(self)
        elif (
            self._task.uncancel() <= self._before
            and kind is not None
            and issubclass(kind, asyncio.CancelledError)
        ):
            raise self._error from error

    def end_with(self, error: Exception) -> None:
        """End it: what it awaits is cancelled, and the block raises the error."""
        self._error = error
        self._task.cancel()
