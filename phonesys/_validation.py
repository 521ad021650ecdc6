"""Validation of plain values: E.164 numbers, nesting depth, JSON types."""

from __future__ import annotations

import re
from typing import Any, TypeGuard

from phonesys.errors import InvalidArgument

_E164 = re.compile(r"\+[1-9][0-9]{6,14}").fullmatch


def is_e164(number: str) -> bool:
    """Say whether this is `+`, a country code and at most 15 digits in all (ITU-T E.164, §6)."""
    return _E164(number) is not None


def validate_e164(number: str, what: str = "phone number") -> str:
    """Return the number; raises InvalidArgument, with the form that was expected, for anything else."""
    if not isinstance(number, str) or not is_e164(number):
        raise InvalidArgument(
            f"{what}: {number!r:.80} is not E.164; expected '+', country code and number, as in +14155552671"
        )
    return number


MAX_DEPTH = 32
"""Deeper than anything that anybody writes by hand or a vendor documents."""


def exceeds_depth(value: Any, most: int = MAX_DEPTH) -> bool:
    """Say whether lists and objects lie in one another more than `most` deep."""
    level = [value]
    for _ in range(most):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(value: Any) -> list[Any]:
    """Return the containers that this one holds."""
    if _is_object(value):
        return [inner for inner in value.values() if isinstance(inner, dict | list)]
    return [inner for inner in value if isinstance(inner, dict | list)] if _is_list(value) else []


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)
