"""The server under every client: a raw asyncio protocol that answers prepared bytes.

It is a process of its own (`python -m benchmarks.server`, which reads a `Serving` from its standard input,
and ends when that closes). It parses what it needs of a request and nothing else, so that it is several
times faster than any client.
"""

from __future__ import annotations

import asyncio
import gzip
import ssl
import sys
from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, cast

import msgspec

from benchmarks import affinity
from benchmarks.data import location_page, organization_pages
from phonesys.backends.windows import window_plan

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMBERS = b"/phone-system/numbers/location/"
_HEAD_END = b"\r\n\r\n"
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
_TOO_MANY = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
_TOKEN = (
    b'{"access_token":"token-of-a-location","token_type":"Bearer","expires_in":86399,'
    b'"scope":"phonenumbers.read","userType":"Location","companyId":"company","locationId":"%b"}'
)

_COMPANY = (
    b'{"access_token":"token-of-the-agency","token_type":"Bearer","expires_in":86399,"refresh_token":"next",'
    b'"scope":"oauth.write","userType":"Company","companyId":"company"}'
)


class Serving(msgspec.Struct, kw_only=True):
    """The behaviour of a server."""

    core: int | None = None
    pages: int = 1
    """Of each location, or of the organization."""
    rows: int = 8
    """Of a page; the last page of a location has one less."""
    total: bool = False
    latency: float = 0.0
    gzip: bool = False
    window: int | None = None
    """The most requests of one location in any `per` seconds; others are answered with 429."""
    per: float = 1.0
    certificate: str | None = None
    """A PEM file with key and certificate: the server speaks TLS."""


class Started(msgspec.Struct):
    """The line that the server prints once it listens."""

    port: int
    engine: str


class Stats(msgspec.Struct):
    """The requests that the server saw since it was last asked."""

    requests: int = 0
    refused: int = 0
    first: float = 0.0
    last: float = 0.0
    """When the first and the last request came, of those that were allowed."""
    ideal: float = 0.0
    """The seconds from the first to the last request that the limit takes at the least."""
    connections: int = 0


class Site:
    """The prepared answers, and what is counted."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving
        self._headers = b"Content-Encoding: gzip\r\n" if serving.gzip else b""
        self._count = serving.pages * serving.rows - 1
        self._pages: dict[tuple[int, int, int, bool], bytes] = {}
        self._prepare()
        self.organization = [_answer(body) for body in organization_pages(serving.pages, serving.rows)]
        self.stats = Stats()
        self._sent: defaultdict[bytes, deque[float]] = defaultdict(deque)
        self._allowed: Counter[bytes] = Counter()

    def answer(self, target: bytes, body: bytes, now: Callable[[], float]) -> bytes:
        """Choose the answer to a request."""
        if target.startswith(_NUMBERS):
            if self.serving.window is not None and not self._admit(target, now()):
                return _TOO_MANY
            return self._location(target)
        if target == b"/phone-numbers/all/organization":
            self.stats.requests += 1
            return self.organization[_number_after(body, b'"continuationToken"')]
        if target == b"/oauth/locationToken":
            self.stats.requests += 1
            return _answer(_TOKEN % body.partition(b"locationId=")[2].partition(b"&")[0])
        if target == b"/oauth/token":
            return _answer(_COMPANY)
        return self._told() if target == b"/stats" else _NOT_FOUND

    def _location(self, target: bytes) -> bytes:
        """Answer with a page of any size: clients choose sizes, so that pages overlap.

        A location may name how many numbers it has, `rows-2500`, and that its pages state a total,
        `counted-2500`.
        """
        self.stats.requests += 1
        page, size = _number_after(target, b"page="), _number_after(target, b"pageSize=")
        name = target[len(_NUMBERS) :]
        is_counted = name.startswith(b"counted-")
        count = _number_after(name, b"-") if is_counted or name.startswith(b"rows-") else self._count
        return self._page(page, size, count, total=is_counted or self.serving.total)

    def _page(self, page: int, size: int, count: int, *, total: bool) -> bytes:
        """Return the response for a page, which is made once."""
        key = page, size, count, total
        if key not in self._pages:
            body = location_page(page, size, count, total=total)
            encoded = gzip.compress(body) if self.serving.gzip else body
            self._pages[key] = _answer(encoded, self._headers)
        return self._pages[key]

    def _prepare(self) -> None:
        """Make the pages that will be requested: those of one size, and those that overlap."""
        size, count, total = self.serving.rows, self._count, self.serving.total
        plan = window_plan(size)
        for window in map(plan.__getitem__, range(plan.count(count + 1))):
            self._page(*window, count, total=total)
        for page in range(self.serving.pages):
            self._page(page, size, count, total=total)

    def _admit(self, target: bytes, now: float) -> bool:
        """Count the request against its location's exact sliding window."""
        serving, stats = self.serving, self.stats
        location = target.partition(b"?")[0]
        sent = self._sent[location]
        while sent and sent[0] <= now - serving.per:
            sent.popleft()
        if len(sent) >= (serving.window or 0):
            stats.refused += 1
            return False
        sent.append(now)
        self._allowed[location] += 1
        stats.first = stats.first or now
        stats.last = now
        return True

    def _told(self) -> bytes:
        told, self.stats = self.stats, Stats(connections=self.stats.connections)
        if self._allowed:
            most = max(self._allowed.values())
            told.ideal = (most - 1) // (self.serving.window or most) * self.serving.per
        self._sent.clear()
        self._allowed.clear()
        return _answer(msgspec.json.encode(told))


def _answer(body: bytes, headers: bytes = b"") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"
    return head % (headers, len(body)) + body


def _number_after(text: bytes, name: bytes) -> int:
    """Read the first whole number after a name; 0 where there is none."""
    after = text.partition(name)[2].lstrip(b'": ')
    digits = after[: len(after) - len(after.lstrip(b"0123456789"))]
    return int(digits or 0)


class Connection(asyncio.Protocol):
    """One connection: kept alive, its requests answered in the order in which they came."""

    def __init__(self, site: Site, loop: asyncio.AbstractEventLoop) -> None:
        self._site = site
        self._loop = loop
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        self._transport = cast("asyncio.Transport", transport)
        self._site.stats.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no longer."""
        self._site.stats.connections -= 1

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        data = self._unread + data if self._unread else data
        start = 0
        while (end := data.find(_HEAD_END, start)) >= 0:
            body_at = end + 4
            size = self._body_size(data, start, end)
            if body_at + size > len(data):
                break
            target = data[start : data.find(b"\r\n", start)].split(b" ", 2)[1]
            self._send(self._site.answer(target, data[body_at : body_at + size], self._loop.time))
            start = body_at + size
        self._unread = data[start:]

    def _body_size(self, data: bytes, start: int, end: int) -> int:
        if data.startswith(b"GET", start):
            return 0
        return _number_after(data[start:end].lower(), b"content-length:")

    def _send(self, answer: bytes) -> None:
        latency = self._site.serving.latency
        if latency:
            self._loop.call_later(latency, self._write, answer)
        else:
            self._transport.write(answer)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def serve(serving: Serving, engine: str) -> None:
    """Listen on a free port of loopback until standard input closes."""
    loop = asyncio.get_running_loop()
    site = Site(serving)
    context = None
    if serving.certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(serving.certificate)
    server = await loop.create_server(
        lambda: Connection(site, loop), "127.0.0.1", 0, ssl=context, backlog=1024
    )
    port = server.sockets[0].getsockname()[1]
    print(msgspec.json.encode(Started(port, engine)).decode(), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Serve what standard input asks for; on uvloop where that is installed."""
    serving = msgspec.json.decode(sys.stdin.readline(), type=Serving)
    affinity.pin(serving.core)
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(serving, "asyncio"))
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(serving, "uvloop"))


if __name__ == "__main__":
    main()
