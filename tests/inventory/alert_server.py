"""A service on loopback that receives alerts as apprise's `json://` sends them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

SECRET = "s3cr3t-p4th-of-a-hook"


class AlertServer:
    """Keeps the messages that it accepts. Refuses those for which `statuses` holds a status."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        self.received = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"json://user:{SECRET}@127.0.0.1:{self.port}/{SECRET}?:token={SECRET}"

    @property
    def bodies(self) -> list[str]:
        return [message["message"] for message in self.messages]

    async def receive(self, request: web.Request) -> web.Response:
        self.received.set()
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.messages.append(await request.json())
        return web.Response(status=status)


@asynccontextmanager
async def alert_server() -> AsyncGenerator[AlertServer]:
    server = AlertServer()
    app = web.Application()
    app.router.add_post("/{path:.*}", server.receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()
