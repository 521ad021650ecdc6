"""Logging: an observer that writes events to the standard library's logging."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from phonesys.errors import CallError
from phonesys.telemetry.events import (
    AccountEnded,
    CallFailed,
    Event,
    PageRead,
    RequestEnded,
    RetryScheduled,
    TokenRenewed,
    WaitEnded,
)
from phonesys.telemetry.observers import SafeObserver

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonesys.telemetry.observers import Observers

_OURS = logging.getLogger("phonesys")
_LEVELS: dict[type[Event], int] = {RetryScheduled: logging.INFO, TokenRenewed: logging.INFO}
_FAILED = "failed"


def _request(event: RequestEnded) -> str:
    took = f"after {event.duration:.3f} s"
    if event.status is None:
        return f"{event.method} without a response {took}"
    return f"{event.method} {event.status} {took}, {event.response_size:,} bytes"


def _numbers(count: int) -> str:
    return "1 number" if count == 1 else f"{count:,} numbers"


_SENTENCES: dict[type[Event], Callable[[Any], str]] = {
    RequestEnded: _request,
    WaitEnded: lambda event: f"waited {event.duration:.3f} s for {event.reason.description}",
    RetryScheduled: lambda event: f"retry {event.attempt} in {event.delay:.3f} s",
    CallFailed: lambda event: f"given up after {event.duration:.3f} s",
    TokenRenewed: lambda event: f"{event.kind} of a token took {event.duration:.3f} s",
    PageRead: lambda event: f"a page of {_numbers(event.numbers)}",
    AccountEnded: lambda event: f"{event.outcome}, {_numbers(event.numbers)}",
}


class LoggingObserver:
    """Observer that logs what has ended as a sentence, with the event's fields as attributes of the record.

    Requests, waits, pages and accounts are logged at DEBUG, retries and renewed tokens at INFO, accounts that
    failed at WARNING. A formatter for JSON writes the attributes as keys. `event` among them is the name of
    the event's class, and `error_type` that of its error.

    - `logger`: by default, the one named `phonesys`.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger or _OURS

    def __call__(self, event: Event) -> None:
        """Log one event."""
        sentence = _SENTENCES.get(type(event))
        level = _level(event)
        if sentence is not None and self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", _line(event, sentence(event)), extra=_attributes(event))


def add_debug_log(observers: Observers) -> None:
    """Log to `phonesys` if it is enabled for DEBUG, unless a LoggingObserver is among the observers."""
    if _OURS.isEnabledFor(logging.DEBUG) and not any(
        isinstance(observer, LoggingObserver) for observer in observers.originals()
    ):
        observers.append(SafeObserver(LoggingObserver()))


def _level(event: Event) -> int:
    if isinstance(event, AccountEnded) and event.outcome == _FAILED:
        return logging.WARNING
    return _LEVELS.get(type(event), logging.DEBUG)


def _line(event: Event, sentence: str) -> str:
    where = " ".join(filter(None, (event.backend, getattr(event, "operation", ""), event.account)))
    error = getattr(event, "error", None)
    if error is None:
        return f"{where}: {sentence}"
    names_call = isinstance(error, CallError) and error.backend
    return f"{_text(error)}; {sentence}" if names_call else f"{where}: {_text(error)}; {sentence}"


def _attributes(event: Event) -> dict[str, Any]:
    """Return the fields of an event, with an error as text and the name of its class."""
    fields = {"event": type(event).__name__, **msgspec.structs.asdict(event)}
    if isinstance(error := fields.get("error"), BaseException):
        fields["error"], fields["error_type"] = _text(error), type(error).__name__
    return fields


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
