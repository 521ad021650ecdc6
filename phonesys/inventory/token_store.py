"""A token store in the database of the inventory, which several machines can share."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonesys._concurrency import Semaphore, run_shielded
from phonesys._extras import require_extra
from phonesys.errors import ConfigError
from phonesys.inventory.batching import Batches
from phonesys.inventory.errors import InventoryError
from phonesys.oauth.cipher import FernetCipher
from phonesys.oauth.codec import Codec
from phonesys.oauth.lock import try_lock
from phonesys.oauth.private_files import create_private_folder
from phonesys.oauth.single_flight import Claim, FetchesOnce

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from phonesys.http.ratelimit.leased import LeaseGrant
    from phonesys.http.ratelimit.window import RateLimit
    from phonesys.inventory.store.database import Database
    from phonesys.oauth.codec import Tokens
    from phonesys.oauth.token import Token
    from phonesys.secret import Secret

log = logging.getLogger("phonesys")

_NONE: Mapping[int, float] = {}
_POLL = 0.05
_CLAIM_HOLD = 30.0
"""Seconds after which the claim of a program that died ends. It is renewed three times as often."""
_CLAIM_PAUSE = 0.1
"""Seconds between two transactions that claim tokens, which tasks try again while others fetch them."""
_MAX_CONNECTIONS = 4
_HEADROOM = 16_384
_CREATE = "CREATE TABLE IF NOT EXISTS oauth_tokens (key TEXT PRIMARY KEY, body {bytes} NOT NULL)"
_BYTES = {"sqlite": "BLOB", "postgresql": "BYTEA"}
_LOAD = "SELECT key, body FROM oauth_tokens WHERE key IN :keys"
_DELETE = "DELETE FROM oauth_tokens WHERE key = :key"
_DELETE_ALL = "DELETE FROM oauth_tokens WHERE substr(key, 1, length(:prefix)) = :prefix"
_SAVE = (
    "INSERT INTO oauth_tokens (key, body) VALUES (:key, :body) "
    "ON CONFLICT (key) DO UPDATE SET body = excluded.body"
)


class SqlTokenStore(FetchesOnce):
    """Tokens in a table of an SQLite file or of PostgreSQL, which may hold an inventory too.

    Programs that share the database refresh a token once between them, with PostgreSQL across machines. A
    saved token is committed, and synced by the database, before `save` returns. The lock of a program that
    dies ends with its connection, or for SQLite with its process. No connection is open between two methods,
    so there is nothing to close.

    - `where`: as for `Inventory`, such as `postgresql://host/database`. Needs `phonesys[inventory]`.
    - `key`: encrypts the tokens; see `phonesys.oauth.new_key`. Needs `phonesys[crypto]`.
    - `lock_timeout`: seconds to wait for another program that is refreshing.
    """

    _max_poll = 0.5

    def __init__(
        self, where: str | Path, *, key: str | Secret | None = None, lock_timeout: float = 120.0
    ) -> None:
        self._where = where
        self._codec = Codec(None if key is None else FernetCipher(key))
        self._lock_timeout = lock_timeout
        self._pending: Tokens = {}
        self._opened: Database | None = None
        self._slots = Semaphore(_MAX_CONNECTIONS)
        self._program = secrets.token_hex(8)
        self._loads = Batches(self._load_all)
        self._claims = Batches(self._claim_all, pause=_CLAIM_PAUSE, on_lost=self._release_lost)
        self._releases = Batches(self._release_all)
        self._held: set[str] = set()
        self._renewer: asyncio.Task[None] | None = None

    async def load(self, key: str) -> Token | None:
        """Return the token that any program saved or cached last."""
        if key in self._pending:
            return self._pending[key]
        body = await self._loads(key)
        return None if body is None else self._decode(key, body)

    async def _load_all(self, keys: Sequence[str]) -> list[bytes | None]:
        database = await self._database()
        async with self._slot(), database.reading() as connection:
            bodies = await _bodies(connection, keys)
        return [bodies.get(key) for key in keys]

    def _decode(self, key: str, body: bytes) -> Token | None:
        return self._codec.decode(body, f"oauth_tokens, {key}").get(key)

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

    async def forget_all(self, prefix: str) -> int:
        """Delete the tokens whose keys begin so, and return their number."""
        await self.flush()
        database = await self._database()
        async with self._slot():
            return await database.write(lambda connection: _execute(connection, _DELETE_ALL, prefix=prefix))

    async def flush(self) -> None:
        """Write the cached tokens, and wait for what is being written."""
        for batches in (self._loads, self._claims, self._releases):
            await batches.finish()
        batch, self._pending = self._pending, {}
        try:
            await self._write(batch)
        except BaseException:
            self._pending = {**batch, **self._pending}
            raise

    # Claims

    @asynccontextmanager
    async def _claim(self, key: str) -> AsyncGenerator[Claim]:
        try:
            claim = await self._claims(key)
        except InventoryError as failure:
            log.debug("fetching without a claim: %s", failure)
            yield Claim(acquired=True, stored=None)
            return
        try:
            yield claim
        finally:
            if claim.acquired and key in self._held:
                with suppress(InventoryError):  # it ends by itself
                    await run_shielded(self._releases((key, None)))

    async def _claim_all(self, keys: Sequence[str]) -> list[Claim]:
        from phonesys.inventory.leases import claim_keys

        async def work(connection: AsyncConnection) -> tuple[set[str], dict[str, bytes]]:
            await _exclude_others(connection, "claims")
            free = await claim_keys(connection, keys, self._program, _CLAIM_HOLD)
            return free, await _bodies(connection, keys)  # after the claim: its last holder has saved

        database = await self._database()
        free, bodies = await database.write(work)
        self._held |= free
        self._renew_while_held()
        return [self._as_claim(key, free, bodies) for key in keys]

    def _as_claim(self, key: str, free: set[str], bodies: dict[str, bytes]) -> Claim:
        acquired = key in free
        free.discard(key)  # a second task that wants the same token waits for the first
        try:
            stored = self._decode(key, bodies[key]) if key in bodies else None
        except ConfigError as failure:
            log.warning("a token that can be fetched again is replaced: %s", failure)
            stored = None
        return Claim(acquired, stored)

    def _release_lost(self, key: str, claim: Claim) -> None:
        if claim.acquired:
            self._releases.put((key, None)).add_done_callback(_ignore_failure)

    async def _keep_fetched(self, key: str, token: Token) -> None:
        await self._releases((key, token))

    async def _release_all(self, changes: Sequence[tuple[str, Token | None]]) -> list[None]:
        """Commit fetched tokens, and end their claims, in one transaction."""
        from phonesys.inventory.leases import release_keys

        keys = [key for key, _ in changes]

        async def work(connection: AsyncConnection) -> None:
            await _exclude_others(connection, "claims")
            for key, token in changes:
                if token is not None:
                    await _execute(connection, _SAVE, key=key, body=self._codec.encode({key: token}))
            await release_keys(connection, keys, self._program)

        database = await self._database()
        await database.write(work)
        self._held -= set(keys)
        if not self._held and self._renewer is not None:
            self._renewer.cancel()
        return [None] * len(keys)

    def _renew_while_held(self) -> None:
        if self._held and (self._renewer is None or self._renewer.done()):
            self._renewer = asyncio.get_running_loop().create_task(self._renew_claims())

    async def _renew_claims(self) -> None:
        from phonesys.inventory.leases import renew_claims

        database = await self._database()
        while True:
            await asyncio.sleep(_CLAIM_HOLD / 3)
            try:
                await database.write(lambda connection: renew_claims(connection, self._program, _CLAIM_HOLD))
            except InventoryError as failure:
                log.debug("claims were not renewed: %s", failure)

    # Leases

    async def trade_leases(
        self,
        window: str,
        limit: RateLimit,
        *,
        hold: float,
        wanted: int,
        completed: Mapping[int, float] = _NONE,
        unused: Sequence[int] = (),
        unleased: Sequence[float] = (),
    ) -> LeaseGrant:
        """Return leases of a window, and get others: see `phonesys.oauth.LeaseStore`."""
        from phonesys.inventory.leases import trade

        async def work(connection: AsyncConnection) -> LeaseGrant:
            await _exclude_others(connection, f"window/{window}")
            return await trade(
                connection,
                window,
                self._program,
                requests=limit.requests,
                per=limit.per,
                hold=hold,
                wanted=wanted,
                completed=completed,
                unused=unused,
                unleased=unleased,
            )

        database = await self._database()
        async with self._slot():
            return await database.write(work)

    # Refreshing

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
            await database.write(work, durable=True)

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
            await database.write(work, durable=True)

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
        from sqlalchemy import NullPool

        from phonesys.inventory.store.database import connect

        # Without a pool, the store serves one event loop after the other, and leaves no connection behind.
        database = await connect(self._where, poolclass=NullPool)
        await database.write(_create_tables)
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


def _ignore_failure(release: asyncio.Future[None]) -> None:
    if not release.cancelled():
        release.exception()  # the claim ends by itself


async def _create_tables(connection: AsyncConnection) -> None:
    from phonesys.inventory.leases import TABLES

    dialect = connection.dialect.name
    await _exclude_others(connection, "create")  # two programs that create them at once would fail
    for statement in (_CREATE.format(bytes=_BYTES[dialect]), *TABLES):
        await connection.exec_driver_sql(statement)


async def _exclude_others(connection: AsyncConnection, name: str) -> None:
    """Wait for other transactions of this name. In SQLite, every writer excludes all others."""
    if connection.dialect.name == "postgresql":
        await _scalar(connection, "SELECT pg_advisory_xact_lock(:id)", id=_digest(name))


async def _bodies(connection: AsyncConnection, keys: Sequence[str]) -> dict[str, bytes]:
    from sqlalchemy import bindparam, text

    query = text(_LOAD).bindparams(bindparam("keys", expanding=True))
    rows = await connection.execute(query, {"keys": sorted(set(keys))})
    return {key: bytes(body) for key, body in rows}


async def _scalar(connection: AsyncConnection, statement: str, **parameters: Any) -> Any:
    from sqlalchemy import text

    return await connection.scalar(text(statement), parameters)


async def _execute(connection: AsyncConnection, statement: str, **parameters: Any) -> int:
    """Execute a statement, and return the number of rows that it changed."""
    from sqlalchemy import text

    return (await connection.execute(text(statement), parameters)).rowcount


def _digest(text: str) -> int:
    """Return a signed 64-bit number, as PostgreSQL's advisory locks take."""
    return int.from_bytes(sha256(f"phonesys/{text}".encode()).digest()[:8], signed=True)
