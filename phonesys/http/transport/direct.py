"""The short way through aiohttp, for a session of our own.

aiohttp's connector, protocol and parser do what they always do: pooling, TLS, chunks, compression, limits.
What is left out is the request object, the response object and their writer in between. They are a third of
what a small request costs, and do nothing that a call needs: one host, no redirects, no cookies, no uploads.

Some of what this leans on is not documented, so that `obstacle` looks, before anything is sent, whether it is
as it was; where it is not, requests go the ordinary way.
"""

from __future__ import annotations

import asyncio
import inspect
from types import FunctionType
from typing import TYPE_CHECKING, Any

import aiohttp
import aiohttp.client
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from phonesys.http.transport.connector import READ_BUFFER_SIZE
from phonesys.http.transport.errors import read_capped
from phonesys.http.validation import encode_headers, merge_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phonesys.http.call import Call
    from phonesys.http.transport.errors import RawResponse

_FIRST_FINAL, _SWITCHING = 200, 101
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class DirectTransport:
    """Sends requests to one host over a session's connector.

    - `headers`: those of every request.
    - `constant`: what signs every request alike, if that is so.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base: str,
        headers: Mapping[str, str],
        constant: Mapping[str, str] | None,
        timeout: aiohttp.ClientTimeout,
        cap: int,
    ) -> None:
        url = URL(base, encoded=True)
        self._connector = _connector_of(session)
        self._destination = _destination(session, url)
        self._path = url.raw_path.rstrip("/")
        self._constant = constant
        self._headers = merge_headers(merge_headers(self._destination.headers, headers), constant or {})
        self._lines = encode_headers(self._headers)
        self._timeout = timeout
        self._cap = cap

    async def exchange(self, call: Call[Any], signed: Mapping[str, str]) -> RawResponse:
        """Send one request and read its answer, up to the cap."""
        connection = await self._connector.connect(self._destination, [], self._timeout)
        try:
            protocol, transport = connection.protocol, connection.transport
            assert protocol is not None  # noqa: S101 -- the connector looked
            assert transport is not None  # noqa: S101
            _expect_answer(protocol, self._timeout.sock_read, of_head=call.method == "HEAD")
            transport.write(self._request(call, signed))  # in no variable: tracebacks may show locals
            message, content = await protocol.read()
            while message.code < _FIRST_FINAL and message.code != _SWITCHING:
                message, content = await protocol.read()
            body = await read_capped(content, self._cap)
        except BaseException:
            connection.close()
            raise
        connection.release()
        return message.code, message.headers, body

    def _request(self, call: Call[Any], signed: Mapping[str, str]) -> bytes:
        path = self._path + call.target
        start = f"{call.method} {path if path[:1] == '/' else '/' + path} HTTP/1.1\r\n"
        headers = self._lines if signed is self._constant else self._lines_with(signed)
        body = call.body
        if body is None:
            end = "\r\n" if call.method in _WITHOUT_BODY else "Content-Length: 0\r\n\r\n"
            return f"{start}{headers}{end}".encode("ascii")
        kind = f"Content-Type: {call.content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        return f"{start}{headers}{kind}".encode("ascii") + body

    def _lines_with(self, signed: Mapping[str, str]) -> str:
        if any(name in self._headers for name in signed):
            return encode_headers(merge_headers(self._headers, signed))
        return self._lines + encode_headers(signed)


def _expect_answer(protocol: ResponseHandler, silence: float | None, *, of_head: bool = False) -> None:
    """Prepare for one answer, with no more than so many seconds between two pieces of it."""
    protocol.set_response_params(
        skip_payload=of_head, read_until_eof=True, read_bufsize=READ_BUFFER_SIZE, read_timeout=silence
    )
    if silence is not None:
        protocol.start_timeout()


# Whether the way is open

_SESSION, _SESSIONS_CODE, _SENDS = aiohttp.ClientSession, aiohttp.client.__dict__, "_request"
_SAMPLE = b"HTTP/1.1 200 OK\r\nX-Sample: 1\r\nContent-Length: 2\r\n\r\n{}"
_READ_OF_IT = (200, "1", b"{}", False)


async def unsupported_reason(session: aiohttp.ClientSession) -> str | None:
    """Say why requests cannot take this way with a session; None where they can."""
    if type(session) is not _SESSION or is_patched():
        return "something took the place of aiohttp's session"
    if session.trace_configs or getattr(session, "_middlewares", None):
        return "something looks at what aiohttp's session does"
    try:
        await _self_test(session)
    except Exception as surprise:  # noqa: BLE001 -- whatever an aiohttp that nobody knows may raise
        return f"aiohttp {aiohttp.__version__} is not as it was: {type(surprise).__name__}: {surprise}"
    return None


def is_patched() -> bool:
    """Say whether requests of aiohttp's session would run other code than aiohttp's: a mock's, a tracer's."""
    return not (_is_aiohttps(_SESSION.request) and _is_aiohttps(getattr(_SESSION, _SENDS)))


def _is_aiohttps(method: object) -> bool:
    return type(method) is FunctionType and method.__globals__ is _SESSIONS_CODE


async def _self_test(session: aiohttp.ClientSession) -> None:
    """Do all that a request does, with an answer that is there already; raises whatever goes wrong."""
    request = _destination(session, URL("https://vendor.example"))
    inspect.signature(aiohttp.TCPConnector.connect).bind(None, request, [], aiohttp.ClientTimeout())
    protocol = ResponseHandler(asyncio.get_running_loop())
    _expect_answer(protocol, silence=1)
    protocol.data_received(_SAMPLE)
    async with asyncio.timeout(1):
        message, content = await protocol.read()
        body = await read_capped(content, len(_SAMPLE))
    seen = (message.code, message.headers.get("X-Sample"), body, protocol.should_close)
    if seen != _READ_OF_IT or protocol.is_connected():
        raise ValueError(f"a sample was read as {seen}")


def _connector_of(session: aiohttp.ClientSession) -> aiohttp.BaseConnector:
    connector = session.connector
    if connector is None:
        raise RuntimeError("Session is closed")
    return connector


def _destination(session: aiohttp.ClientSession, url: URL) -> aiohttp.ClientRequest:
    """Make what a connector wants to know of a request, with the headers that aiohttp gives one by itself."""
    return aiohttp.ClientRequest("GET", url, session=session)
