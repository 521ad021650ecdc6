"""Lets vendors stall in every way there is, and measures whether the promised end comes in time.

Real sockets and real time. The event loop's own lag is measured meanwhile, and allowed for. Run it as

    python -m tests.chaos.deadline --rounds 3 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import random
import socket
import ssl
import sys
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from phonesys import AgencyTokens, HttpOptions, LeadConnector, PhonesysError, PhoneSystem, RateLimit
from phonesys.oauth import MemoryTokenStore, Token
from phonesys.secret import Secret

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    Vendor: TypeAlias = Callable[[], AbstractAsyncContextManager[str]]
    Answer: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[None]]
    Bound: TypeAlias = Callable[[str, float], Awaitable["Timing"]]

_SLACK = 0.1
_TICK = 0.005
_DRIP = 0.06
_AT_ONCE = 12
"""Cases at the same time: more would measure this machine."""
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


# Vendors that take their time


async def _silence(_: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _half_a_head(sink: asyncio.StreamWriter) -> None:
    sink.write(_HEAD + b"X-Slow: ")
    await _silence(sink)


async def _dripping_head(sink: asyncio.StreamWriter) -> None:
    sink.write(_HEAD)
    await _drip(sink, b"X-Slow: yes\r\n")


async def _continuing(sink: asyncio.StreamWriter) -> None:
    await _drip(sink, b"HTTP/1.1 100 Continue\r\n\r\n")


async def _dripping_body(sink: asyncio.StreamWriter) -> None:
    sink.write(_HEAD + b"Content-Length: 100000\r\n\r\n{")
    await _drip(sink, b" ")


async def _dripping_chunks(sink: asyncio.StreamWriter) -> None:
    sink.write(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    await _drip(sink, b"1\r\n \r\n")


async def _half_a_chunk(sink: asyncio.StreamWriter) -> None:
    sink.write(_HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{")
    await _silence(sink)


async def _half_a_body(sink: asyncio.StreamWriter) -> None:
    sink.write(_HEAD + b"Content-Length: 100\r\n\r\n{")
    await _silence(sink)


async def _never_ending(sink: asyncio.StreamWriter) -> None:
    sink.write(_HEAD + b"\r\n{")  # without a length: until the connection closes
    await _silence(sink)


async def _drip(sink: asyncio.StreamWriter, drop: bytes) -> None:
    while not sink.is_closing():
        sink.write(drop)
        await asyncio.sleep(_DRIP)


def _refusing(code: int, headers: str = "") -> Answer:
    async def answer(sink: asyncio.StreamWriter) -> None:
        sink.write(f"HTTP/1.1 {code} No\r\n{headers}Content-Length: 2\r\n\r\n{{}}".encode())

    return answer


async def _hanging_up(sink: asyncio.StreamWriter) -> None:
    sink.transport.abort()


def _answering(answer: Answer) -> Vendor:
    """A server that reads requests and answers each of them like that."""

    async def serve(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not sink.is_closing():
                head = await source.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
                await source.readexactly(int(length or 0))
                await _while_connected(source, answer(sink))
        sink.close()

    @asynccontextmanager
    async def vendor() -> AsyncGenerator[str]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    return vendor


async def _while_connected(source: asyncio.StreamReader, answering: Awaitable[None]) -> None:
    """End an answer that has no end with its client."""
    task = asyncio.ensure_future(answering)
    gone = asyncio.ensure_future(_eof(source))
    await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
    for one in (task, gone):
        one.cancel()
    await asyncio.wait([task, gone])


async def _eof(source: asyncio.StreamReader) -> None:
    while not source.at_eof():  # noqa: ASYNC110 -- a stream tells only its reader
        await asyncio.sleep(_DRIP)


@asynccontextmanager
async def never_accepting() -> AsyncGenerator[str]:
    """A port whose backlog is full: the system lets connections to it wait."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        fillers = [_filler(listening.getsockname()) for _ in range(4)]
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            for filler in fillers:
                filler.close()


def _filler(address: tuple[str, int]) -> socket.socket:
    filler = socket.socket()
    filler.setblocking(False)
    with suppress(BlockingIOError):
        filler.connect(address)
    return filler


def _half_tls(greeting: bytes) -> Vendor:
    """A server that takes the connection and gets no further than this in the handshake."""

    async def serve(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.CancelledError):
            for byte in greeting:
                if sink.is_closing():
                    break
                sink.write(bytes([byte]))
                await asyncio.sleep(_DRIP)
            await source.read()
        sink.close()

    @asynccontextmanager
    async def vendor() -> AsyncGenerator[str]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    return vendor


# A handshake record that announces more than ever comes.
_SERVER_HELLO = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03" + bytes(200)

ENDLESS: dict[str, Vendor] = {
    "silence": _answering(_silence),
    "half a head": _answering(_half_a_head),
    "a dripping head": _answering(_dripping_head),
    "100 Continue": _answering(_continuing),
    "a dripping body": _answering(_dripping_body),
    "dripping chunks": _answering(_dripping_chunks),
    "half a chunk": _answering(_half_a_chunk),
    "half a body": _answering(_half_a_body),
    "a body without end": _answering(_never_ending),
    "no accept": never_accepting,
    "silence in TLS": _half_tls(b""),
    "dripping TLS": _half_tls(_SERVER_HELLO),
}
"""One attempt at these takes for ever."""
REFUSING: dict[str, Vendor] = {
    "429, in an hour": _answering(_refusing(429, "Retry-After: 3600\r\n")),
    "429, in a moment": _answering(_refusing(429, "retry-after-ms: 50\r\n")),
    "503 for ever": _answering(_refusing(503)),
    "hanging up": _answering(_hanging_up),
}
"""These answer, and a call would be repeated for ever."""


# Ends that are promised


@dataclass
class Timing:
    """When something ended, beside when it had to; `least` for what must not give up before."""

    took: float
    most: float
    least: float = 0.0
    failed: str = ""


_NONE: dict[str, Any] = {"timeout": None, "connect_timeout": None, "deadline": None}


def _backend(url: str, **options: Any) -> LeadConnector:
    http = HttpOptions(**{**_NONE, "retries": 1000, "backoff": 0.01, "backoff_cap": 0.02, **options})
    return LeadConnector("pit-0000", base_url=url, http=http, limit=None)


async def _timed(work: Awaitable[object], most: float, least: float = 0.0) -> Timing:
    loop = asyncio.get_running_loop()
    started, failed = loop.time(), ""
    try:
        async with asyncio.timeout(5 + most):
            await work
        failed = "it did not fail"
    except PhonesysError:
        pass
    except TimeoutError:
        failed = "it does not end"
    return Timing(loop.time() - started, most, least, failed)


async def of_the_call(url: str, seconds: float) -> Timing:
    """The deadline of a call, and nothing else."""
    async with _backend(url, deadline=seconds) as lc:
        return await _timed(lc.page("loc"), seconds)


async def of_an_attempt(url: str, seconds: float) -> Timing:
    """The time-out of one attempt, and nothing else."""
    async with _backend(url, timeout=seconds, retries=0) as lc:
        return await _timed(lc.page("loc"), seconds, seconds)


async def of_both(url: str, seconds: float) -> Timing:
    """Attempts that each take a third of the deadline."""
    async with _backend(url, timeout=seconds / 3, deadline=seconds) as lc:
        return await _timed(lc.page("loc"), seconds)


async def of_the_silence(url: str, seconds: float) -> Timing:
    """The time-out between two pieces."""
    async with _backend(url, read_timeout=seconds, retries=0) as lc:
        return await _timed(lc.page("loc"), seconds, seconds)


async def of_the_connection(url: str, seconds: float) -> Timing:
    """The time-out of connecting."""
    async with _backend(url, connect_timeout=seconds, retries=0) as lc:
        return await _timed(lc.page("loc"), seconds, seconds)


async def of_a_wait_for_a_place(url: str, seconds: float) -> Timing:
    """A call that never gets to be sent, since all connections are taken."""
    async with _backend(url, deadline=seconds, connections=1) as lc:
        first = asyncio.ensure_future(lc.page("loc"))
        await asyncio.sleep(0)
        timing = await _timed(lc.page("other"), seconds)
        await asyncio.wait([first])
        first.exception()
        return timing


async def of_a_wait_for_the_window(url: str, seconds: float) -> Timing:
    """A call that would have to wait longer than it may fails at once."""
    http = HttpOptions(**{**_NONE, "deadline": seconds})
    async with LeadConnector("pit-0000", base_url=url, http=http, limit=RateLimit(1, per=60)) as lc:
        first = asyncio.ensure_future(lc.page("loc"))
        await asyncio.sleep(0)
        timing = await _timed(lc.page("loc"), seconds)
        await asyncio.wait([first])
        first.exception()
        return timing


async def of_a_sweep(url: str, seconds: float) -> Timing:
    """A sweep's own deadline, over calls that have none; leaving the block included."""
    loop = asyncio.get_running_loop()
    async with PhoneSystem(_backend(url)) as phones:
        started = loop.time()
        async with phones.sweep(leadconnector=["a", "b", "c"], deadline=seconds) as sweep:
            async for _ in sweep:
                pass
        took = loop.time() - started
    ended = sweep.report.timed_out or sweep.report.failures  # which a spent retry budget makes, in an outage
    return Timing(took, seconds, failed="" if ended else "the report does not say so")


async def of_a_refresh(url: str, seconds: float) -> Timing:
    """A call that waits for a token, and is over in time although the refresh is carried on."""
    async with await _agency(url, seconds) as lc:
        return await _timed(lc.page("loc"), seconds)


async def of_closing(url: str, seconds: float) -> Timing:
    """Closing waits for a refresh that was begun: two attempts, each with the deadline of a call."""
    loop = asyncio.get_running_loop()
    lc = await _agency(url, seconds)
    async with lc:
        started = loop.time()
        await _timed(lc.page("loc"), seconds)
    return Timing(loop.time() - started, 2 * seconds)


async def _agency(url: str, seconds: float) -> LeadConnector:
    store = MemoryTokenStore()
    ended = Token(access=Secret("old"), refresh=Secret("next"), obtained_at=0.0, expires_at=1.0)
    await store.save("leadconnector/app-1/company/comp", ended)
    auth = AgencyTokens("app-1", "secret", company_id="comp", store=store)
    http = HttpOptions(**{**_NONE, "deadline": seconds, "retries": 1000, "backoff": 0.01})
    return LeadConnector(auth=auth, base_url=url, http=http, limit=None)


_TLS = {"silence in TLS", "dripping TLS"}
_DRIPS = {"a dripping head", "100 Continue", "a dripping body", "dripping chunks", "dripping TLS"}


def cases() -> list[tuple[str, str, Vendor, Bound]]:
    """Pair every vendor with every end that it must not delay."""
    everyone = (of_the_call, of_both, of_a_sweep, of_a_refresh, of_closing)
    found = [(name, bound) for name in (*ENDLESS, *REFUSING) for bound in everyone]
    found += [(name, of_an_attempt) for name in ENDLESS]
    found += [(name, of_the_silence) for name in ENDLESS if name not in _DRIPS | _TLS | {"no accept"}]
    found += [(name, of_the_connection) for name in ("no accept", *_TLS)]
    found += [(name, of_a_wait_for_a_place) for name in ENDLESS]
    found += [("silence", of_a_wait_for_the_window)]
    vendors = {**ENDLESS, **REFUSING}
    return [(name, bound.__name__.replace("_", " "), vendors[name], bound) for name, bound in found]


# Measuring


@dataclass
class Punctuality:
    """The lateness of ends, by what they were promised to."""

    tried: Counter[str] = field(default_factory=Counter[str])
    latest: dict[str, float] = field(default_factory=dict[str, float])
    lag: float = 0.0
    """The longest that the event loop let anything wait."""
    excused: int = 0
    """The number of ends that were late by no more than the loop was."""
    broken: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        rows = [f"{'deadline':28} {'cases':>5} {'latest':>8}"]
        rows += [f"{what:28} {count:5} {self.latest[what]:+7.3f}s" for what, count in self.tried.items()]
        rows.append(f"{self.tried.total()} cases; the loop lagged up to {self.lag * 1000:.0f} ms")
        rows.append(f"{self.excused} were excused by that; {len(self.broken)} broken")
        return "\n".join([*rows, *self.broken])

    def note(self, vendor: str, what: str, timing: Timing, lag: float) -> None:
        """Write one down."""
        late = timing.took - timing.most
        self.tried[what] += 1
        self.latest[what] = max(late, self.latest.get(what, late))
        self.excused += _SLACK < late <= _SLACK + lag
        if timing.failed:
            self.broken.append(f"{what}, {vendor}: {timing.failed}")
        elif late > _SLACK + lag:
            self.broken.append(f"{what}, {vendor}: {late:.3f} s late, of which the loop's lag is {lag:.3f} s")
        elif timing.took < timing.least - _TICK:
            self.broken.append(f"{what}, {vendor}: after {timing.took:.3f} s instead of {timing.least:.3f} s")


class Lag:
    """The lateness of the loop with its own timers."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def measure(self) -> None:
        """Go on until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _TICK
            await asyncio.sleep(_TICK)
            self.longest = max(self.longest, loop.time() - due)


async def punctual(
    rounds: int, seed: int, chosen: Iterable[tuple[str, str, Vendor, Bound]] | None = None
) -> Punctuality:
    """Try all cases, so often, at deadlines between 0.3 and 0.5 s, some of them at a time."""
    draw, tally = random.Random(seed), Punctuality()
    todo = list(cases() if chosen is None else chosen) * rounds
    draw.shuffle(todo)
    await _warmed_up()
    for start in range(0, len(todo), _AT_ONCE):
        lag = Lag()
        measuring = asyncio.ensure_future(lag.measure())
        batch = todo[start : start + _AT_ONCE]
        timings = await asyncio.gather(
            *(_case(vendor, bound, draw.uniform(0.3, 0.5)) for _, _, vendor, bound in batch)
        )
        measuring.cancel()
        await asyncio.wait([measuring])
        tally.lag = max(tally.lag, lag.longest)
        for (name, what, _, _), timing in zip(batch, timings, strict=True):
            tally.note(name, what, timing, lag.longest)
    return tally


async def _warmed_up() -> None:
    """Have loaded once what is loaded late, such as the system's certificates."""
    await asyncio.to_thread(ssl.create_default_context)
    await _case(ENDLESS["silence in TLS"], of_the_call, 0.05)


async def _case(vendor: Vendor, bound: Bound, seconds: float) -> Timing:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(vendor())
        return await bound(url, seconds)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    tally = asyncio.run(punctual(given.rounds, given.seed))
    print(tally)  # noqa: T201
    sys.exit(bool(tally.broken))


if __name__ == "__main__":
    main()
