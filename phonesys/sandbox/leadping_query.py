"""Leadping's structured list query: search, filters, order, and the opaque token that leads on."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEFAULT_PAGE, LARGEST_PAGE = 25, 100
_SEARCHED = ["name", "number"]
_MISSING: Any = object()
_MAC = 12

Row = dict[str, Any]


class Exact(msgspec.Struct, rename="camel"):
    """Rows whose field equals a value of the same JSON type."""

    field: str
    value: str | int | float | bool | None = None


class Range(msgspec.Struct, rename="camel"):
    """Rows whose field lies between bounds; null and absent bounds do not bind."""

    field: str
    greater_than: str | float | None = None
    greater_than_or_equal: str | float | None = None
    less_than: str | float | None = None
    less_than_or_equal: str | float | None = None


class Order(msgspec.Struct, rename="camel"):
    """A field to sort by; rows without a value come first, or last if descending."""

    field: str
    direction: Literal["asc", "desc"] | None = None


class Options(msgspec.Struct, rename="camel"):
    """Body of a list request; every field is optional."""

    page_size: int = DEFAULT_PAGE
    continuation_token: str | None = None
    include_count: bool | None = None
    search: str | None = None
    search_fields: list[str] | None = None
    filters: list[Exact] | None = None
    range_filters: list[Range] | None = None
    order_by: list[Order] | None = None

    def is_plain(self) -> bool:
        """Return whether the request lists everything in the order of creation."""
        return not (self.search or self.filters or self.range_filters or self.order_by)

    def select(self, rows: Sequence[Row]) -> list[Row]:
        """Choose and order the rows; raises ValueError for what cannot be asked."""
        kept = [row for row in rows if self._matches(row)]
        for order in reversed(self.order_by or []):
            try:
                kept.sort(key=_sort_key(order.field), reverse=order.direction == "desc")
            except TypeError:
                raise ValueError(f"cannot order by '{order.field}'") from None
        return kept

    def _matches(self, row: Row) -> bool:
        return (
            self._found_in(row)
            and all(_equal(_value(row, f.field), f.value) for f in self.filters or [])
            and all(_within(_value(row, f.field), f) for f in self.range_filters or [])
        )

    def _found_in(self, row: Row) -> bool:
        if not self.search:
            return True
        values = [_value(row, name) for name in self.search_fields or _SEARCHED]
        return any(isinstance(value, str) and self.search.lower() in value.lower() for value in values)

    def fingerprint(self) -> str:
        """Sum up what is asked: the same for two requests that page through the same thing."""
        asked = (self.search, self.search_fields, self.filters, self.range_filters, self.order_by)
        return hashlib.sha256(msgspec.json.encode(asked)).hexdigest()[:12]


class Place(msgspec.Struct, array_like=True):
    """Position of a client in a list: the last row that it was sent, and where that row was."""

    fingerprint: str
    last: str
    serial: int
    """The place of that row in the order of creation, which it keeps even when it is gone."""
    position: int

    def resume(self, ids: Sequence[str], serial: Callable[[str], int], *, ordered: bool) -> int:
        """Return the index after the last row.

        If that row is gone from a list with an order of its own, it is where the row used to be.
        """
        if not ordered:
            return bisect_right(ids, self.serial, key=serial)
        return ids.index(self.last) + 1 if self.last in ids else min(self.position, len(ids))


class Tokens:
    """Writes places as opaque tokens, and reads back only those that it wrote."""

    def __init__(self, seed: int) -> None:
        self._key = f"continuation {seed}".encode()

    def write(self, place: Place) -> str:
        """Sign a place."""
        raw = msgspec.json.encode(place)
        return base64.urlsafe_b64encode(self._mac(raw) + raw).decode()

    def read(self, token: str, fingerprint: str) -> Place:
        """Read the place in a token; raises ValueError if it is forged, damaged or of another query."""
        try:
            blob = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError):
            raise ValueError("The continuation token is malformed.") from None
        mac, raw = blob[:_MAC], blob[_MAC:]
        if not hmac.compare_digest(mac, self._mac(raw)):
            raise ValueError("The continuation token is not valid.")
        place = msgspec.json.decode(raw, type=Place)
        if place.fingerprint != fingerprint:
            raise ValueError("The continuation token belongs to another query.")
        return place

    def _mac(self, raw: bytes) -> bytes:
        return hmac.digest(self._key, raw, "sha256")[:_MAC]


def _value(row: Row, path: str) -> Any:
    """Find a field by its name, dotted for what is inside another."""
    value: Any = row
    for name in path.split("."):
        value = cast("Row", value).get(name, _MISSING) if isinstance(value, dict) else _MISSING
        if value is _MISSING and name != "isDemo":
            raise ValueError(f"unknown field '{path}'")
    return None if value is _MISSING else value


def _equal(value: object, wanted: object) -> bool:
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def _within(value: Any, bounds: Range) -> bool:
    checks: tuple[tuple[Any, Callable[[Any, Any], bool]], ...] = (
        (bounds.greater_than, lambda a, b: a > b),
        (bounds.greater_than_or_equal, lambda a, b: a >= b),
        (bounds.less_than, lambda a, b: a < b),
        (bounds.less_than_or_equal, lambda a, b: a <= b),
    )
    try:
        return value is not None and all(bound is None or check(value, bound) for bound, check in checks)
    except TypeError:
        raise ValueError(f"'{bounds.field}' cannot be compared with such a value") from None


def _sort_key(field: str) -> Callable[[Row], tuple[bool, Any]]:
    def key(row: Row) -> tuple[bool, Any]:
        value = _value(row, field)
        return value is not None, value if value is not None else 0

    return key
