"""HTTP client: sends calls inside their rate limits, and retries those that may be repeated."""

from __future__ import annotations

import asyncio
import itertools
from math import inf
from threading import get_ident
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec
from aiohttp.hdrs import USER_AGENT
from yarl import URL

from phonesys import _slot
from phonesys._concurrency import Semaphore
from phonesys._version import __version__
from phonesys.errors import (
    AttemptTimeout,
    CallError,
    DeadlineExceeded,
    DecodeError,
    InvalidArgument,
    NotOpen,
    OutcomeUnknown,
    PhonesysError,
    RateLimited,
    Unauthorized,
    UsageError,
)
from phonesys.http.auth import RefreshableAuth, StaticAuth
from phonesys.http.options import HttpOptions
from phonesys.http.ratelimit import registry
from phonesys.http.ratelimit.limiter import RateLimiter
from phonesys.http.ratelimit.window import UNLIMITED, RateLimit, SlidingWindow
from phonesys.http.redaction import Redactor
from phonesys.http.response import error_from_response, lacks_scope
from phonesys.http.retry import RetryBudget, backoff, is_retryable
from phonesys.http.transport.connector import SharedSession
from phonesys.http.transport.errors import (
    MAPPED_EXCEPTIONS,
    ConnectionLost,
    map_exception,
)
from phonesys.http.transport.files import available_files, is_out_of_files
from phonesys.http.transport.patching import is_patched
from phonesys.http.transport.proxy import proxy_for
from phonesys.http.transport.select import choose_transport
from phonesys.http.transport.timeouts import TimeoutScheduler
from phonesys.http.validation import validate_base_url, validate_call, validate_headers
from phonesys.telemetry.events import CallFailed, RequestEnded, RequestStarted, RetryScheduled, WaitReason
from phonesys.telemetry.log import add_debug_log
from phonesys.telemetry.observers import safe_observers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from types import TracebackType

    import aiohttp

    from phonesys.http.auth import Auth
    from phonesys.http.call import Call
    from phonesys.http.ratelimit.headers import RateLimitHeaders
    from phonesys.http.ratelimit.leased import SharedLimit
    from phonesys.http.response import RawResponse
    from phonesys.http.transport import Transport

T = TypeVar("T")
_RATE_LIMITED_RETRIES = 4  # times as many: where others use the same window, it may be full repeatedly
_SUCCESS, _REDIRECTION = 200, 300
_LARGE_BODY = 64 * 1024  # decoded only once a sweep has room for its rows
_ACCEPT = "application/json, application/problem+json"
_ACCEPT_ENCODING = "gzip, deflate"

_request_ids = itertools.count(1)


class HttpClient:
    """Sends one vendor's calls.

    Requests go over one aiohttp session: the client's own, or one handed in, which it never closes. With
    `transport`, they go there instead.

    - `limit`: what the vendor allows each account.
    - `limit_headers`: the response headers in which the vendor states its limits.
    - `headers`: sent with every request.

    Raise InvalidArgument for a `base_url` that would send credentials in the clear, for headers that cannot
    be sent, and for TLS options beside a session or transport of the caller's.
    """

    def __init__(
        self,
        base_url: str,
        *,
        backend: str,
        auth: Auth,
        limit: RateLimit | None = None,
        limit_headers: RateLimitHeaders | None = None,
        headers: Mapping[str, str] | None = None,
        options: HttpOptions | None = None,
        session: aiohttp.ClientSession | None = None,
        transport: Transport | None = None,
    ) -> None:
        self.backend = backend
        self.auth = auth
        self.options = options or HttpOptions()
        self.observers = safe_observers(self.options.observers)
        self.fallback_reason: str | None = None
        """Reason why requests go through aiohttp's session; None if they take the direct transport."""
        self._base = validate_base_url(base_url)
        self._base_path = URL(self._base).raw_path.rstrip("/")
        self._headers = self._default_headers(session) | dict(headers or {})
        self._limit = limit or UNLIMITED
        self._limit_headers = limit_headers
        self._constant = auth.headers if isinstance(auth, StaticAuth) else None
        for fixed in (self._headers, self._constant or {}):
            validate_headers(fixed)
        if session is not None and transport is not None:
            raise InvalidArgument("expected either session= or transport=, and not both")
        if (session or transport) is not None:
            self._refuse_network_options(transport)
        self._session = SharedSession(self.options, session)
        self._given_transport = transport
        self._shared_limit: SharedLimit | None = None
        self._transport: Transport | None = None
        self._loop: asyncio.AbstractEventLoop  # from opening on
        self._thread: int
        self._users = 0
        self._budget = RetryBudget()

    def _default_headers(self, session: aiohttp.ClientSession | None) -> dict[str, str]:
        headers = {"Accept": _ACCEPT, "Accept-Encoding": _ACCEPT_ENCODING}
        user_agent = self.options.user_agent
        if user_agent is not None or session is None or USER_AGENT not in session.headers:
            headers[USER_AGENT] = user_agent or f"phonesys/{__version__}"
        return headers

    def _refuse_network_options(self, transport: Transport | None) -> None:
        """Raise InvalidArgument for options that only a session of our own obeys."""
        for name in ("ssl", "ca_file") if transport is None else ("ssl", "ca_file", "proxy"):
            if getattr(self.options, name) is not None:
                raise InvalidArgument(
                    f"HttpOptions.{name}: for a session of our own; expected it at the connector of the one "
                    f"handed in"
                )

    async def __aenter__(self) -> Self:
        loop = _running_loop()
        if self._users:
            self._check_loop()
        self._users += 1
        if self._users == 1:
            try:
                self._loop, self._thread = loop, get_ident()
                await self._open()
            except BaseException:
                self._users = 0
                raise
            if isinstance(self.auth, RefreshableAuth):
                await self._open_auth(self.auth)
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
        add_debug_log(self.observers)
        self._max_connections = int(min(options.connections, self._session.pool_size(), available_files()))
        self._connections = Semaphore(self._max_connections)
        self._timeouts = TimeoutScheduler(self._loop)
        self._timeout = inf if options.timeout is None else options.timeout
        self._deadline = inf if options.deadline is None else options.deadline
        self._limiter = self._acquire_limiter()
        try:
            self._transport = self._given_transport or await self._open_transport()
        except BaseException:
            registry.shared.release(self._limiter)
            raise

    async def _open_transport(self) -> Transport:
        proxy = proxy_for(self._base, self.options) if self._session.borrowed is None else self.options.proxy
        session = self._session.open()
        try:
            transport, self.fallback_reason = await choose_transport(
                session,
                self.options,
                self._base,
                headers=self._headers,
                constant=self._constant,
                borrowed=self._session.borrowed is not None,
                proxy=proxy,
            )
        except BaseException:
            await self._session.close()
            raise
        return transport

    def _acquire_limiter(self) -> RateLimiter:
        if self._given_transport is not None or is_patched():  # no vendor counts the requests of tests
            return RateLimiter(self._limit, self._loop, self._limit_headers)
        if self._shared_limit is not None:  # the store knows what was sent before
            return RateLimiter(self._limit, self._loop, self._limit_headers, self._shared_limit)
        return registry.shared.acquire(self._base, self.auth, self._limit, self._limit_headers, self._loop)

    async def _close(self) -> None:
        self._transport = None
        registry.shared.release(self._limiter)
        if self._session.borrowed is None:  # aiohttp would let requests in flight wait for ever
            self._timeouts.fail_all(lambda: ConnectionLost("the client was closed"))
        self._timeouts.close()
        try:
            if self._given_transport is None:
                await self._session.close()
        finally:
            await self._limiter.finish()

    async def _open_auth(self, auth: RefreshableAuth) -> None:
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
        shared_limit: SharedLimit | None = None,
    ) -> HttpClient:
        """Return another client to the same vendor, over the same connections.

        It has rate windows, credentials and headers of its own. `max_concurrency` bounds its requests in
        flight where that is less than `HttpOptions.connections`. `shared_limit` names a window that it
        shares with other programs.
        """
        options = self.options
        if max_concurrency is not None:
            options = msgspec.structs.replace(options, connections=min(max_concurrency, options.connections))
        clone = HttpClient(
            base_url or self._base,
            backend=self.backend,
            auth=auth,
            limit=self._limit,
            limit_headers=self._limit_headers,
            headers=headers,
            options=options,
            session=self._session.borrowed,
            transport=self._given_transport,
        )
        clone._session = self._session
        clone.observers = self.observers
        clone._shared_limit = shared_limit
        return clone

    async def send(self, call: Call[T]) -> T:
        """Carry out a call and return its decoded response.

        Raise a CallError that names the call if it fails, after the retries that are allowed and may help.
        """
        self._opened_transport()
        # `get_running_loop` makes a system call on Python 3.11, which costs 4 % of a small request.
        if get_ident() != self._thread or asyncio.current_task(self._loop) is None:
            self._check_loop()
        validate_call(call)
        started = self._loop.time()
        deadline = started + self._deadline
        try:
            return await self._attempt(call, started, deadline)
        except CallError as failure:
            error = failure
        return await self._retry(call, error, started, deadline)

    async def _attempt(self, call: Call[T], now: float, deadline: float, number: int = 1) -> T:
        """Make one request: sign, acquire a slot, send, complete, then decode the response or fail."""
        limiter, key = self._limiter, call.rate_key or call.account
        if limiter.quotas:
            limiter.quotas.check(key)
        signed = self.auth.sign(call)
        if signed is None:
            signed = await self._fetch_credential(call, deadline)
            now = self._loop.time()
        window = limiter.window(key, now)  # after signing: the limiter drops windows that idle meanwhile
        if not window.try_acquire(now):
            with self._waiting(call, WaitReason.RATE_LIMIT):
                await limiter.wait_for_slot(key, window, now, deadline)
            signed = self.auth.sign(call) or signed  # the credential may have been refreshed meanwhile
        try:
            if self.observers:
                response = await self._observed_exchange(call, signed, deadline, number)
            else:
                response = await self._exchange(call, signed, deadline)
        except CallError as failure:
            Redactor(signed, call.secrets).error(failure)
            raise
        finally:
            window.complete(self._loop.time())
        limiter.update(key, window, response.headers)
        if _SUCCESS <= response.status < _REDIRECTION:
            if len(response.body) > _LARGE_BODY and (slot := _slot.current.get()) is not None:
                await slot.wait_for_capacity()
            try:
                result = call.decode(response.body)
            except DecodeError as failure:
                error: CallError = failure.with_traceback(None)  # its frames hold the response
                error.__context__ = None
            else:
                self._budget.deposit()
                return result
        else:
            error = self._status_error(call, key, window, signed, response)
        del response  # it may echo the credential, and tracebacks may show locals
        raise Redactor(signed, call.secrets).error(error)

    async def _observed_exchange(
        self, call: Call[Any], signed: Mapping[str, str], deadline: float, attempt: int
    ) -> RawResponse:
        """Send one request between the two events about it."""
        request: dict[str, Any] = {
            "backend": self.backend,
            "account": call.account,
            "operation": call.operation,
            "id": next(_request_ids),
            "attempt": attempt,
            "method": call.method,
            "url": self._base + call.target,
            "url_template": call.url_template and self._base_path + call.url_template,
            "request_size": len(call.body or b""),
        }
        self.observers.notify(RequestStarted(**request))
        started = self._loop.time()
        try:
            response = await self._exchange(call, signed, deadline)
        except BaseException as failure:
            if isinstance(failure, CallError):
                Redactor(signed, call.secrets).error(failure)
            self.observers.notify(
                RequestEnded(**request, duration=self._loop.time() - started, error=failure)
            )
            raise
        self.observers.notify(
            RequestEnded(
                **request,
                duration=self._loop.time() - started,
                status=response.status,
                response_size=len(response.body),
            )
        )
        return response

    async def _exchange(self, call: Call[Any], signed: Mapping[str, str], deadline: float) -> RawResponse:
        """Send one request and return its response, in the time that is left."""
        if signed is not self._constant:
            validate_headers(signed)
        if not self._connections.try_acquire():
            await self._wait_for_connection(call, deadline)
        try:
            transport = self._opened_transport()  # the client may have been closed meanwhile
            if (slot := _slot.current.get()) is not None:
                slot.on_request()
            with self._timeouts.until(min(deadline, self._loop.time() + self._timeout)):
                return await transport.exchange(call, signed)
        except PhonesysError:  # before MAPPED_EXCEPTIONS: some are ValueErrors too
            raise
        except MAPPED_EXCEPTIONS as failure:
            error = map_exception(failure)
            if is_out_of_files(failure):
                self._drop_connection()
        finally:
            self._connections.release()
        if isinstance(error, AttemptTimeout) and self._loop.time() >= deadline:
            error = DeadlineExceeded("the deadline passed before the response arrived")
        raise error  # outside of `except`: aiohttp's exceptions hold the signed request

    def _drop_connection(self) -> None:
        """Use one connection less from now on: others of this process have opened too many files."""
        if self._max_connections > 1:
            self._max_connections -= 1
            self._connections.force_acquire()

    def _status_error(
        self,
        call: Call[Any],
        key: str,
        window: SlidingWindow,
        signed: Mapping[str, str],
        response: RawResponse,
    ) -> CallError:
        """Return the error for a status that is not success, after what follows from it for later calls."""
        error = error_from_response(response.status, response.headers, response.body)
        if isinstance(error, Unauthorized):
            lacking = lacks_scope(error, response.headers)
            error.renewable = not lacking and self.auth.on_unauthorized(call, signed)
        elif isinstance(error, RateLimited):
            self._limiter.on_rejected(key, window, response.headers, error.retry_after)
        return error

    async def _fetch_credential(self, call: Call[Any], deadline: float) -> Mapping[str, str]:
        try:
            with self._waiting(call, WaitReason.CREDENTIAL):
                async with asyncio.timeout_at(None if deadline == inf else deadline):
                    while (signed := self.auth.sign(call)) is None:
                        await self.auth.ensure_valid(call)
                    return signed
        except TimeoutError:
            error = DeadlineExceeded("no credential could be fetched before the deadline")
        error.not_executed = True
        raise error

    async def _wait_for_connection(self, call: Call[Any], deadline: float) -> None:
        try:
            with self._waiting(call, WaitReason.CONNECTION):
                await self._connections.acquire(deadline)
            return
        except TimeoutError:
            error = DeadlineExceeded("no connection became free before the deadline")
        error.not_executed = True
        raise error

    def _waiting(self, call: Call[Any], reason: WaitReason) -> AbstractContextManager[None]:
        return self.observers.waiting(
            reason, backend=self.backend, account=call.account, operation=call.operation
        )

    def _check_loop(self) -> None:
        if _running_loop() is not self._loop:
            raise UsageError(f"backend {self.backend!r} is open in another event loop")

    def _opened_transport(self) -> Transport:
        if self._transport is None:
            raise NotOpen(f"backend {self.backend!r} is not open; use `async with`")
        return self._transport

    async def _retry(self, call: Call[T], error: CallError, started: float, deadline: float) -> T:
        """Repeat a failed call for as long as that is allowed and may help."""
        attempt, refreshed = 1, False
        while True:
            now = self._loop.time()
            self._add_context(error, call, attempt, now - started)
            if isinstance(error, Unauthorized):
                error.renewable = error.renewable and not refreshed
                refreshed = True
            delay = self._retry_delay(call, error, attempt)
            if delay is None or now + delay > deadline:
                raise self._failed(call, error)
            await self._back_off(call, error, attempt, delay)
            if (slot := _slot.current.get()) is not None:
                slot.on_retry()
            attempt += 1
            try:
                return await self._attempt(call, self._loop.time(), deadline, attempt)
            except CallError as failure:
                error = failure

    async def _back_off(self, call: Call[Any], error: CallError, attempt: int, delay: float) -> None:
        if self.observers:
            self.observers.notify(
                RetryScheduled(
                    backend=self.backend,
                    account=call.account,
                    operation=call.operation,
                    attempt=attempt,
                    delay=delay,
                    error=error,
                )
            )
        with self._waiting(call, WaitReason.RETRY):
            async with _slot.waiting():
                await asyncio.sleep(delay)

    def _failed(self, call: Call[Any], error: CallError) -> CallError:
        """Report that a call failed for good, and return the error to raise."""
        error = _error_to_raise(call, error)
        if self.observers:
            self.observers.notify(
                CallFailed(
                    backend=self.backend,
                    account=call.account,
                    operation=call.operation,
                    attempts=error.attempts,
                    duration=error.elapsed,
                    error=error,
                )
            )
        return error

    def _retry_delay(self, call: Call[Any], error: CallError, attempt: int) -> float | None:
        """Return the seconds until the next attempt, or None if there must be none."""
        if isinstance(error, Unauthorized) and error.renewable:
            return 0.0  # a 401 proves that nothing was executed; another credential is tried once
        times = _RATE_LIMITED_RETRIES if isinstance(error, RateLimited) else 1
        if attempt > self.options.retries * times or not is_retryable(error, idempotent=call.idempotent):
            return None
        if not self._budget.try_withdraw(error):
            error.add_note("not retried: the client has spent its retry budget")
            return None
        return backoff(error, attempt, self.options, self.options.jitter())

    def _add_context(self, error: CallError, call: Call[Any], attempt: int, elapsed: float) -> None:
        error.with_call(backend=self.backend, operation=call.operation, account=call.account)
        error.attempts, error.elapsed = attempt, elapsed


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        pass
    raise UsageError("phonesys runs on asyncio; expected to be used inside of `asyncio.run`, and not of trio")


def _error_to_raise(call: Call[Any], error: CallError) -> CallError:
    """Return the error to raise: OutcomeUnknown for a write that may have been executed."""
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
