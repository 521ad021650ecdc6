from __future__ import annotations

import asyncio
import sqlite3
import sys
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from phonesys import ConfigError
from phonesys.inventory import Inventory, SqlTokenStore
from phonesys.inventory.errors import InventoryError
from phonesys.oauth import SingleFlight, Token, TokenStore, new_key
from phonesys.sandbox import Sandbox, delay
from phonesys.secret import Secret
from tests.oauth.agencies import agency, backend, company_key, exchanges, refreshes, store_of

if TYPE_CHECKING:
    from pathlib import Path


def make_token(name: str) -> Token:
    return Token(access=Secret(f"access-{name}"), refresh=Secret(f"refresh-{name}"), obtained_at=1.0)


@pytest.fixture(params=["plain", "encrypted"])
def key(request: pytest.FixtureRequest) -> str | None:
    return new_key() if request.param == "encrypted" else None


async def test_a_stored_token_is_loaded_by_another_store(where: str, key: str | None) -> None:
    """Saved tokens are there at once, cached ones after a flush, and forgotten ones never again."""
    mine, theirs = SqlTokenStore(where, key=key), SqlTokenStore(where, key=key)
    assert isinstance(mine, TokenStore)
    assert isinstance(mine, SingleFlight)
    assert await theirs.load("k") is None
    for name in ("1", "2"):
        await mine.save("k", make_token(name))
        assert await theirs.load("k") == make_token(name)
    mine.cache("location", make_token("3"))
    assert await mine.load("location") == make_token("3")
    assert await theirs.load("location") is None
    await mine.flush()
    assert await theirs.load("location") == make_token("3")
    await theirs.forget("location")
    assert await mine.load("location") is None


async def test_only_the_original_key_matches(where: str) -> None:
    """A token encrypted with another key is a ConfigError that quotes nothing."""
    await SqlTokenStore(where, key=new_key()).save("k", make_token("PLANTED"))
    for store in (SqlTokenStore(where), SqlTokenStore(where, key=new_key())):
        with pytest.raises(ConfigError, match="oauth_tokens, k cannot be used") as failure:
            await store.load("k")
        assert "PLANTED" not in str(failure.value)


async def test_an_inventory_lives_in_the_same_database(where: str) -> None:
    """Either of them may create the database."""
    await SqlTokenStore(where).save("k", make_token("1"))
    async with Inventory(where) as inventory:
        assert await inventory.snapshots() == []
    assert await SqlTokenStore(where).load("k") == make_token("1")


async def test_one_store_at_a_time_holds_a_lock(where: str) -> None:
    """Stores exclude each other, as programs on several machines do, and an error releases the lock."""
    inside = most = 0

    async def enter() -> None:
        nonlocal inside, most
        async with SqlTokenStore(where).lock("k"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(enter() for _ in range(4)))
    assert most == 1
    with pytest.raises(ZeroDivisionError):
        async with SqlTokenStore(where).lock("k"):
            _ = 1 / 0
    await enter()
    async with SqlTokenStore(where).lock("k"):
        with pytest.raises(ConfigError, match="another program has held"):
            async with SqlTokenStore(where, lock_timeout=0.0).lock("k"):
                raise AssertionError


async def test_the_lock_of_a_killed_program_is_released(where: str) -> None:
    """It ends with the program's connection or process, and needs no lease."""
    program = (
        "import asyncio, sys\n"
        "from phonesys.inventory import SqlTokenStore\n"
        "async def hold():\n"
        "    async with SqlTokenStore(sys.argv[1]).lock('k'):\n"
        "        print('held', flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(hold())\n"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, where, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    assert await child.stdout.readline() == b"held\n"
    with pytest.raises(ConfigError, match="another program has held"):
        async with SqlTokenStore(where, lock_timeout=0.0).lock("k"):
            raise AssertionError
    child.kill()
    await child.wait()
    async with SqlTokenStore(where).lock("k"):
        pass


async def test_programs_that_share_a_database_refresh_and_exchange_once(where: str) -> None:
    """Four agencies with an expired token and no location tokens: one refresh and one exchange of each."""
    async with Sandbox(locations=3, numbers=1, enforce_limits=False) as sandbox:
        await store_of(sandbox, SqlTokenStore(where), expired=True)
        sandbox.script("leadconnector.token", delay(0.05))

        async def use() -> int:
            async with backend(sandbox, agency(sandbox, SqlTokenStore(where))) as lc:
                pages = await asyncio.gather(*(lc.page(id_) for id_ in sandbox.location_ids))
            return len(pages)

        assert await asyncio.gather(*(use() for _ in range(4))) == [3] * 4
        assert (refreshes(sandbox), exchanges(sandbox), sandbox.oauth.refused) == (1, 3, 0)
        saved = await SqlTokenStore(where).load(company_key(sandbox))
        assert saved is not None
        assert saved.refresh is not None
        assert sandbox.oauth.is_live(saved.refresh.reveal())


async def test_a_database_that_cannot_be_written_costs_no_refresh_token(tmp_path: Path) -> None:
    """Entering the lock writes a row, so a table that is locked or broken is noticed in time."""
    file = tmp_path / "tokens.db"
    store = SqlTokenStore(file)
    async with Sandbox(locations=3, numbers=1, enforce_limits=False) as sandbox:
        await store_of(sandbox, store, expired=True)
        with sqlite3.connect(file) as connection:
            full = "SELECT RAISE(ABORT, 'disk full')"
            connection.execute(f"CREATE TRIGGER t BEFORE INSERT ON oauth_tokens BEGIN {full}; END")
        connection.close()
        async with backend(sandbox, agency(sandbox, store)) as lc:
            with pytest.raises(InventoryError, match="disk full"):
                await lc.page(sandbox.location_ids[0])
        assert refreshes(sandbox) == 0


def test_a_store_serves_one_event_loop_after_the_other(where: str) -> None:
    """No connection is left behind by the first."""
    store = SqlTokenStore(where)
    asyncio.run(store.save("k", make_token("1")))
    assert asyncio.run(store.load("k")) == make_token("1")


async def test_commits_of_tokens_are_synced(tmp_path: Path) -> None:
    """SQLite syncs each commit of a token that must not be lost, unlike those of the inventory."""
    store, levels = SqlTokenStore(tmp_path / "tokens.db"), list[int]()
    await store.save("k", make_token("1"))
    database: Any = store._opened

    def note(connection: Any) -> None:
        levels.append(connection.exec_driver_sql("PRAGMA synchronous").scalar())

    event.listen(database.engine.sync_engine, "commit", note)
    await store.save("k", make_token("2"))
    await store.forget("k")
    assert levels == [2, 2]


def test_a_url_is_not_shown() -> None:
    """It may hold a password."""
    assert "PLANTED" not in repr(SqlTokenStore("postgresql://user:PLANTED@host/db"))
