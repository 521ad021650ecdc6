"""Validation of plain values: E.164 numbers, nesting depth, JSON types."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeGuard

from phonesys.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable

_match_e164 = re.compile(r"\+[1-9][0-9]{6,14}").fullmatch

_DIGITS = re.compile(r"\+?[0-9]{4,15}").fullmatch


def validate_digits(number: str) -> str:
    """Return a number to search for: E.164, or digits if the country code is not known.

    Raise InvalidArgument for anything else.
    """
    if not isinstance(number, str) or _DIGITS(number) is None:
        raise InvalidArgument(f"phone number: expected E.164 or digits, got {number!r:.80}")
    return number


MAX_DEPTH = 32
"""Deepest nesting of lists and objects that is accepted; no vendor documents more than a handful."""


def is_e164(number: str) -> bool:
    """Return True for `+`, a country code and at most 15 digits in all (ITU-T E.164, section 6)."""
    return _match_e164(number) is not None


def validate_e164(number: str, what: str = "phone number") -> str:
    """Return the number. Raise InvalidArgument, with the expected form, if it is not E.164."""
    if not isinstance(number, str) or not is_e164(number):
        raise InvalidArgument(
            f"{what}: {number!r:.80} is not E.164; expected '+', country code and number, as in +14155552671"
        )
    return number


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Return True for a decoded JSON object."""
    return isinstance(value, dict)


def is_array(value: Any) -> TypeGuard[list[Any]]:
    """Return True for a decoded JSON array."""
    return isinstance(value, list)


def exceeds_depth(value: Any, limit: int = MAX_DEPTH) -> bool:
    """Return True if lists and objects are nested more than `limit` deep."""
    level = [value]
    for _ in range(limit):
        level = [inner for outer in level for inner in _containers(outer)]
        if not level:
            return False
    return True


def _containers(value: Any) -> list[Any]:
    if is_object(value):
        return [inner for inner in value.values() if isinstance(inner, dict | list)]
    return [inner for inner in value if isinstance(inner, dict | list)] if is_array(value) else []


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is close, if any."""
    from difflib import get_close_matches  # needed only for an error

    return next(iter(get_close_matches(word, sorted(known), n=1)), None)


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return the end of a message: the known word that is close, or all of them."""
    words = sorted(known)
    close = closest(word, words)
    return f"; did you mean {close!r}?" if close else f"; there are: {', '.join(words) or 'none'}"
