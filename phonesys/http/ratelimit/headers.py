"""The response headers in which a vendor states its limits."""

from __future__ import annotations

import time
from math import isfinite
from typing import Literal, TypeAlias

import msgspec

ResetUnit: TypeAlias = Literal["seconds", "milliseconds", "unix_seconds"]
"""Time until a limit resets, or the moment at which it does."""

_MAX_RESET = 86_400.0  # a longer wait is a vendor's mistake, not a limit to hold an account to


class RateLimitHeaders(msgspec.Struct, frozen=True, kw_only=True):
    """Names of the headers that state a vendor's limits, and their units; None for those it does not send.

    ::

        RateLimitHeaders(limit="X-RateLimit-Limit", remaining="X-RateLimit-Remaining",
                         reset="X-RateLimit-Reset", reset_unit="unix_seconds")
    """

    limit: str | None = None
    """Requests that the vendor allows in one window."""
    remaining: str | None = None
    """Requests left in the window."""
    reset: str | None = None
    """When the window resets."""
    reset_unit: ResetUnit = "seconds"
    daily_remaining: str | None = None
    """Requests left today."""
    daily_reset: str | None = None
    """When the daily quota resets. Without this header, it resets at midnight UTC."""
    daily_reset_unit: ResetUnit = "seconds"


def parse_reset(text: str | None, unit: ResetUnit) -> float | None:
    """Return the seconds until a limit resets, or None if the header is absent, malformed or absurd."""
    try:
        value = float(text) if text is not None else -1.0
    except ValueError:
        return None
    if unit == "milliseconds":
        value /= 1000
    elif unit == "unix_seconds":
        value -= time.time()
    return value if isfinite(value) and 0 <= value <= _MAX_RESET else None
