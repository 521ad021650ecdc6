"""Sliding window: never more requests than the vendor allows, in any window.

A slot is taken before a request is sent, and becomes free one window after its response arrived. The vendor
counted the request at some moment in between, so it never sees more than the limit in a window of its own,
whatever the latency.

Other programs may use the same window. `AdaptiveLimit` then decides on the share of this program.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import msgspec

from phonesys._concurrency import WaitQueue
from phonesys.errors import InvalidArgument
from phonesys.http.ratelimit.adaptive import AdaptiveLimit

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle


class RateLimit(msgspec.Struct, frozen=True):
    """At most `requests` in any `per` seconds, for each account: `RateLimit(100, per=10)`."""

    requests: int
    per: float

    def __post_init__(self) -> None:
        numbers = isinstance(self.requests, int) and isinstance(self.per, int | float)
        if not numbers or self.requests < 1 or not 0 < self.per < inf:
            raise InvalidArgument(
                f"limit: expected at least 1 request per a positive number of seconds, got {self}"
            )


UNLIMITED = RateLimit(2**62, per=1.0)
"""For a vendor that states no limit. Waits that its responses ask for are still obeyed."""


_SLOW_START = 1


class WaitTooLong(Exception):
    """No slot becomes free before the deadline; `delay` is how many seconds that takes at least."""

    def __init__(self, delay: float) -> None:
        super().__init__(delay)
        self.delay = delay


class SlidingWindow:
    """The exact sliding window of one account.

    Times are those of the event loop's clock, in seconds. Only `acquire` waits, first come, first served.

    The rate limiter drops a window that has no request in flight and no waiter as soon as it makes another
    one. So there is no `await` between `RateLimiter.window` and `try_acquire` or `acquire`, nor between
    `complete` and what is learned from the response.
    """

    __slots__ = (
        "_adaptive",
        "_blocked_until",
        "_capacity",
        "_completions",
        "_first",
        "_in_flight",
        "_limit",
        "_loop",
        "_max_in_flight",
        "_per",
        "_rejected_in_a_row",
        "_timer",
        "_waiters",
    )

    def __init__(
        self, limit: RateLimit, loop: AbstractEventLoop, completions: list[float] | None = None
    ) -> None:
        self._limit = self._capacity = limit.requests
        self._per = limit.per
        self._loop = loop
        self._in_flight = 0
        # A list of completion times and the index of the first that still counts. A deque takes several
        # microseconds to make, and most accounts see a handful of requests.
        self._completions: list[float] = [] if completions is None else completions
        self._first = 0
        self._blocked_until = -inf
        self._adaptive: AdaptiveLimit | None = None  # made at the first sign of other programs
        self._waiters: WaitQueue | None = None
        self._timer: TimerHandle | None = None
        # Slow start after a 429, so that not all waiters run into the next one: one request in flight, and
        # one more with each that completes.
        self._max_in_flight: float = inf
        self._rejected_in_a_row = 0

    def rebind(self, loop: AbstractEventLoop) -> None:
        """Continue in another loop with the same clock. Requests in flight are lost with the old one."""
        self._loop = loop
        self._completions.extend([loop.time()] * self._in_flight)
        self._in_flight, self._waiters, self._timer = 0, None, None

    def try_acquire(self, now: float) -> bool:
        """Acquire a slot and return True if one is free and no other call waits for it."""
        return not self._waiters and self._take_slot(now)

    async def acquire(self, now: float, deadline: float) -> None:
        """Wait for a slot and take it. Raise WaitTooLong at once if none becomes free before the deadline."""
        if self._waiters is None:
            self._waiters = WaitQueue()
        ready_at = self.ready_at(now, len(self._waiters))
        if ready_at >= deadline:
            raise WaitTooLong(ready_at - now)
        self._schedule_wakeup(now)
        try:
            await self._waiters.wait(deadline, on_wakeup_lost=lambda: self.cancel(self._loop.time()))
        except TimeoutError:
            now = self._loop.time()
            raise WaitTooLong(self.ready_at(now) - now) from None

    def complete(self, now: float) -> None:
        """Note that a request's response has arrived, or never will."""
        self._in_flight -= 1
        if self._max_in_flight < inf:
            below = self._max_in_flight < self._capacity
            self._max_in_flight = self._max_in_flight + 1 if below else inf
        if self._limit < UNLIMITED.requests:
            self._completions.append(now)
        if self._waiters:
            self._schedule_wakeup(now)

    def cancel(self, now: float) -> None:
        """Give back a slot whose request was not sent."""
        self._return_slot()
        self._reschedule_wakeup(now)

    def on_rejected(self, now: float, retry_after: float | None) -> None:
        """Back off after a 429, for as many seconds as the vendor asks for.

        The request keeps its slot, as if the vendor had counted it.
        """
        # If no other request has completed since the last 429, slow start has allowed one more at most.
        in_a_row = self._max_in_flight <= _SLOW_START + 1
        self._rejected_in_a_row = self._rejected_in_a_row + 1 if in_a_row else 1
        self._max_in_flight = _SLOW_START
        if retry_after is not None:
            self.block_until(now + retry_after)
        if self._limit < UNLIMITED.requests:
            self._adaptive_limit().on_rejected(self._count_used(now), self._rejected_in_a_row, now)
            self._update_capacity(now)

    def block_until(self, until: float) -> None:
        """Grant no slot before that time, and fail every waiter whose deadline is before it."""
        self._blocked_until = max(self._blocked_until, until)
        if self._waiters:
            self.fail_waiters(self._blocked_until)

    def fail_waiters(self, until: float = inf) -> None:
        """Fail every waiter whose deadline is before `until`; by default, all of them."""
        if self._waiters:
            self._waiters.fail(lambda: WaitTooLong(until - self._loop.time()), until)

    def sync(self, remaining: int, limit: int, now: float) -> None:
        """Correct the count by the vendor's own.

        Requests that the vendor counts and this program did not send are other programs', for one window.
        """
        if 0 < limit < self._limit:
            self._limit = limit
            self._adaptive_limit().lower_limit(limit)
            self._update_capacity(now)
        if not 0 <= remaining <= limit:
            return
        foreign = limit - remaining - self._count_used(now)
        if foreign > 0 or self._adaptive is not None:
            self._adaptive_limit().on_foreign_usage(foreign, self._in_flight, now)
            if self._capacity < self._update_capacity(now):
                self._reschedule_wakeup(now)

    def completions(self, now: float, requests: int) -> list[float] | None:
        """Return the completion times that still count, or None if the window has more state than those.

        A limit below the configured `requests` is not remembered: the vendor will state it again.
        """
        if self._in_flight or self._waiters or self._blocked_until > now:
            return None
        if self._adaptive is not None and self._update_capacity(now) < self._limit:
            return None
        if not self._count_used(now):
            return []
        if self._limit < requests:
            return None
        return self._completions[self._first :] if self._first else self._completions

    def ready_at(self, now: float, ahead: int = 0) -> float:
        """Return the earliest time at which a slot can be free for a call with `ahead` waiters before it."""
        return self._ready_at(now, ahead, self._limit)

    def _take_slot(self, now: float) -> bool:
        if now < self._blocked_until or self._in_flight >= self._max_in_flight:
            return False
        if self._in_flight + len(self._completions) - self._first >= self._capacity:
            used = self._count_used(now)
            if used >= self._capacity and used >= self._update_capacity(now):
                return False
        self._in_flight += 1
        return True

    def _return_slot(self) -> None:
        self._in_flight -= 1

    def _count_used(self, now: float) -> int:
        completions, first, per = self._completions, self._first, self._per
        while first < len(completions) and completions[first] + per <= now:
            first += 1
        if first > len(completions) // 2:
            del completions[:first]
            first = 0
        self._first = first
        return self._in_flight + len(completions) - first

    def _adaptive_limit(self) -> AdaptiveLimit:
        if self._adaptive is None:
            self._adaptive = AdaptiveLimit(self._limit, self._per)
        return self._adaptive

    def _update_capacity(self, now: float) -> int:
        if self._adaptive is not None:
            self._capacity = self._adaptive.capacity(now)
        return self._capacity

    def _ready_at(self, now: float, ahead: int, capacity: int) -> float:
        earliest = max(now, self._blocked_until)
        used = self._count_used(now)
        if used + ahead < capacity:
            return earliest
        # Slots become free in the order in which they were completed, and again one window later. Slots
        # above the capacity are used by no call again.
        rounds, place = divmod(ahead - max(0, capacity - used), capacity)
        index = self._first + max(0, used - capacity) + place
        # A request that is still in flight completes now at the earliest.
        completed = self._completions[index] if index < len(self._completions) else now
        return max(earliest, completed + (rounds + 1) * self._per)

    def _reschedule_wakeup(self, now: float) -> None:
        if self._waiters:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._schedule_wakeup(now)

    def _schedule_wakeup(self, now: float) -> None:
        if self._timer is not None or self._in_flight >= self._max_in_flight:
            return  # in the second case, the next completion schedules it
        capacity, when = self._update_capacity(now), inf
        if self._first < len(self._completions) or self._in_flight < capacity:
            when = self._ready_at(now, 0, capacity)
        if self._adaptive is not None:
            when = max(self._blocked_until, min(when, self._adaptive.grows_at(now)))
        if when < inf:  # otherwise every slot is in flight, and the first completion schedules it
            self._timer = self._loop.call_at(when, self._wake_waiters, when)

    def _wake_waiters(self, when: float) -> None:
        self._timer = None
        now = max(when, self._loop.time())  # timers may fire one clock tick early
        while self._waiters and self._take_slot(now):
            if not self._waiters.wake_one():
                self._return_slot()
        if self._waiters:
            self._schedule_wakeup(now)
