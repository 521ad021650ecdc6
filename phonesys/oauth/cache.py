"""One credential in this process: the token that is current, and the one task that fetches the next."""

from __future__ import annotations

import asyncio
import copy
import logging
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeAlias

from phonesys import _observer as scope
from phonesys._concurrency import wait_finished
from phonesys.errors import BackendFault, CallError, PhonesysError, StatusError
from phonesys.secret import HeaderValue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from phonesys.oauth.token import Token

    Fetch: TypeAlias = Callable[[Token | None], Awaitable[Token]]

log = logging.getLogger("phonesys")

_REFUSALS_APART = 60.0
_PATIENCE_AFTER_NO = 5.0
_LONGEST_PAUSE = 30.0
_MOMENT = 0.25
"""How long a fetch counts as a request: a call that waits longer for it lets another account go ahead."""


class TokenCache:
    """Hands out one credential's headers, and fetches its next token once for however many wait.

    - `fetch` gets the token that was refused, if one was, and returns one that is not.
    - `precious`: once begun, a fetch is carried to its end, whoever is cancelled. Others end with the last
      caller who waits for them.
    - `clock`: seconds since the epoch.
    """

    __slots__ = (
        "_clock", "_error", "_failed_at", "_failures", "_fetch", "_headers", "_pause", "_precious",
        "_refused", "_refused_at", "_renew_at", "_task", "_token", "_waiters", "_what",
    )  # fmt: skip

    def __init__(self, what: str, fetch: Fetch, *, uninterruptible: bool, clock: Callable[[], float]) -> None:
        self._what = what
        self._fetch = fetch
        self._precious = uninterruptible
        self._clock = clock
        self._token: Token | None = None
        self._headers: Mapping[str, str] | None = None
        self._renew_at = 0.0
        self._task: asyncio.Task[PhonesysError | None] | None = None
        self._waiters = 0
        self._refused: Token | None = None
        self._refused_at = float("-inf")
        self._error: PhonesysError | None = None
        self._failures = 0
        self._failed_at = self._pause = 0.0

    def headers(self) -> Mapping[str, str] | None:
        """Return the headers that carry the token; None if there is none that is good for a while."""
        return self._headers if self._clock() < self._renew_at else None

    async def renew(self) -> None:
        """Join the fetch that is under way, or begin one; raises what it failed with.

        A failure is remembered for a moment, so that those who come late do not ask the vendor again.
        """
        if self.headers() is not None:
            return
        if self._task is None and self._error is not None and self._within(self._pause, self._failed_at):
            raise _again(self._error)
        task = self._task = self._task or self._begin()
        self._waiters += 1
        try:
            error = await _joined(task)
        finally:
            self._waiters -= 1
            if not self._waiters and not task.done() and not self._precious:
                await self._abandon(task)
        if error is not None:
            raise _again(error)

    async def _abandon(self, task: asyncio.Task[PhonesysError | None]) -> None:
        """End a fetch that nobody waits for; whoever comes now begins another."""
        self._task = None
        task.cancel()
        await wait_finished(task)

    def refuse(self, headers: Mapping[str, str]) -> bool:
        """Take note of a 401; say whether other headers are, or can be, had.

        The token is dropped only if it is still the current one. One that replaced a refused token and is
        refused within the minute stays: fetching more of them would not help.
        """
        if headers is not self._headers:
            return True
        if self._within(_REFUSALS_APART, self._refused_at):
            return False
        log.debug("the token of %s was refused, and is dropped", self._what)
        self._refused, self._refused_at = self._token, self._clock()
        self._headers, self._renew_at = None, 0.0
        return True

    async def settled(self) -> None:
        """Wait for a precious fetch to end, even while being cancelled; its own time-outs bound it."""
        if self._task is not None:
            await wait_finished(self._task)

    def _within(self, seconds: float, moment: float) -> bool:
        """Say whether that is less than so many seconds ago; after a clock was set back, it is not."""
        return 0 <= self._clock() - moment < seconds

    def _begin(self) -> asyncio.Task[PhonesysError | None]:
        # Not on behalf of the sweep that happens to come first: its places are for its own requests.
        context = copy_context()
        context.run(scope.current.set, None)
        loop = asyncio.get_running_loop()
        return loop.create_task(self._run(), name=f"phonesys: token of {self._what}", context=context)

    async def _run(self) -> PhonesysError | None:
        task = asyncio.current_task()
        try:
            token = await self._fetch(self._refused)
        except PhonesysError as failure:
            return self._fail(failure)
        except Exception as failure:  # noqa: BLE001 -- whatever a token store of somebody else's raises
            fault = BackendFault(f"{type(failure).__name__}: {failure}")
            fault.__cause__ = failure
            return self._fail(fault)
        finally:
            if self._task is task:
                self._task = None
        self._accept(token)
        return None

    def _accept(self, token: Token) -> None:
        self._token, self._refused, self._error, self._failures = token, None, None, 0
        self._headers = {"Authorization": HeaderValue(f"Bearer {token.access.reveal()}")}
        self._renew_at = token.renew_at
        log.debug("a token of %s is there", self._what)

    def _fail(self, failure: PhonesysError) -> PhonesysError:
        """Remember the failure, in words that say what it was that failed."""
        failure.__traceback__ = None
        error = _again(failure)
        if isinstance(error, CallError):
            error.not_executed = True  # to the call that waits: it was never sent
            error.message = f"no token of {self._what}: {error.message or type(error).__name__}"
        self._failures += 1
        for_good = isinstance(error, StatusError) and not error.transient
        growing = 2.0 ** min(self._failures - 1, 32)
        self._pause = _PATIENCE_AFTER_NO if for_good else min(_LONGEST_PAUSE, growing)
        self._error, self._failed_at = error, self._clock()
        log.debug("%s", error)
        return error


async def _joined(task: asyncio.Task[PhonesysError | None]) -> PhonesysError | None:
    """Wait for the fetch, which goes on when a waiter is cancelled."""
    await asyncio.wait([task], timeout=_MOMENT)
    if not task.done():
        async with scope.waiting():
            await asyncio.wait([task])
    return task.result()


def _again(error: PhonesysError) -> PhonesysError:
    """Copy an error for one more caller, who will say on it which call it failed."""
    other = copy.copy(error)
    other.__cause__ = error.__cause__
    other.__suppress_context__ = True
    return other
