"""The only place that does I/O: sends calls inside their limits, and retries what may be repeated."""

from __future__ import annotations

import asyncio
import logging
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from math import inf
from typing import TYPE_CHECKING, Any, Self, TypeVar

import aiohttp
from multidict import istr
from yarl import URL

from phonesys import scope
from phonesys.errors import (
    CallError,
    DeadlineExceeded,
    DecodeError,
    InvalidArgument,
    NotOpen,
    OutcomeUnknown,
    QuotaExhausted,
    RateLimited,
    TimedOut,
    Unauthorized,
)
from phonesys.http.answer import error_of
from phonesys.http.auth import FetchesCredentials, StaticAuth
from phonesys.http.limits import UNLIMITED, RateLimit, TooLong, Window, Windows
from phonesys.http.options import HttpOptions
from phonesys.http.retry import RetryBudget, may_repeat, next_delay
from phonesys.http.wire import once_over, own_session, read_capped, scrubbed, translated, unreadable
from phonesys.places import Places

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from types import TracebackType

    from phonesys.http.auth import Auth
    from phonesys.http.call import Call

T = TypeVar("T")
log = logging.getLogger("phonesys")

_DAY = 86_400.0
_NO_HEADERS: Mapping[str, str] = {}
# Looked up in every answer, which `istr` makes three times faster.
_REMAINING = istr("X-RateLimit-Remaining")
_ALLOWED = istr("X-RateLimit-Max")
_LEFT_TODAY = istr("X-RateLimit-Daily-Remaining")
_SUCCESS, _REDIRECTION = 200, 300
_ACCEPT = "application/json, application/problem+json"
_NEVER_ROUNDED = inf  # aiohttp rounds time-outs above its threshold up to whole seconds


class HttpClient:
    """Sends one vendor's calls over one aiohttp session: its own, or one handed in, which it never closes.

    Raises InvalidArgument for a `base_url` that would carry credentials in the clear.
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
        self._base = checked_base_url(base_url)
        self._headers = {"Accept": _ACCEPT, **(headers or {})}
        self._limit = limit or UNLIMITED
        self._borrowed = session
        self._session: aiohttp.ClientSession | None = None
        self._users = 0
        self._budget = RetryBudget()
        self._quota: dict[str, datetime] = {}

    async def __aenter__(self) -> Self:
        self._users += 1
        if self._users == 1:
            self._open()
            if isinstance(self.auth, FetchesCredentials):
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
            if isinstance(self.auth, FetchesCredentials):
                await self.auth.detach(self)
        finally:
            await self._close()

    async def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None and session is not self._borrowed:
            await session.close()

    async def _attach(self, auth: FetchesCredentials) -> None:
        try:
            await auth.attach(self)
        except BaseException:
            self._users = 0
            await self._close()
            raise

    def sibling(self, auth: Auth, *, headers: Mapping[str, str], base_url: str | None = None) -> HttpClient:
        """Make another client to the same vendor: with rate windows, credentials and headers of its own."""
        return HttpClient(
            base_url or self._base,
            backend=self.backend,
            auth=auth,
            limit=self._limit,
            headers=headers,
            options=self.options,
            session=self._borrowed,
        )

    def _open(self) -> None:
        options = self.options
        self._loop = asyncio.get_running_loop()
        self._windows = Windows(self._limit, self._loop)
        self._gate = Places(options.connections)
        self._timeout = self._timeouts(options.timeout)
        self._deadline = inf if options.deadline is None else options.deadline
        if self._borrowed is None:
            fixed = self.auth.headers if isinstance(self.auth, StaticAuth) else _NO_HEADERS
            self._session, self._once = own_session({**self._headers, **fixed}), None
        else:
            self._session, self._once = self._borrowed, once_over(self._borrowed)

    async def send(self, call: Call[T]) -> T:
        """Carry the call out and return what it answers, or raise a CallError that says why not."""
        if self._session is None:
            raise NotOpen(f"backend {self.backend!r} is not open; use `async with`")
        started = self._loop.time()
        until = started + self._deadline
        try:
            return await self._attempt(call, started, until)
        except CallError as failure:
            error = failure
        return await self._recover(call, error, started, until)

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
            await self._pause(asyncio.sleep(delay))
            if (current := scope.current.get()) is not None:
                current.retried()
            attempt += 1
            try:
                return await self._attempt(call, self._loop.time(), until)
            except CallError as failure:
                error = failure

    def _repeat_after(self, call: Call[Any], error: CallError, attempt: int) -> float | None:
        """Count the seconds until the next try; None where there must be none."""
        if isinstance(error, Unauthorized) and error.renewable:
            return 0.0  # a 401 proves that nothing happened, and is answered with other credentials once
        if attempt > self.options.retries or not may_repeat(error, safe=call.safe):
            return None
        if not self._budget.pay(error):
            return None
        return next_delay(error, attempt, self.options, self.options.jitter())

    async def _attempt(self, call: Call[T], now: float, until: float) -> T:
        """One request: wait for the account's window, sign, send, read, decode or raise."""
        if self._quota:
            self._check_quota(call)
        signed = self.auth.sign(call)
        if signed is None:
            signed = await self._prepared(call, until)
            now = self._loop.time()
        # Not before the credential is there: a window that idles meanwhile is forgotten.
        window = self._windows.of(call.rate_key or call.account, now)
        if not window.take(now):
            await self._await_turn(window, now, until)
            signed = self.auth.sign(call) or signed  # it may have been renewed meanwhile
        try:
            status, headers, body = await self._exchange(call, signed, until)
        finally:
            window.settle(self._loop.time())
        if (remaining := headers.get(_REMAINING)) is not None:
            self._synchronise(call, window, remaining, headers)
        if _SUCCESS <= status < _REDIRECTION:
            try:
                answer = call.decode(body)
            except DecodeError as failure:
                error: CallError = unreadable(failure, signed)
            else:
                self._budget.earn()
                return answer
        else:
            error = self._refusal(call, window, signed, status, headers, scrubbed(body, signed, call.secrets))
        del body  # an answer may echo the credential, and tracebacks may show locals
        raise error

    async def _prepared(self, call: Call[Any], until: float) -> Mapping[str, str]:
        """Wait for the credential to be fetched, no longer than the call may take."""
        try:
            async with asyncio.timeout_at(None if until == inf else until):
                while (signed := self.auth.sign(call)) is None:
                    await self._pause(self.auth.prepare(call))
                return signed
        except TimeoutError:
            error = DeadlineExceeded("no credential could be had before the deadline")
        error.harmless = True
        raise error

    async def _exchange(
        self, call: Call[Any], signed: Mapping[str, str], until: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send one request and read its answer, inside the time that is left."""
        gate = self._gate
        if gate.free:
            gate.take()
        else:
            await self._await_place(until)
        try:
            if (current := scope.current.get()) is not None:
                current.sent()
            response = await self._request(call, signed, until)
            try:
                return response.status, response.headers, await read_capped(response, self.options.max_body)
            except BaseException:
                response.close()
                raise
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RuntimeError) as failure:
            error = translated(failure)
        finally:
            gate.release()
        if isinstance(error, TimedOut) and self._loop.time() >= until:
            error = DeadlineExceeded("the deadline passed before the answer came")
        raise error  # outside of `except`: aiohttp's errors hold the signed request

    def _request(
        self, call: Call[Any], signed: Mapping[str, str], until: float
    ) -> Awaitable[aiohttp.ClientResponse]:
        assert self._session is not None  # noqa: S101 -- `send` looked
        return self._session.request(
            call.method,
            URL(self._base + call.target, encoded=True),
            data=call.body,
            headers=self._headers_of(call, signed),
            allow_redirects=False,
            timeout=self._time_left(until),
            middlewares=self._once,
        )

    def _headers_of(self, call: Call[Any], signed: Mapping[str, str]) -> Mapping[str, str]:
        """Return the headers that the session does not send anyway."""
        if self._borrowed is not None:
            signed = {**self._headers, **signed}
        elif isinstance(self.auth, StaticAuth):
            signed = _NO_HEADERS
        return signed if call.body is None else {**signed, "Content-Type": call.content_type}

    def _time_left(self, until: float) -> aiohttp.ClientTimeout:
        left = until - self._loop.time()
        total = self._timeout.total
        return (
            self._timeout if total is not None and left >= total else self._timeouts(min(left, total or inf))
        )

    def _timeouts(self, total: float | None) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(
            total=None if total == inf else total,
            sock_connect=self.options.connect_timeout,
            sock_read=self.options.read_timeout,
            ceil_threshold=_NEVER_ROUNDED,
        )

    async def _await_turn(self, window: Window, now: float, until: float) -> None:
        try:
            await self._pause(window.turn(now, until))
        except TooLong as wait:
            delay = wait.delay
        else:
            return
        error = DeadlineExceeded(f"the rate window is full for another {delay:.1f} s, beyond the deadline")
        error.harmless = True
        error.retry_after = delay
        raise error

    async def _await_place(self, until: float) -> None:
        try:
            async with asyncio.timeout_at(None if until == inf else until):
                await self._gate.acquire()
            return
        except TimeoutError:
            error = DeadlineExceeded("no connection came free before the deadline")
        error.harmless = True
        raise error

    async def _pause(self, wait: Any) -> None:
        """Wait without holding a place among the sweep's requests under way."""
        current = scope.current.get()
        async with nullcontext() if current is None else current.waiting():
            await wait

    def _refusal(
        self,
        call: Call[Any],
        window: Window,
        signed: Mapping[str, str],
        status: int,
        headers: Mapping[str, str],
        body: bytes,
    ) -> CallError:
        error = error_of(status, headers, body)
        if isinstance(error, Unauthorized):
            error.renewable = self.auth.refused(call, signed)
        # A wait of more than a day is a vendor's mistake, not a promise to hold the account to.
        if isinstance(error, RateLimited) and error.retry_after is not None and error.retry_after <= _DAY:
            window.block(self._loop.time() + error.retry_after)
        return error

    def _synchronise(
        self, call: Call[Any], window: Window, remaining: str, headers: Mapping[str, str]
    ) -> None:
        """Take over what the vendor says is left, of the window and of the day; ignore nonsense."""
        if remaining.isdecimal() and (allowed := headers.get(_ALLOWED, "")).isdecimal():
            window.observe(int(remaining), int(allowed), self._loop.time())
        if headers.get(_LEFT_TODAY) == "0":
            midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            self._quota[call.rate_key or call.account] = midnight + timedelta(days=1)

    def _check_quota(self, call: Call[Any]) -> None:
        key = call.rate_key or call.account
        resets_at = self._quota.get(key)
        if resets_at is None:
            return
        if datetime.now(UTC) < resets_at:
            raise QuotaExhausted(
                f"the day's requests are used up; they start anew at {resets_at:%Y-%m-%d %H:%M} UTC",
                resets_at=resets_at,
            )
        del self._quota[key]

    def _explain(self, error: CallError, call: Call[Any], attempt: int, elapsed: float) -> None:
        error.about(backend=self.backend, operation=call.operation, account=call.account)
        error.attempts, error.elapsed = attempt, elapsed
        log.debug("attempt %d after %.3f s: %s", attempt, elapsed, error)


def _final(call: Call[Any], error: CallError) -> CallError:
    """Choose what the caller sees: for a write that may have happened, that, and not what hid its answer."""
    if call.safe or error.harmless:
        return error
    unknown = OutcomeUnknown(
        f"{call.operation} may or may not have been carried out, and was not sent again",
        find_out=call.find_out,
        cause=str(error),
    ).about(backend=error.backend, operation=error.operation, account=error.account)
    unknown.attempts, unknown.elapsed = error.attempts, error.elapsed
    unknown.__cause__ = error
    return unknown


def checked_base_url(base_url: str) -> str:
    """Return the URL without its last slash; raises InvalidArgument unless it is https, or loopback."""
    try:
        url = URL(base_url)
    except (ValueError, TypeError):
        url = URL()
    if url.user or url.query_string or url.fragment:  # which may hold a credential, so it is not shown
        raise InvalidArgument("base_url: expected https://host/path, without user, query or fragment")
    if not url.host or url.scheme not in {"http", "https"}:
        raise InvalidArgument(f"base_url: expected https://host/path, got {base_url!r}")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise InvalidArgument(f"base_url: plain http is for loopback only; expected https, got {base_url!r}")
    return str(url).rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
