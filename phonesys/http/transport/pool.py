"""Pool of the idle connections to one host, kept by the connector that opened them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from phonesys.http.transport.connection import HttpConnection

if TYPE_CHECKING:
    import aiohttp

    from phonesys.http.transport.connector import StrictConnector

_BUFFER_SIZE = 2**18  # what asyncio reads at once
_KEEP_ALIVE = 15.0  # seconds, as in aiohttp: many servers close idle connections after 20 or more
_CHECKS = 2  # in this time, so that a connection is closed after half the time at the earliest


class ConnectionPool:
    """Hands out connections to one host, those used last first, and closes those that idle.

    - `destination`: a request to the host, which tells the connector where and how to connect.
    """

    def __init__(
        self, connector: StrictConnector, destination: aiohttp.ClientRequest, timeout: aiohttp.ClientTimeout
    ) -> None:
        self._connector = connector
        self._destination = destination
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._buffer = memoryview(bytearray(_BUFFER_SIZE))
        self._idle: list[HttpConnection] = []
        self._expiring = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._idle)

    def get_nowait(self) -> HttpConnection | None:
        """Return an idle connection to which a request can be written, or None."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
            connection.close()
        return None

    async def connect(self) -> HttpConnection:
        """Open a connection. Raise what aiohttp's connector raises."""
        connection = HttpConnection(self._loop, self._buffer)
        connection.bind(await self._connector.connect(self._destination, [], self._timeout))
        return connection

    def release(self, connection: HttpConnection) -> None:
        """Put a connection back, or close it if no other request can be written to it."""
        if not connection.reusable:
            connection.close()
            return
        self._expiring = min(self._expiring, len(self._idle))
        self._idle.append(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(_KEEP_ALIVE / _CHECKS, self._close_expired)

    def close(self) -> None:
        """Close the idle connections."""
        self._expiring = len(self._idle)
        self._close_expired()

    def _close_expired(self) -> None:
        """Close the connections that have idled since this was last called."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        expired = self._idle[: self._expiring]
        del self._idle[: self._expiring]
        for connection in expired:
            connection.close()
        self._expiring = len(self._idle)
        if self._idle:
            self._timer = self._loop.call_later(_KEEP_ALIVE / _CHECKS, self._close_expired)
