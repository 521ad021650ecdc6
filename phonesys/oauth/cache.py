"""The current token of one credential, and the single task that fetches the next one."""

from __future__ import annotations

import asyncio
import copy
import logging
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeAlias

from phonesys import _slot
from phonesys._concurrency import wait_finished
from phonesys.errors import BackendFault, CallError, PhonesysError, StatusError
from phonesys.secret import HeaderValue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from phonesys.oauth.token import Token

    Fetch: TypeAlias = Callable[[Token | None], Awaitable[Token]]

log = logging.getLogger("phonesys")

_MIN_REJECTION_INTERVAL = 60.0
_PERMANENT_FAILURE_PAUSE = 5.0
_MAX_PAUSE = 30.0
_SLOT_HOLD_TIME = 0.25
"""Seconds that a waiting call keeps its request slot; after that, another account may use it."""


class TokenCache:
    """Caches one credential's headers, and fetches the next token once for all waiting callers.

    - `fetch` gets the rejected token, if there is one, and returns another.
    - `uninterruptible`: a fetch that has started runs to its end. Other fetches are cancelled with their
      last waiter.
    - `clock`: seconds since the epoch.
    """

    __slots__ = (
        "_clock", "_error", "_failed_at", "_failures", "_fetch", "_headers", "_name", "_pause", "_rejected",
        "_rejected_at", "_renew_at", "_task", "_token", "_uninterruptible", "_waiters",
    )  # fmt: skip

    def __init__(self, name: str, fetch: Fetch, *, uninterruptible: bool, clock: Callable[[], float]) -> None:
        self._name = name
        self._fetch = fetch
        self._uninterruptible = uninterruptible
        self._clock = clock
        self._token: Token | None = None
        self._headers: Mapping[str, str] | None = None
        self._renew_at = 0.0
        self._task: asyncio.Task[PhonesysError | None] | None = None
        self._waiters = 0
        self._rejected: Token | None = None
        self._rejected_at = float("-inf")
        self._error: PhonesysError | None = None
        self._failures = 0
        self._failed_at = self._pause = 0.0

    def headers(self) -> Mapping[str, str] | None:
        """Return the headers that carry the token, or None if it is missing or about to expire."""
        return self._headers if self._clock() < self._renew_at else None

    async def ensure_valid(self) -> None:
        """Wait for the running fetch, or start one. Raise the error it ends with.

        An error is remembered for a moment, so that callers who come late do not ask the vendor again.
        """
        if self.headers() is not None:
            return
        if self._task is None and self._error is not None and self._is_recent(self._failed_at, self._pause):
            raise _copy_error(self._error)
        task = self._task = self._task or self._start_fetch()
        self._waiters += 1
        try:
            error = await _wait_for_fetch(task)
        finally:
            self._waiters -= 1
            if not self._waiters and not task.done() and not self._uninterruptible:
                await self._cancel_fetch(task)
        if error is not None:
            raise _copy_error(error)

    async def _cancel_fetch(self, task: asyncio.Task[PhonesysError | None]) -> None:
        """Cancel a fetch without waiters. A caller that comes meanwhile starts another."""
        self._task = None
        task.cancel()
        await wait_finished(task)

    def invalidate(self, headers: Mapping[str, str]) -> bool:
        """Drop the token that got a 401. Return True if other headers exist or can be fetched.

        Only the current token is dropped. A token that replaced a rejected one and is rejected within a
        minute stays: another one would not help.
        """
        if headers is not self._headers:
            return True
        if self._is_recent(self._rejected_at, _MIN_REJECTION_INTERVAL):
            return False
        log.debug("the token of %s was rejected and dropped", self._name)
        self._rejected, self._rejected_at = self._token, self._clock()
        self._headers, self._renew_at = None, 0.0
        return True

    def replace(self, token: Token) -> None:
        """Use a token that was fetched elsewhere."""
        self._accept_token(token)

    async def wait_finished(self) -> None:
        """Wait for the running fetch, even while being cancelled; its own time-outs bound the wait."""
        if self._task is not None:
            await wait_finished(self._task)

    def _is_recent(self, moment: float, seconds: float) -> bool:
        # A moment in the future is not recent: the clock was set back.
        return 0 <= self._clock() - moment < seconds

    def _start_fetch(self) -> asyncio.Task[PhonesysError | None]:
        # Without the slot of the call that comes first: a sweep's slots are for its own requests.
        context = copy_context()
        context.run(_slot.current.set, None)
        loop = asyncio.get_running_loop()
        return loop.create_task(self._run_fetch(), name=f"phonesys: token of {self._name}", context=context)

    async def _run_fetch(self) -> PhonesysError | None:
        task = asyncio.current_task()
        try:
            token = await self._fetch(self._rejected)
        except PhonesysError as failure:
            return self._record_failure(failure)
        except Exception as failure:  # noqa: BLE001 -- a third party's token store may raise anything
            fault = BackendFault(f"{type(failure).__name__}: {failure}")
            fault.__cause__ = failure
            return self._record_failure(fault)
        finally:
            if self._task is task:
                self._task = None
        self._accept_token(token)
        return None

    def _accept_token(self, token: Token) -> None:
        self._token, self._rejected, self._error, self._failures = token, None, None, 0
        self._headers = {"Authorization": HeaderValue(f"Bearer {token.access.reveal()}")}
        self._renew_at = token.renew_at
        log.debug("got a token of %s", self._name)

    def _record_failure(self, failure: PhonesysError) -> PhonesysError:
        """Remember a failed fetch, and name the credential in its message."""
        failure.__traceback__ = None
        error = _copy_error(failure)
        if isinstance(error, CallError):
            error.not_executed = True  # the waiting call was never sent
            error.message = f"no token of {self._name}: {error.message or type(error).__name__}"
        self._failures += 1
        is_final = isinstance(error, StatusError) and not error.transient
        exponential = 2.0 ** min(self._failures - 1, 32)
        self._pause = _PERMANENT_FAILURE_PAUSE if is_final else min(_MAX_PAUSE, exponential)
        self._error, self._failed_at = error, self._clock()
        log.debug("%s", error)
        return error


async def _wait_for_fetch(task: asyncio.Task[PhonesysError | None]) -> PhonesysError | None:
    """Wait for a fetch, which goes on if the waiter is cancelled."""
    await asyncio.wait([task], timeout=_SLOT_HOLD_TIME)
    if not task.done():
        async with _slot.waiting():
            await asyncio.wait([task])
    return task.result()


def _copy_error(error: PhonesysError) -> PhonesysError:
    """Copy an error for one more caller, since each call is named on its own copy."""
    other = copy.copy(error)
    other.__cause__ = error.__cause__
    other.__suppress_context__ = True
    return other
