"""Validation and encoding of requests: base URLs, methods, targets and headers."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from multidict import CIMultiDict
from yarl import URL

from phonesys.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phonesys.http.call import Call

_USUAL_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_match_method = re.compile(r"[A-Z]+").fullmatch
_match_header_name = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_match_header_value = re.compile(r"[ -~\t]*").fullmatch


def validate_call(call: Call[Any]) -> None:
    """Raise InvalidArgument for a method, target or content type that would break out of its place."""
    if call.method not in _USUAL_METHODS and not _match_method(call.method):
        raise InvalidArgument(f"method: expected a word in capitals, got {call.method!r:.80}")
    if not _is_target(call.target):
        raise InvalidArgument(f"target: expected an encoded path and query, got {call.target!r:.80}")
    if call.body is None:
        return
    if not isinstance(call.body, bytes):
        raise InvalidArgument(f"body: expected bytes, got {type(call.body).__name__}")
    if not _match_header_value(call.content_type):
        raise InvalidArgument(f"content_type: expected a media type, got {call.content_type!r:.80}")


def _is_target(target: str) -> bool:
    """Return True for visible ASCII without `#`, after a slash or a question mark.

    Each request is checked. A regular expression would take five times as long.
    """
    return not target or (
        target[0] in "/?"
        and target.isascii()
        and target.isprintable()
        and " " not in target
        and "#" not in target
    )


def validate_headers(headers: Mapping[str, str]) -> None:
    """Raise InvalidArgument, without the value, for a header that is not printable ASCII on one line."""
    for name in headers:
        if not (isinstance(name, str) and _match_header_name(name)):
            raise InvalidArgument(f"header: expected a name, got {name!r:.80}")
        if not (isinstance(headers[name], str) and _match_header_value(headers[name])):
            raise InvalidArgument(f"header {name}: expected printable ASCII, as HTTP headers require")


def merge_headers(headers: Mapping[str, str], others: Mapping[str, str]) -> CIMultiDict[str]:
    """Merge headers without regard to case. Those of `others` win."""
    result = CIMultiDict(headers)
    result.update(others)
    return result


def encode_headers(headers: Mapping[str, str]) -> str:
    """Encode validated headers, each with its CRLF."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


def validate_base_url(base_url: str) -> str:
    """Return the URL without a trailing slash. Raise InvalidArgument unless it is https, or loopback."""
    try:
        url = URL(base_url)
    except (ValueError, TypeError):
        url = URL()
    if url.user or url.query_string or url.fragment:  # not shown: it may hold a credential
        raise InvalidArgument("base_url: expected https://host/path, without user, query or fragment")
    if not url.host or url.scheme not in {"http", "https"}:
        raise InvalidArgument(f"base_url: expected https://host/path, got {base_url!r}")
    if url.scheme == "http" and not is_loopback(url.host):
        raise InvalidArgument(f"base_url: plain http is for loopback only; expected https, got {base_url!r}")
    return str(url).rstrip("/")


def validate_proxy(proxy: str) -> None:
    """Raise InvalidArgument, without the value, unless this is the URL of an HTTP proxy."""
    try:
        url = URL(proxy)
    except (ValueError, TypeError):
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise InvalidArgument("expected the URL of an HTTP proxy, as in http://proxy.example:3128")


def is_loopback(host: str) -> bool:
    """Return True for an address of this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
