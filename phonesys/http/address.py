"""Where a vendor is: at an address that credentials may travel to."""

from __future__ import annotations

from ipaddress import ip_address

from yarl import URL

from phonesys.errors import InvalidArgument


def checked_base_url(base_url: str) -> str:
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
