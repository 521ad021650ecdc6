"""What can go wrong on demand: each fault stands in for, or wraps, the answer to one request."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping


@dataclass(slots=True)
class Exchange:
    """One request on its way through the sandbox."""

    request: web.Request
    route: str
    account: str
    carry_out: Callable[[], Awaitable[web.Response]]
    dropped: bool = field(default=False, init=False)

    async def proceed(self) -> web.Response:
        """Authenticate, count against the limits, and carry out what was asked, as if nothing were wrong."""
        return await self.carry_out()

    def drop(self) -> web.Response:
        """Close the connection; the answer returned is for the framework, and goes nowhere."""
        self.dropped = True
        if self.request.transport is not None:
            self.request.transport.close()
        return web.Response()


class Fault(Protocol):
    """Answers in place of the vendor; `await exchange.proceed()` is what the vendor would have said.

    A fault that does not proceed leaves no trace in the data, and does not count against the limits.
    """

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Answer, or drop the connection."""
        ...


def status(
    code: int,
    body: object = b"",
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> Fault:
    """Answer with a status; a body that is neither bytes nor text is sent as JSON."""
    raw = _raw(body)

    async def answer(_: Exchange, /) -> web.StreamResponse:
        return web.Response(status=code, body=raw, headers=_headers(headers, content_type if raw else None))

    return answer


def body(raw: bytes | str, content_type: str = "application/json", code: int = 200) -> Fault:
    """Answer 200 with this body instead of the real one."""
    return status(code, raw, content_type=content_type)


def delay(seconds: float) -> Fault:
    """Carry out what was asked at once, and answer late."""

    async def answer(exchange: Exchange, /) -> web.StreamResponse:
        response = await exchange.proceed()
        await asyncio.sleep(seconds)
        return response

    return answer


def drop() -> Fault:
    """Close the connection without an answer, and without carrying anything out."""

    async def answer(exchange: Exchange, /) -> web.StreamResponse:
        return exchange.drop()

    return answer


def drop_after() -> Fault:
    """Carry out what was asked, then close the connection without an answer."""

    async def answer(exchange: Exchange, /) -> web.StreamResponse:
        await exchange.proceed()
        return exchange.drop()

    return answer


def truncate() -> Fault:
    """Carry out what was asked, promise the whole answer, and close the connection halfway through it."""

    async def answer(exchange: Exchange, /) -> web.StreamResponse:
        whole = await exchange.proceed()
        raw = _payload(whole) or b"{}"
        cut = web.StreamResponse(status=whole.status, headers=_headers(whole.headers, None))
        cut.content_length = len(raw)
        await cut.prepare(exchange.request)
        await cut.write(raw[: len(raw) // 2])
        exchange.drop()
        return cut

    return answer


def stall() -> Fault:
    """Carry out what was asked, send the headers and half the body, and never finish.

    It ends when the client leaves or the sandbox stops.
    """

    async def answer(exchange: Exchange, /) -> web.StreamResponse:
        whole = await exchange.proceed()
        raw = _payload(whole)
        part = web.StreamResponse(status=whole.status, headers=_headers(whole.headers, None))
        part.enable_chunked_encoding()
        await part.prepare(exchange.request)
        await part.write(raw[: len(raw) // 2] or b" ")
        await asyncio.get_running_loop().create_future()
        return part

    return answer


class Script:
    """The faults that are still to come, in order, per route and account."""

    def __init__(self) -> None:
        self._queues: dict[tuple[str, str | None], deque[Iterator[Fault]]] = {}

    def add(self, route: str, faults: tuple[Fault, ...], account: str | None, *, repeat: bool) -> None:
        """Queue faults behind those that are already there."""
        queue = self._queues.setdefault((route, account), deque())
        queue.append(cycle(faults) if repeat else iter(faults))

    def clear(self) -> None:
        """Forget them all."""
        self._queues.clear()

    def next(self, route: str, account: str) -> Fault | None:
        """Take the next fault for a request; those meant for its account come first."""
        if not self._queues:
            return None
        return self._take((route, account)) or self._take((route, None))

    def _take(self, key: tuple[str, str | None]) -> Fault | None:
        queue = self._queues.get(key)
        while queue:
            fault = next(queue[0], None)
            if fault is not None:
                return fault
            queue.popleft()
        self._queues.pop(key, None)
        return None


def _raw(body: object) -> bytes:
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else msgspec.json.encode(body)


def _payload(response: web.Response) -> bytes:
    return response.body if isinstance(response.body, bytes) else b""


def _headers(headers: Mapping[str, str] | None, content_type: str | None) -> dict[str, Any]:
    kept = {
        k: v for k, v in (headers or {}).items() if k.lower() not in {"content-length", "transfer-encoding"}
    }
    if content_type is not None and not any(name.lower() == "content-type" for name in kept):
        kept["Content-Type"] = content_type
    return kept
