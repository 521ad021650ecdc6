"""Cells of a file of changes: their values, and comparison with what an export of the same number holds.

A spreadsheet does not return a file as it was: it rewrites what looks like a number, a truth value or a time.
Such a cell is as it was if a spreadsheet makes it of the value that is held.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Self

import msgspec

from phonesys._spreadsheet import escape_formula, unescape_formula
from phonesys.changes.reading.numbers import is_rounded
from phonesys.model import parse_time
from phonesys.record import NumberRecord

if TYPE_CHECKING:
    from collections.abc import Callable


def _kind_of(field: msgspec.structs.FieldInfo) -> str:
    if field.name == "monthly_amount":
        return "decimal"
    kinds: dict[Any, str] = {bool | None: "flag", datetime | None: "time"}
    return kinds.get(field.type, "text")


KINDS = {field.name: _kind_of(field) for field in msgspec.structs.fields(NumberRecord)}
"""Columns of an export, and the kind of their values: text, flag, time or decimal."""

# As spreadsheets write them in Danish, Dutch, English, Finnish, French, German, Italian, Norwegian, Polish,
# Portuguese, Russian, Spanish, Swedish and Turkish, and as people do.
_TRUE_WORDS = """
    true 1 1.0 yes y on ja wahr oui vrai sí si verdadero vero sim verdadeiro waar prawda tak sant sann sand
    tosi kyllä doğru evet истина да
"""
_FALSE_WORDS = """
    false 0 0.0 no n off nein falsch non faux falso não nao onwaar nee fałsz nie falskt usann falsk epätosi ei
    yanlış hayır ложь нет
"""  # noqa: RUF001 -- Turkish
_TRUE, _FALSE = frozenset(_TRUE_WORDS.split()), frozenset(_FALSE_WORDS.split())
_INTEGERS = re.compile(r"[0-9]+")
_is_numeric = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?(?:[eE][+-]?[0-9]{1,3})?").fullmatch
_NEWLINE = re.compile(r"\r\n?")
_SPACES = " \t\r\n\N{NO-BREAK SPACE}"


class Cell(str):  # noqa: SLOT000 -- a handful of attributes, and mypy knows no slots of a str
    """Text of a cell, which compares with held values as a spreadsheet would have left them."""

    _column: str
    _raw: str
    _may_lack_characters: bool

    def __new__(cls, column: str, raw: str, *, may_lack_characters: bool = False) -> Self:
        """Return the text of a cell without the guards against formulas."""
        cell = super().__new__(cls, clean(raw))
        cell._column, cell._raw, cell._may_lack_characters = column, raw, may_lack_characters
        return cell

    def is_held(self, held: str | datetime | None) -> bool:
        """Return True if the cell is what this value becomes in an export that a spreadsheet saved."""
        if held is None:
            return False
        if _COMPARISONS[KINDS.get(self._column, "text")](self._raw, held):
            return True
        return self._may_lack_characters and _is_replaced(self, str(held))


def parse_cell(column: str, raw: Any, *, is_exact: bool, may_lack_characters: bool = False) -> Any:
    """Return the value of a cell: text, a truth value, or None if it is empty. Raise ValueError.

    - `is_exact`: it is a value of JSON, which no spreadsheet has rewritten.
    - `may_lack_characters`: those outside of Windows-1252 count as equal to what replaced them.
    """
    is_flag = KINDS.get(column) == "flag"
    if isinstance(raw, bool):
        if not is_flag:
            raise ValueError(f"expected text, got {str(raw).lower()}")
        return raw
    text = raw if is_exact else clean(raw or "")
    if not text:
        return None
    if is_flag:
        return _parse_flag(text)
    return text if is_exact else Cell(column, raw, may_lack_characters=may_lack_characters)


def _parse_flag(text: str) -> bool:
    word = text.strip(_SPACES).casefold()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError(f"expected true or false, got {text!r:.40}")


def clean(cell: str) -> str:
    """Return a cell's text without the guards against formulas and without space around it."""
    return unescape_formula(_NEWLINE.sub("\n", cell)).strip(_SPACES)


def _normalize(text: str) -> str:
    return _NEWLINE.sub("\n", text).strip(_SPACES)


def _is_same_text(cell: str, held: str) -> bool:
    plain, old = clean(cell), str(held)
    as_exported = {_normalize(old), _normalize(escape_formula(old))}
    return not as_exported.isdisjoint({plain, _normalize(cell)}) or _is_same_number(plain, old)


def _is_same_number(cell: str, held: str) -> bool:
    """Return True if a spreadsheet took text for a number: 007 became 7, +14155552671 became 1.41556E+10."""
    if not _is_numeric(held):
        return False
    return is_rounded(cell, held) or _to_decimal(cell) == _to_decimal(held)


def _is_same_decimal(cell: str, held: str) -> bool:
    return _to_decimal(cell) == _to_decimal(held)


def _to_decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text.strip(_SPACES).replace(",", "."))
    except InvalidOperation:
        return None


def _is_same_time(cell: str, held: datetime) -> bool:
    """Return True for the same second, or for a local spelling that is made of the parts of this time."""
    utc = held.astimezone(UTC)
    text = cell.strip(_SPACES)
    zoned = text.removesuffix(" UTC")
    for spelling in (text, zoned, f"{zoned}Z"):
        if (moment := parse_time(spelling.replace(" ", "T", 1))) is not None:
            return abs((moment - utc).total_seconds()) < 1
    parts = {
        utc.year,
        utc.year % 100,
        utc.month,
        utc.day,
        utc.hour,
        utc.hour % 12 or 12,
        utc.minute,
        utc.second,
    }
    integers = [int(part) for part in _INTEGERS.findall(text)]
    return bool(integers) and {utc.month, utc.day} <= set(integers) <= parts


_COMPARISONS: dict[str, Callable[[str, Any], bool]] = {
    "text": _is_same_text,
    "time": _is_same_time,
    "decimal": _is_same_decimal,
}


def _is_replaced(cell: str, held: str) -> bool:
    """Return True if other characters stand for those of the held text that Windows-1252 lacks.

    Programs count characters beyond U+FFFF as one or as two, but all alike.
    """
    return any(re.fullmatch(_pattern(held, beyond), cell, re.DOTALL) for beyond in (".", ".."))


def _pattern(held: str, beyond: str) -> str:
    def pattern(character: str) -> str:
        try:
            character.encode("cp1252")
        except UnicodeEncodeError:
            return beyond if character > "\uffff" else "."
        return re.escape(character)

    return "".join(map(pattern, held.strip(_SPACES)))
