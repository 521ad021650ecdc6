"""The only place that does I/O: sends calls inside their limits, and retries what may be repeated."""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec
from multidict import istr

from phonesys import _observer as scope
from phonesys._concurrency import Semaphore
from phonesys.errors import (
    AttemptTimeout,
    CallError,
    DeadlineExceeded,
    DecodeError,
    InvalidArgument,
    NotOpen,
    OutcomeUnknown,
    PhonesysError,
    QuotaExhausted,
    RateLimited,
    Unauthorized,
)
from phonesys.http.auth import RefreshableAuth, StaticAuth
from phonesys.http.options import HttpOptions
from phonesys.http.ratelimit.quota import DailyQuotas
from phonesys.http.ratelimit.window import UNLIMITED, RateLimit, RateLimiter, SlidingWindow, WaitTooLong
from phonesys.http.response import error_from_response, parse_count
from phonesys.http.retry import RetryBudget, backoff, is_retryable
from phonesys.http.transport import TransportSelector
from phonesys.http.transport.connector import SharedSession
from phonesys.http.transport.errors import MAPPED_EXCEPTIONS, map_exception, redact, redact_decode_error
from phonesys.http.validation import validate_base_url, validate_call, validate_headers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    import aiohttp

    from phonesys.http.auth import Auth
    from phonesys.http.call import Call
    from phonesys.http.transport.errors import RawResponse

T = TypeVar("T")
log = logging.getLogger("phonesys")

_DAY = 86_400.0
_PATIENCE = 4  # Where others use the same window, a call may find it full several times over.
# Looked up in every answer, which `istr` makes three times faster.
_REMAINING = istr("X-RateLimit-Remaining")
_ALLOWED = istr("X-RateLimit-Max")
_LEFT_TODAY = istr("X-RateLimit-Daily-Remaining")
_SUCCESS, _REDIRECTION = 200, 300
_ACCEPT = "application/json, application/problem+json"


class HttpClient:
    """Sends one vendor's calls over one aiohttp session: its own, or one handed in, which it never closes.

    Raises InvalidArgument for a `base_url` that would carry credentials in the clear, for headers that cannot
    be sent, and for TLS settings beside a session that has its own.
    """

    def __init__(
        self,
        base_url: str,
        *,
        backend: str,
        auth: Auth,
        limit: RateLimit | None = None,
        headers: Mapping[str, str] | None = None,
        options: HttpOptions | None = None,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        self.backend = backend
        self.auth = auth
        self.options = options or HttpOptions()
        self._base = validate_base_url(base_url)
        self._headers = {"Accept": _ACCEPT, **(headers or {})}
        self._limit = limit or UNLIMITED
        self._constant = auth.headers if isinstance(auth, StaticAuth) else None
        for fixed in (self._headers, self._constant or {}):
            validate_headers(fixed)
        if session is not None and self.options.ssl is not None:
            raise InvalidArgument(
                "HttpOptions.ssl: for a session of our own; expected it at the connector of the one handed in"
            )
        self._connections = SharedSession(self.options.ssl, session)
        self._transport: TransportSelector | None = None
        self._users = 0
        self._budget = RetryBudget()
        self._quotas = DailyQuotas()

    async def __aenter__(self) -> Self:
        self._users += 1
        if self._users == 1:
            await self._open()
            if isinstance(self.auth, RefreshableAuth):
                await self._attach(self.auth)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._users -= 1
        if self._users:
            return
        try:
            if isinstance(self.auth, RefreshableAuth):
                await self.auth.close(self)
        finally:
            await self._close()

    async def _open(self) -> None:
        options = self.options
        self._loop = asyncio.get_running_loop()
        self._windows = RateLimiter(self._limit, self._loop)
        self._gate = Semaphore(options.connections)
        self._deadline = inf if options.deadline is None else options.deadline
        self._transport = await TransportSelector.open(
            self._connections, options, self._base, self._headers, self._constant
        )

    async def _close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close()

    async def _attach(self, auth: RefreshableAuth) -> None:
        try:
            await auth.open(self)
        except BaseException:
            self._users = 0
            await self._close()
            raise

    def clone(
        self,
        auth: Auth,
        *,
        headers: Mapping[str, str],
        base_url: str | None = None,
        max_concurrency: int | None = None,
    ) -> HttpClient:
        """Make another client to the same vendor, over the same connections.

        It has rate windows, credentials and headers of its own; `at_once` bounds its requests under way where
        that is less than the options say.
        """
        options = self.options
        if max_concurrency is not None:
            options = msgspec.structs.replace(options, connections=min(max_concurrency, options.connections))
        other = HttpClient(
            base_url or self._base,
            backend=self.backend,
            auth=auth,
            limit=self._limit,
            headers=headers,
            options=options,
            session=self._connections.borrowed,
        )
        other._connections = self._connections
        return other

    @property
    def fallback_reason(self) -> str | None:
        """Why requests go aiohttp's ordinary way; None where they go the short one, which costs less."""
        return None if self._transport is None else self._transport.fallback_reason

    async def send(self, call: Call[T]) -> T:
        """Carry the call out and return what it answers, or raise a CallError that says why not."""
        self._opened()
        validate_call(call)
        started = self._loop.time()
        until = started + self._deadline
        try:
            return await self._attempt(call, started, until)
        except CallError as failure:
            error = failure
        return await self._recover(call, error, started, until)

    def _opened(self) -> TransportSelector:
        if self._transport is None:
            raise NotOpen(f"backend {self.backend!r} is not open; use `async with`")
        return self._transport

    async def _recover(self, call: Call[T], error: CallError, started: float, until: float) -> T:
        """Try again for as long as that is allowed and may help; the errors' way out."""
        attempt, renewed = 1, False
        while True:
            now = self._loop.time()
            self._explain(error, call, attempt, now - started)
            if isinstance(error, Unauthorized):
                error.renewable = error.renewable and not renewed
                renewed = True
            delay = self._repeat_after(call, error, attempt)
            if delay is None or now + delay > until:
                raise _final(call, error)
            async with scope.waiting():
                await asyncio.sleep(delay)
            if (current := scope.current.get()) is not None:
                current.on_retry()
            attempt += 1
            try:
                return await self._attempt(call, self._loop.time(), until)
            except CallError as failure:
                error = failure

    def _repeat_after(self, call: Call[Any], error: CallError, attempt: int) -> float | None:
        """Count the seconds until the next try; None where there must be none."""
        if isinstance(error, Unauthorized) and error.renewable:
            return 0.0  # a 401 proves that nothing happened, and is answered with other credentials once
        patience = _PATIENCE if isinstance(error, RateLimited) else 1
        if attempt > self.options.retries * patience or not is_retryable(error, idempotent=call.idempotent):
            return None
        if not self._budget.try_withdraw(error):
            error.add_note("not tried again: the client has spent its budget for retries")
            return None
        return backoff(error, attempt, self.options, self.options.jitter())

    async def _attempt(self, call: Call[T], now: float, until: float) -> T:
        """One request: wait for the account's window, sign, send, read, decode or raise."""
        if self._quotas:
            self._quotas.check(call.rate_key or call.account)
        signed = self.auth.sign(call)
        if signed is None:
            signed = await self._prepared(call, until)
            now = self._loop.time()
        # Not before the credential is there: a window that idles meanwhile is forgotten.
        window = self._windows.window(call.rate_key or call.account, now)
        if not window.try_acquire(now):
            await self._await_turn(call, window, now, until)
            signed = self.auth.sign(call) or signed  # it may have been renewed meanwhile
        try:
            status, headers, body = await self._exchange(call, signed, until)
        finally:
            window.complete(self._loop.time())
        if (remaining := headers.get(_REMAINING)) is not None:
            self._synchronise(call, window, remaining, headers)
        if _SUCCESS <= status < _REDIRECTION:
            try:
                answer = call.decode(body)
            except DecodeError as failure:
                error: CallError = redact_decode_error(failure, signed)
            else:
                self._budget.deposit()
                return answer
        else:
            error = self._refusal(call, window, signed, status, headers, redact(body, signed, call.secrets))
        del body  # an answer may echo the credential, and tracebacks may show locals
        raise error

    async def _prepared(self, call: Call[Any], until: float) -> Mapping[str, str]:
        """Wait for the credential to be fetched, no longer than the call may take."""
        try:
            async with asyncio.timeout_at(None if until == inf else until):
                while (signed := self.auth.sign(call)) is None:
                    await self.auth.ensure_valid(call)
                return signed
        except TimeoutError:
            error = DeadlineExceeded("no credential could be had before the deadline")
        error.not_executed = True
        raise error

    async def _exchange(self, call: Call[Any], signed: Mapping[str, str], until: float) -> RawResponse:
        """Send one request and read its answer, inside the time that is left."""
        if signed is not self._constant:
            validate_headers(signed)
        gate = self._gate
        if gate.locked():
            await self._await_place(until)
        else:
            gate.acquire_nowait()
        try:
            transport = self._opened()  # whoever had to wait may find it closed
            if (current := scope.current.get()) is not None:
                current.on_request()
            with transport.until(until):
                return await transport.exchange(call, signed)
        except PhonesysError:  # some of which are ValueErrors too
            raise
        except MAPPED_EXCEPTIONS as failure:
            error = map_exception(failure)
        finally:
            gate.release()
        if isinstance(error, AttemptTimeout) and self._loop.time() >= until:
            error = DeadlineExceeded("the deadline passed before the answer came")
        raise error  # outside of `except`: aiohttp's errors hold the signed request

    async def _await_turn(self, call: Call[Any], window: SlidingWindow, now: float, until: float) -> None:
        delay = await self._turn(window, now, until)
        if self._quotas:  # the day's last request may have gone out meanwhile
            try:
                self._quotas.check(call.rate_key or call.account)
            except QuotaExhausted:
                if delay is None:
                    window.cancel(self._loop.time())
                raise
        if delay is None:
            return
        error = DeadlineExceeded(f"the rate window is full for another {delay:.1f} s, beyond the deadline")
        error.not_executed = True
        error.retry_after = delay
        raise error

    async def _turn(self, window: SlidingWindow, now: float, until: float) -> float | None:
        """Wait for a slot and take it; return how long that would last where it lasts too long."""
        taken = False
        try:
            async with scope.waiting():
                await window.acquire(now, until)
                taken = True
        except WaitTooLong as wait:
            return wait.delay
        except BaseException:
            if taken:  # and not used: cancelled on the way back to its place
                window.cancel(self._loop.time())
            raise
        return None

    async def _await_place(self, until: float) -> None:
        try:
            await self._gate.acquire(until)
            return
        except TimeoutError:
            error = DeadlineExceeded("no connection came free before the deadline")
        error.not_executed = True
        raise error

    def _refusal(
        self,
        call: Call[Any],
        window: SlidingWindow,
        signed: Mapping[str, str],
        status: int,
        headers: Mapping[str, str],
        body: bytes,
    ) -> CallError:
        error = error_from_response(status, headers, body)
        if isinstance(error, Unauthorized):
            error.renewable = self.auth.on_unauthorized(call, signed)
        if isinstance(error, RateLimited):
            if self._quotas:
                self._quotas.check(call.rate_key or call.account)
            # A wait of more than a day is a vendor's mistake, not a promise to hold the account to.
            absurd = error.retry_after is not None and error.retry_after > _DAY
            window.on_rejected(self._loop.time(), None if absurd else error.retry_after)
        return error

    def _synchronise(
        self, call: Call[Any], window: SlidingWindow, remaining: str, headers: Mapping[str, str]
    ) -> None:
        """Take over what the vendor says is left, of the window and of the day; ignore nonsense."""
        left, allowed = parse_count(remaining), parse_count(headers.get(_ALLOWED, ""))
        if left is not None and allowed is not None:
            window.sync(left, allowed, self._loop.time())
        if headers.get(_LEFT_TODAY) == "0":
            self._quotas.exhaust(call.rate_key or call.account)
            window.fail_waiters()

    def _explain(self, error: CallError, call: Call[Any], attempt: int, elapsed: float) -> None:
        error.with_call(backend=self.backend, operation=call.operation, account=call.account)
        error.attempts, error.elapsed = attempt, elapsed
        log.debug("attempt %d after %.3f s: %s", attempt, elapsed, error)


def _final(call: Call[Any], error: CallError) -> CallError:
    """Choose what the caller sees: for a write that may have happened, that, and not what hid its answer."""
    if call.idempotent or error.not_executed:
        return error
    unknown = OutcomeUnknown(
        f"{call.operation} may or may not have been carried out, and was not sent again",
        recovery_hint=call.recovery_hint,
        cause=str(error),
    ).with_call(backend=error.backend, operation=error.operation, account=error.account)
    unknown.attempts, unknown.elapsed = error.attempts, error.elapsed
    unknown.__cause__ = error
    return unknown
