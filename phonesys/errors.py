"""Every error that leaves phonesys.

::

    PhonesysError
    ├── UsageError                    nothing was sent: the request could not be made
    │   ├── InvalidArgument           a value that no vendor accepts
    │   ├── ConfigError               a configuration that cannot be used
    │   ├── UnknownProvider           no backend of that name
    │   ├── Unsupported               the backend lacks the ability
    │   ├── PlanError                 changes that cannot be planned
    │   ├── NotPermitted              a plan whose risk needs a permission
    │   └── NotOpen                   used outside of its `async with`
    ├── CallError                     one operation at one backend failed
    │   ├── TransportError            no whole response arrived
    │   │   ├── ConnectError          the vendor was never reached
    │   │   ├── AttemptTimeout        one attempt took too long
    │   │   └── ResponseTooLarge      the response exceeded the size limit
    │   ├── DeadlineExceeded          the call as a whole took, or would take, too long
    │   ├── StatusError               the vendor responded with an error status
    │   │   ├── UnexpectedRedirect    3xx, which is never followed
    │   │   ├── BadRequest            400, 422 and other 4xx
    │   │   ├── Unauthorized          401
    │   │   ├── Forbidden             403
    │   │   ├── NotFound              404
    │   │   │   └── PhoneSystemMissing    the account has no phone system: a state, not a fault
    │   │   ├── RequestTimeout        408
    │   │   ├── Conflict              409
    │   │   ├── RateLimited           429
    │   │   └── ServerError           5xx
    │   │       └── PermanentServerError    501 and other 5xx that no retry helps
    │   ├── QuotaExhausted            the daily quota is spent
    │   ├── DecodeError               the response is not the expected data
    │   │   └── NotJson               the response is not JSON
    │   ├── RepeatedPage              paging went in a circle
    │   ├── InconsistentListing       the pages of an account do not add up
    │   ├── OutcomeUnknown            a write may or may not have been carried out
    │   └── BackendFault              a backend raised something that is not a PhonesysError
    ├── SweepIncomplete               a sweep that had to be complete was not
    └── RunSuperseded                 another process has taken up the run of this plan
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self, cast

import msgspec

from phonesys.writes import CLOCK_SKEW, GRACE_PERIOD, Reconciled, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime


class PhonesysError(Exception):
    """Root of all errors of phonesys."""

    def __reduce__(self) -> tuple[Callable[..., PhonesysError], tuple[Any, ...]]:
        # BaseException would call the class with `args` alone, which no keyword-only signature survives.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(cls: type[PhonesysError], args: tuple[Any, ...], facts: dict[str, Any]) -> PhonesysError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(facts)
    return error


class UsageError(PhonesysError, ValueError):
    """Nothing was sent, because the request could not be made."""


class InvalidArgument(UsageError):
    """A value that no vendor accepts. The message says what was expected."""


class ConfigError(UsageError):
    """A configuration that cannot be used. The message names the source, the key and what was expected."""


class UnknownProvider(UsageError):
    """No backend has that name."""


class Unsupported(UsageError, AttributeError):
    """The backend lacks the ability.

    It is an AttributeError as well, so that `hasattr` and runtime protocols see the ability as missing.
    """


class LineError(NamedTuple):
    """One error of a change, and the line of the file that it came from."""

    line: int | None
    text: str

    def __str__(self) -> str:
        return self.text if self.line is None else f"line {self.line}: {self.text}"


class PlanError(UsageError):
    """Changes that cannot be planned. `errors` holds all errors at once, each with its line."""

    def __init__(self, message: str = "", errors: Sequence[LineError] = ()) -> None:
        super().__init__(message or "\n".join(map(str, errors)))
        self.errors = tuple(errors)


class NotPermitted(UsageError):
    """A plan with a risk that needs an explicit permission. The message names it. Nothing was changed."""


class NotOpen(UsageError):
    """Used before `async with` opened it, or after it closed."""


class CallError(PhonesysError):
    """One operation at one backend failed."""

    transient: ClassVar[bool] = False
    """The same call may succeed a moment later."""

    not_executed: bool = False
    """The error proves that the vendor did not carry out the operation."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.backend = ""
        self.operation = ""
        self.account = ""
        self.attempts = 0
        self.elapsed = 0.0
        """Seconds since the start of the call, waits and retries included."""

    def with_call(self, *, backend: str, operation: str, account: str) -> Self:
        """Set the call that failed."""
        self.backend, self.operation, self.account = backend, operation, account
        return self

    def _summary(self) -> str:
        return self.message or type(self).__name__

    def __str__(self) -> str:
        where = " ".join(part for part in (self.backend, self.operation, self.account) if part)
        text = f"{where}: {self._summary()}" if where else self._summary()
        if self.attempts > 1:
            text += f" ({self.attempts} attempts in {self.elapsed:.1f} s)"
        return text


class TransportError(CallError):
    """No whole response arrived: a lost connection, a body cut short, a proxy's fault."""

    transient = True


class ConnectError(TransportError):
    """The vendor was never reached: refused, no such host, no TLS, or no connection in time."""

    not_executed = True


class AttemptTimeout(TransportError):
    """One attempt took longer than `HttpOptions.timeout`."""


class ResponseTooLarge(TransportError):
    """The response, decompressed, is larger than `HttpOptions.max_body`."""

    transient = False


class DeadlineExceeded(CallError):
    """The call as a whole took longer than its deadline, or would have to wait beyond it."""

    retry_after: float | None = None
    """Seconds until another call may succeed, if known."""


class StatusError(CallError):
    """The vendor responded with a status that is not success."""

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 0,
        body: bytes = b"",
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = body
        """The first bytes of the response body."""
        self.request_id = request_id
        self.retry_after = retry_after
        """Seconds that the vendor asked to wait, as stated."""

    @property
    def details(self) -> dict[str, Any]:
        """The body as a JSON object; empty if it is not one."""
        try:
            value = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}
        return cast("dict[str, Any]", value) if isinstance(value, dict) else {}

    def _summary(self) -> str:
        text = f"{self.status} {self.message or 'without a message'}"
        if self.request_id:
            text += f" [request {self.request_id}]"
        return text


class UnexpectedRedirect(StatusError):
    """3xx: never followed, since a redirect would carry the credentials along.

    301, 307 and 308 prove that nothing was executed: the request belongs elsewhere. 302 and 303 do not: some
    servers answer a write that they carried out with them (RFC 9110, section 15.4.4).
    """

    not_executed = True

    def __init__(self, message: str = "", *, status: int = 0, **facts: Any) -> None:
        super().__init__(message, status=status, **facts)
        if status not in _MOVED:
            self.not_executed = False


class BadRequest(StatusError):
    """The vendor refused the request as it stands: 400, 422 and the like."""

    not_executed = True


class Unauthorized(StatusError):
    """401: the credential is missing, wrong, revoked or expired."""

    not_executed = True
    renewable: bool = False
    """Another credential may work."""


class Forbidden(StatusError):
    """403: the credential does not cover this account or this operation."""

    not_executed = True


class NotFound(StatusError):
    """404: no such number, account or agent."""

    not_executed = True


class PhoneSystemMissing(NotFound):
    """The account has no phone system: an ordinary state, not counted as a failure."""


class Conflict(StatusError):
    """409: the request conflicts with the state at the vendor."""

    not_executed = True


class RateLimited(StatusError):
    """429: too many requests. `retry_after` is how long to wait, if the vendor states it."""

    transient = True
    not_executed = True


class RequestTimeout(StatusError):
    """408: the vendor did not receive the whole request in time."""

    transient = True


class ServerError(StatusError):
    """5xx: the vendor or its proxy failed."""

    transient = True


class QuotaExhausted(CallError):
    """The daily quota is spent. Nothing is sent until `resets_at`."""

    not_executed = True

    def __init__(self, message: str = "", *, resets_at: datetime | None = None) -> None:
        super().__init__(message)
        self.resets_at = resets_at


class DecodeError(CallError):
    """The response is not the expected data. `body` holds its first bytes."""

    def __init__(self, message: str = "", *, status: int = 0, body: bytes = b"") -> None:
        super().__init__(message)
        self.status = status
        self.body = body


class NotJson(DecodeError):
    """A success whose body is not JSON: a proxy's page, or a body cut short."""

    transient = True


class RepeatedPage(CallError):
    """Paging returned to a cursor or a page that it had already seen."""


class InconsistentListing(CallError):
    """The pages of an account do not add up, however often it is read: a number may be missing.

    Rows moved while they were read, or the vendor counts more than it lists. The numbers found are yielded.
    """


class OutcomeUnknown(CallError):
    """A write whose response was lost: it may or may not have been carried out, and was not sent again.

    `reconcile()` looks up its outcome, `recovery_hint` says in words how to, and `__cause__` is the error
    that lost the response.
    """

    _by: Reconciles | None = None

    def __init__(self, message: str = "", *, recovery_hint: str = "", cause: str = "") -> None:
        super().__init__(message)
        self.recovery_hint = recovery_hint
        self.cause = cause
        """The error that lost the response, in words: `__cause__` does not survive pickling."""
        self.write: Write | None = None
        """The write as plain data; None if it cannot be looked up."""

    def with_write(self, write: Write, by: Reconciles) -> Self:
        """Set the write, and the backend that can look it up."""
        self.write, self._by = write, by
        return self

    async def reconcile(
        self, *, grace_period: float = GRACE_PERIOD, clock_skew: float = CLOCK_SKEW
    ) -> Reconciled[Any]:
        """Look up if the write was carried out, as `backend.reconcile(error)` does.

        Raise UsageError if the error does not know its backend, as after pickling. Call that method then.
        """
        if self._by is None:
            raise UsageError(
                f"this error does not know its backend; expected backend.reconcile(error), of an open "
                f"{self.backend!r}"
                if self.write is not None
                else f"this outcome cannot be looked up; {self.recovery_hint or 'ask the vendor'}"
            )
        return await self._by.reconcile(self, grace_period=grace_period, clock_skew=clock_skew)

    def __reduce__(self) -> tuple[Callable[..., PhonesysError], tuple[Any, ...]]:
        facts = {name: value for name, value in self.__dict__.items() if name != "_by"}
        return _restore, (type(self), self.args, facts)

    def _summary(self) -> str:
        hint = f"; to find out: {self.recovery_hint}" if self.recovery_hint else ""
        return f"{self.message} ({self.cause}){hint}" if self.cause else f"{self.message}{hint}"


class Reconciles(Protocol):
    """A backend that can look up the outcome of a write."""

    async def reconcile(
        self, lost: OutcomeUnknown, /, *, grace_period: float = GRACE_PERIOD, clock_skew: float = CLOCK_SKEW
    ) -> Reconciled[Any]:
        """Look up if the write was carried out."""
        ...


class BackendFault(CallError):
    """A backend raised something that is not a PhonesysError: a bug in it, kept as `__cause__`."""


class SweepIncomplete(PhonesysError):
    """A sweep that had to be complete was not.

    `numbers` holds every number that was read. `report` says which accounts failed and why, and how many rows
    of each account could not be read.
    """

    def __init__(self, message: str, *, numbers: Sequence[Any] = (), report: Any = None) -> None:
        super().__init__(message)
        self.numbers = list(numbers)
        self.report = report


class RunSuperseded(PhonesysError):
    """Another process has taken up the run of this plan. This one sends no further change."""


_MOVED = frozenset({301, 307, 308})
_BY_STATUS: dict[int, type[StatusError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    408: RequestTimeout,
    409: Conflict,
    429: RateLimited,
}
# Not 501 and 505: the vendor will never serve the request.
_TRANSIENT_5XX = frozenset({500, 502, 503, 504})


class PermanentServerError(ServerError):
    """A 5xx that no retry helps, such as 501."""

    transient = False


def status_class(status: int) -> type[StatusError]:
    """Return the error class for a status that is not success."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    by_hundred = {3: UnexpectedRedirect, 4: BadRequest, 5: PermanentServerError}
    return ServerError if status in _TRANSIENT_5XX else by_hundred.get(status // 100, StatusError)
