"""The connections that a client and its siblings share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp

from phonesys.http.transport.errors import RequestNotSent

if TYPE_CHECKING:
    from ssl import SSLContext

    from aiohttp.connector import Connection

READ_BUFFER_SIZE = 2**20
"""How many bytes of a body, decompressed, aiohttp holds before it stops reading, or up to twice as many."""

_TRIES = 3


class SharedSession:
    """The session of a client and its siblings: made for the first that opens, closed with the last.

    One that is `borrowed` is its owner's to close.
    """

    def __init__(self, ssl: SSLContext | None, borrowed: aiohttp.ClientSession | None) -> None:
        self.borrowed = borrowed
        self._ssl = ssl
        self._own: aiohttp.ClientSession | None = None
        self._users = 0

    def open(self) -> aiohttp.ClientSession:
        """Return the session; whoever calls this calls `close` too."""
        self._users += 1
        if self.borrowed is not None:
            return self.borrowed
        if self._own is None:
            self._own = _session(self._ssl)
        return self._own

    async def close(self) -> None:
        """Close the session, if it is ours and nobody else uses it."""
        self._users -= 1
        if self._own is not None and not self._users:
            session, self._own = self._own, None
            await session.close()


class StrictConnector(aiohttp.TCPConnector):
    """Gives connections that are open and on which nothing was said that nobody asked for.

    aiohttp looks after the first, though not when a connection is new, and not after the second: what a
    server says on an idle connection would be taken for the answer to the next request.
    """

    async def connect(self, *args: Any, **options: Any) -> Connection:
        """Get a connection from the pool, or make one; raises NotSent where none is any good."""
        for _ in range(_TRIES):
            try:
                connection = await super().connect(*args, **options)
            except TimeoutError as late:
                raise aiohttp.ConnectionTimeoutError("no connection in time") from late
            protocol = connection.protocol
            if protocol is not None and protocol.is_connected() and not protocol.should_close:
                return connection
            connection.close()
        raise RequestNotSent("each connection was closed, or spoken on out of turn, before anything was sent")


def _session(ssl: SSLContext | None) -> aiohttp.ClientSession:
    """Make a session that keeps no cookies, and says nothing of bodies that are not there."""
    return aiohttp.ClientSession(
        connector=StrictConnector(limit=0, ssl=ssl or True),  # whoever uses it bounds the connections
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=READ_BUFFER_SIZE,
        skip_auto_headers=("Content-Type",),
    )
