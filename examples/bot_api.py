"""A Bot API server on loopback with one chat, for trying and testing `bot.py` without an account.

It knows the four methods that the bot uses. `say` is a message of the person in the chat, and `sent` has the
bot's messages.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Self

from aiohttp import web

CHAT: dict[str, Any] = {"id": 1, "type": "private", "first_name": "You"}
PERSON = {"id": 1, "is_bot": False, "first_name": "You"}
BOT = {"id": 4711, "is_bot": True, "first_name": "phonesys", "username": "phonesys_bot"}
TOKEN = "4711:local"  # noqa: S105 -- opens nothing but this server


class BotApi:
    """Serves one bot and one chat: `async with BotApi() as api`, with its address in `api.url`."""

    def __init__(self) -> None:
        self.url = ""
        self.sent = asyncio.Queue[str]()
        self._said = asyncio.Queue[dict[str, Any]]()
        self._ids = iter(range(1, 1 << 31))
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/bot{token}/{method}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def say(self, text: str) -> None:
        """Write a message in the chat."""
        command = [{"type": "bot_command", "offset": 0, "length": len(text.split(" ", maxsplit=1)[0])}]
        message = {**self._message(text), "from": PERSON, "entities": command if text.startswith("/") else []}
        self._said.put_nowait({"update_id": next(self._ids), "message": message})

    def _message(self, text: str) -> dict[str, Any]:
        return {"message_id": next(self._ids), "date": int(time.time()), "chat": CHAT, "text": text}

    async def _serve(self, request: web.Request) -> web.Response:
        fields = await request.post()
        result: Any = True
        match request.match_info["method"].lower():
            case "getme":
                result = BOT
            case "getupdates":
                result = await self._updates(float(str(fields.get("timeout", 0))))
            case "sendmessage":
                text = str(fields["text"])
                self.sent.put_nowait(text)
                result = {**self._message(text), "from": BOT}
        return web.json_response({"ok": True, "result": result})

    async def _updates(self, timeout: float) -> list[dict[str, Any]]:  # noqa: ASYNC109 -- the API's parameter
        try:
            return [await asyncio.wait_for(self._said.get(), timeout)]
        except TimeoutError:
            return []
