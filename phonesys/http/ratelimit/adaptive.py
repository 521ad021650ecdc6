"""How much of a rate window is ours, where programs that know nothing of each other use the same one."""

from __future__ import annotations

from math import inf

_CUT = 0.7
"""What is left of our share after a window in which the vendor refused something."""
_REGAINED = 1 / 16
"""How much of the whole limit comes back with each window after that."""
_LACKING = 1e-6  # what a sum of floats may lack of a whole


class AdaptiveLimit:
    """Our share of one account's window, in requests: at least one, at the most the limit.

    It learns from two things: 429s, after which it falls by a factor and then grows by a step (so that the
    shares of several programs become equal), and what the vendor says is left of the window.
    """

    __slots__ = ("_cut_at", "_cut_to", "_most", "_others", "_others_until", "_per")

    def __init__(self, most: int, per: float) -> None:
        self._most = most
        self._per = per
        self._cut_to = most
        self._cut_at = -inf
        self._others = 0
        self._others_until = -inf

    def on_rejected(self, used: int, now: float) -> None:
        """Take note of a 429, that came while so many of the window's requests were ours.

        Requests that are refused together are one sign of others, so only the first in a window counts.
        """
        if now < self._cut_at + self._per:
            return
        ours = self._ours(now)
        # What we had of a window that was full. But one 429 out of nowhere must not cost more than half.
        had = min(max(used, ours // 2), ours)
        self._cut_to, self._cut_at = max(1, int(had * _CUT)), now

    def on_foreign_usage(self, foreign: int, under_way: int, now: float) -> None:
        """Take note of how many requests of others the vendor has counted, by its headers.

        It has not counted all of ours that are under way: there are `foreign` to `foreign + under_way`.
        """
        known = self._others if now < self._others_until else 0
        self._others = max(0, foreign, min(known, foreign + under_way))
        self._others_until = now + self._per

    def lower_limit(self, most: int) -> None:
        """Believe the vendor that the limit is lower than what was configured."""
        self._most = most

    def capacity(self, now: float) -> int:
        """Count how many requests of ours the window may hold."""
        others = self._others if now < self._others_until else 0
        return max(1, min(self._ours(now), self._most - others))

    def grows_at(self, now: float) -> float:
        """Tell when there may be more room than now."""
        at = inf
        if (ours := self._ours(now)) < self._most:
            at = self._cut_at + (ours + 1 - self._cut_to) * self._per / (self._most * _REGAINED)
        if self._others and now < self._others_until:
            at = min(at, self._others_until)
        return at

    def _ours(self, now: float) -> int:
        if self._cut_to >= self._most:
            return self._most
        back = (now - self._cut_at) / self._per * self._most * _REGAINED
        return min(self._most, self._cut_to + int(back + _LACKING))
