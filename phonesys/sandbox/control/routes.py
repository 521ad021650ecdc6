"""The page, its live events, and its switches."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from phonesys.errors import UsageError
from phonesys.sandbox.control import view
from phonesys.sandbox.control.guard import HEADERS, reject_reason
from phonesys.sandbox.faults import parse_rule

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from phonesys.sandbox.control.view import Sandbox

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_FILES = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
_AT_MOST_EVERY = 0.2
_SIGN_OF_LIFE = 15.0
_SHOWN_AT_FIRST = 200


class OnOff(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a request that turns a fault on or off."""

    on: bool


class Control:
    """Shows a sandbox to people, and lets them switch its faults; its own requests are not in the log."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._watchers: set[asyncio.Event] = set()
        self._ending = False
        self._loop: asyncio.AbstractEventLoop | None = None
        sandbox.log.listeners.append(lambda _: self._wake())
        sandbox.faults.changed = self._wake

    def mount(self, app: web.Application) -> None:
        """Add the routes."""
        self._ending = False
        app.on_shutdown.append(self._end)
        add = app.router.add_route
        add("GET", "/", _guarded(_file("page.html")))
        add("GET", "/_sandbox/page.css", _guarded(_file("page.css")))
        add("GET", "/_sandbox/page.js", _guarded(_file("page.js")))
        add("GET", "/_sandbox/about", _guarded(self._about))
        add("GET", "/_sandbox/state", _guarded(self._state))
        add("GET", "/_sandbox/events", _guarded(self._events))
        add("GET", "/_sandbox/accounts", _guarded(self._accounts))
        add("POST", "/_sandbox/faults", _guarded(self._add))
        add("PATCH", "/_sandbox/faults/{id:[0-9]{1,9}}", _guarded(self._switch))
        add("DELETE", "/_sandbox/faults/{id:[0-9]{1,9}}", _guarded(self._remove))
        add("DELETE", "/_sandbox/faults", _guarded(self._clear))
        add("*", "/_sandbox{rest:.*}", _guarded(_nothing))

    def _wake(self) -> None:
        """Wake the event streams; may be called from any thread."""
        if self._watchers and self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake_here)

    def _wake_here(self) -> None:
        for watcher in self._watchers:
            watcher.set()

    async def _end(self, _: web.Application) -> None:
        """End the event streams, so that an open page does not delay the shutdown."""
        self._ending = True
        self._wake_here()

    # --- Looking ---------------------------------------------------------------------------------------

    async def _about(self, _: web.Request) -> web.StreamResponse:
        return _json(view.about(self._sandbox))

    async def _state(self, request: web.Request) -> web.StreamResponse:
        return _json(view.state(self._sandbox, _whole(request, "after", self._recently())))

    async def _accounts(self, request: web.Request) -> web.StreamResponse:
        search = request.query.get("search", "")
        return _json(view.accounts(self._sandbox, search, _whole(request, "skip", 0)))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Send the state now and whenever it changes, as server-sent events; each knows what came before."""
        stream = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        await stream.prepare(request)
        seen = _whole(request, "after", self._recently())
        changed, self._loop = asyncio.Event(), asyncio.get_running_loop()
        self._watchers.add(changed)
        try:
            while not self._ending:
                changed.clear()
                state = view.state(self._sandbox, seen)
                seen = state["total"]
                await stream.write(b"data: " + msgspec.json.encode(state) + b"\n\n")
                await _either(changed, stream)
        except ConnectionResetError:
            pass  # the page was closed
        finally:
            self._watchers.discard(changed)
        return stream

    def _recently(self) -> int:
        return max(self._sandbox.log.total - _SHOWN_AT_FIRST, 0)

    # --- Switching -------------------------------------------------------------------------------------

    async def _add(self, request: web.Request) -> web.StreamResponse:
        made = self._sandbox.faults.add(parse_rule(await request.read()))
        return _json(view.fault(made), status=201)

    async def _switch(self, request: web.Request) -> web.StreamResponse:
        wanted = msgspec.json.decode(await request.read(), type=OnOff)
        return _json(view.fault(self._sandbox.faults.switch(int(request.match_info["id"]), on=wanted.on)))

    async def _remove(self, request: web.Request) -> web.StreamResponse:
        self._sandbox.faults.remove(int(request.match_info["id"]))
        return web.Response(status=204, headers=HEADERS)

    async def _clear(self, _: web.Request) -> web.StreamResponse:
        self._sandbox.faults.clear()
        return web.Response(status=204, headers=HEADERS)


async def _either(changed: asyncio.Event, stream: web.StreamResponse) -> None:
    """Wait for a change, but not less than a moment, and show now and then that the stream is alive."""
    await asyncio.sleep(_AT_MOST_EVERY)
    while not changed.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), _SIGN_OF_LIFE)
            return
        await stream.write(b": still here\n\n")


def _guarded(handler: Handler) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        refused = reject_reason(request)
        if refused is not None:
            return _message(403, refused)
        try:
            return await handler(request)
        except KeyError:
            return _message(404, "no such fault")
        except (UsageError, msgspec.DecodeError) as failure:
            return _message(400, str(failure))

    return handle


def _file(name: str) -> Handler:
    async def handle(_: web.Request) -> web.StreamResponse:
        return web.Response(body=_content(name), content_type=_FILES[name], charset="utf-8", headers=HEADERS)

    return handle


async def _nothing(_: web.Request) -> web.StreamResponse:
    return _message(404, "there is nothing here")


@lru_cache
def _content(name: str) -> bytes:
    return files("phonesys.sandbox.control").joinpath(name).read_bytes()


def _whole(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    return int(text[:18]) if text.isascii() and text.isdecimal() else default


def _message(status: int, text: str) -> web.Response:
    return _json({"message": text}, status=status)


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(value), content_type="application/json", headers=HEADERS
    )
