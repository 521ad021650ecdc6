"""Never more requests than the vendor allows, in any window.

A slot is taken before a request is sent and stays taken until one window after its answer arrived. The
vendor counted the request somewhere between those two moments, so whatever the network's jitter, it can
never see more than the limit in a window of its own.

Others may use the same window, in programs that know nothing of this one: `share` keeps what is known of it.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import msgspec

from phonesys._concurrency import WaitQueue
from phonesys.errors import InvalidArgument
from phonesys.http.ratelimit.adaptive import AdaptiveLimit
from phonesys.http.ratelimit.history import CompletionHistory

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
"""For a vendor that states no limit: only what its answers ask for is obeyed."""


_ANY = 2**62
_FEW_WINDOWS = 256
_FEW_ANSWERS = 16


class WaitTooLong(Exception):
    """A slot cannot be free in time; `delay` is the least number of seconds that it would take."""

    def __init__(self, delay: float) -> None:
        super().__init__(delay)
        self.delay = delay


class SlidingWindow:
    """The exact sliding window of one account.

    Times are those of the event loop's clock, in seconds. Arithmetic is in `take`, `settle` and `ready_at`;
    `turn` is the only thing that waits, first come first served.

    A window that no request is under way or waits for is forgotten as soon as another is made. So there is
    no `await` between `Windows.of` and `take` or `turn`, nor between `settle` and what the answer teaches.
    """

    __slots__ = (
        "_blocked",
        "_ended",
        "_flight",
        "_head",
        "_loop",
        "_most",
        "_per",
        "_room",
        "_share",
        "_timer",
        "_under_way",
        "_waiters",
    )

    def __init__(self, limit: RateLimit, loop: AbstractEventLoop, ended: list[float] | None = None) -> None:
        self._most = self._room = limit.requests
        self._per = limit.per
        self._loop = loop
        self._under_way = 0
        # A deque costs several microseconds to make, and most accounts see a handful of requests: so a
        # list of the times at which answers came, and the index of the first that still counts.
        self._ended: list[float] = [] if ended is None else ended
        self._head = 0
        self._blocked = -inf
        self._share: AdaptiveLimit | None = None  # made once there are signs of others
        self._waiters: WaitQueue | None = None
        self._timer: TimerHandle | None = None
        # How many may be under way at once: one after a 429, lest all that wait run into the next, and one
        # more with each that is served.
        self._flight = _ANY

    def try_acquire(self, now: float) -> bool:
        """Take a slot if one is free and nobody waits for it."""
        return not self._waiters and self._take(now)

    def complete(self, now: float) -> None:
        """Say that the request's answer is there, or will never be."""
        self._under_way -= 1
        if self._flight < _ANY:
            self._flight = self._flight + 1 if self._flight < self._room else _ANY
        if self._most < UNLIMITED.requests:
            self._ended.append(now)
        if self._waiters:
            self._arm(now)

    def cancel(self, now: float) -> None:
        """Say that the slot's request was not sent after all."""
        self._under_way -= 1
        self._hurry(now)

    def on_rejected(self, now: float, wait: float | None) -> None:
        """Say that the answer was a 429, and how many seconds the vendor asks to wait, if it does.

        The request keeps its slot, as if the vendor had counted it.
        """
        self._flight = 1
        if wait is not None:
            self.block_until(now + wait)
        if self._most < UNLIMITED.requests:
            self._sharing().on_rejected(self._used(now), now)
            self._renew(now)

    def block_until(self, until: float) -> None:
        """Let nothing through before then: the vendor said so.

        Whoever waits and cannot wait so long is told at once, by TooLong.
        """
        self._blocked = max(self._blocked, until)
        if self._waiters:
            self.fail_waiters(self._blocked)

    def fail_waiters(self, until: float = inf) -> None:
        """Let go, by TooLong, whoever cannot wait until then: everybody, unless a time is given."""
        if self._waiters:
            self._waiters.fail(lambda: WaitTooLong(until - self._loop.time()), until)

    def sync(self, remaining: int, allowed: int, now: float) -> None:
        """Correct the count by what the vendor says is left in its own.

        What it has counted and we have not sent is somebody else's, for a window at the longest.
        """
        if 0 < allowed < self._most:
            self._most = allowed
            self._sharing().lower_limit(allowed)
            self._renew(now)
        if not 0 <= remaining <= allowed:
            return
        foreign = allowed - remaining - self._used(now)
        if foreign > 0 or self._share is not None:
            self._sharing().on_foreign_usage(foreign, self._under_way, now)
            if self._room < self._renew(now):
                self._hurry(now)

    def completions(self, now: float, requests: int) -> list[float] | None:
        """Return the times of the answers that count; None where more than they and the limit is known.

        That the vendor allows less than was configured is learnt again, so it is not remembered for long.
        """
        if self._under_way or self._waiters or self._blocked > now:
            return None
        if self._share is not None and self._renew(now) < self._most:
            return None
        if not self._used(now):
            return []
        if self._most < requests:
            return None
        return self._ended[self._head :] if self._head else self._ended

    def ready_at(self, now: float, ahead: int = 0) -> float:
        """Tell when, at the earliest, a slot is free for whoever has `ahead` before them."""
        return self._ready_at(now, ahead, self._most)

    async def acquire(self, now: float, until: float) -> None:
        """Wait for a slot and take it; raises TooLong, without waiting, where that takes beyond `until`."""
        if self._waiters is None:
            self._waiters = WaitQueue()
        ready_at = self.ready_at(now, len(self._waiters))
        if ready_at > until:
            raise WaitTooLong(ready_at - now)
        self._arm(now)
        try:
            await self._waiters.wait(until, on_wakeup_lost=lambda: self.cancel(self._loop.time()))
        except TimeoutError:
            now = self._loop.time()
            raise WaitTooLong(self.ready_at(now) - now) from None

    def _take(self, now: float) -> bool:
        if now < self._blocked or self._under_way >= self._flight:
            return False
        if self._under_way + len(self._ended) - self._head >= self._room:
            used = self._used(now)
            if used >= self._room and used >= self._renew(now):
                return False
        self._under_way += 1
        return True

    def _used(self, now: float) -> int:
        ended, head, per = self._ended, self._head, self._per
        while head < len(ended) and ended[head] + per <= now:
            head += 1
        if head > len(ended) // 2:
            del ended[:head]
            head = 0
        self._head = head
        return self._under_way + len(ended) - head

    def _sharing(self) -> AdaptiveLimit:
        if self._share is None:
            self._share = AdaptiveLimit(self._most, self._per)
        return self._share

    def _renew(self, now: float) -> int:
        """Return how many requests the window may hold by now."""
        if self._share is not None:
            self._room = self._share.capacity(now)
        return self._room

    def _ready_at(self, now: float, ahead: int, room: int) -> float:
        when = max(now, self._blocked)
        used = self._used(now)
        if used + ahead < room:
            return when
        # The slots free up in the order in which they were settled, and again a window later. Those above
        # what there is room for are nobody's.
        rounds, place = divmod(ahead - max(0, room - used), room)
        index = self._head + max(0, used - room) + place
        # A request still under way settles now at the earliest.
        settled = self._ended[index] if index < len(self._ended) else now
        return max(when, settled + (rounds + 1) * self._per)

    def _hurry(self, now: float) -> None:
        """Look again for whoever waits: there is room earlier than it seemed."""
        if self._waiters:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._arm(now)

    def _arm(self, now: float) -> None:
        if self._timer is not None or self._under_way >= self._flight:
            return  # in the second case, the next answer will arm it
        room, when = self._renew(now), inf
        if self._head < len(self._ended) or self._under_way < room:
            when = self._ready_at(now, 0, room)
        if self._share is not None:
            when = max(self._blocked, min(when, self._share.grows_at(now)))
        if when < inf:  # otherwise everything is under way, and the first answer will arm it
            self._timer = self._loop.call_at(when, self._grant, when)

    def _grant(self, when: float) -> None:
        self._timer = None
        now = max(when, self._loop.time())  # timers may fire a clock tick early
        while self._waiters and self._take(now):
            if not self._waiters.wake_one():
                self._under_way -= 1
        if self._waiters:
            self._arm(now)


class RateLimiter:
    """The windows of all accounts: a few as objects, and of the others only when their answers came.

    A sweep asks most accounts once or twice, so what that leaves behind must be small.
    """

    def __init__(self, limit: RateLimit, loop: AbstractEventLoop) -> None:
        self._limit = limit
        self._loop = loop
        self._live: dict[str, SlidingWindow] = {}
        self._most_live = _FEW_WINDOWS
        self._traces = CompletionHistory(limit.per)

    def window(self, key: str, now: float) -> SlidingWindow:
        """Return the account's window."""
        window = self._live.get(key)
        if window is None:
            if len(self._live) >= self._most_live:
                self._retire(now)
            window = self._live[key] = SlidingWindow(self._limit, self._loop, self._traces.pop(key, now))
        return window

    def __len__(self) -> int:
        return len(self._live)

    def _retire(self, now: float) -> None:
        """Keep as objects only the windows that are in use or of which more is known."""
        self._traces.expire(now)
        kept: dict[str, SlidingWindow] = {}
        for key, window in self._live.items():
            times = window.completions(now, self._limit.requests)
            if times is None or len(times) > _FEW_ANSWERS:
                kept[key] = window
            elif times:
                self._traces.add(key, times, now)
        self._live = kept
        self._most_live = max(_FEW_WINDOWS, 2 * len(kept))
