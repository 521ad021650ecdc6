"""An open database: its engine, its transactions and its errors."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeVar

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from phonesys._concurrency import run_shielded
from phonesys._extras import require_extra
from phonesys.errors import PhonesysError
from phonesys.inventory.errors import DatabaseUnavailable, InventoryError, SchemaTooNew
from phonesys.inventory.store.migrations import MIGRATIONS, migrate, read_version
from phonesys.inventory.store.urls import display_name, parse_url, schema_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
    from pathlib import Path

    from sqlalchemy import URL, Pool
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

T = TypeVar("T")

_LOCK_TIMEOUT = 60.0  # seconds to wait for another program
_RETRY = 0.05
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
# PostgreSQL's SQLSTATE; see its manual, appendix A.
_LOCK_NOT_AVAILABLE = "55P03"
_UNAVAILABLE = ("08", "53300", "57P01", "57P02", "57P03")
"""Connection exceptions, too many connections, shutdown, crash, and a server that is starting up."""


class DatabaseLocked(InventoryError):
    """Another program holds the database."""


class Database:
    """An engine, with transactions for reading and for writing.

    - `name`: begins every error: a file's path, or a server's host and database, without credentials.
    """

    def __init__(self, engine: AsyncEngine, name: str) -> None:
        self.engine = engine
        self.name = name
        self._writing = engine.execution_options(phonesys_writes=True)
        self._writing_durably = engine.execution_options(phonesys_writes=True, phonesys_durable=True)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.engine.dialect.name

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]], *, durable: bool = False) -> T:
        """Run a function in a transaction, again from its start while another program holds a lock.

        If `durable`, a power failure does not lose it either. SQLite then waits for the disk.

        A cancellation ends the wait for a lock, but not a transaction that has begun: SQLAlchemy abandons a
        connection whose statement is cancelled, and leaves its transaction and the lock on the database to
        the garbage collector.
        """
        return await _retry(lambda: self._attempt(work, durable=durable))

    async def _attempt(self, work: Callable[[AsyncConnection], Awaitable[T]], *, durable: bool) -> T:
        result = await run_shielded(self._run(work, durable=durable))
        if isinstance(result, DatabaseLocked):
            raise result
        return result

    async def _run(
        self, work: Callable[[AsyncConnection], Awaitable[T]], *, durable: bool
    ) -> T | DatabaseLocked:
        try:
            async with self.writing(durable=durable) as connection:
                return await work(connection)
        except DatabaseLocked as locked:  # returned, so that a cancelled caller leaves no unread exception
            return locked

    @asynccontextmanager
    async def writing(self, *, durable: bool = False) -> AsyncGenerator[AsyncConnection]:
        """Open a transaction that commits when its block succeeds. Raises DatabaseLocked."""
        engine = self._writing_durably if durable else self._writing
        async with self._map_errors(), engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncConnection]:
        """Open a transaction that sees one state of the database, regardless of writers.

        Values that cannot be decoded in its block are InventoryError.
        """
        async with self._map_errors():
            connection = await _retry(self._begin_reading)
            try:
                with self._map_damage():
                    yield connection
            finally:
                await connection.close()

    async def _begin_reading(self) -> AsyncConnection:
        async with self._map_errors():
            connection = await self.engine.connect()
            try:
                await connection.begin()
            except BaseException:
                await connection.close()
                raise
            return connection

    async def close(self) -> None:
        """Close all connections."""
        await run_shielded(self.engine.dispose())

    @asynccontextmanager
    async def _map_errors(self) -> AsyncGenerator[None]:
        try:
            yield
        except SQLAlchemyError as failure:
            raise _kind_of(failure)(f"{self.name}: {_first_line(failure)}") from failure
        except UnicodeDecodeError as failure:  # sqlite3 raises it for a message that quotes damaged text
            raise InventoryError(f"{self.name} is damaged: its text is not UTF-8") from failure
        except OSError as failure:  # asyncpg raises these when no server listens
            raise DatabaseUnavailable(f"{self.name} cannot be reached: {failure}") from failure
        except Exception as failure:  # asyncpg's own errors are not SQLAlchemy's while it connects
            if not _is_unavailable(failure):
                raise
            raise DatabaseUnavailable(f"{self.name} cannot be reached: {failure!s:.300}") from failure

    @contextmanager
    def _map_damage(self) -> Generator[None]:
        try:
            yield
        except PhonesysError:
            raise
        except (ValueError, TypeError, LookupError, ArithmeticError, msgspec.MsgspecError) as failure:
            reason = f"{type(failure).__name__}: {failure!s:.300}"
            raise InventoryError(f"{self.name} is damaged: {reason}") from failure


async def _retry(attempt: Callable[[], Awaitable[T]]) -> T:
    """Repeat an attempt until no other program holds a lock. Raises DatabaseLocked after a minute."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _LOCK_TIMEOUT
    while True:
        try:
            return await attempt()
        except DatabaseLocked:
            if loop.time() >= deadline:
                raise
        await asyncio.sleep(_RETRY)


def _kind_of(failure: SQLAlchemyError) -> type[InventoryError]:
    cause = getattr(failure, "orig", None)
    if _is_lock(cause):
        return DatabaseLocked
    is_lost = getattr(failure, "connection_invalidated", False) or _is_unavailable(cause)
    return DatabaseUnavailable if is_lost else InventoryError


def _is_unavailable(cause: BaseException | None) -> bool:
    return str(getattr(cause, "sqlstate", None)).startswith(_UNAVAILABLE)


def _is_lock(cause: BaseException | None) -> bool:
    if isinstance(cause, sqlite3.OperationalError):
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in _BUSY
    return getattr(cause, "sqlstate", None) == _LOCK_NOT_AVAILABLE


def _first_line(failure: SQLAlchemyError) -> str:
    # The following lines are the statement and its parameters, such as a thousand numbers.
    cause = getattr(failure, "orig", None) or failure
    return f"{type(cause).__name__}: {str(cause).partition(chr(10))[0]:.300}"


async def connect(
    where: str | Path, *, read_only: bool = False, poolclass: type[Pool] | None = None
) -> Database:
    """Open a database, and create or migrate its tables if necessary and not `read_only`."""
    url = parse_url(where)
    database = Database(await _engine(url, read_only=read_only, poolclass=poolclass), display_name(url))
    try:
        await _open(database, schema_of(url), read_only=read_only)
    except BaseException:
        await database.close()
        raise
    return database


async def _open(database: Database, schema: str | None, *, read_only: bool) -> None:
    """Check the version of the schema, and write only if there is something to migrate."""
    try:
        found = await _retry(lambda: run_shielded(_read_version(database)))
        if found == len(MIGRATIONS):
            return
        if not read_only:
            await database.write(lambda connection: migrate(connection, schema=schema))
            return
    except SchemaTooNew as failure:
        raise SchemaTooNew(f"{database.name}: {failure}") from None
    if found:
        raise InventoryError(
            f"{database.name}: an older phonesys wrote it; the next sweep into it migrates it, and reading "
            "does not"
        )
    raise InventoryError(f"{database.name}: it holds no inventory; sweep into it first")


async def _read_version(database: Database) -> int | None:
    async with database.reading() as connection:
        return await read_version(connection)


async def _engine(url: URL, *, read_only: bool, poolclass: type[Pool] | None) -> AsyncEngine:
    if url.get_backend_name() == "sqlite":
        require_extra("inventory", "aiosqlite")
        from phonesys.inventory.store import sqlite

        url = await asyncio.to_thread(sqlite.check_file, url, read_only=read_only)
        return sqlite.create_engine(url, poolclass=poolclass)
    require_extra("postgres", "asyncpg")
    from phonesys.inventory.store import postgresql

    return postgresql.create_engine(url, poolclass=poolclass)
