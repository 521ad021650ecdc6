"""Observers: functions that get events, and the lists of them that backends and sweeps notify."""

from __future__ import annotations

import asyncio
import inspect
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from phonesys.errors import InvalidArgument
from phonesys.telemetry.events import WaitEnded, WaitStarted

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from phonesys.telemetry.events import Event, WaitReason

log = logging.getLogger("phonesys")


class Observer(Protocol):
    """A function that gets every event, or an object that can be called like one.

    ::

        def print_retries(event: Event) -> None:
            if isinstance(event, RetryScheduled):
                print(event.operation, event.error)

    It is called in the event loop, between two steps of a call, so it must not block. An exception that it
    raises is logged once and breaks nothing.
    """

    def __call__(self, event: Event, /) -> object:
        """Handle one event."""
        ...


class SafeObserver:
    """Calls an observer, and logs the first exception that it raises."""

    __slots__ = ("_has_failed", "observer")

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self._has_failed = False

    def __call__(self, event: Event, /) -> None:
        """Pass an event on."""
        try:
            self.observer(event)
        except Exception:
            if not self._has_failed:
                self._has_failed = True
                log.exception("observer %r failed; its further errors are not logged", self.observer)


class Observers(list[SafeObserver]):
    """Observers of one backend or sweep.

    It is a list because each request asks if it is empty: a method would cost more than the question.
    """

    def notify(self, event: Event) -> None:
        """Pass an event to each observer."""
        for observer in tuple(self):
            observer(event)

    @contextmanager
    def with_others(self, others: Observers) -> Generator[None]:
        """Notify others as well, each once, while the block runs."""
        added = [other for other in others if other.observer not in self.originals()]
        self.extend(added)
        try:
            yield
        finally:
            for other in added:
                self.remove(other)

    def originals(self) -> list[Observer]:
        """Return the observers as they were given."""
        return [safe.observer for safe in self]

    @contextmanager
    def waiting(self, reason: WaitReason, *, backend: str, account: str, operation: str) -> Generator[None]:
        """Report the block as a wait of a call."""
        if not self:
            yield
            return
        clock = asyncio.get_running_loop().time
        started = clock()
        self.notify(WaitStarted(backend=backend, account=account, operation=operation, reason=reason))
        try:
            yield
        finally:
            self.notify(
                WaitEnded(
                    backend=backend,
                    account=account,
                    operation=operation,
                    reason=reason,
                    duration=clock() - started,
                )
            )


def safe_observers(observers: Iterable[Observer]) -> Observers:
    """Return the observers as a list to notify. Raise InvalidArgument for one that cannot be called."""
    return Observers(SafeObserver(observer) for observer in validate_observers(observers))


def validate_observers(observers: Iterable[Observer]) -> tuple[Observer, ...]:
    """Return the observers. Raise InvalidArgument for one that cannot be called, or must be awaited."""
    if callable(observers):
        raise InvalidArgument("observers: expected several in an iterable, as in observers=[print]")
    found = tuple(observers)
    for observer in found:
        if not callable(observer):
            raise InvalidArgument(f"observers: expected functions that take an event, got {observer!r:.80}")
        if any(map(inspect.iscoroutinefunction, (observer, getattr(observer, "__call__", None)))):  # noqa: B004
            raise InvalidArgument(
                f"observers: expected plain functions, got the coroutine function {observer!r:.80}; have one "
                f"put events into a queue instead"
            )
    return found
