"""Acme's backend keeps what every backend must keep: the kit runs against a stand-in for Acme."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from acme_numbers import Acme
from aiohttp import web

from phonesys import Action, ChangeRequest, HttpOptions
from phonesys.testing import BackendUnderTest, FailureMode, ProviderConformance

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

KEY = "acme-key-0123456789"
PER_PAGE = 4


class StandIn:
    """Three offices, and whatever trouble is asked for."""

    def __init__(self) -> None:
        self.lines = {
            office: [f"+1415555{first + i:04}" for i in range(count)]
            for office, first, count in (("paris", 0, 10), ("oslo", 100, 3), ("empty", 200, 0))
        }
        self.changed: dict[str, dict[str, str | None]] = {}
        self.paths: list[str] = []
        self.trouble: Answer | None = None

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer as Acme does."""
        self.paths.append(request.raw_path)
        if self.trouble is not None:
            return await self.trouble(request)
        if request.headers.get("X-API-Key") != KEY:
            return web.json_response({"message": "unknown key"}, status=401)
        if request.path == "/offices":
            return web.json_response({"offices": list(self.lines)})
        office, *line = request.match_info["path"].split("/")[1::2]
        if line:
            return await self.serve_line(request, self.lines.get(office, []), line[0].removeprefix("line-"))
        lines = self.lines.get(office)
        start = request.query.get("after", "0")
        if lines is None or not (start.isascii() and start.isdecimal()):
            return web.json_response({"message": "no such office"}, status=404)
        end = int(start) + PER_PAGE
        rows = [self.row(line) for line in lines[int(start) : end]]
        return web.json_response({"lines": rows, "after": str(end) if end < len(lines) else None})

    async def serve_line(self, request: web.Request, lines: list[str], line: str) -> web.Response:
        """Answer about one line, after changing or deleting it."""
        if line not in lines:
            return web.json_response({"message": "no such line"}, status=404)
        if request.method == "DELETE":
            lines.remove(line)
            return web.Response(status=204)
        if request.method == "PATCH":
            self.changed.setdefault(line, {}).update(await request.json())
        return web.json_response(self.row(line))

    def row(self, line: str) -> dict[str, str | None]:
        """Describe a line."""
        row = {"e164": line, "id": f"line-{line}", "state": "live", "since": "2026-01-02T03:04:05Z"}
        return {**row, **self.changed.get(line, {})}


def answers(status: int, body: str, kind: str = "application/json") -> Answer:
    """Answer this to everything."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=body, content_type=kind)

    return answer


async def dropped(request: web.Request) -> web.StreamResponse:
    """Say nothing."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


async def echo(request: web.Request) -> web.StreamResponse:
    """Repeat what came."""
    return web.json_response({"message": str(dict(request.headers))}, status=400)


async def slow(_: web.Request) -> web.StreamResponse:
    """Take for ever."""
    await asyncio.Event().wait()
    return web.Response()


TROUBLES: dict[FailureMode, Answer] = {
    FailureMode.UNAVAILABLE: answers(503, "{}"),
    FailureMode.RATE_LIMITED: answers(429, "{}"),
    FailureMode.UNAUTHORIZED: answers(401, "{}"),
    FailureMode.ECHO: echo,
    FailureMode.DROPPED: dropped,
    FailureMode.NOT_JSON: answers(200, "<html>", "text/html"),
    FailureMode.NULL: answers(200, "null"),
    FailureMode.EMPTY_OBJECT: answers(200, "{}"),
    FailureMode.WRONG_SHAPE: answers(200, '{"lines": {}}'),
    FailureMode.SLOW: slow,
}


class TestAcme(ProviderConformance):
    """The whole kit."""

    @asynccontextmanager
    async def bench(self) -> AsyncGenerator[BackendUnderTest]:
        """Serve the stand-in on loopback."""
        vendor = StandIn()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", vendor.serve)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.05)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]

        def begin(trouble: Answer | None) -> Callable[[], None]:
            return lambda: setattr(vendor, "trouble", trouble)

        try:
            yield BackendUnderTest(
                make=lambda: Acme(
                    KEY, base_url=f"http://127.0.0.1:{port}", http=HttpOptions(retries=1, backoff=0)
                ),
                truth=vendor.lines,
                secrets=[KEY],
                failures={trouble: begin(answer) for trouble, answer in TROUBLES.items()},
                restore=begin(None),
                requested_paths=lambda: vendor.paths,
                paths=r"/offices(/[^/?#]+/lines(\?after=[^/?#]*)?)?",
                changes=[
                    ChangeRequest(number="+14155550000", fields={"label": "Desk", "status": "inactive"}),
                    ChangeRequest(number="+14155550100", action=Action.DELETE),
                ],
            )
        finally:
            await runner.cleanup()
