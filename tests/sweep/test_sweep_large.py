"""Large pages: their rows are made only once the consumer has room for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from phonesys import Bearer, DecodeError, HttpOptions, Outcome, Page, PhoneSystem
from phonesys.backends.base import HttpBackend
from phonesys.http import Call, RawResponse
from phonesys.testing import MockTransport
from tests.conftest import PATIENCE
from tests.sweep.memory import number

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from phonesys import Cursor, PhoneNumber

ROWS = 2_000
ACCOUNTS = 30


class Large(HttpBackend):
    """A backend with one large page for each account, of which some cannot be decoded."""

    def __init__(self, *, bad: frozenset[str] = frozenset()) -> None:
        transport = MockTransport(lambda _call: RawResponse(200, {}, b" " * 100_000))
        super().__init__(
            "large", base_url="https://vendor.example", auth=Bearer("x"), limit=None,
            http=HttpOptions(retries=0), transport=transport,
        )  # fmt: skip
        self.transport = transport
        self.bad = bad
        self.decoded = 0

    async def accounts(self) -> AsyncIterator[str]:
        for place in range(ACCOUNTS):
            yield str(place)

    async def page(self, account: str, cursor: Cursor | None = None) -> Page[PhoneNumber]:
        def decode(_body: bytes) -> tuple[PhoneNumber, ...]:
            if account in self.bad:
                raise DecodeError("bad")
            self.decoded += 1
            return tuple(number(place, account) for place in range(ROWS))

        call = Call(operation="list", method="GET", target="/", decode=decode, account=account)
        return Page(account=account, provider=self.name, numbers=await self.send(call))


@pytest.mark.jumping
async def test_rows_wait_for_the_consumer_as_bytes() -> None:
    """While it is busy with a page, all responses arrive, and few are decoded."""
    backend = Large()
    async with PhoneSystem(backend) as phones, phones.sweep(concurrency=ACCOUNTS) as sweep:
        await anext(sweep)
        await asyncio.sleep(60)
        assert len(backend.transport.calls) == ACCOUNTS
        assert backend.decoded <= 4
        rest = [page async for page in sweep]
    assert len(rest) == ACCOUNTS - 1
    assert sweep.report.complete


@pytest.mark.jumping
async def test_a_page_without_rows_lets_the_next_one_in() -> None:
    """A response that cannot be decoded takes no room, so another that waits is decoded instead."""
    bad = frozenset(map(str, range(3, ACCOUNTS - 1)))
    backend = Large(bad=bad)
    async with PhoneSystem(backend) as phones, phones.sweep(concurrency=ACCOUNTS) as sweep:
        async with asyncio.timeout(PATIENCE):
            async for _ in sweep:
                await asyncio.sleep(1)
    assert sweep.report.outcomes == {Outcome.DONE: ACCOUNTS - len(bad), Outcome.FAILED: len(bad)}
