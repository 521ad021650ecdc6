"""Databases as people have them: URLs, rights, other programs' locks and files, and damage."""

# ruff: noqa: ASYNC240 -- a test may wait for a disk

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from phonesys import InvalidArgument, NumberPool, PhoneSystem
from phonesys.backends.leadconnector import LeadConnectorNumber
from phonesys.inventory import Inventory, InventoryError, NoSnapshot
from phonesys.inventory.store import database, sqlite
from phonesys.inventory.store.migrations import _LOCK
from phonesys.inventory.store.urls import connect_arguments, parse_url
from tests.inventory.pooler import pooler
from tests.sweep.memory import Memory, number, simple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


# URLs


@pytest.mark.parametrize(
    ("url", "user", "password", "host", "port", "database"),
    [
        ("postgresql://me:pw@db.example.com:6543/phones", "me", "pw", "db.example.com", 6543, "phones"),
        ("postgres://me@db/d", "me", None, "db", None, "d"),
        ("postgresql+psycopg2://me:p%40s%2Fs@db/d", "me", "p@s/s", "db", None, "d"),
        ("postgresql://me:p@s:s/w?o#r%d@db/d", "me", "p@s:s/w?o#r%d", "db", None, "d"),
        ("postgresql://me.project:pw@[2001:db8::1]:5432/d", "me.project", "pw", "2001:db8::1", 5432, "d"),
        ("postgresql://db/d?user=me&password=p@ss", "me", "p@ss", "db", None, "d"),
        ("postgresql:///d?host=/var/run/postgresql", None, None, None, None, "d"),
        ("postgresql://me:pw@db?sslmode=require&channel_binding=prefer", "me", "pw", "db", None, None),
    ],
)
def test_a_postgresql_url_is_parsed(
    url: str, user: str | None, password: str | None, host: str | None, port: int | None, database: str | None
) -> None:
    """Passwords may contain any character, percent-encoded or not."""
    parsed = parse_url(url)
    found = (parsed.username, parsed.password, parsed.host, parsed.port, parsed.database)
    assert found == (user, password, host, port, database)


def test_parameters_are_passed_on() -> None:
    """Libpq's parameters go to the driver, and settings to the session."""
    url = parse_url(
        "postgresql://u@a:1,b/d?sslmode=verify-full&sslrootcert=%2Fca.pem&connect_timeout=7"
        "&application_name=phones&options=-c%20work_mem%3D64MB&channel_binding=disable&schema=x"
    )
    assert connect_arguments(url) == {
        "server_settings": {"application_name": "phones", "options": "-c work_mem=64MB"},
        "dsn": "postgresql:///?sslmode=verify-full&sslrootcert=%2Fca.pem",
        "timeout": 7,
        "host": ["a", "b"],
        "port": [1, 5432],
    }


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://u@h/d?sslmod=require", "unknown parameter 'sslmod'"),
        ("postgresql://u@h/d?channel_binding=require", "channel_binding=require is not supported"),
        ("postgresql://u@h/d?sslmode=on", "sslmode: expected one of"),
        ("postgresql://u@h/d?connect_timeout=soon", "connect_timeout: expected"),
        ("postgresql://u@h/d?schema=", "schema: expected"),
        ("postgresql://u@h/d?port=x", "port: expected"),
        ("postgresql://u@h:port/d", "expected a host"),
        ("mysql://u@h/d", "got mysql://"),
    ],
)
async def test_a_url_that_is_not_understood_is_one_line(url: str, message: str) -> None:
    """The message is one line and names the part of the URL."""
    with pytest.raises(InvalidArgument, match=message) as caught:
        async with Inventory(url):
            pass
    assert "\n" not in str(caught.value)


def test_a_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`~` is the user's home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_url("~/inventory.db").database == str(tmp_path / "inventory.db")


# PostgreSQL


@pytest.fixture
def postgresql(new_postgres: Callable[[], str]) -> str:
    """Return the URL of an empty database."""
    return new_postgres()


async def _rows(inventory: Inventory, query: str) -> list[Any]:
    async with inventory._database.reading() as connection:
        return [tuple(row) for row in (await connection.execute(text(query))).all()]


async def test_session_parameters_reach_the_server(postgresql: str) -> None:
    """The name of the application, options and an SSL mode that permits no SSL are accepted."""
    parameters = "sslmode=prefer&connect_timeout=30&application_name=phones&options=-c%20work_mem%3D7MB"
    async with Inventory(f"{postgresql}&{parameters}") as inventory:
        assert await _rows(inventory, "SELECT current_setting('application_name')") == [("phones",)]
        assert await _rows(inventory, "SELECT current_setting('work_mem')") == [("7MB",)]


async def test_tables_are_created_in_the_schema_of_the_url(postgresql: str) -> None:
    """`?schema=` names the schema of all tables, which is created if necessary."""
    url = postgresql
    for schema in ('odd "name"', "second"):
        async with Inventory(f"{url}&schema={schema}") as inventory, PhoneSystem(simple(3)) as phones:
            await inventory.collect(phones)
            await inventory.collect(phones)
            assert len([one async for one in (await inventory.snapshot()).records()]) == 3
    async with Inventory(url) as inventory:
        found = await _rows(
            inventory, "SELECT schemaname FROM pg_tables WHERE tablename = 'sweeps' ORDER BY 1"
        )
        assert found == [('odd "name"',), ("public",), ("second",)]
        with pytest.raises(NoSnapshot):
            await inventory.snapshot()


async def test_no_prepared_statement_is_left_behind(postgresql: str) -> None:
    """No connection keeps a statement or a setting that a pooler would hand to another client."""
    async with Inventory(postgresql) as inventory, PhoneSystem(simple(30)) as phones:
        for _ in range(2):
            await inventory.collect(phones)
        assert [one async for one in inventory.diff()] == []
        assert await _rows(inventory, "SELECT name FROM pg_prepared_statements") == []
        assert await _rows(inventory, "SELECT current_setting('lock_timeout')") == [("0",)]


async def test_a_pooler_in_transaction_mode_works(postgresql: str) -> None:
    """Sweeping and reading work if each transaction runs on another connection. Named statements do not."""
    asyncpg = pytest.importorskip("asyncpg")
    url = parse_url(postgresql)
    socket = f"{url.query['host']}/.s.PGSQL.5432"
    async with pooler(socket, str(url.username), str(url.database)) as (pool, port):
        through = f"postgresql://{url.username}@127.0.0.1:{port}/{url.database}"
        async with Inventory(f"{through}?schema=pooled") as inventory:
            for count in (40, 41):
                async with PhoneSystem(simple(count)) as phones:
                    await inventory.collect(phones)
            assert [change.kind async for change in inventory.diff()] == ["added"]
            assert len([one async for one in (await inventory.snapshot()).records()]) == 41
            assert await inventory.prune(keep=1) == 1
        assert pool.transactions > 10
        other = await asyncpg.connect(through)
        statement = await other.prepare("SELECT 1")
        assert await statement.fetchval() == 1
        with pytest.raises(asyncpg.PostgresError, match="does not exist"):
            await statement.fetchval()
        await other.close()


async def test_a_role_that_can_only_read_can_read(postgresql: str) -> None:
    """SELECT is enough for snapshots, records and diffs. Writing is an InventoryError."""
    url = postgresql
    backend = simple(3)
    async with PhoneSystem(backend) as phones:
        async with Inventory(url) as inventory:
            await inventory.collect(phones)
            await inventory.collect(phones)
            async with inventory._database.writing() as connection:
                for statement in (
                    "DROP ROLE IF EXISTS reader",
                    "CREATE ROLE reader LOGIN",
                    "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
                ):
                    await connection.execute(text(statement))
        async with Inventory(url.replace("//tests@", "//reader@")) as inventory:
            assert len([one async for one in (await inventory.snapshot()).records()]) == 3
            assert [one async for one in inventory.diff()] == []
            with pytest.raises(InventoryError, match="permission denied"):
                await inventory.collect(phones)
        async with Inventory(url) as inventory, inventory._database.writing() as connection:
            await connection.execute(text("DROP OWNED BY reader"))
            await connection.execute(text("DROP ROLE reader"))


async def test_cancelling_ends_a_wait_for_a_lock_of_postgresql(postgresql: str) -> None:
    """A cancelled opening does not wait for another program's lock."""
    asyncpg = pytest.importorskip("asyncpg")
    url = postgresql
    holder = await asyncpg.connect(url)
    await holder.execute(f"SELECT pg_advisory_lock({_LOCK})")
    opening = asyncio.create_task(Inventory(url).__aenter__())
    # Ends when the opening waits for the lock.
    await holder.execute(
        "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted) LOOP"
        " PERFORM pg_sleep(0.01); END LOOP; END $$"
    )
    opening.cancel()
    await asyncio.wait([opening])
    assert opening.cancelled()
    await holder.close()


# SQLite


@pytest.fixture
async def store(tmp_path: Path) -> Path:
    """Store two snapshots, of three and of four accounts."""
    path = tmp_path / "inventory.db"
    async with Inventory(path) as inventory:
        for count in (3, 4):
            async with PhoneSystem(simple(count)) as phones:
                await inventory.collect(phones)
    return path


async def test_a_mistyped_path_is_not_created_by_reading(tmp_path: Path) -> None:
    """A missing file is an error with `read_only=True`, and is not created."""
    with pytest.raises(InventoryError, match="no such file"):
        async with Inventory(tmp_path / "mistyped.db", read_only=True):
            pass
    assert list(tmp_path.iterdir()) == []


async def test_a_file_without_an_inventory_is_not_filled_by_reading(tmp_path: Path) -> None:
    """An empty file stays empty with `read_only=True`."""
    path = tmp_path / "empty.db"
    path.touch()
    with pytest.raises(InventoryError, match="no inventory"):
        async with Inventory(path, read_only=True):
            pass
    assert path.read_bytes() == b""


async def test_reading_needs_no_right_to_write(store: Path) -> None:
    """A read-only inventory reads snapshots, records and changes, and refuses to write."""
    before = store.read_bytes()
    async with Inventory(store, read_only=True) as inventory, PhoneSystem(simple(1)) as phones:
        assert len(await inventory.snapshots()) == 2
        assert len([one async for one in (await inventory.snapshot()).records()]) == 4
        assert len([one async for one in inventory.diff()]) == 1
        with pytest.raises(InventoryError, match="readonly"):
            await inventory.collect(phones)
        with pytest.raises(InventoryError, match="readonly"):
            await inventory.prune(keep=0)
    assert store.read_bytes() == before


async def test_a_read_only_disk_can_be_read(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file on a disk that takes no other file is read without one."""
    from phonesys.inventory.store import sqlite

    query = sqlite._query

    def on_a_read_only_disk(path: Path, options: str, statement: str) -> set[str]:
        if options == "mode=ro":
            cause = sqlite3.OperationalError("unable to open database file")
            cause.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
            raise InventoryError("unable to open database file") from cause
        return query(path, options, statement)

    monkeypatch.setattr(sqlite, "_query", on_a_read_only_disk)
    monkeypatch.setattr("os.access", lambda *_: False)
    async with Inventory(store) as inventory:
        assert len([one async for one in (await inventory.snapshot()).records()]) == 4
    store.with_name("inventory.db-wal").write_bytes(b"changes")
    with pytest.raises(InventoryError, match=r"its last changes are in inventory\.db-wal"):
        async with Inventory(store):
            pass


@pytest.mark.parametrize("read_only", [True, False])
async def test_an_interrupted_checkpoint_is_no_damage(tmp_path: Path, read_only: bool) -> None:
    """A full disk leaves one block of the file written, and all of them in the WAL: nothing is lost."""
    path, torn = tmp_path / "inventory.db", tmp_path / "torn.db"
    async with Inventory(path) as inventory:
        async with PhoneSystem(simple(3)) as phones:
            await inventory.collect(phones)
        shutil.copy(tmp_path / "inventory.db-wal", tmp_path / "torn.db-wal")
    torn.write_bytes(path.read_bytes()[:4096])
    async with Inventory(torn, read_only=read_only) as inventory:
        assert [one.numbers for one in await inventory.snapshots()] == [3]


async def test_a_file_that_another_program_writes_can_be_read(store: Path) -> None:
    """Reading does not wait for a writer."""
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE sweeps SET numbers = 99")
        for read_only in (True, False):
            async with Inventory(store, read_only=read_only) as inventory:
                assert (await inventory.snapshot()).numbers == 4
                assert len([one async for one in inventory.diff()]) == 1


async def test_a_writer_waits_for_another_program(store: Path) -> None:
    """A sweep continues when the other program releases its lock."""
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with PhoneSystem(simple(2)) as phones, Inventory(store) as inventory:
            sweeping = asyncio.create_task(inventory.collect(phones))
            await asyncio.wait([sweeping], timeout=0.5)
            assert not sweeping.done()
            other.execute("COMMIT")
            assert (await sweeping).complete


@pytest.mark.parametrize("mode", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
async def test_cancelling_ends_a_wait_for_a_lock(store: Path, mode: str) -> None:
    """A cancelled sweep ends while the other program still holds its lock."""
    async with PhoneSystem(simple(2)) as phones, Inventory(store) as inventory:
        with closing(sqlite3.connect(store, isolation_level=None)) as other:
            other.execute(mode)
            sweeping = asyncio.create_task(inventory.collect(phones))
            await asyncio.wait([sweeping], timeout=0.1)
            sweeping.cancel()
            await asyncio.wait([sweeping])
            assert sweeping.cancelled()
            assert other.in_transaction
        assert (await inventory.collect(phones)).complete


@pytest.mark.parametrize("trouble", ["locked", "full", "read-only", "newer", "older"])
async def test_errors_name_the_file(trouble: str, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked, full or read-only database, and one of another version."""
    statements = {
        "locked": "BEGIN EXCLUSIVE",
        "full": "CREATE TRIGGER t BEFORE INSERT ON sweeps BEGIN SELECT RAISE(ABORT, 'disk is full'); END",
        "read-only": "SELECT 1",
        "newer": "UPDATE phonesys_schema SET version = 999",
        "older": "UPDATE phonesys_schema SET version = 1",
    }
    monkeypatch.setattr(database, "_LOCK_TIMEOUT", 0.0)
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute(statements[trouble])
        if trouble == "read-only":
            monkeypatch.setattr("os.access", lambda *_: False)
        async with PhoneSystem(simple(2)) as phones:
            with pytest.raises(InventoryError) as error:
                async with Inventory(store, read_only=trouble == "older") as inventory:
                    await inventory.collect(phones)
    assert str(store) in str(error.value)


async def test_another_programs_database_is_refused_untouched(tmp_path: Path) -> None:
    """A foreign SQLite file, and a file of another kind, keep every byte."""
    foreign, other = tmp_path / "foreign.db", tmp_path / "notes.txt"
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
        connection.commit()
    other.write_text("not a database, but longer than the sixteen bytes of a header")
    for path, message in ((foreign, "of another program"), (other, "not an SQLite database")):
        before = path.read_bytes()
        for read_only in (True, False):
            with pytest.raises(InventoryError, match=message):
                async with Inventory(path, read_only=read_only):
                    pass
        assert path.read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["foreign.db", "notes.txt"]


_ANOTHER_PROCESS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0)
try:
    print(*connection.execute("PRAGMA journal_mode=DELETE").fetchone())
except sqlite3.OperationalError as error:
    print(error)
"""


async def test_another_process_cannot_take_a_file_that_is_open(tmp_path: Path) -> None:
    """The locks of a process stay when the same file is opened and closed a second time in it."""
    path = tmp_path / "inventory.db"

    async def says() -> str:
        command = sys.executable, "-c", _ANOTHER_PROCESS, str(path)
        child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        return (await child.communicate())[0].decode().strip()

    async with Inventory(path):
        for read_only in (False, True):
            async with Inventory(path, read_only=read_only):
                pass
            assert await says() == "database is locked"
    assert await says() == "delete"


async def test_a_checkpoint_that_ends_between_two_looks_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may write the file while it is looked at, and delete its WAL a moment later."""
    path = tmp_path / "inventory.db"
    async with Inventory(path):
        pass
    whole, look = path.read_bytes(), sqlite._query
    path.write_bytes(whole[:4096] + bytes(len(whole) - 4096))

    def late(*arguments: Any) -> set[str]:
        try:
            return look(*arguments)
        finally:
            path.write_bytes(whole)

    monkeypatch.setattr(sqlite, "_query", late)
    async with Inventory(path) as inventory:
        assert await inventory.snapshots() == []


# Damage


async def _use(where: Any) -> list[InventoryError]:
    """Use every command of an inventory, and return the errors. Other errors are raised."""
    errors: list[InventoryError] = []

    async def read(inventory: Inventory) -> None:
        for snapshot in await inventory.snapshots():
            _ = [one async for one in snapshot.records()]
            _ = [one async for one in snapshot.accounts()]
            _ = [one async for one in snapshot.pools()]

    async def compare(inventory: Inventory) -> None:
        _ = [one async for one in inventory.diff()]

    async def remember(inventory: Inventory) -> None:
        _ = [one async for one in inventory.last_known(["memory"])]

    async def write(inventory: Inventory) -> None:
        async with PhoneSystem(_backend(3)) as phones:
            await inventory.collect(phones)
        await inventory.prune(keep=1)

    for command in (read, compare, remember, write):
        try:
            async with Inventory(where) as inventory:
                await command(inventory)
        except InventoryError as error:
            errors.append(error)
    return errors


def _backend(day: int) -> Memory:
    pool = NumberPool(id="p1", name="Pool", account="a")
    rows = [
        LeadConnectorNumber(number=f"+1415555{i:04}", sid=f"PN{i}", pool=pool, account="a") for i in range(9)
    ]
    return Memory({"a": [rows[day:]], "b": [[number(7, "b")]]})


async def _two_days(where: Any) -> None:
    async with Inventory(where) as inventory:
        for day in range(2):
            async with PhoneSystem(_backend(day)) as phones:
                await inventory.collect(phones)


DAMAGE = (
    "UPDATE sweeps SET scope = 'nonsense'",
    "UPDATE sweeps SET scope = '[1]'",
    "UPDATE accounts SET outcome = 'odd'",
    "UPDATE accounts SET numbers = numbers + 1",
    "UPDATE pools SET more = '{}'",
    "UPDATE pools SET more = 'nonsense'",
    "DELETE FROM numbers",
    "DELETE FROM numbers WHERE number = '+14155550005'",
    "DELETE FROM sweep_pages",
    "DELETE FROM pages",
    "DROP VIEW inventory; DROP TABLE numbers",
    "DROP TABLE pages",
    "DROP TABLE pools",
    "DROP VIEW inventory; DROP TABLE accounts",
    "UPDATE numbers SET record = '{\"id\": 5}'",
    "UPDATE numbers SET record = '[]'",
)
ONLY_SQLITE = (
    "UPDATE sweeps SET started_at = 'yesterday'",
    "UPDATE sweeps SET finished_at = 5",
    "UPDATE sweeps SET numbers = 'many'",
    "UPDATE accounts SET numbers = 'many'",
    "UPDATE accounts SET numbers = NULL"
    if sqlite3.sqlite_version_info < (0,)
    else "UPDATE accounts SET outcome = 5",
    "UPDATE accounts SET rejected = 'some'",
    "UPDATE accounts SET backend = x'ff'",
    "UPDATE numbers SET record = x'ff'",
    "UPDATE numbers SET record = 'nonsense'",
    "UPDATE numbers SET record = ''",
    "UPDATE phonesys_schema SET version = 'new'",
    "UPDATE sweep_pages SET page_id = 'x'",
    "DELETE FROM phonesys_schema",
)


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_database_is_an_inventory_error(where: str, damage: str) -> None:
    """Every command raises InventoryError for damaged rows, and at least one notices them."""
    await _two_days(where)
    async with Inventory(where) as inventory, inventory._database.writing() as connection:
        for statement in damage.split("; "):
            await connection.execute(text(statement))
    assert await _use(where)


@pytest.mark.parametrize("damage", ONLY_SQLITE)
async def test_a_value_of_another_type_is_an_inventory_error(tmp_path: Path, damage: str) -> None:
    """SQLite stores values of any type in any column. Every command raises InventoryError for them."""
    path = tmp_path / "inventory.db"
    await _two_days(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(damage)
        connection.commit()
    assert await _use(path)


@pytest.mark.parametrize("turns", [20, pytest.param(200, marks=pytest.mark.long)])
async def test_a_damaged_file_is_an_inventory_error(tmp_path: Path, turns: int) -> None:
    """Overwritten and missing blocks of the file never raise another error."""
    path, copy = tmp_path / "inventory.db", tmp_path / "damaged.db"
    await _two_days(path)
    whole = path.read_bytes()
    draw = random.Random(7)
    noticed = 0
    for turn in range(turns):
        damaged = bytearray(whole)
        if turn % 4:
            at = draw.randrange(len(whole) - 64)
            damaged[at : at + 64] = draw.randbytes(64)
        else:
            del damaged[draw.randrange(1, len(whole)) :]
        copy.write_bytes(damaged)
        noticed += bool(await _use(copy))
        for leftover in tmp_path.glob("damaged.db*"):
            leftover.unlink()
    assert noticed > turns // 4
    shutil.rmtree(tmp_path)


# Clocks


async def test_order_is_by_id_and_not_by_a_clock(where: str) -> None:
    """A clock that was ahead once does not make its snapshot the newest."""
    async with Inventory(where) as inventory:
        for count in (1, 2, 3):
            async with PhoneSystem(simple(count)) as phones:
                await inventory.collect(phones)
            if count == 1:
                ahead = datetime.now(UTC) + timedelta(days=3650)
                shown = ahead.isoformat() if where.startswith("sqlite") else ahead
                async with inventory._database.writing() as connection:
                    await connection.execute(
                        text("UPDATE sweeps SET started_at = :ahead, finished_at = :ahead"), {"ahead": shown}
                    )
        assert [one.numbers for one in await inventory.snapshots()] == [3, 2, 1]
        assert (await inventory.snapshot()).numbers == 3
        assert [one.kind async for one in inventory.diff()] == ["added"]
        remembered = [key async for key, _ in inventory.last_known(["memory"])]
        assert len(remembered) == 3
        assert await inventory.prune(keep=1) == 2
        assert [one.numbers for one in await inventory.snapshots()] == [3]
