"""The socket that listens, and can be away for a while."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Handlers that are stalling or late on purpose get this long before they are cancelled.
_GRACE = 0.05
_BACKLOG = 1024
_TRY_AGAIN = 0.05


class Listener:
    """Serves an application on one port, the same one again after every pause."""

    def __init__(self, application: Callable[[], web.Application], host: str, port: int) -> None:
        self._application, self.host, self.port = application, host, port
        self._runner: web.AppRunner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._outage: asyncio.Task[None] | None = None
        self._busy: set[web.RequestHandler] = set()

    async def start(self) -> None:
        """Begin to listen."""
        if self._runner is not None:
            raise RuntimeError("the sandbox is already running")
        app = self._application()
        app.middlewares.append(self._note)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_GRACE)
        await runner.setup()
        try:
            await self._listen(runner)
        except BaseException:
            await runner.cleanup()
            raise
        self.port = runner.addresses[0][1]
        self._runner, self._loop = runner, asyncio.get_running_loop()

    async def stop(self) -> None:
        """Close every connection and end; stopping twice is harmless."""
        outage, self._outage = self._outage, None
        if outage is not None:
            outage.cancel()
            await asyncio.wait([outage])
        runner, self._runner, self._loop = self._runner, None, None
        if runner is not None:
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> None:
        await web.TCPSite(runner, self.host, self.port, backlog=_BACKLOG).start()

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
        try:
            return await handler(request)
        finally:
            self._busy.discard(connection)

    def _end_connections(self, runner: web.AppRunner) -> None:
        """Let those that are at a request end after it, and the others now."""
        for connection in runner.server.connections if runner.server is not None else ():
            if connection in self._busy:
                connection.close()
            else:
                connection.force_close()

    async def _be_away(self, runner: web.AppRunner, seconds: float) -> None:
        for site in tuple(runner.sites):
            await site.stop()
        self._end_connections(runner)
        await asyncio.sleep(seconds)
        while not runner.sites:
            try:
                await self._listen(runner)
            except OSError:  # somebody took the port meanwhile: wait until it is free
                await _forget(runner)
                await asyncio.sleep(_TRY_AGAIN)


async def _forget(runner: web.AppRunner) -> None:
    """Take out the site that could not be started: the runner notes it before it tries."""
    for site in tuple(runner.sites):
        await site.stop()
