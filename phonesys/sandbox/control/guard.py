"""Access control of the control page: programs on this machine, and the page itself.

Other pages in the same browser may not: neither by asking across sites, nor by having a name of theirs
resolve to this machine (DNS rebinding), nor from inside of a frame.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from yarl import URL

if TYPE_CHECKING:
    from aiohttp import web

_READING = frozenset({"GET", "HEAD"})
_OURS = frozenset({"same-origin", "none"})

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every response."""


def reject_reason(request: web.Request) -> str | None:
    """Return why a request is rejected, or None if it is allowed."""
    host = request.headers.get("Host", "")
    if not _is_loopback(request.remote or ""):
        return "only on this machine"
    if not _is_local_name(host):
        return "not under this name"
    if _from_elsewhere(request, host):
        return "not from another site"
    if request.can_read_body and request.content_type != "application/json":
        return "only with JSON"  # which no form can send, and no script of another site without asking first
    return None


def _from_elsewhere(request: web.Request, host: str) -> bool:
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"http://{host}":
        return True
    # Following a link from another site to the page itself is harmless; everything else is not.
    link = request.method in _READING and request.path == "/"
    return not link and request.headers.get("Sec-Fetch-Site", "none") not in _OURS


def _is_local_name(host: str) -> bool:
    try:
        name = URL(f"http://{host}").host or ""
    except ValueError:
        return False
    return name == "localhost" or _is_loopback(name)


def _is_loopback(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback
