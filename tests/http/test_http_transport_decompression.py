"""Decompression: what is sent is what is read, and hostile bodies neither fill memory nor block the loop."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesys import OutcomeUnknown, ResponseTooLarge, TransportError
from phonesys.http.transport.decompression import BodyDecompressor
from phonesys.http.transport.errors import BodyLimitExceeded, CorruptBody
from tests.http.raw_vendor import OK, RawVendor, Thing, answer, client, read, write

if TYPE_CHECKING:
    from collections.abc import Callable


DATA = b'{"a": 1}'


def raw_deflate(data: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return encoder.compress(data) + encoder.flush()


ENCODERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("X-GZip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "deflate without a header": ("deflate", raw_deflate),
    "stored": ("gzip", lambda data: gzip.compress(data, 0)),
    "several members": ("gzip", lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])),
    "many members": (
        "gzip",
        lambda data: b"".join(gzip.compress(data[at : at + 40], 0) for at in range(0, len(data) or 1, 40)),
    ),
    "empty members": (
        "gzip",
        lambda data: gzip.compress(b"") * 50 + gzip.compress(data) + gzip.compress(b""),
    ),
    "padded with zeros": ("gzip", lambda data: gzip.compress(data) + bytes(100)),
}


@pytest.mark.parametrize("name", ENCODERS)
@given(data=st.binary(max_size=2000), times=st.sampled_from([1, 100, 600]))
def test_any_body_comes_back(name: str, data: bytes, times: int) -> None:
    """In one step, or in many."""
    encoding, encode = ENCODERS[name]
    body = encode(data * times)
    assert asyncio.run(BodyDecompressor(2_000_000).decompress(body, encoding)) == data * times


@pytest.mark.parametrize("size", [128 * 1024, 384 * 1024, 640 * 1024])
async def test_a_body_may_end_where_a_step_does(size: int) -> None:
    """The last step may be empty."""
    data = bytes(size)
    assert await BodyDecompressor(size).decompress(gzip.compress(data), "gzip") == data


@pytest.mark.parametrize("size", [1, 1000, 300_000])
async def test_the_limit_is_exact(size: int) -> None:
    """A body of that size is read, and one byte more is too much, however well it compresses."""
    assert len(await BodyDecompressor(size).decompress(gzip.compress(bytes(size)), "gzip")) == size
    with pytest.raises(BodyLimitExceeded):
        await BodyDecompressor(size).decompress(gzip.compress(bytes(size + 1)), "gzip")


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"not gzip at all", "gzip"), (DATA, "deflate"), (gzip.compress(DATA)[:-9], "gzip"),
        (gzip.compress(bytes(300_000))[:200], "gzip"), (b"\x1f\x8b", "gzip"),
        (zlib.compress(DATA)[:-1], "deflate"), (gzip.compress(DATA), "br"),
        (gzip.compress(DATA), "gzip, gzip"),
        (gzip.compress(DATA) * 2 + b"\x1f\x8b", "gzip"),
        (gzip.compress(DATA) * 5000 + b"\x1f\x8b", "gzip"),
        (gzip.compress(b"") * 200, "gzip"),
        (gzip.compress(DATA) + gzip.compress(b"") * 20_000 + gzip.compress(DATA), "gzip"),
    ],
)  # fmt: skip
async def test_a_body_that_is_not_what_it_says_is_corrupt(body: bytes, encoding: str) -> None:
    """Broken, cut short, or in an encoding that was not asked for."""
    with pytest.raises(CorruptBody):
        await BodyDecompressor(2_000_000).decompress(body, encoding)


@pytest.mark.usefixtures("transport")
async def test_a_corrupt_body_is_a_transport_error() -> None:
    """A read may be retried; a write may have been carried out."""
    corrupt = answer(b"not gzip at all", Content_Encoding="gzip")
    async with RawVendor(corrupt, corrupt, OK) as vendor, client(vendor, retries=0) as http:
        with pytest.raises(TransportError, match="cannot be decompressed"):
            await http.send(read())
        with pytest.raises(OutcomeUnknown):
            await http.send(write())
        assert await http.send(read()) == Thing(1)


@pytest.mark.usefixtures("transport")
async def test_only_what_can_be_decompressed_is_asked_for() -> None:
    """The request names the encodings, whatever else is installed."""
    async with RawVendor(OK) as vendor, client(vendor) as http:
        await http.send(read())
    assert "Accept-Encoding: gzip, deflate\r\n" in vendor.requests[0][0]


@pytest.mark.parametrize("automatic", [True, False])
async def test_a_session_may_decompress_or_not(*, automatic: bool) -> None:
    """A session that is handed in and leaves bodies compressed is as good as any."""
    vendor = RawVendor(answer(gzip.compress(DATA), Content_Encoding="gzip"))
    async with vendor, aiohttp.ClientSession(auto_decompress=automatic) as session:
        async with client(vendor, session=session) as http:
            assert await http.send(read()) == Thing(1)


@pytest.mark.parametrize("transport", ["direct", "session", "handed in"], indirect=True)
async def test_hostile_bodies_leave_the_loop_to_others(transport: str) -> None:
    """While 64 bodies expand beyond the limit at once, the loop turns at least once per MiB of each.

    Turns are counted rather than seconds, so that a slow machine measures the same.
    """
    bomb = answer(gzip.compress(bytes(20_000_000)), Content_Encoding="gzip")
    arrived, everyone, count = asyncio.Event(), 64, 0

    async def together(sink: asyncio.StreamWriter) -> bool:
        nonlocal count
        count += 1
        if count == everyone:
            arrived.set()
        await arrived.wait()
        sink.write(bomb)
        return True

    async with AsyncExitStack() as stack:
        vendor = await stack.enter_async_context(RawVendor(together))
        session = None
        if transport == "handed in":
            session = await stack.enter_async_context(aiohttp.ClientSession())
        http = client(vendor, retries=0, timeout=None, max_body=2**23, session=session)
        await stack.enter_async_context(http)
        calls = asyncio.gather(*(http.send(read()) for _ in range(everyone)), return_exceptions=True)
        await arrived.wait()
        turns = 0
        while not calls.done():
            turns += 1
            await asyncio.sleep(0)
    assert {type(error) for error in await calls} == {ResponseTooLarge}
    assert turns > everyone * 8


async def test_long_bodies_are_decompressed_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """No turn of the loop decompresses a step of two bodies."""
    from phonesys.http.transport import decompression

    steps: list[int] = []
    original = decompression._Stream.read

    def noted(stream: Any, size: int) -> bytes:
        if size == decompression._STEP:
            steps.append(turn)
        return original(stream, size)

    monkeypatch.setattr(decompression._Stream, "read", noted)
    decompressor, body, turn = BodyDecompressor(10_000_000), gzip.compress(bytes(2_000_000)), 0
    bodies = asyncio.gather(*(decompressor.decompress(body, "gzip") for _ in range(8)))
    while not bodies.done():
        turn += 1
        await asyncio.sleep(0)
    assert [len(data) for data in await bodies] == [2_000_000] * 8
    assert len(steps) == len(set(steps)) > 8 * 7


async def test_the_first_step_holds_up_no_small_body() -> None:
    """A small body is decompressed at once, even while long ones are."""
    decompressor = BodyDecompressor(50_000_000)
    long = asyncio.ensure_future(decompressor.decompress(gzip.compress(bytes(40_000_000)), "gzip"))
    await asyncio.sleep(0)
    assert await decompressor.decompress(gzip.compress(DATA), "gzip") == DATA
    assert not long.done()
    assert len(await long) == 40_000_000
