"""Request slots and connections of a cold sweep, which fetches tokens while it reads pages."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from phonesys import PhoneSystem, _slot
from phonesys.oauth import Token
from phonesys.oauth.cache import TokenCache
from phonesys.sandbox import Sandbox
from phonesys.secret import Secret
from tests.oauth.agencies import agency, backend, exchanges, store_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    Run = Callable[[Any], Any]


class RecordingSlot:
    """A slot that records when its calls wait."""

    def __init__(self) -> None:
        self.waits: list[tuple[float, float]] = []

    def on_request(self) -> None: ...

    def on_retry(self) -> None: ...

    async def wait_for_capacity(self) -> None: ...

    @asynccontextmanager
    async def waiting(self) -> AsyncGenerator[None]:
        began = asyncio.get_running_loop().time()
        yield
        self.waits.append((began, asyncio.get_running_loop().time()))


@pytest.mark.parametrize(("takes", "waits"), [(0.2, []), (3.0, [(0.25, 3.0)])])
def test_a_waiting_call_holds_its_slot_for_a_moment(
    jumping: Run, takes: float, waits: list[tuple[float, float]]
) -> None:
    """A waiting call releases its request slot once the fetch of its token takes long."""

    async def fetch(_rejected: Token | None) -> Token:
        await asyncio.sleep(takes)
        return Token(access=Secret("token"), obtained_at=0.0, expires_at=1e12)

    async def main() -> list[tuple[float, float]]:
        slot, started = RecordingSlot(), asyncio.get_running_loop().time()
        _slot.current.set(slot)
        cache = TokenCache("x", fetch, uninterruptible=False, clock=asyncio.get_running_loop().time)
        await cache.ensure_valid()
        assert cache.headers() is not None
        return [(began - started, ended - started) for began, ended in slot.waits]

    assert jumping(main()) == [pytest.approx(wait) for wait in waits]


async def test_a_cold_sweep_opens_as_many_connections_as_it_has_slots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A cold sweep opens as many connections as it has request slots, for tokens and pages together."""
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
