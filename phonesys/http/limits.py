"""Never more requests than the vendor allows, in any window.

A slot is taken before a request is sent and stays taken until one window after its answer arrived. The
vendor counted the request somewhere between those two moments, so whatever the network's jitter, it can
never see more than the limit in a window of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from math import inf
from typing import TYPE_CHECKING

import msgspec

from phonesys.errors import InvalidArgument

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future, TimerHandle


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


class TooLong(Exception):
    """A slot cannot be free in time; `delay` is the least number of seconds that it would take."""

    def __init__(self, delay: float) -> None:
        super().__init__(delay)
        self.delay = delay


class Window:
    """The exact sliding window of one account.

    Times are those of the event loop's clock, in seconds. Arithmetic is in `take`, `settle` and `ready_at`;
    `turn` is the only thing that waits, first come first served.
    """

    __slots__ = (
        "_blocked",
        "_ended",
        "_head",
        "_loop",
        "_per",
        "_requests",
        "_timer",
        "_under_way",
        "_waiters",
    )

    def __init__(self, limit: RateLimit, loop: AbstractEventLoop) -> None:
        self._requests = limit.requests
        self._per = limit.per
        self._loop = loop
        self._under_way = 0
        # A deque costs several microseconds to make, and most accounts see a handful of requests: so a
        # list of the times at which answers came, and the index of the first that still counts.
        self._ended: list[float] = []
        self._head = 0
        self._blocked = -inf
        self._waiters: deque[Future[None]] | None = None
        self._timer: TimerHandle | None = None

    def take(self, now: float) -> bool:
        """Take a slot if one is free and nobody waits for it."""
        return not self._waiters and self._take(now)

    def settle(self, now: float) -> None:
        """Say that the request's answer is there, or will never be."""
        self._under_way -= 1
        if self._requests < UNLIMITED.requests:
            self._ended.append(now)
        if self._waiters:
            self._arm(now)

    def block(self, until: float) -> None:
        """Let nothing through before then: the vendor said so."""
        self._blocked = max(self._blocked, until)

    def observe(self, remaining: int, allowed: int, now: float) -> None:
        """Correct the count by what the vendor says is left in its own.

        Only upwards: requests of ours that it has not counted yet make its figure too high, never too low.
        What it has counted and we have not sent is somebody else's; it expires like our own.
        """
        if 0 < allowed < self._requests:
            self._requests = allowed
        foreign = (allowed - remaining) - self._used(now)
        if 0 <= remaining <= allowed and foreign > 0:
            self._ended.extend([now] * foreign)

    def idle(self, now: float) -> bool:
        """Say whether forgetting this window would change nothing."""
        return not self._under_way and not self._waiters and self._blocked <= now and not self._used(now)

    def ready_at(self, now: float, ahead: int = 0) -> float:
        """Tell when, at the earliest, a slot is free for whoever has `ahead` before them."""
        when = max(now, self._blocked)
        used = self._used(now)
        if used + ahead < self._requests:
            return when
        # The slots free up in the order in which they were settled, and again a window later.
        rounds, place = divmod(used + ahead - self._requests, self._requests)
        index = self._head + place
        # A request still under way settles now at the earliest.
        settled = self._ended[index] if index < len(self._ended) else now
        return max(when, settled + (rounds + 1) * self._per)

    async def turn(self, now: float, until: float) -> None:
        """Wait for a slot and take it; raises TooLong, without waiting, where that takes beyond `until`."""
        waiters = self._waiters = self._waiters if self._waiters is not None else deque()
        ready_at = self.ready_at(now, len(waiters))
        if ready_at > until:
            raise TooLong(ready_at - now)
        mine = self._loop.create_future()
        waiters.append(mine)
        self._arm(now)
        try:
            async with asyncio.timeout_at(None if until == inf else until):
                await mine
        except BaseException as failure:
            self._withdraw(mine)
            if isinstance(failure, TimeoutError):
                now = self._loop.time()
                raise TooLong(self.ready_at(now) - now) from None
            raise

    def _withdraw(self, mine: Future[None]) -> None:
        """Give back a slot that came in the moment in which its waiter left."""
        if mine.done() and not mine.cancelled():
            self._under_way -= 1
        elif self._waiters and mine in self._waiters:
            self._waiters.remove(mine)
        if self._waiters:
            self._arm(self._loop.time())

    def _take(self, now: float) -> bool:
        if now < self._blocked:
            return False
        if (
            self._under_way + len(self._ended) - self._head >= self._requests
            and self._used(now) >= self._requests
        ):
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

    def _arm(self, now: float) -> None:
        if self._timer is None and (self._head < len(self._ended) or self._under_way < self._requests):
            when = self.ready_at(now)
            self._timer = self._loop.call_at(when, self._grant, when)

    def _grant(self, when: float) -> None:
        self._timer = None
        now = max(when, self._loop.time())  # timers may fire a clock tick early
        while self._waiters and self._take(now):
            waiter = self._waiters.popleft()
            if waiter.done():
                self._under_way -= 1
            else:
                waiter.set_result(None)
        if self._waiters:
            self._arm(now)


class Windows:
    """The windows of all accounts; those that idle are forgotten, so that memory stays bounded."""

    def __init__(self, limit: RateLimit, loop: AbstractEventLoop) -> None:
        self._limit = limit
        self._loop = loop
        self._young: dict[str, Window] = {}
        self._old: dict[str, Window] = {}
        self._turn_at = loop.time() + limit.per

    def of(self, key: str, now: float) -> Window:
        """Return the account's window."""
        if now >= self._turn_at:
            self._age(now)
        window = self._young.get(key)
        if window is None:
            window = self._old.pop(key, None) or Window(self._limit, self._loop)
            self._young[key] = window
        return window

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def _age(self, now: float) -> None:
        """Forget what was not asked for during the last window and has nothing left to remember."""
        kept = {key: window for key, window in self._old.items() if not window.idle(now)}
        self._old = kept | self._young
        self._young = {}
        self._turn_at = now + self._limit.per
