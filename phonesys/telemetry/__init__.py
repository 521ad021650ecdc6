"""Telemetry: events for programs, logs and metrics about what backends and sweeps do.

An observer is a function that gets each event. Give several to a system, or to one backend::

    def print_requests(event: Event) -> None:
        match event:
            case RequestEnded(status=int(status), duration=seconds):
                print(f"{event.operation} {event.account}: {status} in {seconds:.3f} s")
            case RetryScheduled(error=error):
                print(error)

    async with PhoneSystem(Leadping("sk_0000"), observers=[print_requests, LoggingObserver()]) as phones:
        ...

`phonesys.telemetry.otel` reports to OpenTelemetry.
"""

from phonesys.telemetry.events import (
    AccountEnded,
    CallEvent,
    CallFailed,
    Event,
    PageRead,
    RequestEnded,
    RequestEvent,
    RequestStarted,
    RetryScheduled,
    TokenRenewed,
    TokenRequest,
    WaitEnded,
    WaitReason,
    WaitStarted,
)
from phonesys.telemetry.log import LoggingObserver
from phonesys.telemetry.observers import Observer, Observers

__all__ = [
    "AccountEnded",
    "CallEvent",
    "CallFailed",
    "Event",
    "LoggingObserver",
    "Observer",
    "Observers",
    "PageRead",
    "RequestEnded",
    "RequestEvent",
    "RequestStarted",
    "RetryScheduled",
    "TokenRenewed",
    "TokenRequest",
    "WaitEnded",
    "WaitReason",
    "WaitStarted",
]
