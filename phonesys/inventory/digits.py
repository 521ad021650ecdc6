"""Numbers without their spelling, so that two spellings of one number compare equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phonesys.record import NumberRecord

_NOT_DIGITS = str.maketrans("", "", "+-. ()/\N{NO-BREAK SPACE}")
# Shorter ones are extensions and service codes, which repeat from account to account.
_SHORTEST = 7


def to_digits(number: str) -> int | None:
    """Return the digits as one integer, which takes half the memory of a string; None for other text."""
    text = number.translate(_NOT_DIGITS)
    return int(text) if text.isascii() and text.isdigit() and len(text) >= _SHORTEST else None


def number_key(number: str) -> str:
    """Return the digits of a number, or another text in lower case, such as an alphanumeric sender."""
    text = number.strip().casefold().removeprefix("tel:").translate(_NOT_DIGITS)
    is_number = text.isascii() and text.isdigit()
    # Some vendors write the international prefix 00 instead of +.
    return text.removeprefix("00") if is_number else number.strip().casefold()


def forwarding_target(record: NumberRecord) -> int | None:
    """Return the number that receives forwarded calls, unless another route takes precedence."""
    for route in (record.inbound, record.pool_route):
        if route is not None:
            kind, _, target = route.partition(":")
            return to_digits(target) if kind == "forward" else None
    return to_digits(record.forwarding_number) if record.forwarding_number else None
