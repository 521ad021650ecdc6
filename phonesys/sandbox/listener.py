"""The socket that listens, and can be away for a while."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Handlers that are stalling or late on purpose get this long before they are cancelled.
_GRACE = 0.05
_BACKLOG = 1024
_TRY_AGAIN = 0.05
_STEPS_TO_CONNECT = 3  # of the loop, from an accepted socket to a connection that is known


class Listener:
    """Serves an application on one port, the same one again after every pause."""

    def __init__(
        self,
        application: Callable[[], web.Application],
        host: str,
        port: int,
        *,
        header_timeout: float | None = None,
    ) -> None:
        self._application, self.host, self.port = application, host, port
        self._header_timeout = header_timeout
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._outage: asyncio.Task[None] | None = None
        self._busy: set[web.RequestHandler] = set()
        self._unused: set[web.RequestHandler] = set()
        """Connections without a request so far, while `header_timeout` runs."""

    async def start(self) -> None:
        """Begin to listen."""
        if self._runner is not None:
            raise RuntimeError("the sandbox is already running")
        app = self._application()
        app.middlewares.append(self._note)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_GRACE)
        await runner.setup()
        try:
            self._server = await self._listen(runner)
        except BaseException:
            await runner.cleanup()
            raise
        self.port = self._server.sockets[0].getsockname()[1]
        self._runner, self._loop = runner, asyncio.get_running_loop()

    async def stop(self) -> None:
        """Close every connection and end; stopping twice is harmless."""
        outage, self._outage = self._outage, None
        if outage is not None:
            outage.cancel()
            await asyncio.wait([outage])
        runner, self._runner, self._loop = self._runner, None, None
        if runner is not None:
            await self._close()
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        serve = _protocols(runner)

        def connect() -> web.RequestHandler:
            connection: web.RequestHandler = serve()
            if self._header_timeout is not None:
                self._unused.add(connection)
                loop.call_later(self._header_timeout, self._close_unused, connection)
            return connection

        return await loop.create_server(connect, self.host, self.port, backlog=_BACKLOG)

    def _close_unused(self, connection: web.RequestHandler) -> None:
        if connection in self._unused:
            self._unused.discard(connection)
            connection.force_close()

    async def _close(self) -> None:
        """Close the socket that listens, once whatever it has accepted is a connection that can be ended.

        The loop forgets connections, and leaves them open, whose server is closed before they are made.
        """
        server, self._server = self._server, None
        if server is None:
            return
        for listening in server.sockets:
            with suppress(NotImplementedError):  # not every loop watches sockets
                asyncio.get_running_loop().remove_reader(listening)
            # On Linux new connections are refused from here on. uvloop's sockets cannot be shut down: it
            # refuses them once the server is closed.
            with suppress(OSError, TypeError):
                listening.shutdown(socket.SHUT_RDWR)
        for _ in range(_STEPS_TO_CONNECT):
            await asyncio.sleep(0)
        server.close()

    def refuse(self, seconds: float) -> None:
        """Be away from now on for so long; an outage that is under way already is enough.

        May be called from any thread.
        """
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._leave, seconds)

    def _leave(self, seconds: float) -> None:
        if self._runner is not None and (self._outage is None or self._outage.done()):
            self._outage = asyncio.create_task(self._be_away(self._runner, seconds))

    @web.middleware
    async def _note(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Keep in mind which connections are at a request."""
        connection = request.protocol
        self._busy.add(connection)
        self._unused.discard(connection)
        try:
            return await handler(request)
        finally:
            self._busy.discard(connection)

    def _end_connections(self, runner: web.AppRunner) -> None:
        """Close idle connections now, and busy ones after their request."""
        for connection in runner.server.connections if runner.server is not None else ():
            if connection in self._busy:
                connection.close()
            else:
                connection.force_close()

    async def _be_away(self, runner: web.AppRunner, seconds: float) -> None:
        await self._close()
        self._end_connections(runner)
        await asyncio.sleep(seconds)
        while self._server is None:
            try:
                self._server = await self._listen(runner)
            except OSError:  # another process took the port meanwhile: wait until it is free
                await asyncio.sleep(_TRY_AGAIN)


def _protocols(runner: web.AppRunner) -> web.Server:
    if runner.server is None:
        raise RuntimeError("the application is not set up")
    return runner.server
