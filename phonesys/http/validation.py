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

_is_method = re.compile(r"[A-Z]+").fullmatch
_is_target = re.compile(r'(?:[/?][!"$-~]*)?').fullmatch  # visible ASCII without `#`
_is_name = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_is_value = re.compile(r"[ -~\t]*").fullmatch


def validate_call(call: Call[Any]) -> None:
    """Raise InvalidArgument for what would end up elsewhere in the request, or elsewhere altogether."""
    if not _is_method(call.method):
        raise InvalidArgument(f"method: expected a word in capitals, got {call.method!r:.80}")
    if not _is_target(call.target):
        raise InvalidArgument(f"target: expected an encoded path and query, got {call.target!r:.80}")
    if call.body is None:
        return
    if not isinstance(call.body, bytes):
        raise InvalidArgument(f"body: expected bytes, got {type(call.body).__name__}")
    if not _is_value(call.content_type):
        raise InvalidArgument(f"content_type: expected one, got {call.content_type!r:.80}")


def validate_headers(headers: Mapping[str, str]) -> None:
    """Raise InvalidArgument, without the value, for what would break out of its header, or is not ASCII."""
    for name in headers:
        if not (isinstance(name, str) and _is_name(name)):
            raise InvalidArgument(f"header: expected a name, got {name!r:.80}")
        if not (isinstance(headers[name], str) and _is_value(headers[name])):
            raise InvalidArgument(f"header {name}: expected printable ASCII, as HTTP headers require")


def merge_headers(headers: Mapping[str, str], others: Mapping[str, str]) -> CIMultiDict[str]:
    """Put headers together; the others win, however they are capitalized."""
    both = CIMultiDict(headers)
    both.update(others)
    return both


def encode_headers(headers: Mapping[str, str]) -> str:
    """Write headers that were checked, each with the end of its line."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


def validate_base_url(base_url: str) -> str:
    """Return the URL without its last slash; raises InvalidArgument unless it is https, or loopback."""
    try:
        url = URL(base_url)
    except (ValueError, TypeError):
        url = URL()
    if url.user or url.query_string or url.fragment:  # which may hold a credential, so it is not shown
        raise InvalidArgument("base_url: expected https://host/path, without user, query or fragment")
    if not url.host or url.scheme not in {"http", "https"}:
        raise InvalidArgument(f"base_url: expected https://host/path, got {base_url!r}")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise InvalidArgument(f"base_url: plain http is for loopback only; expected https, got {base_url!r}")
    return str(url).rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
