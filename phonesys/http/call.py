"""One operation of a vendor as plain data, and the pieces that its path and query are made of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

from phonesys.errors import InvalidArgument
from phonesys.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

from collections.abc import Callable

T = TypeVar("T")


class Call(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """What to send, how to read the answer, whom it is charged to, and whether it may be repeated."""

    operation: str
    """What errors and logs call it."""
    method: str
    target: str
    """Path and query, encoded, to be appended to the base URL."""
    decode: Callable[[bytes], T]
    """Reads the body of a success; raises DecodeError."""
    account: str = ""
    idempotent: bool = True
    """Whether repeating it is safe: a property of the operation, not of the verb."""
    body: bytes | None = None
    content_type: str = "application/json"
    rate_key: str | None = None
    """Whose rate window it is charged to; the account's unless given."""
    secrets: tuple[Secret, ...] = ()
    """What its body carries that no error may show, should the answer echo it."""
    recovery_hint: str = ""
    """For a call that is not safe: how to learn what became of it."""


_PLAIN = re.compile(r"[A-Za-z0-9_-]+").fullmatch
_LONGEST_SEGMENT = 1000
_DOTS = frozenset({".", ".."})


def encode_segment(value: str, what: str) -> str:
    """Encode a value as one path segment, which it cannot leave.

    Raises InvalidArgument for what no vendor uses as an id and servers may resolve: nothing, dots, control
    characters.
    """
    if not isinstance(value, str):
        raise InvalidArgument(f"{what}: expected a string, got {type(value).__name__}")
    if len(value) > _LONGEST_SEGMENT:
        raise InvalidArgument(f"{what}: {value!r:.80}… is {len(value)} characters long, which no id is")
    if _PLAIN(value):
        return value
    if not value.strip() or value in _DOTS or not value.isprintable():
        raise InvalidArgument(f"{what}: {value!r} cannot be one; expected an id as the vendor gives it")
    return quote(value, safe="")


def encode_query(parameters: Mapping[str, Any]) -> str:
    """Encode query parameters, with their `?`: None is left out, booleans are words, `+` is `%2B`.

    Raises InvalidArgument for text that is not Unicode (half of a surrogate pair).
    """
    try:
        pairs = [
            f"{quote(name, safe='')}={quote(_word(value), safe='')}"
            for name, value in parameters.items()
            if value is not None
        ]
    except UnicodeEncodeError as failure:
        raise InvalidArgument(f"query: {failure}") from None
    return "?" + "&".join(pairs) if pairs else ""


def encode_json(fields: Mapping[str, Any]) -> bytes:
    """Encode a JSON body: None is left out. Raises InvalidArgument for what JSON cannot say."""
    try:
        return msgspec.json.encode({name: value for name, value in fields.items() if value is not None})
    except (TypeError, ValueError) as failure:  # among them UnicodeEncodeError
        raise InvalidArgument(f"body: {failure}") from None


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
