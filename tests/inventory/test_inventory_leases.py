"""Claims and leases in a database: exclusive, by the server's clock, and ended with the program."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from phonesys import RateLimit
from phonesys.http.ratelimit.leased import LeaseStore
from phonesys.inventory import SqlTokenStore, token_store
from phonesys.inventory.errors import InventoryError
from phonesys.oauth import Token
from phonesys.sandbox import Sandbox, delay
from phonesys.secret import Secret
from tests.chaos.leases import exchange_all
from tests.oauth.agencies import agency, backend, exchanges, store_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

LIMIT = RateLimit(10, per=10.0)


def make_token(name: str) -> Token:
    return Token(access=Secret(f"access-{name}"), obtained_at=1.0)


async def trade(store: SqlTokenStore, wanted: int, **returned: Any) -> tuple[int, ...]:
    return tuple((await store.trade_leases("w", LIMIT, hold=40.0, wanted=wanted, **returned)).leases)


async def execute(store: SqlTokenStore, statement: str) -> list[Any]:
    database: Any = store._opened
    async with database.writing() as connection:
        result = await connection.execute(text(statement))
        return list(result) if result.returns_rows else []


# Leases


async def test_programs_get_what_is_free(where: str) -> None:
    """Together they never hold more leases than the window has slots."""
    stores = [SqlTokenStore(where) for _ in range(4)]
    assert all(isinstance(store, LeaseStore) for store in stores)
    granted = await asyncio.gather(*(trade(store, 4) for store in stores))
    assert sorted(map(len, granted)) == [0, 2, 4, 4]
    grant = await stores[0].trade_leases("w", LIMIT, hold=40.0, wanted=1)
    assert (grant.leases, grant.programs) == ({}, 4)
    assert 30 < grant.retry_after <= 40
    assert len(await trade(stores[0], 1, unused=granted[0][:1] or granted[1][:1])) == 1
    other = await stores[0].trade_leases("another", LIMIT, hold=40.0, wanted=1)
    assert (len(other.leases), other.programs) == (1, 1)


async def test_a_completed_lease_ends_one_window_later(where: str) -> None:
    """Also if it had ended already, and so do requests that were sent without one."""
    store = SqlTokenStore(where)
    leases = await trade(store, 10)
    completed = dict.fromkeys(leases[:3], 0.0)
    assert len(await trade(store, 10, completed=completed, unused=leases[3:8])) == 5
    await execute(store, "DELETE FROM oauth_leases")
    assert len(await trade(store, 10, completed=completed, unleased=[0.0, 4.0, 8.0, 11.0])) == 4
    ends = await execute(store, "SELECT count(*) FROM oauth_leases GROUP BY ends_at ORDER BY ends_at")
    assert ends == [(1,), (1,), (4,), (4,)]


async def test_leases_end_by_the_servers_clock(where: str) -> None:
    """A program that died returns none. Leases from before the clock was set back are not held for ever."""
    store = SqlTokenStore(where)
    await trade(store, 10)
    await execute(store, "UPDATE oauth_leases SET ends_at = ends_at - 41")
    assert len(await trade(store, 10)) == 10
    await execute(store, "UPDATE oauth_leases SET ends_at = ends_at + 86400")
    grant = await store.trade_leases("w", LIMIT, hold=40.0, wanted=1)
    assert grant.leases == {}
    assert grant.retry_after <= 40


async def test_leases_are_given_in_advance(where: str) -> None:
    """One that ends soon is followed by another. Returned, it keeps its slot for the request before."""
    store = SqlTokenStore(where)
    leases = await trade(store, 10)
    await trade(store, 0, completed=dict.fromkeys(leases, 9.5))
    grant = await store.trade_leases("w", LIMIT, hold=40.0, wanted=12)
    assert len(grant.leases) == 10
    assert all(0 < delay <= 0.5 for delay in grant.leases.values())
    again = await store.trade_leases("w", LIMIT, hold=40.0, wanted=3, unused=list(grant.leases)[:4])
    assert len(again.leases) == 3
    assert min(again.leases.values()) > 0
    counts = await execute(store, "SELECT count(*), count(DISTINCT id) FROM oauth_leases")
    assert counts == [(10, 10)]


# Claims


async def fetch_counted(
    store: SqlTokenStore, keys: Iterable[str], fetched: list[str], takes: float = 0.02
) -> None:
    async def one(key: str) -> None:
        async def fetch(_stored: Token | None) -> Token:
            fetched.append(key)
            await asyncio.sleep(takes)
            return make_token(key)

        token = await store.fetch_once(key, fetch, is_wanted=lambda token: True)
        assert token == make_token(key)

    await asyncio.gather(*map(one, keys))
    await store.flush()


async def test_each_token_is_fetched_once(where: str) -> None:
    """By three programs that want all of them, and by two tasks of one that want the same."""
    keys, fetched = [f"k{number}" for number in range(40)], list[str]()
    await asyncio.gather(
        *(fetch_counted(SqlTokenStore(where), order, fetched) for order in (keys, keys[::-1], keys * 2))
    )
    assert sorted(fetched) == sorted(keys)
    store = SqlTokenStore(where)
    assert await store.load("k7") == make_token("k7")
    assert await execute(store, "SELECT * FROM oauth_claims") == []


async def test_a_fetch_that_fails_or_is_cancelled_ends_its_claim(where: str) -> None:
    """The next program does not wait."""
    store, other = SqlTokenStore(where), SqlTokenStore(where)

    async def fail(_stored: Token | None) -> Token:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.fetch_once("k", fail, is_wanted=lambda token: True)
    began = asyncio.Event()

    async def hang(_stored: Token | None) -> Token:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(store.fetch_once("k", hang, is_wanted=lambda token: True))
    await began.wait()
    task.cancel()
    await asyncio.wait([task])
    await store.flush()
    await fetch_counted(other, ["k"], [])
    assert [one for one in asyncio.all_tasks() if one is not asyncio.current_task()] == []


@pytest.mark.parametrize("turns", range(0, 40, 4))
async def test_a_caller_that_is_cancelled_at_any_time_leaves_no_claim(turns: int, tmp_path: Path) -> None:
    """Also in the middle of the transaction that makes the claim."""
    store = SqlTokenStore(tmp_path / "tokens.db")
    await store.save("another", make_token("1"))
    task = asyncio.create_task(fetch_counted(store, ["k"], []))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await store.flush()
    await store.flush()
    assert await execute(store, "SELECT * FROM oauth_claims") == []


async def test_the_claim_of_a_program_that_died_ends(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program waits until the claim ends. Claims of programs that live are renewed."""
    monkeypatch.setattr(token_store, "_CLAIM_HOLD", 0.3)
    store, other, fetched = SqlTokenStore(where), SqlTokenStore(where), list[str]()
    await store.save("another", make_token("1"))
    slow = asyncio.create_task(fetch_counted(store, ["k"], fetched, takes=0.8))
    await fetch_counted(other, ["k"], fetched)
    await slow
    assert fetched == ["k"]
    clock = await execute(store, {"sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0"}.get(
        where.partition(":")[0], "SELECT extract(epoch FROM now())::double precision"
    ))  # fmt: skip
    await execute(
        store,
        f"INSERT INTO oauth_claims (key, program, ends_at) VALUES ('dead', 'x', {clock[0][0] + 0.3})",  # noqa: S608
    )
    await fetch_counted(other, ["dead"], fetched)
    assert fetched == ["k", "dead"]


async def test_a_store_that_is_gone_costs_a_fetch_and_no_account(
    where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Tokens of locations are exchanged without it, within this program's share, and stored later."""
    caplog.set_level(logging.WARNING, logger="phonesys")
    async with Sandbox(locations=8, not_connected=0, numbers=1, enforce_limits=False) as sandbox:
        sandbox.script("leadconnector.location_token", delay(0.01))
        store = await store_of(sandbox, SqlTokenStore(where))
        assert isinstance(store, SqlTokenStore)
        async with backend(sandbox, agency(sandbox, store), limit=RateLimit(100, per=0.5)) as lc:
            await lc.page(sandbox.location_ids[0])
            database: Any = store._opened
            with monkeypatch.context() as patch:
                patch.setattr(database, "_attempt", _unreachable)
                patch.setattr(database, "_begin_reading", _unreachable)
                for location in sandbox.location_ids[1:3]:
                    await lc.page(location)
            await lc.page(sandbox.location_ids[3])
        assert exchanges(sandbox) == 4
        assert "cached tokens were not written" in caplog.text
        assert "the window of" in caplog.text
        async with backend(sandbox, agency(sandbox, SqlTokenStore(where))) as lc:
            for location in sandbox.location_ids[:4]:
                await lc.page(location)
        assert exchanges(sandbox) == 4


async def _unreachable(*_: object, **__: object) -> Any:
    raise InventoryError("the store is gone")


# Several processes


def test_processes_share_a_window(new_postgres: Callable[[], str]) -> None:
    """No request is refused, each token is exchanged once, and the company's token is refreshed once.

    The long version is `python -m tests.chaos.leases`.
    """
    result = asyncio.run(exchange_all(new_postgres(), processes=2, tokens=60, limit=RateLimit(25, per=1.0)))
    assert result.breaches(least_used=0.0) == []
