"""Adaptive limit: how much of a rate window this program uses while others use the same one.

Why it exists: a vendor's window belongs to an account, and other programs with credentials for that account
use it too. A program that insists on the whole window collects 429s, and so do the others.

What it gains: three programs that share a window come to equal shares without talking to each other, with
about 10 % of their requests refused. A vendor that refuses 5 % of all requests at random still gets more than
half of what it allows. Measured by `python -m tests.chaos.limits --only shared --only stray`.

How it works: AIMD (additive increase, multiplicative decrease), as in TCP's congestion control. A larger
share sends more, is refused more often, and so decreases by more. One 429 alone costs little, since it may be
stray; several in a row mean that the window is full. Vendors that state what is left of the window make it
more exact: requests that this program did not send are others'.

To delete it: `SlidingWindow` then always has the whole limit, and backs off after each 429 only.
"""

from __future__ import annotations

from math import inf

_COSTS = (1.5, 6.0)
"""Requests that the share loses with the first 429, and with the second in a row."""
_DECREASE_FACTOR = 0.7
"""Part of the share that is kept in a window with 429s: all that is lost with the third in a row."""
_INCREASE_PER_WINDOW = 1 / 18
"""Part of the whole limit that is added with each window."""
_FLOAT_TOLERANCE = 1e-6


class AdaptiveLimit:
    """This program's share of one account's window, in requests: from 1 to the whole limit."""

    __slots__ = (
        "_decreased_at",
        "_decreased_to",
        "_floor",
        "_floor_until",
        "_foreign",
        "_foreign_until",
        "_limit",
        "_per",
    )

    def __init__(self, limit: int, per: float) -> None:
        self._limit = limit
        self._per = per
        self._decreased_to = float(limit)
        self._decreased_at = -inf
        self._floor = 0.0
        self._floor_until = -inf
        self._foreign = 0
        self._foreign_until = -inf

    def on_rejected(self, used: int, in_a_row: int, now: float) -> None:
        """Decrease the share after a 429 that came while the window held `used` requests of this program.

        - `in_a_row`: 429s since the last request that was served, this one included.
        """
        share = self._exact_share(now)
        if now >= self._floor_until:
            # A full window held `used` requests of ours. Still, stray 429s cost no more than half.
            held = min(max(used, share / 2), share)
            self._floor, self._floor_until = max(1.0, held * _DECREASE_FACTOR), now + self._per
        lowered = share - _COSTS[in_a_row - 1] if in_a_row <= len(_COSTS) else 0.0
        self._decreased_to, self._decreased_at = min(share, max(lowered, self._floor)), now

    def on_foreign_usage(self, foreign: int, in_flight: int, now: float) -> None:
        """Note how many requests of other programs the vendor has counted, by its headers.

        It may not have counted all of ours that are in flight: there are `foreign` to `foreign + in_flight`.
        """
        known = self._foreign if now < self._foreign_until else 0
        self._foreign = max(0, foreign, min(known, foreign + in_flight))
        self._foreign_until = now + self._per

    def lower_limit(self, limit: int) -> None:
        """Adopt a limit that the vendor states and that is lower than the configured one."""
        self._limit = limit

    def capacity(self, now: float) -> int:
        """Return how many requests of this program the window may hold."""
        foreign = self._foreign if now < self._foreign_until else 0
        return max(1, min(self._share(now), self._limit - foreign))

    def grows_at(self, now: float) -> float:
        """Return the time at which the capacity may grow next."""
        at = inf
        if (share := self._share(now)) < self._limit:
            steps = share + 1 - self._decreased_to
            at = self._decreased_at + steps * self._per / (self._limit * _INCREASE_PER_WINDOW)
        if self._foreign and now < self._foreign_until:
            at = min(at, self._foreign_until)
        return at

    def _share(self, now: float) -> int:
        return max(1, int(self._exact_share(now) + _FLOAT_TOLERANCE))

    def _exact_share(self, now: float) -> float:
        if self._decreased_to >= self._limit:
            return float(self._limit)
        regained = (now - self._decreased_at) / self._per * self._limit * _INCREASE_PER_WINDOW
        return min(float(self._limit), self._decreased_to + regained)
