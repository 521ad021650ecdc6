"""Responses: the raw response, decoders for its body, and the error that a failure deserves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from phonesys._validation import is_array, is_object
from phonesys.errors import DecodeError, NotJson, StatusError, status_class
from phonesys.http.retry import retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")


class RawResponse(NamedTuple):
    """A response as a transport returns it, with its body read and decompressed."""

    status: int
    headers: Mapping[str, str]
    """Looked up without regard to case, as in `multidict.CIMultiDict`."""
    body: bytes


BODY_EXCERPT_BYTES = 2048
"""Length of the body that an error keeps."""
MESSAGE_EXCERPT_CHARS = 200
"""Length of the body that an error message shows."""

MSGSPEC_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Exceptions of msgspec for input that it cannot decode, invalid UTF-8 and deep nesting included."""


def json_decoder(kind: type[T], *, strict: bool = True) -> Callable[[bytes], T]:
    """Return a function that decodes a JSON body into this type, or raises DecodeError.

    Without `strict`, numbers and booleans may be written as strings.
    """
    return wrap_decoder(msgspec.json.Decoder(kind, strict=strict).decode)


def wrap_decoder(decode: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """Return the decoder with msgspec's errors turned into DecodeError."""

    def wrapped(body: bytes) -> T:
        try:
            return decode(body)
        except MSGSPEC_ERRORS as failure:
            raise decode_error(body, str(failure)) from None

    return wrapped


def expect_no_content(body: bytes) -> None:
    """Ignore the body of a success. Raise DecodeError for markup, which comes from a proxy."""
    if body.lstrip().startswith(b"<"):
        raise decode_error(body, "a page of markup")


def decode_error(body: bytes, reason: str) -> DecodeError:
    """Return the error for a body that is not the expected data: NotJson, which is retried, or another."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except MSGSPEC_ERRORS:
        kind: type[DecodeError] = NotJson
        what = "the response is not JSON" if body.strip() else "the response is empty"
    else:
        kind = DecodeError
        what = f"unexpected response: {reason[:MESSAGE_EXCERPT_CHARS]}"
    excerpt = body[:MESSAGE_EXCERPT_CHARS].decode("utf-8", "replace")
    return kind(f"{what}; it begins {excerpt!r}" if body else what, body=body[:BODY_EXCERPT_BYTES])


def error_from_response(status: int, headers: Mapping[str, str], body: bytes) -> StatusError:
    """Return the error for a status that is not success. A status inside the body is ignored."""
    request_id = headers.get("X-Request-Id") or headers.get("Request-Id") or headers.get("CF-Ray")
    return status_class(status)(
        vendor_message(body),
        status=status,
        body=body[:BODY_EXCERPT_BYTES],
        request_id=one_line(request_id[:MESSAGE_EXCERPT_CHARS]) or None if request_id else None,
        retry_after=retry_after(headers),
    )


_names_scope = re.compile(r"\bscopes?\b|insufficient_scope", re.IGNORECASE).search


def lacks_scope(error: StatusError, headers: Mapping[str, str]) -> bool:
    """Return True for a 401 about a missing scope, which another token of the same consent lacks too.

    The status for it is 403 (RFC 6750, 3.1), but vendors send 401 and name the scope in the message.
    """
    return bool(_names_scope(error.message) or _names_scope(headers.get("WWW-Authenticate", "")))


def vendor_message(body: bytes) -> str:
    """Return the message of an error body: JSON of any known shape, a proxy's page, or plain text.

    The message is one printable line.
    """
    if len(body) > _MAX_ERROR_JSON_BYTES:
        return _text_message(body)
    try:
        value = msgspec.json.decode(body)
    except MSGSPEC_ERRORS:
        return _text_message(body)
    return one_line(_json_message(value)[:BODY_EXCERPT_BYTES])


def parse_count(text: str) -> int | None:
    """Return the count in a header value, or None if it is not one that fits 64 bits."""
    return int(text) if text.isdecimal() and len(text) < _INT64_DIGITS else None


def one_line(text: str) -> str:
    """Replace line breaks, control characters and lone surrogates with single spaces."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(text.split())


_MAX_ERROR_JSON_BYTES = 2**20  # decoded objects take up to thirty times the memory of their JSON
_INT64_DIGITS = 19  # int() raises ValueError for thousands of digits
_MAX_JOINED_MESSAGES = 10
_MAX_MESSAGE_DEPTH = 8  # deeper nesting holds no message for people, and would exhaust the stack
_MESSAGE_KEYS = ("message", "msg", "detail", "error_description", "error", "title", "errors", "details")


def _json_message(value: Any, depth: int = 0) -> str:
    if isinstance(value, str):
        return value.strip()
    if depth == _MAX_MESSAGE_DEPTH:
        return ""
    if is_array(value):
        messages = (_json_message(part, depth + 1) for part in value[:_MAX_JOINED_MESSAGES])
        return "; ".join(filter(None, messages))
    if is_object(value):
        return next(filter(None, (_json_message(value.get(key), depth + 1) for key in _MESSAGE_KEYS)), "")
    return ""


_TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)
_TAGS = re.compile(r"<[^>]*>")


def _text_message(body: bytes) -> str:
    start = body[:BODY_EXCERPT_BYTES].decode("utf-8", "replace")
    title = _TITLE.search(start)
    words = title[1] if title and title[1].strip() else _TAGS.sub(" ", start)
    return one_line(words)[:MESSAGE_EXCERPT_CHARS]
