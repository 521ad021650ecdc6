"""The pool of idle connections."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.http.raw_vendor import OK, RawVendor, Thing, client, read
from tests.http.test_http_transports import GOOD, Counting, held

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def test_an_idle_connection_is_closed_in_time(jumping: Run) -> None:
    """Servers close theirs after 20 seconds or more, and a request could meet that."""

    async def main(*pauses: float) -> int:
        async with Counting(OK) as vendor, client(vendor) as http:
            await http.send(read())
            for pause in pauses:
                await asyncio.sleep(pause)
                await http.send(read())
            return vendor.connections

    assert jumping(main(7, 7, 7)) == 1
    assert jumping(main(15)) == 2
    assert jumping(main(7, 15, 7)) == 2


class Remembering(Counting):
    """Remembers the connection of each request."""

    def __init__(self, *script: Any) -> None:
        super().__init__(*script)
        self.used: list[asyncio.StreamWriter] = []

    async def _one(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> bool:
        reads_on = await super()._one(source, sink)
        self.used.append(sink)
        return reads_on


def test_connections_that_are_not_needed_any_more_are_closed(jumping: Run) -> None:
    """The one that was used last is used next, so that the others idle."""

    async def main() -> tuple[int, int, int, int]:
        async with Remembering(OK) as vendor, client(vendor) as http:
            await asyncio.gather(*(http.send(read()) for _ in range(5)))
            most = held(http)[1]
            for _ in range(20):
                await asyncio.sleep(1)
                await http.send(read())
            return most, len(set(vendor.used[5:])), held(http)[1], vendor.connections

    assert jumping(main()) == (5, 1, 1, 5)


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not for Windows")
@pytest.mark.parametrize("what", GOOD)
def test_responses_are_read_under_uvloop(what: str) -> None:
    """It reads into buffers of its own, and hands over the data."""

    async def main() -> None:
        async with RawVendor(GOOD[what]) as vendor, client(vendor, retries=0) as http:
            for _ in range(3):
                assert await http.send(read()) == Thing(1)
            assert (http.fallback_reason, held(http)) == (None, (0, 1))

    import uvloop

    uvloop.run(main())
