"""Numbers as the digits they are, so that two spellings of one number are one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phonesys.inventory.record import NumberRecord

_NOT_DIGITS = str.maketrans("", "", "+-. ()/\N{NO-BREAK SPACE}")
# Shorter ones are extensions and service codes, which are the same in many places.
_SHORTEST = 7


def digits(number: str) -> int | None:
    """Return the digits as one integer, which costs half of what a string does; None where there are none."""
    text = number.translate(_NOT_DIGITS)
    return int(text) if text.isascii() and text.isdigit() and len(text) >= _SHORTEST else None


def forwards_to(record: NumberRecord) -> int | None:
    """Return the number that calls are forwarded to, unless something else answers them first."""
    for route in (record.inbound, record.pool_route):
        if route is not None:
            what, _, target = route.partition(":")
            return digits(target) if what == "forward" else None
    return digits(record.forwarding_number) if record.forwarding_number else None
