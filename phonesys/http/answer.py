"""What an answer says: data read by a decoder, or the error that it deserves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import msgspec

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


def reader(kind: type[T], *, strict: bool = True) -> Callable[[bytes], T]:
    """Make the function that reads a body as JSON of this type; it raises DecodeError.

    Without `strict`, numbers and booleans may be written as strings.
    """
    decode = msgspec.json.Decoder(kind, strict=strict).decode

    def read(body: bytes) -> T:
        try:
            return decode(body)
        except UNREADABLE as failure:
            raise not_data(body, str(failure)) from None

    return read


def nothing(body: bytes) -> None:
    """Read an answer that has no content, or content that nobody needs; a proxy's page is neither."""
    if body.lstrip().startswith(b"<"):
        raise not_data(body, "a page")


def not_data(body: bytes, reason: str) -> DecodeError:
    """Say what came instead of data; a body that is not JSON at all may be read better a moment later."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except UNREADABLE:
        kind: type[DecodeError] = NotJson
        what = "the answer is empty" if not body.strip() else "the answer is not JSON"
    else:
        kind = DecodeError
        what = f"the answer is not what was asked for: {reason}"
    shown = body[:SHOWN].decode("utf-8", "replace")
    return kind(f"{what}; it begins {shown!r}" if body else what, body=body[:EXCERPT])


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> StatusError:
    """Make the error that an answer deserves; its status is trusted, never the one in its body."""
    return status_class(status)(
        vendor_message(body),
        status=status,
        body=body[:EXCERPT],
        request_id=headers.get("X-Request-Id") or headers.get("Request-Id") or headers.get("CF-Ray"),
        retry_after=retry_after(headers),
    )


def vendor_message(body: bytes) -> str:
    """Find the sentence for people in an error body: JSON of any known shape, a proxy's page, plain text."""
    try:
        value = msgspec.json.decode(body)
    except UNREADABLE:
        return _plain(body.decode("utf-8", "replace"))
    return _sentence(value)[:EXCERPT]


_MOST_SENTENCES = 10
_DEEPEST = 8  # what is nested more than this says nothing to people, and would exhaust the stack
_KEYS = ("message", "msg", "detail", "error_description", "error", "title", "errors", "details")


def _sentence(value: Any, depth: int = 0) -> str:
    if isinstance(value, str):
        return value.strip()
    if depth == _DEEPEST:
        return ""
    if _is_list(value):
        return "; ".join(filter(None, (_sentence(part, depth + 1) for part in value[:_MOST_SENTENCES])))
    if _is_object(value):
        return next(filter(None, (_sentence(value.get(key), depth + 1) for key in _KEYS)), "")
    return ""


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


_TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)
_TAGS = re.compile(r"<[^>]*>")


def _plain(text: str) -> str:
    start = text[:EXCERPT]
    title = _TITLE.search(start)
    words = title[1] if title and title[1].strip() else _TAGS.sub(" ", start)
    return " ".join(words.split())[:SHOWN]
