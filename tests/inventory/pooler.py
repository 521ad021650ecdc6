"""A PostgreSQL pooler in transaction mode, as PgBouncer: each transaction runs on the next connection."""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_SSL_REQUEST = 80877103
_PROTOCOL = 3 << 16
_ALLOWED = {"user", "database", "client_encoding", "application_name"}
"""Parameters of the startup message that PgBouncer accepts."""


class Pooler:
    """Hands transactions to server connections in turn, so that no session state survives one."""

    def __init__(self, socket: str, user: str, database: str) -> None:
        self._socket, self._user, self._database = socket, user, database
        self._free: asyncio.Queue[Connection] = asyncio.Queue()
        self._greeting = b""
        self.transactions = 0

    async def start(self, servers: int) -> None:
        """Open the server connections."""
        for _ in range(servers):
            reader, writer = await asyncio.open_unix_connection(self._socket)
            parameters = f"user\0{self._user}\0database\0{self._database}\0\0".encode()
            writer.write(struct.pack("!ii", len(parameters) + 8, _PROTOCOL) + parameters)
            self._greeting = b""
            while not self._greeting.endswith(b"Z\0\0\0\x05I"):
                self._greeting += await _read(reader)
            self._free.put_nowait((reader, writer))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until it terminates."""
        try:
            if await self._accept(reader, writer):
                reading = asyncio.create_task(_read(reader))
                while (await reading)[:1] != b"X":
                    reading = await self._transaction(reading, reader, writer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        size, code = struct.unpack("!ii", await reader.readexactly(8))
        if code == _SSL_REQUEST:
            writer.write(b"N")
            size, code = struct.unpack("!ii", await reader.readexactly(8))
        parameters = (await reader.readexactly(size - 8)).decode().split("\0")[:-2]
        if code != _PROTOCOL or not set(parameters[::2]) <= _ALLOWED:
            return False
        writer.write(self._greeting)
        return True

    async def _transaction(
        self, reading: asyncio.Task[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> asyncio.Task[bytes]:
        """Run the transaction that begins with a message, and return the task that reads the next one."""
        server_reader, server_writer = server = await self._free.get()
        self.transactions += 1
        copying = asyncio.create_task(_copy_until_idle(server_reader, writer))
        try:
            while not copying.done():
                server_writer.write(await reading)
                reading = asyncio.create_task(_read(reader))
                await asyncio.wait({reading, copying}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            copying.cancel()
        self._free.put_nowait(server)
        return reading

    def close(self) -> None:
        """Close the server connections."""
        while not self._free.empty():
            self._free.get_nowait()[1].close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(5)
    return head + await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)


async def _copy_until_idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy messages of the server up to the end of its transaction."""
    message = b""
    while message != b"Z\0\0\0\x05I":
        message = await _read(reader)
        writer.write(message)


@asynccontextmanager
async def pooler(socket: str, user: str, database: str) -> AsyncGenerator[tuple[Pooler, int]]:
    """Run a pooler with three server connections on loopback, and yield it and its port."""
    made = Pooler(socket, user, database)
    await made.start(3)  # odd: every second transaction is the ping of a pool
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        yield made, server.sockets[0].getsockname()[1]
    made.close()
