"""Comparison of this machine's clock with a vendor's."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_TIMEOUT = aiohttp.ClientTimeout(total=10)


async def clock_offset(base_url: str) -> float | None:
    """Return the seconds by which this clock is ahead, from the Date of any response of the vendor's host.

    None if the host does not respond with a date.
    """
    parts = urlsplit(base_url)
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.head(
                f"{parts.scheme}://{parts.netloc}/", allow_redirects=False, proxy=_proxy(parts)
            ) as response,
        ):
            date = parsedate_to_datetime(response.headers["Date"])
    except (aiohttp.ClientError, TimeoutError, KeyError, ValueError):
        return None
    return time.time() - date.timestamp()


def _proxy(url: SplitResult) -> str | None:
    """Return the proxy of the environment. aiohttp's `trust_env` would also send passwords of ~/.netrc."""
    if proxy_bypass(url.hostname or ""):
        return None
    return getproxies().get(url.scheme)
