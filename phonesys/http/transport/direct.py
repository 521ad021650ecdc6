"""Direct transport: requests written to aiohttp's connections, without its session.

Why it exists: the request object, the response object and the writer in between are a third of what a small
request costs. A call needs nothing of that: one host, no redirects, no cookies, no uploads.

What it gains: 37 % of the processor time of a request of eight numbers: 106 µs instead of 169 µs, measured
by `python -m benchmarks --cases small --figure cpu` with and without it.

How it works: aiohttp's connector, protocol and parser do what they always do: pooling, TLS, chunks,
compression, limits. Some of their interface is not documented, so `unsupported_reason` tests it before
anything is sent. If it has changed, requests go through the session.

To delete it: have `choose_transport` return the SessionTransport. Nothing else depends on it.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from phonesys.http.response import RawResponse
from phonesys.http.transport.connector import MAX_HEADER_SIZE, READ_BUFFER_SIZE
from phonesys.http.transport.decompression import BodyDecompressor, buffered_body, read_body
from phonesys.http.transport.errors import read_capped
from phonesys.http.transport.patching import ORIGINAL_SESSION, is_patched
from phonesys.http.validation import encode_headers, merge_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phonesys.http.call import Call
    from phonesys.http.transport import Transport

_FIRST_FINAL_STATUS, _SWITCHING_PROTOCOLS = 200, 101
_BODILESS_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class DirectTransport:
    """Sends requests to one host over a session's connector.

    - `headers`: sent with every request.
    - `constant`: what signs every request, if that never changes.
    - `fallback`: used while aiohttp's session is patched, for instance by a mock.
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
        self._connector = _connector_of(session)
        self._destination = _destination(session, url)
        self._base_path = url.raw_path.rstrip("/")
        self._constant = constant
        self._headers = merge_headers(merge_headers(self._destination.headers, headers), constant or {})
        self._encoded_headers = encode_headers(self._headers)
        self._timeout = timeout
        self._decompressor = BodyDecompressor(max_body)
        self._fallback = fallback

    async def exchange(self, call: Call[Any], signed: Mapping[str, str], /) -> RawResponse:
        """Send one request and read its response, up to the size limit."""
        if is_patched():
            return await self._fallback.exchange(call, signed)
        connection = await self._connector.connect(self._destination, [], self._timeout)
        try:
            protocol, transport = connection.protocol, connection.transport
            assert protocol is not None  # noqa: S101 -- StrictConnector checked it
            assert transport is not None  # noqa: S101
            _expect_response(protocol, self._timeout.sock_read, to_head=call.method == "HEAD")
            transport.write(self._encode(call, signed))  # in no variable: tracebacks may show locals
            message, content = await protocol.read()
            while message.code < _FIRST_FINAL_STATUS and message.code != _SWITCHING_PROTOCOLS:
                message, content = await protocol.read()
            body = buffered_body(content, message.headers, self._decompressor)
            if body is None:
                body = await read_body(content, message.headers, self._decompressor)
        except BaseException:
            connection.close()
            raise
        connection.release()
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


def _expect_response(protocol: ResponseHandler, read_timeout: float | None, *, to_head: bool = False) -> None:
    protocol.set_response_params(
        skip_payload=to_head,
        read_until_eof=True,
        auto_decompress=False,
        read_bufsize=READ_BUFFER_SIZE,
        read_timeout=read_timeout,
        max_line_size=MAX_HEADER_SIZE,
        max_field_size=MAX_HEADER_SIZE,
    )
    if read_timeout is not None:
        protocol.start_timeout()


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
    """Do everything that a request does, with a response that is already there. Raise if anything differs."""
    request = _destination(session, URL("https://vendor.example"))
    inspect.signature(aiohttp.TCPConnector.connect).bind(None, request, [], aiohttp.ClientTimeout())
    protocol = ResponseHandler(asyncio.get_running_loop())
    _expect_response(protocol, read_timeout=1)
    protocol.data_received(_SAMPLE_RESPONSE)
    async with asyncio.timeout(1):
        message, content = await protocol.read()
        body = await read_capped(content, len(_SAMPLE_RESPONSE))
    decoded = (message.code, message.headers.get("X-Sample"), body, protocol.should_close)
    if decoded != _SAMPLE_DECODED or protocol.is_connected():
        raise ValueError(f"a sample response was decoded as {decoded}")


def _connector_of(session: aiohttp.ClientSession) -> aiohttp.BaseConnector:
    connector = session.connector
    if connector is None:
        raise RuntimeError("Session is closed")
    return connector


def _destination(session: aiohttp.ClientSession, url: URL) -> aiohttp.ClientRequest:
    """Return the request that tells a connector its destination, with the default headers of aiohttp."""
    return aiohttp.ClientRequest("GET", url, session=session)
