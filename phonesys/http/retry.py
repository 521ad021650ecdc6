"""Retries: which errors to retry and when, as pure functions, and the retry budget of a client."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import TYPE_CHECKING

from phonesys.errors import CallError, ConnectError, RateLimited, StatusError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phonesys.http.options import HttpOptions

_BUDGET_CAPACITY = 128.0  # two retries for each request that a sweep has in flight by default
_MAX_EXPONENT = 32  # 2.0 ** 1024 would overflow before `min` sees it


def is_retryable(error: CallError, *, idempotent: bool) -> bool:
    """Return True if the call may be sent again after this error.

    A call that is not idempotent may be, if the error proves that it was not executed.
    """
    return error.transient and (idempotent or error.not_executed)


def backoff(error: CallError, attempt: int, options: HttpOptions, draw: float) -> float:
    """Return the seconds to wait after `attempt` attempts. A wait that the vendor asks for wins.

    Capped exponential backoff with full jitter: `draw` is a random number from 0 to 1.
    """
    if isinstance(error, StatusError) and error.retry_after is not None:
        return error.retry_after
    ceiling = min(options.backoff_cap, options.backoff * 2.0 ** min(attempt - 1, _MAX_EXPONENT))
    return draw * ceiling


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds that the vendor asks to wait, from `retry-after-ms` or `Retry-After`.

    None for a value that is absent, malformed, negative or not finite (RFC 9110, section 10.2.3).
    """
    milliseconds = _parse_number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("Retry-After")
    if value is None:
        return None
    seconds = _parse_number(value)
    return seconds if seconds is not None else _seconds_until(value, now or datetime.now(UTC))


def _parse_number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return value if value >= 0 and isfinite(value) else None


def _seconds_until(text: str, now: datetime) -> float | None:
    try:
        when = parsedate_to_datetime(text)
        if when.tzinfo is None:  # RFC 5322: "-0000" is UTC, of an unknown time zone
            when = when.replace(tzinfo=UTC)
        return max(0.0, (when - now).total_seconds())
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


class RetryBudget:
    """Retry budget of one client: successes earn retries, so that retries do not multiply an outage.

    The budget starts full, with `capacity` retries; each success adds `earned` of one. Retries after a 429 or
    a connection that was never made are free: neither adds load to a vendor that fails.
    """

    __slots__ = ("_balance", "_capacity", "_earned")

    def __init__(self, capacity: float = _BUDGET_CAPACITY, earned: float = 0.5) -> None:
        self._capacity = capacity
        self._earned = earned
        self._balance = capacity

    def deposit(self) -> None:
        """Add what a success earns."""
        if self._balance < self._capacity:
            self._balance += self._earned

    def try_withdraw(self, error: CallError) -> bool:
        """Withdraw one retry. Return False if the budget is spent."""
        if isinstance(error, RateLimited | ConnectError):
            return True
        if self._balance < 1:
            return False
        self._balance -= 1
        return True
