"""Rate limiter: the windows and daily quotas of all accounts, kept in step with the vendor's headers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multidict import istr

from phonesys import _slot
from phonesys.errors import DeadlineExceeded, QuotaExhausted
from phonesys.http.ratelimit.headers import RateLimitHeaders, parse_reset
from phonesys.http.ratelimit.history import CompletionHistory
from phonesys.http.ratelimit.leased import LeasedWindow
from phonesys.http.ratelimit.quota import DailyQuotas
from phonesys.http.ratelimit.window import UNLIMITED, SlidingWindow, WaitTooLong
from phonesys.http.response import parse_count

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Mapping

    from phonesys.http.ratelimit.leased import SharedLimit
    from phonesys.http.ratelimit.window import RateLimit

_MIN_LIVE_WINDOWS = 256
_MAX_STORED_COMPLETIONS = 16
_MAX_RETRY_AFTER = 86_400.0  # a longer wait is a vendor's mistake, not a limit to hold an account to


class RateLimiter:
    """Makes calls wait for their account's window, and refuses them once its daily quota is spent.

    A sweep asks most accounts once or twice. So only windows in use are objects; of the others, the
    completion history keeps what still counts.
    """

    def __init__(
        self,
        limit: RateLimit,
        loop: AbstractEventLoop,
        headers: RateLimitHeaders | None = None,
        shared: SharedLimit | None = None,
    ) -> None:
        self.quotas = DailyQuotas()
        self._limit = limit
        self._loop = loop
        self._shared = None if limit == UNLIMITED else shared
        self._headers = headers or RateLimitHeaders()
        # `istr` makes the lookups in every response three times faster.
        self._remaining = istr(self._headers.remaining or "")
        self._daily_remaining = istr(self._headers.daily_remaining or "")
        self._live: dict[str, SlidingWindow] = {}
        self._max_live = _MIN_LIVE_WINDOWS
        self._history = CompletionHistory(limit.per)

    def __len__(self) -> int:
        return len(self._live)

    def rebind(self, loop: AbstractEventLoop) -> None:
        """Continue in another event loop with the same clock, after the one before has ended."""
        self._loop = loop
        for window in self._live.values():
            window.rebind(loop)

    def is_idle(self, now: float) -> bool:
        """Return True if a new limiter would decide the same."""
        self._retire_windows(now)
        return not self._live and not self.quotas.prune() and self._history.is_empty(now)

    def window(self, key: str, now: float) -> SlidingWindow:
        """Return the account's window."""
        window = self._live.get(key)
        if window is None:
            if len(self._live) >= self._max_live:
                self._retire_windows(now)
            window = self._live[key] = self._create_window(key, self._history.pop(key, now))
        return window

    def _create_window(self, key: str, completions: list[float]) -> SlidingWindow:
        if self._shared is not None and key == self._shared.key:
            return LeasedWindow(self._limit, self._loop, self._shared, completions)
        return SlidingWindow(self._limit, self._loop, completions)

    async def finish(self) -> None:
        """Return the leases of shared windows, once no request is in flight."""
        for window in self._live.values():
            if isinstance(window, LeasedWindow):
                await window.finish()

    async def wait_for_slot(self, key: str, window: SlidingWindow, now: float, deadline: float) -> None:
        """Wait for a slot of the window and take it.

        Raise DeadlineExceeded at once if that takes too long, and QuotaExhausted if the last request of the
        day is sent meanwhile.
        """
        delay = await self._acquire(window, now, deadline)
        try:
            self.quotas.check(key)
        except QuotaExhausted:
            if delay is None:
                window.cancel(self._loop.time())
            raise
        if delay is not None:
            error = DeadlineExceeded(f"the rate window is full for {delay:.1f} s, beyond the deadline")
            error.not_executed = True
            error.retry_after = delay
            raise error

    async def _acquire(self, window: SlidingWindow, now: float, deadline: float) -> float | None:
        """Wait for a slot and take it. Return how long the wait would be if that is too long."""
        acquired = False
        try:
            async with _slot.waiting():
                await window.acquire(now, deadline)
                acquired = True
        except WaitTooLong as wait:
            return wait.delay
        except BaseException:
            if acquired:  # cancelled while the sweep's own slot was taken again
                window.cancel(self._loop.time())
            raise
        return None

    def update(self, key: str, window: SlidingWindow, headers: Mapping[str, str]) -> None:
        """Adopt what the vendor states about the window and the day. Nonsense is ignored."""
        if (remaining := headers.get(self._remaining)) is not None:
            self._sync(window, remaining, headers)
        if headers.get(self._daily_remaining) == "0":
            names = self._headers
            resets_in = parse_reset(headers.get(names.daily_reset or ""), names.daily_reset_unit)
            self.quotas.exhaust(key, resets_in)
            window.fail_waiters()

    def _sync(self, window: SlidingWindow, remaining: str, headers: Mapping[str, str]) -> None:
        now = self._loop.time()
        left, limit = parse_count(remaining), parse_count(headers.get(self._headers.limit or "", ""))
        if left is not None and limit is not None and self._limit is not UNLIMITED:
            window.sync(left, limit, now)
        if left == 0 and (reset := self._reset(headers)) is not None:
            window.block_until(now + reset)

    def on_rejected(
        self, key: str, window: SlidingWindow, headers: Mapping[str, str], retry_after: float | None
    ) -> None:
        """Back off after a 429. Raise QuotaExhausted if the daily quota is spent."""
        self.quotas.check(key)
        if retry_after is not None and retry_after > _MAX_RETRY_AFTER:
            retry_after = None
        window.on_rejected(self._loop.time(), self._reset(headers) if retry_after is None else retry_after)

    def _reset(self, headers: Mapping[str, str]) -> float | None:
        return parse_reset(headers.get(self._headers.reset or ""), self._headers.reset_unit)

    def _retire_windows(self, now: float) -> None:
        """Drop idle windows; their few completions move to the history."""
        self._history.expire(now)
        kept: dict[str, SlidingWindow] = {}
        for key, window in self._live.items():
            times = window.completions(now, self._limit.requests)
            if times is None or len(times) > _MAX_STORED_COMPLETIONS:
                kept[key] = window
            elif times:
                self._history.add(key, times, now)
        self._live = kept
        self._max_live = max(_MIN_LIVE_WINDOWS, 2 * len(kept))
