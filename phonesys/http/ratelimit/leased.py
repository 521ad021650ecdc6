"""Leased window: one account's window that several programs use at once, shared through a store.

Why it exists: a vendor counts the requests of all programs of an app. Programs that know nothing of each
other find their shares by being refused (`adaptive`). Programs that share a store need no refusal.

How it works: a request needs a lease from the store, besides a slot of the local window. Leases are traded in
batches: those that are wanted, and those whose responses have arrived, which end one window later. They may
be granted a moment before they begin, so that no program has to ask at the right time. A program whose store
is gone waits for one window, because the others may have used it whole, and then uses its share: the limit
divided by the programs that it last saw.

Measured by `python -m tests.chaos.leases`, and by its tests on a simulated clock: four programs, 95 % of the
window used, and no refusal.

To delete it: `RateLimiter.window` then always makes a `SlidingWindow`, and programs share windows adaptively.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from phonesys._concurrency import wait_finished
from phonesys.http.ratelimit.window import RateLimit, SlidingWindow

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Mapping, Sequence

log = logging.getLogger("phonesys")

_BATCHES_PER_WINDOW = 200
_POLLS_PER_WINDOW = 20
_NONE: Mapping[int, float] = {}


class LeaseGrant(NamedTuple):
    """Result of a trade."""

    leases: Mapping[int, float]
    """Ids of the leases that were granted, each with the seconds until it begins.

    There are as many as were wanted, or as are free now or soon.
    """
    retry_after: float
    """Seconds until the next lease ends."""
    programs: int
    """Programs that share the window, this one included."""


@runtime_checkable
class LeaseStore(Protocol):
    """Leases of rate windows, by the clock of the store."""

    async def trade_leases(
        self,
        window: str,
        limit: RateLimit,
        *,
        hold: float,
        wanted: int,
        completed: Mapping[int, float] = _NONE,
        unused: Sequence[int] = (),
        unleased: Sequence[float] = (),
    ) -> LeaseGrant:
        """Return leases, and get others, in one transaction.

        - `hold`: seconds after which the lease of a program that died ends.
        - `completed`: leases whose responses have arrived, and how many seconds ago. They end `limit.per`
          seconds after the response.
        - `unused`: leases without a request. They end at once.
        - `unleased`: how many seconds ago responses to requests without a lease arrived. These count as well.
        """
        ...


@dataclass(frozen=True)
class SharedLimit:
    """The window of one rate key, and the store that shares it."""

    key: str
    """The rate key of the calls."""
    name: str
    """Name of the window in the store, the same for every program."""
    store: LeaseStore
    max_duration: float
    """Seconds that one request may take. The lease of a program that died ends one window later."""


class LeasedWindow(SlidingWindow):
    """A sliding window whose slots need a lease each.

    A task trades leases while there is something to trade. `finish` ends it.
    """

    __slots__ = (
        "_completed", "_finished", "_in_use", "_lost_at", "_news", "_programs", "_retry_after",
        "_share", "_shared", "_spare", "_task", "_unleased",
    )  # fmt: skip

    def __init__(
        self,
        limit: RateLimit,
        loop: AbstractEventLoop,
        shared: SharedLimit,
        completions: list[float] | None = None,
    ) -> None:
        super().__init__(limit, loop, completions)
        self._shared = shared
        self._spare: list[tuple[float, int]] = []
        """Leases to use, with the times at which they begin, the first one last."""
        self._in_use: list[int | None] = []
        """The leases of requests in flight; None for those that were sent without one."""
        self._completed: dict[int, float] = {}
        """Leases to return, with the times of their responses."""
        self._unleased: list[float] = []
        self._programs = 1
        self._retry_after = 0.0
        self._share: int | None = None
        """This program's part of the limit while the store is gone."""
        self._lost_at = -inf
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._finished = False

    def complete(self, now: float) -> None:
        """Note that a request's response has arrived, or never will."""
        lease = self._in_use.pop()
        if lease is None:
            self._unleased.append(now)
        else:
            self._completed[lease] = now
        super().complete(now)
        self._trade_soon()

    def cancel(self, now: float) -> None:
        """Give back a slot whose request was not sent."""
        super().cancel(now)
        self._trade_soon()

    def sync(self, remaining: int, limit: int, now: float) -> None:
        """Adopt a lower limit. The vendor's count holds no news: other programs have leases too."""
        if 0 < limit < self._limit:
            super().sync(limit, limit, now)

    def completions(self, now: float, requests: int) -> list[float] | None:
        """Return the completion times that still count, or None if the window has more state than those."""
        if self._task is not None or self._has_returns() or self._share is not None:
            return None
        return super().completions(now, requests)

    async def finish(self) -> None:
        """Return all leases, and end the task that trades them."""
        self._finished = True
        self._news.set()
        if self._task is not None:
            await wait_finished(self._task)
        if self._has_returns():
            await self._trade()

    def _take_slot(self, now: float) -> bool:
        if self._share is None and self._next_lease() > now:
            return False
        if not super()._take_slot(now):
            return False
        self._in_use.append(self._spare.pop()[1] if self._share is None else None)
        return True

    def _next_lease(self) -> float:
        """Return the time at which the next lease in hand begins."""
        return self._spare[-1][0] if self._spare else inf

    def _return_slot(self) -> None:
        super()._return_slot()
        lease = self._in_use.pop()
        if lease is not None:
            self._spare.append((0.0, lease))

    def _update_capacity(self, now: float) -> int:
        capacity = self._limit if self._adaptive is None else self._adaptive.capacity(now)
        self._capacity = capacity if self._share is None else min(capacity, self._share)
        return self._capacity

    def _schedule_wakeup(self, now: float) -> None:
        if now < self._next_lease() < inf and self._share is None:
            if self._timer is None:
                self._timer = self._loop.call_at(self._next_lease(), self._wake_waiters, self._next_lease())
        elif self._spare or self._share is not None or not self._room(now):
            super()._schedule_wakeup(now)
        else:  # its waiter is in the queue once the task runs
            self._start_trading()

    def _room(self, now: float) -> int:
        """Return the number of slots that the local window has free."""
        if now < self._blocked_until:
            return 0
        room = min(self._update_capacity(now) - self._count_used(now), self._max_in_flight - self._in_flight)
        return max(0, int(room))

    # Trades

    def _has_returns(self) -> bool:
        unused = self._spare and (self._finished or not self._waiters)
        return bool(self._completed or self._unleased or unused)

    def _wanted(self) -> int:
        waiting = 0 if self._finished or not self._waiters else len(self._waiters)
        return max(0, min(waiting, self._room(self._loop.time())) - len(self._spare))

    def _trade_soon(self) -> None:
        self._news.set()
        if self._has_returns() or self._wanted():
            self._start_trading()

    def _start_trading(self) -> None:
        if self._task is None and not self._finished:
            self._task = self._loop.create_task(self._trade_while_needed(), name="phonesys: leases")

    async def _trade_while_needed(self) -> None:
        try:
            if not self._wanted():  # only returns, which can wait for more of them
                await self._pause(0.0)
            while self._has_returns() or self._wanted() or self._share is not None:
                await self._trade()
                if self._finished:
                    return
                await self._pause(self._retry_after if self._wanted() or self._share is not None else 0.0)
        finally:
            self._task = None

    async def _pause(self, seconds: float) -> None:
        """Collect a batch, then wait for so many seconds, or for returns."""
        self._news.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._per / _BATCHES_PER_WINDOW):
                while not self._finished:
                    await self._news.wait()
                    if not self._finished:
                        self._news.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, self._per / _POLLS_PER_WINDOW)):
                while not self._has_returns() and not self._finished:
                    await self._news.wait()
                    self._news.clear()

    async def _trade(self) -> None:
        """Return leases and get others. Fall back to this program's share while the store is gone."""
        completed, self._completed = self._completed, {}
        spare, self._spare = ([], self._spare) if self._waiters and not self._finished else (self._spare, [])
        unleased, self._unleased = self._unleased[-self._limit :], []
        now = self._loop.time()
        try:
            grant = await self._shared.store.trade_leases(
                self._shared.name,
                RateLimit(self._limit, self._per),
                hold=self._shared.max_duration + self._per,
                wanted=self._wanted(),
                completed={lease: now - at for lease, at in completed.items()},
                unused=[lease for _, lease in spare],
                unleased=[now - at for at in unleased],
            )
        except Exception as failure:  # noqa: BLE001 -- a third party's store may raise anything
            self._completed |= completed
            self._spare += spare
            self._unleased += unleased
            self._lose_store(failure)
            return
        self._regain_store()
        now = self._loop.time()  # later than the store's answer, and so on the safe side
        granted = [(now + delay, lease) for lease, delay in grant.leases.items()]
        self._spare = sorted([*granted, *self._spare], reverse=True)
        self._retry_after, self._programs = grant.retry_after, grant.programs
        self._reschedule_wakeup(self._loop.time())

    def _lose_store(self, failure: Exception) -> None:
        self._retry_after = self._per
        if self._share is not None:
            return
        self._share = max(1, self._limit // self._programs)
        log.warning(
            "the window of %s is not shared: %s; this program uses %d of %d requests",
            self._shared.key, failure, self._share, self._limit,
        )  # fmt: skip
        # As if the others had used the rest of the window just now.
        self._lost_at = now = self._loop.time()
        self._completions.extend([now] * (self._limit - self._count_used(now)))
        self._reschedule_wakeup(now)

    def _regain_store(self) -> None:
        if self._share is None:
            return
        log.warning("the window of %s is shared again", self._shared.key)
        self._share = None
        self._count_used(self._loop.time())
        others = self._lost_at
        self._completions = [at for at in self._completions[self._first :] if at != others]
        self._first = 0
        self._update_capacity(self._loop.time())
