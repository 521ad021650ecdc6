"""Reading rows: a page of them all at once, or one by one where a row is bad."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec

from phonesys._validation import MAX_DEPTH, exceeds_depth
from phonesys.errors import DecodeError
from phonesys.http.response import EXCERPT, SHOWN, UNREADABLE
from phonesys.model import UnreadableRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

R = TypeVar("R")

MAX_UNREADABLE = 10_000
"""An answer with more bad rows than this is not a page with bad rows in it."""

_One: TypeAlias = str | float | int | bool | None
Untyped: TypeAlias = _One | dict[str, _One]
"""What no vendor promises the type of: kept as it came where that is one value, or an object of such."""

_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def row_reader(kind: type[R], *doubtful: str) -> Callable[[bytes | msgspec.Raw], R]:
    """Make the function that reads one row; fields that are `doubtful` never cost it.

    Where it cannot be read, it is read once more without those of them that are no text.
    """
    decode = msgspec.json.Decoder(kind, strict=False).decode

    def read(row: bytes | msgspec.Raw) -> R:
        try:
            return decode(row)
        except UNREADABLE as failure:
            reason = failure
        fields = _split(row)
        kept = {name: raw for name, raw in fields.items() if name not in doubtful or _is_text(raw)}
        if len(kept) == len(fields):
            raise reason
        return decode(msgspec.json.encode(kept))

    return read


def _is_text(raw: msgspec.Raw) -> bool:
    return bytes(memoryview(raw)[:1]) == b'"'


def decode_rows_individually(
    rows: Iterable[msgspec.Raw], read: Callable[[msgspec.Raw], R]
) -> tuple[tuple[R, ...], tuple[UnreadableRow, ...]]:
    """Read each row by itself, and keep those that cannot be read, as they came and with the reason.

    Raises DecodeError where that would be most of an endless answer.
    """
    good: list[R] = []
    bad: list[UnreadableRow] = []
    reasons: dict[str, str] = {}  # each once: thousands of rows may have the same
    for row in rows:
        try:
            good.append(read(row))
        except UNREADABLE as failure:
            if len(bad) == MAX_UNREADABLE:
                raise _hopeless(bad[0]) from None
            reason = str(failure)[:SHOWN]
            raw = bytes(memoryview(row)[:EXCERPT])
            bad.append(UnreadableRow(raw=raw, reason=reasons.setdefault(reason, reason)))
    return tuple(good), tuple(bad)


def _hopeless(first: UnreadableRow) -> DecodeError:
    return DecodeError(
        f"more than {MAX_UNREADABLE:,} rows cannot be read, the first for: {first.reason}", body=first.raw
    )


def check_depth(*values: Any) -> None:
    """Raise ValueError, which msgspec tells as its own, for objects that nobody could print or pickle."""
    if any(map(exceeds_depth, values)):
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
