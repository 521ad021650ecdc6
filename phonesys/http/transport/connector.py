"""The session that a client and its clones share, and its connector."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Any, cast

import aiohttp

from phonesys.errors import InvalidArgument, UsageError
from phonesys.http.transport.connection import MAX_HEADER_SIZE, READ_BUFFER_SIZE
from phonesys.http.transport.errors import RequestNotSent
from phonesys.http.transport.pool import ConnectionPool

if TYPE_CHECKING:
    from ssl import SSLContext

    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection

    from phonesys.http.options import HttpOptions

_MAX_POOL_TRIES = 3


class SharedSession:
    """The session of a client and its clones: made when the first opens, closed with the last.

    A `borrowed` session was handed in, and is never closed.
    """

    def __init__(self, options: HttpOptions, borrowed: aiohttp.ClientSession | None) -> None:
        self.borrowed = borrowed
        self._options = options
        self._own: aiohttp.ClientSession | None = None
        self._users = 0

    def open(self) -> aiohttp.ClientSession:
        """Return the session. Each call needs one of `close`.

        Raise UsageError for a borrowed session that cannot send what a client signs.
        """
        if self.borrowed is not None:
            _check(self.borrowed)
        elif self._own is None:
            self._own = _new_session(self._options.ssl_context())
        self._users += 1
        return self.borrowed or cast("aiohttp.ClientSession", self._own)

    def pool_size(self) -> float:
        """Return how many connections to one host the session opens."""
        connector = None if self.borrowed is None else self.borrowed.connector
        if connector is None:
            return inf
        return min(connector.limit or inf, connector.limit_per_host or inf)

    async def close(self) -> None:
        """Close the session if it is not borrowed and this was its last user."""
        self._users -= 1
        if self._own is not None and not self._users:
            session, self._own = self._own, None
            await session.close()


class StrictConnector(aiohttp.TCPConnector):
    """Connector that hands out only open connections with no unsolicited data on them.

    aiohttp checks that a pooled connection is open, but not a new one. Unsolicited data on an idle connection
    would be taken for the response to the next request.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)  # pyright: ignore[reportUnknownMemberType]
        self._pools: dict[ConnectionKey, ConnectionPool] = {}

    def pool(self, destination: aiohttp.ClientRequest, timeout: aiohttp.ClientTimeout) -> ConnectionPool:
        """Return the pool of the connections to one host, which clients of one session share."""
        key = destination.connection_key
        if key not in self._pools:
            self._pools[key] = ConnectionPool(self, destination, timeout)
        return self._pools[key]

    async def close(self, **options: Any) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            pool.close()
        await super().close(**options)

    async def connect(self, *args: Any, **options: Any) -> Connection:
        """Return a connection. Raise RequestNotSent if none is usable."""
        for _ in range(_MAX_POOL_TRIES):
            try:
                connection = await super().connect(*args, **options)
            except TimeoutError as late:
                raise aiohttp.ConnectionTimeoutError("no connection in time") from late
            protocol = connection.protocol
            if protocol is not None and protocol.is_connected() and not protocol.should_close:
                return connection
            connection.close()
        raise RequestNotSent("each connection was closed, or had unsolicited data on it, before the request")


def _check(session: aiohttp.ClientSession) -> None:
    if session.auth is not None:
        raise InvalidArgument("session: expected one without auth=, since its header would replace ours")
    if getattr(session, "_loop", None) is not asyncio.get_running_loop():
        raise UsageError("session: it was made in another event loop than the one that is running")


def _new_session(ssl: SSLContext | None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=StrictConnector(limit=0, ssl=ssl or True),  # HttpOptions.connections is the limit
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=READ_BUFFER_SIZE,
        max_line_size=MAX_HEADER_SIZE,
        max_field_size=MAX_HEADER_SIZE,
        auto_decompress=False,  # BodyDecompressor does it, in small steps
        skip_auto_headers=("Content-Type",),  # not for requests without a body
    )
