"""The vendors' rate limits, exact: never more than N requests in any window, wherever it begins."""

from __future__ import annotations

import math
import time
from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from phonesys.sandbox.bounded import BoundedDict

if TYPE_CHECKING:
    from collections.abc import Callable

Limit: TypeAlias = tuple[int, float]
"""So many requests in so many seconds."""


_MAX_KEYS = 200_000
"""The number of accounts whose requests are remembered. Beyond it, those idle the longest are forgotten."""


class LimitDecision(NamedTuple):
    """Decision of the limits about one request."""

    allowed: bool
    remaining: tuple[int, ...]
    """Requests left under each limit after this one, in the order of the limits."""
    resets_after: tuple[float, ...] = ()
    """Seconds until each limit is unused again, if no other request is made."""
    retry_after: float = 0.0
    """Seconds until one more request would be allowed; 0 if this one was."""


class SlidingWindows:
    """One sliding window per key and limit; a refused request does not count.

    A key costs about a hundred bytes and eight more per request, and nothing before its first one.
    """

    def __init__(
        self, *limits: Limit, clock: Callable[[], float] = time.monotonic, enforce: bool = True
    ) -> None:
        self.limits = limits
        self._enforce = enforce
        self._clock = clock
        self._longest = max((seconds for _, seconds in limits), default=0.0)
        self._times: BoundedDict[str, array[float]] = BoundedDict(_MAX_KEYS, lambda: array("d"))

    def try_acquire(self, key: str) -> LimitDecision:
        """Count one request against a key unless it exceeds a limit that is enforced."""
        if not self._enforce:
            unused = tuple(most for most, _ in self.limits)
            return LimitDecision(allowed=True, remaining=unused, resets_after=(0.0,) * len(unused))
        now = self._clock()
        times = self._window(key, now)
        left, wait = self._state(times, now)
        if wait > 0:
            return LimitDecision(
                allowed=False, remaining=left, resets_after=self._resets_after(times, now), retry_after=wait
            )
        if self.limits:
            times.append(now)
        return LimitDecision(
            allowed=True,
            remaining=tuple(room - 1 for room in left),
            resets_after=self._resets_after(times, now),
        )

    @property
    def enforced(self) -> bool:
        """True if the limits are enforced."""
        return self._enforce

    def used(self, key: str) -> tuple[int, ...]:
        """Return how many requests count against each limit now."""
        now, times = self._clock(), self._times[key] if key in self._times else array("d")
        return tuple(len(times) - bisect_right(times, now - seconds) for _, seconds in self.limits)

    def _window(self, key: str, now: float) -> array[float]:
        times = self._times[key]
        if expired := bisect_right(times, now - self._longest):
            del times[:expired]
        return times

    def _resets_after(self, times: array[float], now: float) -> tuple[float, ...]:
        newest = times[-1] if times else -math.inf
        return tuple(max(0.0, newest + seconds - now) for _, seconds in self.limits)

    def _state(self, times: array[float], now: float) -> tuple[tuple[int, ...], float]:
        left: list[int] = []
        wait = 0.0
        for most, seconds in self.limits:
            used = len(times) - bisect_right(times, now - seconds)
            left.append(max(most - used, 0))
            if used >= most:
                wait = max(wait, times[-most] + seconds - now if most else seconds)
        return tuple(left), wait
