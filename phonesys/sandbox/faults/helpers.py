"""Faults for scripts: each stands in for, or wraps, the answer to one request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from phonesys.sandbox.faults.exchange import Exchange, Fault, begin, headers_of, payload

if TYPE_CHECKING:
    from collections.abc import Mapping


def status(
    code: int,
    body: object = b"",
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> Fault:
    """Answer with a status; a body that is neither bytes nor text is sent as JSON."""
    raw = _raw(body)

    async def answer(_: Exchange, /) -> web.StreamResponse:
        return web.Response(status=code, body=raw, headers=headers_of(headers, content_type if raw else None))

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
        raw = payload(whole) or b"{}"
        cut = await begin(exchange, whole, len(raw))
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
        raw = payload(whole)
        part = await begin(exchange, whole, None)
        await part.write(raw[: len(raw) // 2] or b" ")
        await asyncio.get_running_loop().create_future()
        return part

    return answer


def _raw(body: object) -> bytes:
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else msgspec.json.encode(body)
