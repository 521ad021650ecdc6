"""Faults that take time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, Literal

from phonesys.sandbox.faults.exchange import begin, payload
from phonesys.sandbox.faults.rule import Rule, expect, expect_seconds

if TYPE_CHECKING:
    from aiohttp import web

    from phonesys.sandbox.faults.exchange import Exchange

_SHAPE = 1.5  # of the long tail: with it, one in eight waits is four times as long as the shortest


class Latency(Rule, frozen=True, kw_only=True, tag="latency"):
    """Answer late: by `seconds`, up to `jitter` more, and a long `tail` that few requests see.

    The tail is a Pareto distribution: `tail` seconds are typical, ten times that is rare, `most` is the cap.
    `when` says on which side of the operation the wait is. A client that leaves while it waits before the
    operation keeps it from being carried out; with `"regardless"` it is carried out after the wait even so.
    """

    group: ClassVar[str] = "Time"

    seconds: float = 1.0
    jitter: float = 0.0
    tail: float = 0.0
    most: float = 60.0
    when: Literal["before", "after", "regardless"] = "after"

    def check(self) -> None:
        """Raise InvalidArgument for a time that cannot be waited."""
        for name in ("seconds", "jitter", "tail", "most"):
            expect_seconds(name, getattr(self, name))

    def wait(self, exchange: Exchange) -> float:
        """Draw how long this request waits."""
        tail = self.tail * (exchange.rng.paretovariate(_SHAPE) - 1)
        return min(self.seconds + exchange.rng.uniform(0, self.jitter) + tail, self.most)

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Wait before or after carrying it out."""
        seconds = self.wait(exchange)
        if self.when == "regardless":
            return await _detached(exchange, seconds)
        if self.when == "before":
            await asyncio.sleep(seconds)
            return await exchange.proceed()
        response = await exchange.proceed()
        await asyncio.sleep(seconds)
        return response


_under_way: set[asyncio.Task[web.Response]] = set()


async def _detached(exchange: Exchange, seconds: float) -> web.Response:
    """Carry the request out after the wait, even if the client has left."""
    await exchange.request.read()  # while it can be

    async def later() -> web.Response:
        await asyncio.sleep(seconds)
        return await exchange.proceed()

    task = asyncio.create_task(later())
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)
    return await asyncio.shield(task)


class Stall(Rule, frozen=True, kw_only=True):
    """Stop in the middle until the client leaves, or for `seconds` and then close the connection."""

    group: ClassVar[str] = "Time"

    seconds: float | None = None

    def check(self) -> None:
        """Raise InvalidArgument for a time that cannot be waited."""
        expect_seconds("seconds", self.seconds or 0.0)

    async def hold(self, exchange: Exchange) -> None:
        """Do nothing for as long as it takes."""
        if self.seconds is None:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(self.seconds or 0.0)
        exchange.drop()


class StalledHeaders(Stall, frozen=True, kw_only=True, tag="stalled-headers"):
    """Carry it out, send the first headers, and stall before the last one."""

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Write past the framework, which only knows whole headers."""
        whole = await exchange.proceed()
        if exchange.request.transport is not None:
            head = f"HTTP/1.1 {whole.status} {whole.reason}\r\nContent-Type: application/json\r\nX-Slow: "
            exchange.request.transport.write(head.encode())
        await self.hold(exchange)
        return whole


class StalledBody(Stall, frozen=True, kw_only=True, tag="stalled-body"):
    """Carry it out, send the headers and half the body, and stall."""

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Announce a chunked body, and send half the body."""
        whole = await exchange.proceed()
        raw = payload(whole)
        part = await begin(exchange, whole, None)
        await part.write(raw[: len(raw) // 2] or b" ")
        await self.hold(exchange)
        return part


class Drip(Rule, frozen=True, kw_only=True, tag="drip"):
    """Send the body slowly: `piece` bytes, and a `pause` of seconds, again and again; it does end."""

    group: ClassVar[str] = "Time"

    piece: int = 64
    pause: float = 0.1

    def check(self) -> None:
        """Refuse a drip without a size."""
        expect(self.piece >= 1, "piece: expected bytes, 1 or more", self.piece)
        expect_seconds("pause", self.pause)

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Send the real answer, bit by bit."""
        whole = await exchange.proceed()
        raw = payload(whole)
        slow = await begin(exchange, whole, len(raw))
        for start in range(0, len(raw), self.piece):
            await slow.write(raw[start : start + self.piece])
            await asyncio.sleep(self.pause)
        await slow.write_eof()
        return slow
