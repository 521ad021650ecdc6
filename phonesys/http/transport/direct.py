"""Direct transport: requests written to connections without aiohttp's session.

Why it exists: the request object, the response object and the writer in between are a third of what a small
request costs. A call needs nothing of that: one host, no redirects, no cookies, no uploads.

What it gains: half of the processor time of a request of eight numbers, beside the session, measured by
`python -m benchmarks --cases small --figure cpu` with and without it.

How it works: aiohttp's connector opens connections, and its parser reads responses: names, TLS, chunks,
limits. Some of their interface is not documented, so `unsupported_reason` tests it before anything is sent.
If it has changed, requests go through the session.

To delete it: have `choose_transport` return the SessionTransport. Nothing else depends on it.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from phonesys.http.response import RawResponse
from phonesys.http.transport.connection import HttpConnection
from phonesys.http.transport.connector import StrictConnector
from phonesys.http.transport.decompression import BodyDecompressor, buffered_body, read_body
from phonesys.http.transport.errors import read_capped
from phonesys.http.transport.patching import ORIGINAL_SESSION, is_patched
from phonesys.http.validation import encode_headers, merge_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phonesys.http.call import Call
    from phonesys.http.transport import Transport

_BODILESS_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class DirectTransport:
    """Sends requests to one host over a session's connector.

    - `headers`: sent with every request.
    - `constant`: what signs every request, if that never changes.
    - `fallback`: used while aiohttp's session is patched, for instance by a mock, and for HEAD, whose
      responses the parser would have to know.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base: str,
        headers: Mapping[str, str],
        constant: Mapping[str, str] | None,
        timeout: aiohttp.ClientTimeout,
        max_body: int,
        *,
        fallback: Transport,
    ) -> None:
        url = URL(base, encoded=True)
        destination = _destination(session, url)
        self._pool = _connector_of(session).pool(destination, timeout)
        self._base_path = url.raw_path.rstrip("/")
        self._constant = constant
        self._headers = merge_headers(merge_headers(destination.headers, headers), constant or {})
        self._encoded_headers = encode_headers(self._headers)
        self._decompressor = BodyDecompressor(max_body)
        self._fallback = fallback

    async def exchange(self, call: Call[Any], signed: Mapping[str, str], /) -> RawResponse:
        """Send one request and read its response, up to the size limit."""
        if is_patched() or call.method == "HEAD":
            return await self._fallback.exchange(call, signed)
        connection = self._pool.get_nowait() or await self._pool.connect()
        try:
            # The request is in no variable: tracebacks may show locals.
            message, content = await connection.send(self._encode(call, signed))
            body = buffered_body(content, message.headers, self._decompressor)
            if body is None:
                body = await read_body(content, message.headers, self._decompressor)
        except BaseException:
            connection.close()
            raise
        self._pool.release(connection)
        return RawResponse(message.code, message.headers, body)

    def _encode(self, call: Call[Any], signed: Mapping[str, str]) -> bytes:
        path = self._base_path + call.target
        start = f"{call.method} {path if path[:1] == '/' else '/' + path} HTTP/1.1\r\n"
        headers = self._encoded_headers if signed is self._constant else self._encode_headers(signed)
        body = call.body
        if body is None:
            end = "\r\n" if call.method in _BODILESS_METHODS else "Content-Length: 0\r\n\r\n"
            return f"{start}{headers}{end}".encode("ascii")
        entity = f"Content-Type: {call.content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        return f"{start}{headers}{entity}".encode("ascii") + body

    def _encode_headers(self, signed: Mapping[str, str]) -> str:
        if any(name in self._headers for name in signed):
            return encode_headers(merge_headers(self._headers, signed))
        return self._encoded_headers + encode_headers(signed)


# Checks that aiohttp is as this module needs it

_SAMPLE_RESPONSE = b"HTTP/1.1 200 OK\r\nX-Sample: 1\r\nContent-Length: 2\r\n\r\n{}"
_SAMPLE_DECODED = (200, "1", b"{}", False)


async def unsupported_reason(session: aiohttp.ClientSession) -> str | None:
    """Return why requests must go through this session, or None if they need not."""
    if type(session) is not ORIGINAL_SESSION or is_patched():
        return "aiohttp's session was replaced"
    if session.trace_configs or getattr(session, "_middlewares", None):
        return "aiohttp's session has traces or middlewares"
    try:
        await _self_test(session)
    except Exception as surprise:  # noqa: BLE001 -- an unknown aiohttp may raise anything
        return f"aiohttp {aiohttp.__version__} has changed: {type(surprise).__name__}: {surprise}"
    return None


async def _self_test(session: aiohttp.ClientSession) -> None:
    """Do what two requests do, with responses that are already there. Raise if anything differs."""
    request = _destination(session, URL("https://vendor.example"))
    inspect.signature(aiohttp.TCPConnector.connect).bind(None, request, [], aiohttp.ClientTimeout())
    buffer = memoryview(bytearray(len(_SAMPLE_RESPONSE)))
    connection = HttpConnection(asyncio.get_running_loop(), buffer)
    for split in (len(_SAMPLE_RESPONSE) - 1, 1):
        response = connection.expect_response()
        for piece in (_SAMPLE_RESPONSE[:split], _SAMPLE_RESPONSE[split:]):
            connection.get_buffer(-1)[: len(piece)] = piece
            connection.buffer_updated(len(piece))
        async with asyncio.timeout(1):
            message, content = await response
            body = await read_capped(content, len(_SAMPLE_RESPONSE))
        decoded = (message.code, message.headers.get("X-Sample"), body, not connection.reusable)
        if decoded != _SAMPLE_DECODED or connection.is_open:
            raise ValueError(f"a sample response was decoded as {decoded}")


def _connector_of(session: aiohttp.ClientSession) -> StrictConnector:
    connector = session.connector
    if not isinstance(connector, StrictConnector):
        raise RuntimeError("Session is closed")  # noqa: TRY004 -- as aiohttp says
    return connector


def _destination(session: aiohttp.ClientSession, url: URL) -> aiohttp.ClientRequest:
    """Return the request that tells a connector its destination, with the default headers of aiohttp."""
    return aiohttp.ClientRequest("GET", url, session=session)
