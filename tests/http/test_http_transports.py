"""Both transports through aiohttp send the same bytes, and read the same responses."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import pytest

from phonesys import (
    AttemptTimeout,
    ConnectError,
    DeadlineExceeded,
    Forbidden,
    InvalidArgument,
    NotOpen,
    OutcomeUnknown,
    PhonesysError,
    ResponseTooLarge,
    StatusError,
    TransportError,
)
from phonesys.http.client import HttpClient
from phonesys.http.transport import direct
from phonesys.http.transport.connector import StrictConnector
from tests.conftest import AIOHTTP_COUNTS_HEADERS
from tests.http.raw_vendor import OK, RawVendor, Thing, answer, client, drop, read, stall, write

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from phonesys.http.call import Call

    Run = Callable[[Any], Any]
    Step = Callable[[asyncio.StreamWriter], Awaitable[bool]]

pytestmark = pytest.mark.usefixtures("transport")


class PerCall:
    """Signs each call with headers made for it."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def sign(self, call: Call[Any]) -> Mapping[str, str]:
        return dict(self._headers)

    async def ensure_valid(self, call: Call[Any]) -> None: ...

    def on_unauthorized(self, call: Call[Any], headers: Mapping[str, str]) -> bool:
        return False

    def accounts(self) -> tuple[str, ...]:
        return ()


def pieces(*parts: bytes, close: bool = False) -> Step:
    """Send an answer in parts that arrive one by one, and perhaps close."""

    async def step(sink: asyncio.StreamWriter) -> bool:
        for part in parts:
            sink.write(part)
            await sink.drain()
            for _ in range(5):
                await asyncio.sleep(0)
        if close:
            sink.close()
        return not close

    return step


def every_byte(data: bytes) -> Step:
    return pieces(*(data[number : number + 1] for number in range(len(data))))


class Counting(RawVendor):
    """Counts the connections that it was sent requests on."""

    def __init__(self, *script: Any) -> None:
        super().__init__(*script)
        self.connections = 0

    async def _serve(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        self.connections += 1
        await super()._serve(source, sink)


async def drain() -> None:
    """Wait until data on the loopback has arrived."""
    for _ in range(20):
        await asyncio.sleep(0)


def held(http: HttpClient) -> tuple[int, int]:
    """Return the number of connections in use, and of those in the pool."""
    session = http._session._own
    assert session is not None
    connector = session.connector
    assert isinstance(connector, StrictConnector)
    idle = sum(map(len, connector._pools.values()))
    return len(connector._acquired) - idle, sum(map(len, connector._conns.values())) + idle


# The transport


async def test_a_session_of_our_own_is_bypassed(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the other tests of this file do test both transports."""
    used: list[str] = []
    exchange = direct.DirectTransport.exchange

    async def noted(*args: Any) -> Any:
        used.append("direct")
        return await exchange(*args)

    monkeypatch.setattr(direct.DirectTransport, "exchange", noted)
    async with RawVendor(OK) as vendor, client(vendor) as http:
        await http.send(read())
        assert (http.fallback_reason is None) == (transport == "direct")
    assert used == (["direct"] if transport == "direct" else [])


# What is sent

CALLS: list[dict[str, Any]] = [
    {"method": "GET"},
    {"method": "HEAD"},
    {"method": "DELETE"},
    {"method": "POST"},
    {"method": "PUT", "body": b""},
    {"method": "PATCH", "body": b'{"a": 1}', "content_type": "application/merge-patch+json"},
    {"method": "POST", "body": b"\x00\r\n" * 100_000},
    {"target": "?page=1"},
    {"target": ""},
    {"target": "//twice/../%2e%2E/;x=1?a[]=%20'\"<>|^`{}"},
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: str(call)[:60])
@pytest.mark.parametrize("path", ["", "/api/v1"])
@pytest.mark.parametrize(
    "signed",
    [{}, {"Authorization": "Bearer x"}, {"accept": "text/plain", "X-Empty": "", "host": "elsewhere"}],
)
async def test_both_transports_send_the_same(
    monkeypatch: pytest.MonkeyPatch, call: dict[str, Any], path: str, signed: dict[str, str]
) -> None:
    """The same start, the same headers in whatever order, the same body, and nothing else."""
    sent: list[tuple[str, list[str], bytes]] = []
    for patched in (False, True):
        if patched:
            monkeypatch.setattr("phonesys.http.transport.direct.is_patched", lambda: True)
        async with RawVendor(answer("")) as vendor:
            options: dict[str, Any] = {"auth": PerCall(signed), "retries": 0}
            async with client(vendor.url + path, **options) as http:
                with pytest.raises(PhonesysError):
                    await http.send(read(**call))
            ((head, body),) = vendor.requests
            start, *headers = head.replace(vendor.url.removeprefix("http://"), "vendor").split("\r\n")
            sent.append((start, sorted(header.lower() for header in headers), body))
    assert sent[0] == sent[1]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"method": method} for method in ("", "GET /x", "GET\r\nX: 1", "Gét", "get", "GET ")),
        *({"target": target} for target in ("/a b", "/a\r\nX: 1", "/a\n", "/é", "/a#b", "@evil.test/", "x")),
        *({"body": body} for body in ("{}", {"a": 1})),
        *({"body": b"", "content_type": kind} for kind in ("text/plain\r\nX: 1", "a/b\n", "té", "\x00")),
    ],
    ids=str,
)  # fmt: skip
async def test_a_request_keeps_its_shape(wrong: dict[str, Any]) -> None:
    """A part that would break out of its place in the request is rejected, and nothing is sent."""
    async with RawVendor(OK) as vendor, client(vendor) as http:
        with pytest.raises(InvalidArgument, match=next(reversed(wrong))):
            await http.send(read(**wrong))
    assert vendor.requests == []


@pytest.mark.parametrize(
    "headers",
    [{"X-A": "1\r\nX-B: 2"}, {"X-A": "1\n"}, {"X-A": "\x00"}, {"X-A": "é"}, {"X-A\r\nX-B": "1"}, {"X A": "1"},
     {"X-A:": "1"}, {"": "1"}, {"Ä": "1"}, {"X-A": 1}, {"X-A": None}],
    ids=str,
)  # fmt: skip
async def test_a_signed_header_stays_one_header(headers: Any) -> None:
    """A signed header cannot smuggle in another one; its value is not shown."""
    async with RawVendor(OK) as vendor:
        async with client(vendor, auth=PerCall(headers)) as http:
            with pytest.raises(InvalidArgument, match=r"^header") as refused:
                await http.send(read())
        with pytest.raises(InvalidArgument, match=r"^header"):
            HttpClient(vendor.url, backend="test", auth=PerCall({}), headers=headers)
    assert vendor.requests == []
    assert all(str(value) not in str(refused.value) for value in headers.values() if value != "1")


async def test_the_environments_proxies_are_not_asked(
    monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    """Credentials go where the program says."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port}")
        monkeypatch.setenv(name.upper(), f"http://127.0.0.1:{unused_port}")
    async with RawVendor(OK) as vendor, client(vendor) as http:
        assert await http.send(read()) == Thing(1)


@pytest.mark.parametrize("host", ["[::1]", "localhost"])
async def test_ipv6_and_names_with_several_addresses_work(host: str) -> None:
    """By an IPv6 address, and by a name that has several."""

    class Elsewhere(RawVendor):
        async def __aenter__(self) -> Self:
            await super().__aenter__()
            self.server.close()
            self.server = await asyncio.start_server(self._serve, host.strip("[]"), 0)
            port = self.server.sockets[0].getsockname()[1]
            self.url = f"http://{host}:{port}"
            return self

    async with Elsewhere(OK) as vendor, client(vendor) as http:
        assert await http.send(read()) == Thing(1)
    assert f"Host: {vendor.url.removeprefix('http://')}\r\n" in vendor.requests[0][0]


# Answers

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DATA = b'{"a": 1}'

GOOD: dict[str, Any] = {
    "with a length": OK,
    "byte by byte": every_byte(OK),
    "after 100 and 103": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK,
    "after 102, apart": pieces(b"HTTP/1.1 102 Processing\r\n\r\n", OK),
    "in chunks": CHUNKED + b"3\r\n" + DATA[:3] + b"\r\n5;x=y\r\n" + DATA[3:] + b"\r\n0\r\n\r\n",
    "in chunks, byte by byte": every_byte(CHUNKED + b"8\r\n" + DATA + b"\r\n0\r\n\r\n"),
    "in chunks, with trailers": CHUNKED + b"8\r\n" + DATA + b"\r\n0\r\nX-Sum: 1\r\n\r\n",
    "gzipped": answer(gzip.compress(DATA), Content_Encoding="gzip"),
    "gzipped, byte by byte": every_byte(answer(gzip.compress(DATA), Content_Encoding="gzip")),
    "deflated": answer(zlib.compress(DATA), Content_Encoding="deflate"),
    "large": answer(b'{"b": "' + b"x" * 9_000_000 + b'", "a": 1}'),
}
ENDING: dict[str, Any] = {
    "until it closes": pieces(b"HTTP/1.1 200 OK\r\n\r\n", DATA[:4], DATA[4:], close=True),
    "saying that it closes": answer(DATA, Connection="close"),
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\n" + DATA,
    "followed by another answer": OK + answer('{"a": 666}'),
}


@pytest.mark.parametrize("what", GOOD)
async def test_a_response_is_read_and_its_connection_reused(what: str) -> None:
    """It may be cut into any chunks, after any interim responses, and the next one starts where it ends."""
    async with Counting(GOOD[what]) as vendor, client(vendor, retries=0) as http:
        for _ in range(3):
            assert await http.send(read()) == Thing(1)
        assert held(http) == (0, 1)
    assert (len(vendor.requests), vendor.connections) == (3, 1)


@pytest.mark.parametrize("what", ENDING)
async def test_a_connection_that_ended_is_not_used_again(what: str) -> None:
    """Nor one on which more came than the answer: it would be taken for the next one."""
    async with Counting(ENDING[what], OK) as vendor, client(vendor, retries=0) as http:
        for _ in range(3):
            assert await http.send(read()) == Thing(1)
    assert (len(vendor.requests), vendor.connections) == (3, 2)


async def test_the_beginning_of_another_response_is_forgotten() -> None:
    """What came of it after a response would otherwise become the beginning of the next one."""
    extra = b"HTTP/1.1 404 Not Found\r\nX-Ignored: "
    async with RawVendor(OK + extra, CHUNKED + b"8\r\n" + DATA + b"\r\n0\r\n\r\n" + extra, OK) as vendor:
        async with client(vendor, retries=0) as http:
            for _ in range(3):
                assert await http.send(read()) == Thing(1)


@pytest.mark.parametrize("close", [False, True])
@pytest.mark.parametrize(
    "word",
    [
        answer('{"a": 666}'),
        answer("", 408),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
        b"garbage\r\n\r\n",
    ],
)
async def test_data_on_an_idle_connection_is_no_response(word: bytes, *, close: bool) -> None:
    """The next request takes another connection, once, even if it must not be sent twice."""
    async with Counting(OK) as vendor, client(vendor, retries=0) as http:
        await http.send(read())
        (sink,) = vendor.writers
        sink.write(word)
        if close:
            sink.close()
        await drain()
        assert await http.send(write()) == Thing(1)
    assert (len(vendor.requests), vendor.connections) == (2, 2)


async def test_a_server_that_speaks_first_gets_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words would answer whatever is asked. What cannot be sent was not, and a write says so."""

    class Talker(RawVendor):
        async def _one(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> bool:
            sink.write(answer('{"a": 666}'))
            spoken.release()
            self.requests.append(("", await source.read()))
            return False

    create, spoken = aiohttp.TCPConnector._create_connection, asyncio.Semaphore(0)

    async def late(*args: Any) -> Any:
        made = await create(*args)
        await spoken.acquire()
        await drain()
        return made

    monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", late)
    async with Talker() as vendor:
        async with client(vendor, retries=1, backoff=0) as http:
            with pytest.raises(ConnectError, match="unsolicited data") as failed:
                await http.send(write())
            assert held(http) == (0, 0)
        await drain()
    assert failed.value.attempts == 2
    assert {sent for _, sent in vendor.requests} == {b""}


@pytest.mark.parametrize(
    ("status", "length"), [(204, ""), (304, ""), (304, "Content-Length: 99\r\n"), (200, "HEAD")]
)
async def test_a_response_without_a_body_has_none(status: int, length: str) -> None:
    """The status and the method win over the length, and the connection stays in the pool."""
    method = "HEAD" if length == "HEAD" else "GET"
    length = "Content-Length: 99\r\n" if length == "HEAD" else length
    bare = f"HTTP/1.1 {status} Whatever\r\n{length}\r\n".encode()
    async with Counting(bare, OK) as vendor, client(vendor, retries=0) as http:
        call: Call[Any] = read(method=method, decode=bytes)
        if status < 300:
            assert await http.send(call) == b""
        else:
            with pytest.raises(StatusError) as refused:
                await http.send(call)
            assert (refused.value.status, refused.value.body) == (status, b"")
        assert await http.send(read()) == Thing(1)
    assert vendor.connections == (1 if length == "" or method == "HEAD" else vendor.connections)


BROKEN: dict[str, Any] = {
    "nothing": drop,
    "half a head": pieces(b"HTTP/1.1 200 OK\r\nContent-", close=True),
    "half a body": pieces(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", close=True),
    "half a chunk": pieces(CHUNKED + b"8\r\n{", close=True),
    "chunks without an end": pieces(CHUNKED + b"8\r\n" + DATA + b"\r\n", close=True),
    "chunks that are none": pieces(CHUNKED + b"xyz\r\n" + DATA, close=True),
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nContent-Length: 9\r\n\r\n" + DATA,
    "garbage": b"\x16\x03\x01\x02\x00",
    "garbage after the answer": OK + b"garbage\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a huge header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\nContent-Length: 8\r\n\r\n" + DATA,
    "a huge reason": b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\nContent-Length: 8\r\n\r\n" + DATA,
    "a thousand headers": b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 1000 + b"Content-Length: 8\r\n\r\n" + DATA,
    "a bare line feed in a header": b"HTTP/1.1 200 OK\r\nX: 1\nY: 2\r\n\rContent-Length: 8\r\n\r\n" + DATA,
}  # fmt: skip


if not AIOHTTP_COUNTS_HEADERS:
    del BROKEN["a thousand headers"]


@pytest.mark.parametrize("what", BROKEN)
async def test_a_broken_response_is_an_error(what: str) -> None:
    """Of the transport; a write says that its outcome is unknown, and the connection is never used again."""
    async with Counting(BROKEN[what], BROKEN[what], OK) as vendor, client(vendor, retries=0) as http:
        with pytest.raises(TransportError):
            await http.send(read())
        with pytest.raises(OutcomeUnknown):
            await http.send(write())
        assert await http.send(read()) == Thing(1)
        assert held(http) == (0, 1)
    assert (len(vendor.requests), vendor.connections) == (3, 3)


async def test_switching_protocols_is_refused() -> None:
    """A switch of protocols that was not requested is an error, and the connection is closed."""
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nwhatever"
    async with Counting(switch, OK) as vendor, client(vendor, retries=0) as http:
        with pytest.raises(StatusError, match="101"):
            await http.send(read())
        assert await http.send(read()) == Thing(1)
    assert vendor.connections == 2


async def test_an_early_response_is_a_response() -> None:
    """A refusal that does not wait for the body is what happened."""

    class Hasty(RawVendor):
        async def _one(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> bool:
            sink.write(answer('{"message": "too large"}', 403, Connection="close"))
            await source.read()
            return False

    async with Hasty() as vendor, client(vendor, retries=0) as http:
        with pytest.raises(Forbidden, match="too large"):
            await http.send(write(body=b"x" * 900_000))


async def test_a_body_beyond_the_cap_holds_no_connection() -> None:
    """With and without a length, chunked and compressed."""
    for big in (
        answer(" " * 5000),
        answer(gzip.compress(b" " * 5000), Content_Encoding="gzip"),
        every_byte(answer(" " * 2000)),
    ):
        async with RawVendor(big) as vendor, client(vendor, max_body=1500) as http:
            with pytest.raises(ResponseTooLarge):
                await http.send(read())
            assert held(http)[0] == 0


# Times


def test_the_read_timeout_runs_between_chunks(jumping: Run) -> None:
    """Any byte of the head or body keeps a response alive; silence ends it."""

    async def main(parts: list[bytes], pause: float) -> float:
        async def step(sink: asyncio.StreamWriter) -> bool:
            for part in parts:
                await asyncio.sleep(pause)
                sink.write(part)
            return await stall(sink)

        async with RawVendor(step) as vendor, client(vendor, read_timeout=2.0, retries=0) as http:
            started = http._loop.time()
            try:
                assert await http.send(read()) == Thing(1)
            except AttemptTimeout:
                return http._loop.time() - started
            return -1.0

    whole = [OK[number : number + 9] for number in range(0, len(OK), 9)]
    assert jumping(main(whole, 1.9)) == -1
    assert jumping(main(whole, 2.1)) == pytest.approx(2, abs=0.05)
    assert jumping(main([*whole[:3]], 1.5)) == pytest.approx(3 * 1.5 + 2, abs=0.05)
    assert jumping(main([*whole[:-1]], 1.5)) == pytest.approx((len(whole) - 1) * 1.5 + 2, abs=0.05)


def test_a_connection_that_is_not_made_in_time_failed(jumping: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """And provably nothing was sent, so that a write is tried again."""

    async def never(**_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("aiohappyeyeballs.start_connection", never)

    async def main() -> tuple[float, int, tuple[int, int]]:
        async with client("http://127.0.0.1:9", connect_timeout=3, retries=1, backoff=0) as http:
            started = http._loop.time()
            with pytest.raises(ConnectError) as failed:
                await http.send(write())
            return http._loop.time() - started, failed.value.attempts, held(http)

    assert jumping(main()) == (pytest.approx(6, abs=0.05), 2, (0, 0))


def test_a_call_whose_time_is_over_is_not_sent(jumping: Run) -> None:
    """A deadline may pass while another call has the last connection: nothing was sent, and that is said."""

    async def main() -> tuple[list[str], int]:
        async with RawVendor(stall) as vendor:
            async with client(vendor, connections=1, timeout=9, deadline=9, retries=0) as http:
                calls = [http.send(write()) for _ in range(3)]
                results = await asyncio.gather(*calls, return_exceptions=True)
                return sorted(type(result).__name__ for result in results), len(vendor.requests)

    assert jumping(main()) == (["DeadlineExceeded", "DeadlineExceeded", "OutcomeUnknown"], 1)


@pytest.mark.parametrize("seconds", [0.05, 0.35])
def test_a_slow_response_ends_on_time(jumping: Run, seconds: float) -> None:
    """A byte every 20 ms does not move the end."""

    async def drip(sink: asyncio.StreamWriter) -> bool:
        sink.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not sink.is_closing():
            sink.write(b" ")
            await asyncio.sleep(0.02)
        return False

    async def main() -> float:
        async with RawVendor(drip) as vendor, client(vendor, deadline=seconds) as http:
            started = http._loop.time()
            with pytest.raises(DeadlineExceeded):
                await http.send(read())
            assert held(http) == (0, 0)
            return http._loop.time() - started

    assert jumping(main()) == pytest.approx(seconds, abs=0.02)


# Endings

STALLS: dict[str, Any] = {
    "before the head": stall,
    "in the head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "in the body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "in a chunk": CHUNKED + b"8\r\n{",
}


@pytest.mark.parametrize("where", STALLS)
async def test_a_cancelled_request_leaves_no_connection(where: str) -> None:
    """Wherever it was; the vendor sees it close, and the next request is not disturbed."""
    async with Counting(STALLS[where], OK) as vendor, client(vendor) as http:
        task = asyncio.create_task(http.send(read()))
        while not vendor.requests:  # noqa: ASYNC110 -- the vendor's steps, not ours
            await asyncio.sleep(0)
        await drain()
        assert held(http) == (1, 0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert held(http) == (0, 0)
        assert await http.send(read()) == Thing(1)
        assert held(http) == (0, 1)


async def test_a_request_cancelled_at_any_step_leaves_no_connection() -> None:
    """After every number of turns of the loop, connecting included."""
    ended: list[bool] = []
    for turns in range(40):
        async with RawVendor(OK) as vendor, client(vendor) as http:
            task = asyncio.create_task(http.send(read()))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert held(http)[0] == 0
            assert http._connections.try_acquire()
            ended.append(task.cancelled())
    assert ended[0]
    assert not ended[-1]


@pytest.mark.parametrize("call", [read, write])
async def test_closing_ends_requests_in_flight(call: Callable[[], Call[Thing]]) -> None:
    """Each call ends with an error of ours, and a write with OutcomeUnknown."""
    async with RawVendor(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{") as vendor:
        async with client(vendor, backoff=0) as http:
            task = asyncio.create_task(http.send(call()))
            while not vendor.requests:  # noqa: ASYNC110
                await asyncio.sleep(0)
            await drain()
        with pytest.raises(NotOpen if call is read else OutcomeUnknown):
            await task


async def test_closing_leaves_no_timer() -> None:
    """A client that is done does not keep its loop busy."""
    async with RawVendor(OK) as vendor:
        async with client(vendor) as http:
            await http.send(read())
            timers = {id(timer) for timer in http._loop._scheduled if not timer.cancelled()}  # type: ignore[attr-defined]
            assert timers
        left = {id(timer) for timer in http._loop._scheduled if not timer.cancelled()}  # type: ignore[attr-defined]
        assert not timers & left


def test_a_retry_after_closing_is_an_error(jumping: Run) -> None:
    """A call that waits to retry when the client closes raises NotOpen."""

    async def main() -> None:
        async with RawVendor(answer("", 503)) as vendor:
            async with client(vendor) as http:
                task = asyncio.create_task(http.send(read()))
                await asyncio.sleep(0.1)
            with pytest.raises(NotOpen, match="async with"):
                await task

    jumping(main())


async def test_clones_share_connections() -> None:
    """The last one that closes closes them, whichever that is; headers are each one's own."""
    async with Counting(OK) as vendor:
        first = client(vendor)
        second = first.clone(PerCall({"X-Mine": "2"}), headers={"X-All": "1"}, max_concurrency=5)
        await first.__aenter__()
        await second.__aenter__()
        await first.send(read())
        await second.send(read())
        await first.__aexit__(None, None, None)
        assert held(second) == (0, 1)
        await second.send(read())
        await second.__aexit__(None, None, None)
        assert first._session._own is None
    assert vendor.connections == 1
    heads = [head for head, _ in vendor.requests]
    assert ["Authorization" in head for head in heads] == [True, False, False]
    assert ["X-Mine: 2" in head and "X-All: 1" in head for head in heads] == [False, True, True]
    assert (first.options.connections, second.options.connections) == (256, 5)
