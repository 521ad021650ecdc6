"""Daily quotas: once a vendor says that nothing is left, nothing is sent until the quota resets."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Self

from phonesys.errors import QuotaExhausted


class _Reset(NamedTuple):
    """When a quota resets: by the clock on the wall, and by one that is never set."""

    at: datetime
    monotonic: float

    def is_over(self) -> bool:
        # A clock that is set back must not block an account for longer. Nor must a machine that sleeps, whose
        # monotonic clock may stand still meanwhile.
        return datetime.now(UTC) >= self.at or time.monotonic() >= self.monotonic


class DailyQuotas:
    """The rate keys whose daily quota is spent, each with the time at which it resets."""

    def __init__(self) -> None:
        self._resets: dict[str, _Reset] = {}

    def __bool__(self) -> bool:
        return bool(self._resets)

    def prune(self) -> Self:
        """Drop the quotas that have reset."""
        self._resets = {key: reset for key, reset in self._resets.items() if not reset.is_over()}
        return self

    def exhaust(self, key: str, resets_in: float | None = None) -> None:
        """Send nothing more for this key until the quota resets: in so many seconds, or at midnight UTC."""
        now = datetime.now(UTC)
        if resets_in is None:
            midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
            resets_in = (midnight - now).total_seconds()
        self._resets[key] = _Reset(now + timedelta(seconds=resets_in), time.monotonic() + resets_in)

    def check(self, key: str) -> None:
        """Raise QuotaExhausted if the key's quota is spent and has not reset yet."""
        reset = self._resets.get(key)
        if reset is None:
            return
        if not reset.is_over():
            raise QuotaExhausted(
                f"the day's requests are used up; the quota resets at {reset.at:%Y-%m-%d %H:%M} UTC",
                resets_at=reset.at,
            )
        del self._resets[key]
