"""Events: what a backend and a sweep report to their observers.

Events carry no header and no body, so that no credential can be among them. Errors in them are those that
calls raise, in which echoes of a credential are masked.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from phonesys.errors import CallError, PhonesysError


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all events. Match on its classes: more may be added."""

    backend: str
    """Name of the backend."""
    account: str
    """The account; empty for a call that is about none."""


class CallEvent(Event, frozen=True, kw_only=True):
    """Base of the events of one call."""

    operation: str
    """Name of the operation, such as `active_numbers`."""


class RequestEvent(CallEvent, frozen=True, kw_only=True):
    """Base of the events of one HTTP request."""

    id: int
    """The same in the event that the request started and the one that it ended."""
    attempt: int
    """1 for the first request of a call, 2 for its first retry."""
    method: str
    url: str
    """The URL with its query."""
    url_template: str
    """The URL's path with names for the ids in it; empty if the backend does not give one."""
    request_size: int
    """Bytes of the request's body."""


class RequestStarted(RequestEvent, frozen=True, kw_only=True):
    """A request is about to be sent, in the task that runs the call."""


class RequestEnded(RequestEvent, frozen=True, kw_only=True):
    """A request got its response, failed, or was cancelled, in the task that runs the call."""

    duration: float
    """Seconds until the last byte of the response."""
    status: int | None = None
    """Status of the response; None without one."""
    response_size: int = 0
    """Bytes of the response's body, after decompression."""
    error: BaseException | None = None
    """The CallError or cancellation that left the request without a response."""


class WaitReason(StrEnum):
    """The thing that a call waits for."""

    RATE_LIMIT = "rate_limit"
    """A slot of its account's rate window, or the end of a pause that the vendor asked for."""
    RETRY = "retry"
    """The pause before a retry."""
    CREDENTIAL = "credential"
    """A token that is being fetched."""
    CONNECTION = "connection"
    """One of `HttpOptions.connections`."""

    @property
    def description(self) -> str:
        """The thing in words, to follow "waits for"."""
        return "a rate window" if self is WaitReason.RATE_LIMIT else f"a {self.value}"


class WaitStarted(CallEvent, frozen=True, kw_only=True):
    """A call begins to wait."""

    reason: WaitReason


class WaitEnded(CallEvent, frozen=True, kw_only=True):
    """A call has waited, or stopped waiting because it failed or was cancelled."""

    reason: WaitReason
    duration: float
    """Seconds."""


class RetryScheduled(CallEvent, frozen=True, kw_only=True):
    """An attempt failed and will be repeated."""

    attempt: int
    """The attempt that failed, from 1."""
    delay: float
    """Seconds until the next one."""
    error: CallError


class CallFailed(CallEvent, frozen=True, kw_only=True):
    """A call failed for good: after its retries, or because none would help, or before any request."""

    attempts: int
    duration: float
    """Seconds, waits included."""
    error: CallError
    """A QuotaExhausted if the day's requests are spent."""


class TokenRequest(StrEnum):
    """The request by which a token is obtained."""

    REFRESH = "refresh"
    """By spending a refresh token."""
    EXCHANGE = "exchange"
    """By exchanging a company's token for one of its locations."""


class TokenRenewed(Event, frozen=True, kw_only=True):
    """A token was requested. `account` is the company or location that it belongs to."""

    kind: TokenRequest
    duration: float
    """Seconds."""
    error: PhonesysError | None = None
    """The failure of the request."""


class PageRead(Event, frozen=True, kw_only=True):
    """A page was handed to the consumer of a sweep."""

    numbers: int
    rejected: int
    """Rows that could not be read."""


class AccountEnded(Event, frozen=True, kw_only=True):
    """An account of a sweep has its outcome."""

    outcome: str
    """A value of `phonesys.Outcome`."""
    numbers: int
    pages: int
    passes: int
    """The number of times the account was read."""
    error: PhonesysError | None = None
    """The failure of the account."""
