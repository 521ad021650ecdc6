"""What an answer says: data read by a decoder, or the error that it deserves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from phonesys._validation import is_array, is_object
from phonesys.errors import DecodeError, NotJson, StatusError, status_class
from phonesys.http.retry import retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

EXCERPT = 2048
"""How many bytes of an answer an error keeps."""
SHOWN = 200
"""How many characters of it a message shows."""

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that it cannot read: bad UTF-8 and deep nesting are not its own errors."""


def json_decoder(kind: type[T], *, strict: bool = True) -> Callable[[bytes], T]:
    """Make the function that reads a body as JSON of this type; it raises DecodeError.

    Without `strict`, numbers and booleans may be written as strings.
    """
    return wrap_decoder(msgspec.json.Decoder(kind, strict=strict).decode)


def wrap_decoder(decode: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """Make a decoder raise DecodeError for bytes that it cannot read."""

    def read(body: bytes) -> T:
        try:
            return decode(body)
        except UNREADABLE as failure:
            raise decode_error(body, str(failure)) from None

    return read


def expect_no_content(body: bytes) -> None:
    """Read an answer that has no content, or content that nobody needs; a proxy's page is neither."""
    if body.lstrip().startswith(b"<"):
        raise decode_error(body, "a page")


def decode_error(body: bytes, reason: str) -> DecodeError:
    """Say what came instead of data; a body that is not JSON at all may be read better a moment later."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except UNREADABLE:
        kind: type[DecodeError] = NotJson
        what = "the answer is empty" if not body.strip() else "the answer is not JSON"
    else:
        kind = DecodeError
        what = f"the answer is not what was asked for: {reason[:SHOWN]}"
    shown = body[:SHOWN].decode("utf-8", "replace")
    return kind(f"{what}; it begins {shown!r}" if body else what, body=body[:EXCERPT])


def error_from_response(status: int, headers: Mapping[str, str], body: bytes) -> StatusError:
    """Make the error that an answer deserves; its status is trusted, never the one in its body."""
    request_id = headers.get("X-Request-Id") or headers.get("Request-Id") or headers.get("CF-Ray")
    return status_class(status)(
        vendor_message(body),
        status=status,
        body=body[:EXCERPT],
        request_id=one_line(request_id[:SHOWN]) or None if request_id else None,
        retry_after=retry_after(headers),
    )


def vendor_message(body: bytes) -> str:
    """Find the sentence for people in an error body: JSON of any known shape, a proxy's page, plain text.

    It is one line, without what moves a cursor or could not be printed.
    """
    if len(body) > _LONGEST:
        return _plain(body)
    try:
        value = msgspec.json.decode(body)
    except UNREADABLE:
        return _plain(body)
    return one_line(_sentence(value)[:EXCERPT])


def parse_count(text: str) -> int | None:
    """Read a count from a header; None for what is none, or beyond all counting."""
    return int(text) if text.isdecimal() and len(text) < _MOST_DIGITS else None


def one_line(text: str) -> str:
    """Put spaces in place of line ends, of control characters and of halves of surrogate pairs."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(text.split())


_LONGEST = 2**20  # objects take up to thirty times the room of their JSON, and no sentence needs it
_MOST_DIGITS = 19  # what fits 64 bits; Python refuses thousands of them with a ValueError
_MOST_SENTENCES = 10
_DEEPEST = 8  # what is nested more than this says nothing to people, and would exhaust the stack
_KEYS = ("message", "msg", "detail", "error_description", "error", "title", "errors", "details")


def _sentence(value: Any, depth: int = 0) -> str:
    if isinstance(value, str):
        return value.strip()
    if depth == _DEEPEST:
        return ""
    if is_array(value):
        return "; ".join(filter(None, (_sentence(part, depth + 1) for part in value[:_MOST_SENTENCES])))
    if is_object(value):
        return next(filter(None, (_sentence(value.get(key), depth + 1) for key in _KEYS)), "")
    return ""


_TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)
_TAGS = re.compile(r"<[^>]*>")


def _plain(body: bytes) -> str:
    start = body[:EXCERPT].decode("utf-8", "replace")
    title = _TITLE.search(start)
    words = title[1] if title and title[1].strip() else _TAGS.sub(" ", start)
    return one_line(words)[:SHOWN]
