"""An open database: its engine, its transactions and its errors."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from phonesys._concurrency import run_shielded
from phonesys.errors import InvalidArgument
from phonesys.inventory.errors import InventoryError
from phonesys.inventory.extras import require_extra
from phonesys.inventory.store.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_DRIVERS = {
    "sqlite": ("sqlite+aiosqlite", "inventory", "aiosqlite"),
    "postgres": ("postgresql+asyncpg", "postgres", "asyncpg"),
    "postgresql": ("postgresql+asyncpg", "postgres", "asyncpg"),
}
_LOCK_TIMEOUT = 60.0  # seconds that a writer waits for another

# In WAL mode with NORMAL, a killed process loses no commit. Only a power cut can lose the last commits, and
# it leaves the database consistent.
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA cache_size=-32768",
    "PRAGMA temp_store=FILE",
)


class Database:
    """An engine, with transactions for reading and for writing."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._writing = engine.execution_options(phonesys_writes=True)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.engine.dialect.name

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[AsyncConnection]:
        """Open a transaction that commits when its block succeeds."""
        async with _map_errors(), self._writing.begin() as connection:
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncConnection]:
        """Open a transaction that sees one state of the database, regardless of writers."""
        async with _map_errors(), self.engine.connect() as connection:
            yield connection

    async def close(self) -> None:
        """Close all connections."""
        await run_shielded(self.engine.dispose())


@asynccontextmanager
async def _map_errors() -> AsyncGenerator[None]:
    try:
        yield
    except SQLAlchemyError as failure:
        raise InventoryError(f"the database: {_first_line(failure)}") from failure
    except OSError as failure:  # asyncpg raises these when no server listens
        raise InventoryError(f"the database cannot be reached: {failure}") from failure


def _first_line(failure: SQLAlchemyError) -> str:
    # The following lines are the statement and its parameters, such as a thousand numbers.
    cause = getattr(failure, "orig", None) or failure
    return f"{type(cause).__name__}: {str(cause).partition(chr(10))[0]:.300}"


async def connect(where: str | Path) -> Database:
    """Open a database, and create or migrate its tables if necessary."""
    url = parse_url(where)
    database = Database(_engine(url))
    await _probe(url)
    try:
        async with database.writing() as connection:
            await migrate(connection)
    except BaseException:
        await database.close()
        raise
    return database


async def _probe(url: URL) -> None:
    """Open a file with sqlite3 first, because a failing connection of aiosqlite leaves a thread behind."""
    if url.get_backend_name() == "sqlite" and not url.query:
        try:
            await asyncio.to_thread(lambda: sqlite3.connect(str(url.database)).close())
        except sqlite3.Error as failure:
            raise InventoryError(f"{url.database}: {failure}") from failure


def parse_url(where: str | Path) -> URL:
    """Parse a URL, or the path of an SQLite file. The driver may be omitted."""
    if isinstance(where, Path) or "://" not in where:
        return _require_file(URL.create("sqlite+aiosqlite", database=str(where)))
    try:
        url = make_url(where)
    except (ArgumentError, ValueError) as mistake:
        raise InvalidArgument("store: expected a path or a database's URL") from mistake
    name = url.get_backend_name() if url.drivername != "postgres" else "postgres"
    if name not in _DRIVERS:
        raise InvalidArgument(f"store: expected sqlite:// or postgresql://, got {name}://")
    return _require_file(url.set(drivername=_DRIVERS[name][0]))


def _require_file(url: URL) -> URL:
    # Every connection to `:memory:` is another database, and a single one cannot read while it writes.
    if url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}:
        raise InvalidArgument("store: expected a file; a database in memory is lost when it is closed")
    return url


def _engine(url: URL) -> AsyncEngine:
    _, name, module = _DRIVERS[url.get_backend_name()]
    require_extra(name, module)
    # Parameters never appear in errors or logs.
    engine = create_async_engine(url, hide_parameters=True, **_options(url))
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
    else:
        event.listen(engine.sync_engine, "begin", _begin_postgresql)
    return engine


def _options(url: URL) -> dict[str, Any]:
    return (
        {"connect_args": {"timeout": _LOCK_TIMEOUT}}
        if url.get_backend_name() == "sqlite"
        else {"pool_pre_ping": True}
    )


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # `_begin_sqlite` begins transactions instead of sqlite3.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    # A writer locks the database first: one that has read already cannot wait for another writer.
    writes = connection.get_execution_options().get("phonesys_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _begin_postgresql(connection: Any) -> None:
    if not connection.get_execution_options().get("phonesys_writes"):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
