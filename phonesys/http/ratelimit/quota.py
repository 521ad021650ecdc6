"""Daily quotas: once a vendor says that nothing is left, nothing is sent until the quota resets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Self

from phonesys.errors import QuotaExhausted


class DailyQuotas:
    """The rate keys whose daily quota is spent, each with the time at which it resets."""

    def __init__(self) -> None:
        self._resets_at: dict[str, datetime] = {}

    def __bool__(self) -> bool:
        return bool(self._resets_at)

    def prune(self) -> Self:
        """Drop the quotas that have reset."""
        now = datetime.now(UTC)
        self._resets_at = {key: resets_at for key, resets_at in self._resets_at.items() if now < resets_at}
        return self

    def exhaust(self, key: str, resets_in: float | None = None) -> None:
        """Send nothing more for this key until the quota resets: in so many seconds, or at midnight UTC."""
        now = datetime.now(UTC)
        if resets_in is not None:
            self._resets_at[key] = now + timedelta(seconds=resets_in)
        else:
            midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
            self._resets_at[key] = midnight + timedelta(days=1)

    def check(self, key: str) -> None:
        """Raise QuotaExhausted if the key's quota is spent and has not reset yet."""
        resets_at = self._resets_at.get(key)
        if resets_at is None:
            return
        if datetime.now(UTC) < resets_at:
            raise QuotaExhausted(
                f"the day's requests are used up; the quota resets at {resets_at:%Y-%m-%d %H:%M} UTC",
                resets_at=resets_at,
            )
        del self._resets_at[key]
