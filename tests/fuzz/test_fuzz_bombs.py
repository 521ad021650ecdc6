"""Answers without end over a real socket: an error of ours, and memory for the cap and some buffers."""

from __future__ import annotations

import asyncio
import json
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from phonesys import HttpOptions, LeadConnector, ResponseTooLarge
from tests.conftest import AIOHTTP_COUNTS_HEADERS
from tests.fuzz.bombed import CAP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
GROWTH = 24 * CAP
"""Of the process, over all bombs: aiohttp's buffers, and pieces of what is decompressed."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def zeros(window: int) -> bytes:
    """A gigabyte of zeros, compressed into a megabyte: the same megabyte, again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    start = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + piece * 1024


def forever(start: bytes, piece: bytes) -> Iterator[bytes]:
    yield start
    while True:
        yield piece


def packed(encoding: bytes, window: int) -> Iterator[bytes]:
    body = zeros(window)
    yield HEAD + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding, len(body)) + body


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
PIECE = b"x" * 2**14
BOMBS: dict[str, tuple[Callable[[], Iterator[bytes]], set[str]]] = {
    "gzip": (lambda: packed(b"gzip", 31), {"ResponseTooLarge"}),
    "deflate": (lambda: packed(b"deflate", 15), {"ResponseTooLarge"}),
    "raw-deflate": (lambda: packed(b"deflate", -15), {"ResponseTooLarge"}),
    "endless-body": (lambda: forever(HEAD + b"\r\n", PIECE), {"ResponseTooLarge"}),
    "endless-chunks": (lambda: forever(CHUNKED, b"4000\r\n" + PIECE + b"\r\n"), {"ResponseTooLarge"}),
    "one-endless-chunk": (lambda: forever(CHUNKED + b"fffffffffffff\r\n", PIECE), {"ResponseTooLarge"}),
    "endless-chunk-size": (lambda: forever(CHUNKED, b"0" * 2**14), {"AttemptTimeout"}),
    "endless-chunk-extension": (lambda: forever(CHUNKED + b"1;", PIECE), {"AttemptTimeout"}),
    "endless-trailers": (
        lambda: forever(CHUNKED + b"0\r\n", b"X-A: aaaaaaaaaaaaa\r\n" * 500),
        {"TransportError"},
    ),
    "lying-length": (
        lambda: forever(HEAD + b"Content-Length: 99999999999\r\n\r\n", PIECE),
        {"ResponseTooLarge"},
    ),
    "impossible-length": (
        lambda: forever(HEAD + b"Content-Length: " + b"9" * 500 + b"\r\n\r\n", PIECE),
        {"TransportError"},
    ),
    "negative-length": (lambda: forever(HEAD + b"Content-Length: -1\r\n\r\n", PIECE), {"TransportError"}),
    "endless-headers": (lambda: forever(HEAD, b"X-A: aaaaaaaaaaaaa\r\n" * 500), {"TransportError"}),
    "endless-header": (lambda: forever(HEAD + b"X-A: ", PIECE), {"TransportError"}),
    "endless-reason": (lambda: forever(b"HTTP/1.1 200 ", PIECE), {"TransportError"}),
    "endless-greeting": (lambda: forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500), {"AttemptTimeout"}),
    "endless-error": (
        lambda: forever(b"HTTP/1.1 500 No\r\n\r\n", PIECE),
        {"ResponseTooLarge", "ServerError"},
    ),
    "no-http": (lambda: forever(b"", b"\0" * 2**14), {"TransportError"}),
}
if not AIOHTTP_COUNTS_HEADERS:  # they would fill the memory
    del BOMBS["endless-headers"], BOMBS["endless-trailers"]


async def _serve(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Send the bomb that the path names, until the client closes the connection."""
    try:
        head = await source.readuntil(b"\r\n\r\n")
        name = head.split(b"/", 2)[1].split(b" ")[0].decode()
        pieces = (
            BOMBS[name][0]() if name in BOMBS else iter([HEAD + b'Content-Length: 14\r\n\r\n{"numbers":[]}'])
        )
        for piece in pieces:
            sink.write(piece)
            await sink.drain()
        await source.read()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        sink.close()


@pytest.mark.skipif(sys.platform != "linux", reason="how much memory was used at the most is read from /proc")
async def test_no_answer_without_end_takes_memory_without_end() -> None:
    """Bodies, chunks, headers, trailers, greetings and a gigabyte in a megabyte, each to one process."""
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fuzz.bombed", url, *BOMBS, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    server.close()
    told = {name: (outcome, growth) for name, outcome, growth in map(json.loads, out.splitlines())}
    assert told.pop("harmless")[0] == "a page"
    wrong = {name: outcome for name, (outcome, _) in told.items() if outcome not in BOMBS[name][1]}
    assert not wrong
    assert set(told) == set(BOMBS)
    assert max(growth for _, growth in told.values()) < GROWTH


@pytest.mark.parametrize("cap", [1, 100, 10_000])
async def test_a_small_cap_holds_for_what_is_decompressed(cap: int) -> None:
    """The cap holds for any expansion of one piece of a compressed body."""
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/gzip"
    options = HttpOptions(max_body=cap, retries=0)
    async with server, LeadConnector("pit-1", base_url=url, http=options) as lc:
        with pytest.raises(ResponseTooLarge, match=f"larger than {cap} bytes"):
            await lc.page("loc_1")
