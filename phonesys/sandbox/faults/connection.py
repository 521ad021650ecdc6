"""Faults of the connection below the answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from phonesys.sandbox.faults.exchange import begin, payload
from phonesys.sandbox.faults.rule import Rule, expect_seconds

if TYPE_CHECKING:
    from aiohttp import web

    from phonesys.sandbox.faults.exchange import Exchange

_UNTIL_READ = 0.02  # a RST may overtake what was sent before it


class Refused(Rule, frozen=True, kw_only=True, tag="refused"):
    """Go away for `seconds`: the request is reset, and new connections are refused.

    A connection is accepted or refused before its request is known, so this is an outage for every client:
    the listening socket is closed for a while, and open connections end after their request.
    """

    group: ClassVar[str] = "Connection"

    seconds: float = 0.5

    def check(self) -> None:
        """Raise InvalidArgument for a time that cannot be waited."""
        expect_seconds("seconds", self.seconds)

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Close up shop, without carrying anything out."""
        exchange.outage(self.seconds)
        return exchange.reset()


class Reset(Rule, frozen=True, kw_only=True, tag="reset"):
    """Reset the connection (RST) before the answer, without carrying anything out."""

    group: ClassVar[str] = "Connection"

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Abort."""
        return exchange.reset()


class ResetBody(Rule, frozen=True, kw_only=True, tag="reset-body"):
    """Carry it out, and reset the connection (RST) halfway through the body."""

    group: ClassVar[str] = "Connection"

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Abort once the first half is there."""
        whole = await exchange.proceed()
        raw = payload(whole) or b"{}"
        part = await begin(exchange, whole, len(raw))
        await part.write(raw[: len(raw) // 2])
        await asyncio.sleep(_UNTIL_READ)
        exchange.reset()
        return part


class Truncated(Rule, frozen=True, kw_only=True, tag="truncated"):
    """Carry the request out, announce the whole body, and close cleanly after half the body."""

    group: ClassVar[str] = "Connection"

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Close too early."""
        whole = await exchange.proceed()
        raw = payload(whole) or b"{}"
        part = await begin(exchange, whole, len(raw))
        await part.write(raw[: len(raw) // 2])
        exchange.drop()
        return part


class LostAnswer(Rule, frozen=True, kw_only=True, tag="lost-answer"):
    """Carry the request out, and close the connection without a response."""

    group: ClassVar[str] = "Connection"

    async def __call__(self, exchange: Exchange, /) -> web.StreamResponse:
        """Do it, and say nothing."""
        await exchange.proceed()
        return exchange.drop()
