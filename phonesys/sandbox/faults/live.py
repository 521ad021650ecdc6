"""Faults in the fields of rows: what vendors were seen to send instead of what they document."""

from __future__ import annotations

from email.utils import format_datetime
from typing import TYPE_CHECKING, Any
from zlib import crc32

from phonesys._validation import is_array, is_object
from phonesys.model import parse_time
from phonesys.sandbox.faults.rows import PHONE_NUMBER_KEYS, RowFault
from phonesys.sandbox.faults.rule import expect

if TYPE_CHECKING:
    from phonesys.sandbox.faults.rows import Page

_IDENTITIES = frozenset({"id", "sid"})
_LABELS = ("friendlyName", "name")
_HALF_PAIR = "\ue000"  # a private character, replaced in the encoded body: encoders refuse half a pair
_CODED = frozenset({"status", "type", "state", "inventoryState", "origin"})


class OddTypes(RowFault, frozen=True, kw_only=True, tag="odd-types"):
    """Writes a `share` of the fields in a type that no document names, the same ones each time.

    With `numbers`, phone numbers are integers, without their `+`.
    """

    share: float = 0.3
    numbers: bool = False

    def check(self) -> None:
        """Raise InvalidArgument for a share that is not from 0 to 1."""
        expect(0 <= self.share <= 1, "share: expected 0 to 1", self.share)

    def spoil(self, page: Page) -> Any:
        """Change the types of fields, in place."""
        for row in page.rows:
            for key in row:
                if key in PHONE_NUMBER_KEYS:
                    row[key] = _as_integer(row[key]) if self.numbers else row[key]
                elif key not in _IDENTITIES and _draw(row, key) < self.share:
                    row[key] = _retyped(row[key], _draw(row, key, "type"))
        return page.value


def _draw(row: dict[str, Any], *salt: str) -> float:
    """Return a number from 0 to 1 that depends on the row alone, so that it is the same in each page."""
    name = next((str(row[key]) for key in ("id", "sid", *PHONE_NUMBER_KEYS) if row.get(key)), "")
    return crc32("/".join((name, *salt)).encode()) / 2**32


def _retyped(value: Any, draw: float) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return ({"id": value}, [value], len(value))[int(draw * 3)]
    if isinstance(value, int | float):
        return str(value)
    if is_object(value):
        return [name for name, inner in value.items() if inner is True]
    if is_array(value):
        return value[0] if value else ""
    return 0


def _as_integer(value: Any) -> Any:
    digits = value.removeprefix("+") if isinstance(value, str) else ""
    return int(digits) if digits.isdecimal() else value


class LiveSpelling(RowFault, frozen=True, kw_only=True, tag="live-spelling"):
    """Spells fields as live responses do.

    `tollFree` for `toll-free`, RFC 2822 dates, empty strings for null, words in capitals, capabilities with
    keys in capitals.
    """

    def spoil(self, page: Page) -> Any:
        """Respell every row, in place."""
        for row in page.rows:
            for key, value in row.items():
                row[key] = _respelled(key, value)
        return page.value


def _respelled(key: str, value: Any) -> Any:
    if value is None:
        return ""
    if key == "capabilities" and is_object(value):
        return {name.upper(): flag for name, flag in value.items()}
    if not isinstance(value, str):
        return value
    if value == "toll-free":
        return "tollFree"
    if key in _CODED:
        return value.upper()
    moment = parse_time(value) if key.startswith(("date", "created", "updated")) else None
    return value if moment is None else format_datetime(moment)


class BrokenText(RowFault, frozen=True, kw_only=True, tag="broken-text"):
    """Ends each label with half of a surrogate pair, as text that was cut in the middle of an emoji."""

    def spoil(self, page: Page) -> Any:
        """Mark every label, in place."""
        for row in page.rows:
            for key in _LABELS:
                if isinstance(row.get(key), str):
                    row[key] += _HALF_PAIR
        return page.value

    def encode(self, value: Any) -> bytes:
        """Write the marks as half of a pair."""
        return super().encode(value).replace(_HALF_PAIR.encode(), b"\\ud83d")


class NoNumber(RowFault, frozen=True, kw_only=True, tag="no-number"):
    """Leaves a `share` of the rows without a phone number, the same ones each time; their ids stay."""

    share: float = 0.1

    def check(self) -> None:
        """Raise InvalidArgument for a share that is not from 0 to 1."""
        expect(0 <= self.share <= 1, "share: expected 0 to 1", self.share)

    def spoil(self, page: Page) -> Any:
        """Clear numbers of rows that have another id, in place."""
        for row in page.rows:
            if (row.get("id") or row.get("sid")) and _draw(row, "number") < self.share:
                row.update({key: None for key in PHONE_NUMBER_KEYS if key in row})
        return page.value
