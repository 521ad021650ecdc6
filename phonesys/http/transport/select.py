"""Choice of the transport: direct where aiohttp is as it was tested, else through its session."""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING

import aiohttp

from phonesys.http.transport.direct import DirectTransport, unsupported_reason
from phonesys.http.transport.session import SessionTransport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phonesys.http.options import HttpOptions
    from phonesys.http.transport import Transport

log = logging.getLogger("phonesys")

_NEVER_ROUNDED = inf  # aiohttp rounds time-outs above this threshold up to whole seconds


async def choose_transport(
    session: aiohttp.ClientSession,
    options: HttpOptions,
    base: str,
    *,
    headers: Mapping[str, str],
    constant: Mapping[str, str] | None,
    borrowed: bool,
    proxy: str | None,
) -> tuple[Transport, str | None]:
    """Return the transport for a session, and the reason if it is not the direct one.

    - `headers`: sent with every request.
    - `constant`: what signs every request, if that never changes.
    - `borrowed`: the session was handed in. It may be configured in any way, so it is always used itself.
    """
    timeout = aiohttp.ClientTimeout(
        connect=options.connect_timeout if borrowed else None,  # the pool may be full of others' requests
        sock_connect=options.connect_timeout,
        sock_read=options.read_timeout,
        ceil_threshold=_NEVER_ROUNDED,
    )
    through_session = SessionTransport(session, base, headers, timeout, options.max_body, proxy=proxy)
    if borrowed:
        fallback_reason: str | None = "the session was handed in"
    elif proxy is not None:
        fallback_reason = "they go through a proxy"
    elif options.read_timeout is not None:
        fallback_reason = "read_timeout is set"
    else:
        fallback_reason = await unsupported_reason(session)
    if fallback_reason is not None:
        log.debug("requests to %s go through aiohttp's session: %s", base, fallback_reason)
        return through_session, fallback_reason
    direct = DirectTransport(
        session, base, headers, constant, timeout, options.max_body, fallback=through_session
    )
    return direct, None
