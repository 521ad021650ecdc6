"""Decoding of rows one by one, for pages with a bad row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec

from phonesys._validation import MAX_DEPTH, exceeds_depth
from phonesys.errors import DecodeError
from phonesys.http.response import BODY_EXCERPT_BYTES, MESSAGE_EXCERPT_CHARS, MSGSPEC_ERRORS
from phonesys.model import UnreadableRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

R = TypeVar("R")

MAX_UNREADABLE = 10_000
"""Above this many bad rows, the response as a whole is an error."""

_Scalar: TypeAlias = str | float | int | bool | None
Untyped: TypeAlias = _Scalar | dict[str, _Scalar]
"""A field of undocumented type: a single value, or an object of such, kept as it came."""

_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def row_decoder(kind: type[R], *doubtful: str) -> Callable[[bytes | msgspec.Raw], R]:
    """Return a decoder of one row. Fields that are `doubtful` never make it unreadable.

    If the row cannot be decoded, it is decoded again without those of them that are not text.
    """
    decode = msgspec.json.Decoder(kind, strict=False).decode

    def read(row: bytes | msgspec.Raw) -> R:
        try:
            return decode(row)
        except MSGSPEC_ERRORS as failure:
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
    """Decode each row by itself. Keep unreadable rows raw, with the reason.

    Raises DecodeError above MAX_UNREADABLE of them.
    """
    good: list[R] = []
    bad: list[UnreadableRow] = []
    reasons: dict[str, str] = {}  # interned: thousands of rows may have the same one
    for row in rows:
        try:
            good.append(read(row))
        except MSGSPEC_ERRORS as failure:
            if len(bad) == MAX_UNREADABLE:
                raise _too_many_unreadable(bad[0]) from None
            reason = str(failure)[:MESSAGE_EXCERPT_CHARS]
            raw = bytes(memoryview(row)[:BODY_EXCERPT_BYTES])
            bad.append(UnreadableRow(raw=raw, reason=reasons.setdefault(reason, reason)))
    return tuple(good), tuple(bad)


def _too_many_unreadable(first: UnreadableRow) -> DecodeError:
    return DecodeError(
        f"more than {MAX_UNREADABLE:,} rows cannot be read, the first for: {first.reason}", body=first.raw
    )


def check_depth(*values: Any) -> None:
    """Raise ValueError, which msgspec raises as its own, for objects too deep to print or pickle."""
    if any(map(exceeds_depth, values)):
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
