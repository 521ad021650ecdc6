"""What a cold sweep costs: tokens are asked for in the places of the pages that want them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from phonesys import PhoneSystem
from phonesys import _observer as scope
from phonesys.oauth import Token
from phonesys.oauth.cache import TokenCache
from phonesys.sandbox import Sandbox
from phonesys.secret import Secret
from tests.oauth.agencies import agency, backend, exchanges, store_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    Run = Callable[[Any], Any]


class Noting:
    """A scope that notes when its calls wait."""

    def __init__(self) -> None:
        self.waits: list[tuple[float, float]] = []

    def on_request(self) -> None: ...

    def on_retry(self) -> None: ...

    @asynccontextmanager
    async def waiting(self) -> AsyncGenerator[None]:
        began = asyncio.get_running_loop().time()
        yield
        self.waits.append((began, asyncio.get_running_loop().time()))


@pytest.mark.parametrize(("takes", "waits"), [(0.2, []), (3.0, [(0.25, 3.0)])])
def test_a_place_is_held_for_a_moment(jumping: Run, takes: float, waits: list[tuple[float, float]]) -> None:
    """A fetch is a request like others, unless it takes long: then other accounts go ahead."""

    async def fetch(_refused: Token | None) -> Token:
        await asyncio.sleep(takes)
        return Token(access=Secret("token"), obtained_at=0.0, expires_at=1e12)

    async def main() -> list[tuple[float, float]]:
        noting, started = Noting(), asyncio.get_running_loop().time()
        scope.current.set(noting)
        renewal = TokenCache("x", fetch, uninterruptible=False, clock=asyncio.get_running_loop().time)
        await renewal.renew()
        assert renewal.headers() is not None
        return [(began - started, ended - started) for began, ended in noting.waits]

    assert jumping(main()) == [pytest.approx(wait) for wait in waits]


async def test_a_cold_sweep_opens_as_many_connections_as_it_has_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many tokens it asks for; they and the pages go over the same ones."""
    made: list[Any] = []
    create = aiohttp.TCPConnector._create_connection

    async def counted(*args: Any) -> Any:
        made.append(args)
        return await create(*args)

    monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", counted)
    async with Sandbox(locations=80, numbers=(1, 3), enforce_limits=False) as sandbox:
        auth = agency(sandbox, await store_of(sandbox))
        async with (
            PhoneSystem(backend(sandbox, auth)) as phones,
            phones.sweep(leadconnector=sandbox.location_ids, concurrency=8) as sweep,
        ):
            async for _page in sweep:
                pass
    assert sweep.report.complete
    assert exchanges(sandbox) == len(sweep.report.accounts) == 80
    assert len(made) <= 8 + 1
