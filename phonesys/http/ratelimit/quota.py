"""What a vendor says of the day's requests: once they are used up, nothing is sent until midnight UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from phonesys.errors import QuotaExhausted


class DailyQuotas:
    """The rate keys whose quota is spent, each with the time at which it starts anew."""

    def __init__(self) -> None:
        self._spent: dict[str, datetime] = {}

    def __bool__(self) -> bool:
        return bool(self._spent)

    def exhaust(self, key: str) -> None:
        """Take note that nothing is left today."""
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        self._spent[key] = midnight + timedelta(days=1)

    def check(self, key: str) -> None:
        """Raise QuotaExhausted if nothing is left; a new day forgets the last one."""
        resets_at = self._spent.get(key)
        if resets_at is None:
            return
        if datetime.now(UTC) < resets_at:
            raise QuotaExhausted(
                f"the day's requests are used up; they start anew at {resets_at:%Y-%m-%d %H:%M} UTC",
                resets_at=resets_at,
            )
        del self._spent[key]
