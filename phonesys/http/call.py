"""Call: one operation of a vendor as plain data, and encoders for its path, query and body."""

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
    """A request, the decoder for its response, and what the client must know to send it."""

    operation: str
    """Name in errors and logs."""
    method: str
    target: str
    """Encoded path and query, appended to the base URL."""
    decode: Callable[[bytes], T]
    """Decodes the body of a success, or raises DecodeError."""
    account: str = ""
    url_template: str = ""
    """The path with names for the ids in it, such as `/numbers/{id}`: what telemetry groups requests by."""
    idempotent: bool = True
    """Repeating the call has no further effect (RFC 9110, 9.2.2). The operation decides, not the method."""
    body: bytes | None = None
    content_type: str = "application/json"
    rate_key: str | None = None
    """Key of the rate window that the call is charged to; by default, the account."""
    secrets: tuple[Secret, ...] = ()
    """Secrets in the body. They are masked in errors if the response echoes them."""
    recovery_hint: str = ""
    """For a call that is not idempotent: how to find out if it was executed."""


_match_unreserved = re.compile(r"[A-Za-z0-9_-]+").fullmatch
_MAX_SEGMENT_LENGTH = 1000
_DOT_SEGMENTS = frozenset({".", ".."})


def encode_segment(value: str, what: str) -> str:
    """Encode a value as one path segment that it cannot leave.

    Raise InvalidArgument for values that no vendor uses as an id and that servers may resolve: an empty
    string, dot segments, control characters.
    """
    if not isinstance(value, str):
        raise InvalidArgument(f"{what}: expected a string, got {type(value).__name__}")
    if len(value) > _MAX_SEGMENT_LENGTH:
        raise InvalidArgument(f"{what}: {value!r:.80}… is {len(value)} characters long, which no id is")
    if _match_unreserved(value):
        return value
    if not value.strip() or value in _DOT_SEGMENTS or not value.isprintable():
        raise InvalidArgument(f"{what}: {value!r} cannot be one; expected an id as the vendor gives it")
    return quote(value, safe="")


def encode_query(parameters: Mapping[str, Any]) -> str:
    """Encode query parameters, with the leading `?`.

    None is left out, booleans are `true` and `false`, `+` is `%2B`. Raise InvalidArgument for a lone
    surrogate.
    """
    try:
        pairs = [
            f"{quote(name, safe='')}={quote(_to_text(value), safe='')}"
            for name, value in parameters.items()
            if value is not None
        ]
    except UnicodeEncodeError as failure:
        raise InvalidArgument(f"query: {failure}") from None
    return "?" + "&".join(pairs) if pairs else ""


def encode_json(fields: Mapping[str, Any]) -> bytes:
    """Encode a JSON body without fields that are None. Raise InvalidArgument for what JSON cannot hold."""
    try:
        return msgspec.json.encode({name: value for name, value in fields.items() if value is not None})
    except (TypeError, ValueError) as failure:  # among them UnicodeEncodeError
        raise InvalidArgument(f"body: {failure}") from None


def _to_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
