"""Connections of the direct transport: each writes one request at a time and reads its response.

Why it exists: aiohttp's own protocol makes a parser for each request, and hands the head and every piece of
the body over one by one. asyncio allocates 256 KiB for each piece that it reads. A connector removes each
connection from its pool and puts it back.

What it gains: a third of the processor time of a request of eight numbers, more than half by reading into one
buffer; measured by `python -m benchmarks --cases small --figure cpu` with and without it.

How it works: aiohttp's connector opens the connection: names, addresses, TLS, time-outs. Then asyncio's
`set_protocol` gives it the protocol below. It keeps one of aiohttp's parsers, unless a response has come in
chunks, and wakes the request once, when the response is complete. `ConnectionPool` keeps idle connections.

To delete it: have `choose_transport` return the SessionTransport.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeAlias

from aiohttp import ClientOSError, ClientPayloadError, ServerDisconnectedError
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpResponseParser
from aiohttp.http_exceptions import HttpProcessingError

if TYPE_CHECKING:
    from aiohttp import StreamReader
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.http import RawResponseMessage

READ_BUFFER_SIZE = 2**20
"""Bytes of a body above which aiohttp stops reading; it holds up to twice as many."""

MAX_HEADER_SIZE = 2**16
"""Bytes of one header of a response; aiohttp's own limit is an eighth of that."""

_HEAD_END = b"\r\n\r\n"
_FIRST_FINAL_STATUS, _SWITCHING_PROTOCOLS = 200, 101

Response: TypeAlias = "tuple[RawResponseMessage, StreamReader]"


class HttpConnection(BaseProtocol, asyncio.BufferedProtocol):
    """One connection, to which one request is written at a time.

    - `buffer`: where all connections of one event loop are read into, one after the other.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, buffer: memoryview) -> None:
        super().__init__(loop)
        self._buffer = buffer
        self._parser: Any = None
        self.reusable = False
        """True after a response that leaves the connection open."""
        self._must_close = False
        self._size = self._head_size = 0
        self._connection: Connection | None = None
        self._handler: ResponseHandler | None = None
        self._response: Response | None = None
        self._waiter: asyncio.Future[Response] | None = None

    @property
    def is_open(self) -> bool:
        """True if a request can be written now."""
        return self.reusable and self.transport is not None and not self.transport.is_closing()

    def bind(self, connection: Connection) -> None:
        """Become the protocol of a connection that aiohttp's connector has opened."""
        self._connection, self._handler = connection, connection.protocol
        transport = connection.transport
        assert transport is not None  # noqa: S101 -- StrictConnector checked it
        transport.set_protocol(self)
        self.transport = transport
        self.reusable = True

    def send(self, request: bytes) -> asyncio.Future[Response]:
        """Write a request and return the future of its response.

        It is done once the body has arrived, or as much as is buffered at most.
        """
        response = self.expect_response()
        self.transport.write(request)  # type: ignore[union-attr]  # only an open connection is written to
        return response

    def expect_response(self) -> asyncio.Future[Response]:
        """Return the future of the next response."""
        if self._parser is None:
            self._parser = self._new_parser()
        self.reusable = False  # until it is complete
        self._response = None
        self._size = 0
        self._waiter = waiter = self._loop.create_future()
        return waiter

    def _new_parser(self) -> Any:
        return HttpResponseParser(
            self,
            self._loop,
            READ_BUFFER_SIZE,
            payload_exception=ClientPayloadError,
            read_until_eof=True,
            auto_decompress=False,
            max_line_size=MAX_HEADER_SIZE,
            max_field_size=MAX_HEADER_SIZE,
        )

    def close(self) -> None:
        """Close the connection."""
        self.reusable, self._must_close = False, True
        if self._connection is not None:
            self._connection.close()

    # asyncio.BufferedProtocol, and asyncio.Protocol for event loops that take it for one

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer to read into."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parse what was read."""
        self.data_received(bytes(self._buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Parse data. Without a request that waits for it, the connection is closed."""
        waiter = self._waiter
        if waiter is None:
            self.close()
            return
        if not self._size:
            self._head_size = data.find(_HEAD_END) + len(_HEAD_END)
        self._size += len(data)
        try:
            messages, _, _ = self._parser.feed_data(data)
        except Exception as failure:  # noqa: BLE001 -- whatever the parser raises, this is no response
            self._fail(_parser_error(failure))
            return
        for response in messages:
            status = response[0].code
            if self._response is not None:
                self._must_close = True
            elif status >= _FIRST_FINAL_STATUS or status == _SWITCHING_PROTOCOLS:
                self._response = response
        if self._response is not None:
            self._deliver(waiter, *self._response)

    def _deliver(
        self, waiter: asyncio.Future[Response], message: RawResponseMessage, content: StreamReader
    ) -> None:
        """Hand over a response that is complete, or fills the buffer."""
        if content.is_eof():
            self._waiter = self._response = None
            if self._size != self._head_size + content.total_bytes:
                self._parser = None  # it may hold the beginning of another response, which was not asked for
            self.reusable = not (self._must_close or message.should_close or message.upgrade)
        elif not self._reading_paused:
            return
        if not waiter.done():
            waiter.set_result((message, content))

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the response with the connection, if it has no other end; else fail it."""
        self.reusable, self._must_close = False, True
        if self._handler is not None:
            self._handler.connection_lost(exc)
        error: Exception = ClientOSError(*exc.args) if isinstance(exc, OSError) else ServerDisconnectedError()
        if self._waiter is not None:
            try:
                self._parser.feed_eof()
            except Exception as failure:  # noqa: BLE001 -- as above
                error = ClientPayloadError(f"Response payload is not completed: {failure!r}")
            if self._response is not None:
                self._deliver(self._waiter, *self._response)
        self._fail(error)
        super().connection_lost(exc)

    def _fail(self, error: Exception) -> None:
        """Fail the response that is awaited or read, if there is one, and close the connection."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
        elif waiter is not None and self._response is not None:
            self._response[1].set_exception(error)
        self.close()

    def resume_reading(self, *options: bool, **named: bool) -> None:
        """Read on, if reading was paused: aiohttp asks for it at the end of each response."""
        if self._reading_paused:
            super().resume_reading(*options, **named)


def _parser_error(failure: Exception) -> HttpProcessingError:
    if isinstance(failure, HttpProcessingError):
        return HttpProcessingError(code=failure.code, message=failure.message, headers=failure.headers)
    return HttpProcessingError()
