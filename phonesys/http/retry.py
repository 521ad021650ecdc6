"""Whether to try again, and when: pure functions, and the budget that keeps an outage from growing."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import TYPE_CHECKING

from phonesys.errors import CallError, ConnectError, RateLimited, StatusError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phonesys.http.options import HttpOptions

_FREE_RETRIES = 128.0  # two for each request that a sweep has under way by default: all may be lost at once
_LARGEST_EXPONENT = 32  # 2.0 ** 1024 would overflow before `min` sees it


def is_retryable(error: CallError, *, idempotent: bool) -> bool:
    """Say whether the call may be sent again after this error.

    A call that is not safe only where the error proves that nothing was carried out.
    """
    return error.transient and (idempotent or error.not_executed)


def backoff(error: CallError, attempt: int, options: HttpOptions, draw: float) -> float:
    """Count the seconds before the next try, after `attempt` tries; the vendor's own wait wins.

    Capped exponential backoff with full jitter: `draw` is a random number from 0 to 1.
    """
    if isinstance(error, StatusError) and error.retry_after is not None:
        return error.retry_after
    ceiling = min(options.backoff_cap, options.backoff * 2.0 ** min(attempt - 1, _LARGEST_EXPONENT))
    return draw * ceiling


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Read how long the vendor asks to wait, in seconds, from `retry-after-ms` or `Retry-After`.

    None for what is absent, malformed, negative or not finite (RFC 9110, section 10.2.3).
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("Retry-After")
    if value is None:
        return None
    seconds = _number(value)
    return seconds if seconds is not None else _until(value, now or datetime.now(UTC))


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return value if value >= 0 and isfinite(value) else None


def _until(text: str, now: datetime) -> float | None:
    try:
        when = parsedate_to_datetime(text)
        if when.tzinfo is None:  # "-0000" means UTC of unknown zone, RFC 5322
            when = when.replace(tzinfo=UTC)
        return max(0.0, (when - now).total_seconds())
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


class RetryBudget:
    """One per client: retries are paid from what successes earn, so that an outage is not multiplied.

    At the start, and at the most, `capacity` retries are free; each success earns `earned` of one.
    A wait that the vendor asked for (429) costs nothing, nor does a connection that was never made: neither
    is work that an outage would multiply.
    """

    __slots__ = ("_capacity", "_earned", "_left")

    def __init__(self, capacity: float = _FREE_RETRIES, earned: float = 0.5) -> None:
        self._capacity = capacity
        self._earned = earned
        self._left = capacity

    def deposit(self) -> None:
        """One call succeeded."""
        if self._left < self._capacity:
            self._left += self._earned

    def try_withdraw(self, error: CallError) -> bool:
        """Pay for one retry; False where the budget is spent."""
        if isinstance(error, RateLimited | ConnectError):
            return True
        if self._left < 1:
            return False
        self._left -= 1
        return True
