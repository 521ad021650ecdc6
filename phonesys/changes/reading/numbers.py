"""Phone numbers as spreadsheets leave them: without `+`, with spaces, in scientific notation."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from phonesys._calling_codes import country_of
from phonesys._matching import NumberQuery
from phonesys.backends.countries import alpha_2

_is_float = re.compile(r"([0-9]{4,15})[.,]0+").fullmatch
_is_scientific = re.compile(r"\+?([0-9])(?:[.,]([0-9]+))?\s*[eE]\s*\+?([0-9]{1,2})").fullmatch
_MIN_DIGITS = 7
_WITH_CODE = 11
"""Digits from which a number is taken to have its country code. Shorter ones may lack it, or a leading 0."""
_NORTH_AMERICA = frozenset({"US", "CA"})


def restore_number(text: str, country: str | None) -> str:
    """Return a number in E.164, or its digits if only a held number can show its country code.

    Spaces, dashes, `00` and `(0)` are removed. A `+` that a spreadsheet dropped is put back if the digits
    begin with the country's calling code. Short codes and alphanumeric senders stay as they are. Raise
    ValueError for scientific notation that has lost digits.
    """
    plain = _expanded(text)
    query = NumberQuery.parse(plain)
    if query.digits is None or len(query.digits) < _MIN_DIGITS:
        return plain.strip()
    international = f"+{query.digits}"
    if query.is_international:
        return international
    wanted = alpha_2(country) if country else None
    if len(query.digits) >= _WITH_CODE and wanted is not None:
        derived = country_of(international)
        # A toll-free number of +1 has no country of its own.
        is_shared = derived is None and query.digits[0] == "1" and len(query.digits) == _WITH_CODE
        if derived == wanted or (is_shared and wanted in _NORTH_AMERICA):
            return international
    return query.digits


def is_rounded(text: str, number: str) -> bool:
    """Return True if the text is this number in scientific notation, with any number of digits."""
    match = _is_scientific(text.strip())
    digits = number.removeprefix("+")
    if match is None or not (digits.isascii() and digits.isdigit()):
        return False
    places = len(match[2] or "")
    try:
        return f"{Decimal(digits):.{places}E}" == f"{_to_decimal(match):.{places}E}"
    except InvalidOperation:
        return False


def _expanded(text: str) -> str:
    """Write out what a spreadsheet took for a number. Raise ValueError if digits are lost."""
    plain = text.strip()
    if match := _is_float(plain):
        return match[1]
    match = _is_scientific(plain)
    if match is None:
        return plain
    if len(match[2] or "") < int(match[3]):
        raise ValueError(f"{plain!r:.40} has lost digits; format the column as text in the spreadsheet")
    return f"{_to_decimal(match):.0f}"


def _to_decimal(match: re.Match[str]) -> Decimal:
    return Decimal(f"{match[1]}.{match[2] or 0}E{match[3]}")
