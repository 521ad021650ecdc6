"""Phone numbers as E.164 writes them."""

from __future__ import annotations

import re

from phonesys.errors import InvalidArgument

_E164 = re.compile(r"\+[1-9][0-9]{6,14}").fullmatch


def is_e164(number: str) -> bool:
    """Say whether this is `+`, a country code and at most 15 digits in all (ITU-T E.164, §6)."""
    return _E164(number) is not None


def checked(number: str, what: str = "phone number") -> str:
    """Return the number; raises InvalidArgument, with the form that was expected, for anything else."""
    if not isinstance(number, str) or not is_e164(number):
        raise InvalidArgument(
            f"{what}: {number!r:.80} is not E.164; expected '+', country code and number, as in +14155552671"
        )
    return number
