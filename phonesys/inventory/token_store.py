"""A token store in the database of the inventory, which several machines can share."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonesys._concurrency import Semaphore
from phonesys._extras import require_extra
from phonesys.errors import ConfigError
from phonesys.oauth.cipher import FernetCipher
from phonesys.oauth.codec import Codec
from phonesys.oauth.lock import try_lock
from phonesys.oauth.private_files import create_private_folder
from phonesys.oauth.single_flight import fetch_under_lock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from phonesys.inventory.store.database import Database
    from phonesys.oauth.codec import Tokens
    from phonesys.oauth.token import Token
    from phonesys.secret import Secret

_POLL = 0.05
_STRIPES = 8
_MAX_CONNECTIONS = 4
_HEADROOM = 16_384
_CREATE = "CREATE TABLE IF NOT EXISTS oauth_tokens (key TEXT PRIMARY KEY, body {bytes} NOT NULL)"
_BYTES = {"sqlite": "BLOB", "postgresql": "BYTEA"}
_LOAD = "SELECT body FROM oauth_tokens WHERE key = :key"
_DELETE = "DELETE FROM oauth_tokens WHERE key = :key"
_SAVE = (
    "INSERT INTO oauth_tokens (key, body) VALUES (:key, :body) "
    "ON CONFLICT (key) DO UPDATE SET body = excluded.body"
)


class SqlTokenStore:
    """Tokens in a table of an SQLite file or of PostgreSQL, which may hold an inventory too.

    Programs that share the database refresh a token once between them, with PostgreSQL across machines. A
    saved token is committed, and synced by the database, before `save` returns. The lock of a program that
    dies ends with its connection, or for SQLite with its process. No connection is open between two methods,
    so there is nothing to close.

    - `where`: as for `Inventory`, such as `postgresql://host/database`. Needs `phonesys[inventory]`.
    - `key`: encrypts the tokens; see `phonesys.oauth.new_key`. Needs `phonesys[crypto]`.
    - `lock_timeout`: seconds to wait for another program that is refreshing.
    """

    def __init__(
        self, where: str | Path, *, key: str | Secret | None = None, lock_timeout: float = 120.0
    ) -> None:
        self._where = where
        self._codec = Codec(None if key is None else FernetCipher(key))
        self._lock_timeout = lock_timeout
        self._pending: Tokens = {}
        self._opened: Database | None = None
        self._slots = Semaphore(_MAX_CONNECTIONS)
        self._turns: defaultdict[str, Semaphore] = defaultdict(lambda: Semaphore(1))

    async def load(self, key: str) -> Token | None:
        """Return the token that any program saved or cached last."""
        if key in self._pending:
            return self._pending[key]
        database = await self._database()
        async with self._slot(), database.reading() as connection:
            body = await _scalar(connection, _LOAD, key=key)
        return None if body is None else self._codec.decode(bytes(body), f"oauth_tokens, {key}").get(key)

    async def save(self, key: str, token: Token) -> None:
        """Commit a token."""
        await self._write({key: token})

    def cache(self, key: str, token: Token) -> None:
        """Cache a token that can be fetched again. The next `flush` writes it."""
        self._pending[key] = token

    async def forget(self, key: str) -> None:
        """Delete a token."""
        self._pending.pop(key, None)
        await self._write({key: None})

    async def flush(self) -> None:
        """Write the cached tokens."""
        batch, self._pending = self._pending, {}
        try:
            await self._write(batch)
        except BaseException:
            self._pending = {**batch, **self._pending}
            raise

    async def fetch_once(
        self, key: str, fetch: Callable[[], Awaitable[Token]], *, is_wanted: Callable[[Token], bool]
    ) -> Token:
        """Return a stored token that is wanted, or fetch and commit one while other programs wait for it."""
        name = f"fetch-{_digest(key) % _STRIPES}"
        # A lock of PostgreSQL is a connection: a few of them at a time, whatever a sweep wants.
        await self._turns[name].acquire()
        try:
            return await fetch_under_lock(
                partial(self.load, key),
                partial(self._fetch_and_save, key, fetch),
                is_wanted=is_wanted,
                try_lock=partial(self._try_lock, name),
                timeout=self._lock_timeout,
            )
        finally:
            self._turns[name].release()

    async def _fetch_and_save(self, key: str, fetch: Callable[[], Awaitable[Token]]) -> Token:
        token = await fetch()
        await self.save(key, token)
        return token

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncGenerator[None]:
        """Hold the exclusive right to refresh this token. Raise if saving it would fail."""
        name, deadline = f"refresh-{_digest(key)}", time.monotonic() + self._lock_timeout
        while True:
            async with self._try_lock(name) as acquired:
                if acquired:
                    await self._rehearse_save(key)
                    yield
                    return
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"token store: another program has held the lock of {key!r} for more than "
                    f"{self._lock_timeout:g} s"
                )
            await asyncio.sleep(_POLL)

    async def _rehearse_save(self, key: str) -> None:
        """Write and delete a row of the size of a token."""
        probe = f"probe/{key}"

        async def work(connection: AsyncConnection) -> None:
            await _execute(connection, _SAVE, key=probe, body=bytes(_HEADROOM))
            await _execute(connection, _DELETE, key=probe)

        database = await self._database()
        async with self._slot():
            await database.write(work)

    async def _write(self, tokens: Tokens) -> None:
        if not tokens:
            return

        async def work(connection: AsyncConnection) -> None:
            for key, token in tokens.items():
                if token is None:
                    await _execute(connection, _DELETE, key=key)
                else:
                    await _execute(connection, _SAVE, key=key, body=self._codec.encode({key: token}))

        database = await self._database()
        async with self._slot():
            await database.write(work)

    @asynccontextmanager
    async def _try_lock(self, name: str) -> AsyncGenerator[bool]:
        """Hold a lock if it is free. Yield False if another program holds it."""
        database = await self._database()
        if database.dialect == "sqlite":
            file = Path(str(database.engine.url.database))
            folder = file.with_name(f"{file.name}.d")
            create_private_folder(folder)
            with try_lock(folder / name) as acquired:
                yield acquired
            return
        async with database.writing() as connection:
            yield await _scalar(connection, "SELECT pg_try_advisory_xact_lock(:id)", id=_digest(name))

    async def _database(self) -> Database:
        """Return the database, after creating the table the first time."""
        if self._opened is not None:
            return self._opened
        require_extra("inventory", "sqlalchemy")
        from sqlalchemy import NullPool, event

        from phonesys.inventory.store.database import connect

        # Without a pool, the store serves one event loop after the other, and leaves no connection behind.
        database = await connect(self._where, poolclass=NullPool)
        if database.dialect == "sqlite":
            event.listen(database.engine.sync_engine, "connect", _sync_commits)
        await database.write(_create_table)
        self._opened = database
        return database

    @asynccontextmanager
    async def _slot(self) -> AsyncGenerator[None]:
        """Bound the connections that are open at once: a cold sweep loads thousands of tokens."""
        await self._slots.acquire()
        try:
            yield
        finally:
            self._slots.release()

    def __repr__(self) -> str:
        return "<SqlTokenStore>"  # a URL may hold a password


async def _create_table(connection: AsyncConnection) -> None:
    dialect = connection.dialect.name
    if dialect == "postgresql":  # two programs that create it at once would fail
        await _scalar(connection, "SELECT pg_advisory_xact_lock(:id)", id=_digest("create"))
    await connection.exec_driver_sql(_CREATE.format(bytes=_BYTES[dialect]))


def _sync_commits(connection: Any, _record: Any) -> None:
    # The inventory accepts that a power failure loses its last commits. A refresh token must not be lost.
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


async def _scalar(connection: AsyncConnection, statement: str, **parameters: Any) -> Any:
    from sqlalchemy import text

    return await connection.scalar(text(statement), parameters)


async def _execute(connection: AsyncConnection, statement: str, **parameters: Any) -> None:
    from sqlalchemy import text

    await connection.execute(text(statement), parameters)


def _digest(text: str) -> int:
    """Return a signed 64-bit number, as PostgreSQL's advisory locks take."""
    return int.from_bytes(sha256(f"phonesys/{text}".encode()).digest()[:8], signed=True)
