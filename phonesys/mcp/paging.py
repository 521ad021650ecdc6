"""Pages of results: at most so many rows, and so many bytes."""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from phonesys.errors import InvalidArgument

if TYPE_CHECKING:
    from phonesys.mcp.results import Arguments

T = TypeVar("T")

_MAX_BYTES = 48 * 1024
_MAX_CURSOR = 4096


class Rows(Generic[T]):
    """Rows of a page, until it is full."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self.rows: list[T] = []

    @property
    def is_full(self) -> bool:
        """True if no more rows should be added."""
        return len(self.rows) >= self._limit or self._bytes >= _MAX_BYTES

    def add(self, row: T) -> None:
        """Add a row."""
        self.rows.append(row)
        self._bytes += len(msgspec.json.encode(row))


def encode_cursor(arguments: Arguments, *position: Any) -> str:
    """Return a cursor that continues at a position, for the same arguments only."""
    data = msgspec.json.encode([_digest(arguments), *position])
    return base64.urlsafe_b64encode(data).decode()


def decode_cursor(arguments: Any, *types: Any) -> tuple[Any, ...] | None:
    """Return the position of the cursor in the arguments, or None without one; raise InvalidArgument."""
    if arguments.cursor is None:
        return None
    try:
        data = base64.urlsafe_b64decode(arguments.cursor[:_MAX_CURSOR].encode())
        shape: Any = tuple.__class_getitem__((int, *types))
        digest, *position = msgspec.json.decode(data, type=shape)
    except (ValueError, msgspec.MsgspecError):
        raise InvalidArgument("cursor: expected the next_cursor of an earlier result") from None
    if digest != _digest(arguments):
        raise InvalidArgument("cursor: expected the same arguments as for the result before")
    return tuple(position)


def _digest(arguments: Any) -> int:
    same = msgspec.structs.replace(arguments, cursor=None, limit=1)
    return zlib.crc32(msgspec.json.encode(same))
