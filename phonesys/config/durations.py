"""Durations such as `15m` and `1h30m`."""

from __future__ import annotations

import re
from datetime import timedelta

from phonesys.errors import InvalidArgument

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_PARTS = re.compile(r"(\d+(?:\.\d+)?)([dhms])", re.ASCII)
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+", re.ASCII).fullmatch
_SECONDS = re.compile(r"\d+(?:\.\d+)?", re.ASCII).fullmatch
_LONGEST = 366 * 86400


def parse_duration(text: str) -> timedelta:
    """Return the duration of a text such as `90s`, `15m`, `1h30m`, `1d`, or a number of seconds.

    Raise InvalidArgument for any other text, and for more than a year.
    """
    compact = text.strip().lower()
    amounts = _PARTS.findall(compact)
    units = [unit for _, unit in amounts]
    is_duration = _DURATION(compact) and len(set(units)) == len(units)
    if not (_SECONDS(compact) or is_duration):
        raise InvalidArgument(f"expected a duration such as 90s, 15m or 1h30m, got {text!r:.40}")
    seconds = (
        sum(timedelta(**{_UNITS[unit]: 1}).total_seconds() * float(amount) for amount, unit in amounts)
        if is_duration
        else float(compact)
    )
    if seconds > _LONGEST:
        raise InvalidArgument(f"expected a duration of at most a year, got {text!r:.40}")
    return timedelta(seconds=seconds)
