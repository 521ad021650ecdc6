"""How a client's requests reach the vendor: by which way, and until when."""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from phonesys.http.transport.direct import DirectTransport, is_patched, unsupported_reason
from phonesys.http.transport.errors import ConnectionLost
from phonesys.http.transport.session import SessionTransport
from phonesys.http.transport.timeouts import Timeout, TimeoutScheduler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from phonesys.http.call import Call
    from phonesys.http.options import HttpOptions
    from phonesys.http.transport.connector import SharedSession
    from phonesys.http.transport.errors import RawResponse

log = logging.getLogger("phonesys")

_NEVER_ROUNDED = inf  # aiohttp rounds time-outs above its threshold up to whole seconds


class TransportSelector:
    """Sends calls to one host and reads what is answered; used in the loop that it was opened in."""

    def __init__(
        self,
        connections: SharedSession,
        ways: tuple[SessionTransport, DirectTransport | None],
        detour: str | None,
        timeout: float | None,
    ) -> None:
        self.fallback_reason = detour
        """Why requests go the ordinary way through aiohttp; None where they go the short one."""
        self._connections = connections
        self._ordinary, self._lean = ways
        self._timeout = inf if timeout is None else timeout
        self._loop = asyncio.get_running_loop()
        self._watch = TimeoutScheduler(self._loop)

    @classmethod
    async def open(
        cls,
        connections: SharedSession,
        options: HttpOptions,
        base: str,
        headers: Mapping[str, str],
        constant: Mapping[str, str] | None,
    ) -> Self:
        """Open the session and choose the way.

        - `headers`: those of every request.
        - `constant`: what signs every request alike, if that is so.
        """
        session = connections.open()
        timeout = aiohttp.ClientTimeout(
            sock_connect=options.connect_timeout,
            sock_read=options.read_timeout,
            ceil_threshold=_NEVER_ROUNDED,
        )
        ordinary = SessionTransport(session, base, headers, timeout, options.max_body)
        if connections.borrowed is None:
            detour = await unsupported_reason(session)
        else:
            detour = "the session was handed in"
        if detour is None:
            lean = DirectTransport(session, base, headers, constant, timeout, options.max_body)
        else:
            lean = None
            log.debug("requests to %s go aiohttp's ordinary way: %s", base, detour)
        return cls(connections, (ordinary, lean), detour, options.timeout)

    def until(self, end: float) -> Timeout:
        """Make a block that raises TimeoutError at that time, or when an attempt has taken too long."""
        return self._watch.until(min(end, self._loop.time() + self._timeout))

    def exchange(self, call: Call[Any], signed: Mapping[str, str]) -> Awaitable[RawResponse]:
        """Send one request and read its answer, up to the cap; raises what TRANSLATED lists."""
        if self._lean is None or is_patched():
            return self._ordinary.exchange(call, signed)
        return self._lean.exchange(call, signed)

    async def close(self) -> None:
        """Leave the connections; what is under way on those of our own ends."""
        if self._connections.borrowed is None:
            self._watch.end_all(
                lambda: ConnectionLost("the client was closed")
            )  # aiohttp lets them wait for ever
        self._watch.close()
        await self._connections.close()
