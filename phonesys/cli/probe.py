"""Connection to a vendor's host, and a comparison of its clock with this machine's."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_TIMEOUT = aiohttp.ClientTimeout(total=10)


class HostProbe(NamedTuple):
    """The result of one request to a vendor's host, without a credential."""

    host: str
    problem: str | None
    """Reason why there was no response; None if there was one."""
    elapsed: float = 0.0
    """Seconds until the response."""
    clock_offset: float | None = None
    """Seconds by which this clock is ahead; None if the response has no date."""
    proxy: str | None = None
    """Host of the proxy, if the environment names one."""


async def probe_host(base_url: str) -> HostProbe:
    """Request the root of a vendor's host. Any response will do."""
    parts = urlsplit(base_url)
    proxy = _proxy(parts)
    shown = None if proxy is None else urlsplit(proxy).hostname or proxy
    started = time.monotonic()
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.head(f"{parts.scheme}://{parts.netloc}/", allow_redirects=False, proxy=proxy) as response,
        ):
            date = response.headers.get("Date", "")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        reason = str(error) or type(error).__name__
        return HostProbe(parts.netloc, reason, proxy=shown)
    return HostProbe(parts.netloc, None, time.monotonic() - started, _offset(date), shown)


def _offset(date: str) -> float | None:
    try:
        return time.time() - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


def _proxy(url: SplitResult) -> str | None:
    """Return the proxy of the environment. aiohttp's `trust_env` would also send passwords of ~/.netrc."""
    if proxy_bypass(url.hostname or ""):
        return None
    return getproxies().get(url.scheme)
