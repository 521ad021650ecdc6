"""Writing one snapshot from several processes. Each owns a shard; the last to finish makes the snapshot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from phonesys.errors import InvalidArgument
from phonesys.inventory.store.schema import accounts, shards, sweeps
from phonesys.inventory.store.writing import SweepWriter, last_finished, prune

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Row, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from phonesys.inventory.shard import Shard
    from phonesys.inventory.store.database import Database

_ABANDONED = timedelta(days=7)


class ShardWriter(SweepWriter):
    """Stores one shard of a named sweep; made by `begin_shard`."""

    def __init__(
        self, database: Database, sweep_id: int, started_at: datetime, base: int | None, shard: int
    ) -> None:
        super().__init__(database, sweep_id, started_at, base)
        self._shard = self._index = shard

    @property
    def _owned(self) -> tuple[Table, ColumnElement[bool]]:
        return shards, (shards.c.sweep_id == self.id) & (shards.c.shard == self._index)

    @property
    def _accounts(self) -> ColumnElement[bool]:
        return (accounts.c.sweep_id == self.id) & (accounts.c.shard == self._shard)

    async def _finish(self, connection: AsyncConnection, now: datetime) -> None:
        # Locked, so that of two shards that finish at once, the second sees the first.
        await connection.execute(select(sweeps.c.id).where(sweeps.c.id == self.id).with_for_update())
        table, mine = self._owned
        await connection.execute(update(table).where(mine).values(finished_at=now))
        self.unfinished_shards = await _unfinished_shards(connection, self.id)
        if not self.unfinished_shards:
            await super()._finish(connection, now)


async def begin_shard(database: Database, name: str, shard: Shard, scope: str) -> ShardWriter:
    """Claim a shard of the sweep with this name, which begins with its first shard.

    The writer of a shard that was finished before `is_finished`. Raises InvalidArgument for a name that other
    backends or another number of shards began.
    """

    async def claim(connection: AsyncConnection) -> ShardWriter:
        found = await _find_or_insert(connection, name, shard.count, scope)
        base = await last_finished(connection, scope)
        writer = ShardWriter(database, found.id, found.started_at, base, shard.index)
        own = (shards.c.sweep_id == found.id) & (shards.c.shard == shard.index)
        if await connection.scalar(select(shards.c.finished_at).where(own)) is None:
            await writer.claim(connection)
        else:
            writer.is_finished = True
            writer.unfinished_shards = await _unfinished_shards(connection, found.id)
        return writer

    return await database.write(claim)


async def _find_or_insert(connection: AsyncConnection, name: str, count: int, scope: str) -> Row[Any]:
    found = await _find(connection, name)
    if found is None:
        await _insert(connection, name, count, scope)
        found = await _find(connection, name)
        assert found is not None  # noqa: S101 -- inserted, by this process or by another
    if found.scope != scope:
        raise InvalidArgument(
            f"snapshot: {name!r} was begun with other backends or accounts; use another name"
        )
    if found.shards != count:
        raise InvalidArgument(f"shard: snapshot {name!r} was begun with {found.shards} shards, not {count}")
    return found


async def _find(connection: AsyncConnection, name: str) -> Row[Any] | None:
    return (await connection.execute(select(sweeps).where(sweeps.c.name == name))).first()


async def _insert(connection: AsyncConnection, name: str, count: int, scope: str) -> None:
    """Insert a sweep and its shards, unless another process does so at this moment."""
    now = datetime.now(UTC)
    abandoned = (sweeps.c.started_at < now - _ABANDONED) & sweeps.c.finished_at.is_(None)
    await prune(connection, abandoned & (sweeps.c.scope == scope) & sweeps.c.name.is_not(None))
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(sweeps).values(
        scope=scope, writer="", started_at=now, numbers=0, name=name, shards=count
    )
    inserted = statement.on_conflict_do_nothing(index_elements=["name"]).returning(sweeps.c.id)
    sweep_id = await connection.scalar(inserted)
    if sweep_id is not None:
        await connection.execute(
            insert(shards),
            [
                {"sweep_id": sweep_id, "shard": index, "writer": "", "numbers": 0}
                for index in range(1, count + 1)
            ],
        )


async def _unfinished_shards(connection: AsyncConnection, sweep_id: int) -> tuple[int, ...]:
    left = select(shards.c.shard).where(shards.c.sweep_id == sweep_id, shards.c.finished_at.is_(None))
    return tuple((await connection.scalars(left.order_by(shards.c.shard))).all())


async def find_begun(
    database: Database, scope: str, name: str | None, within: timedelta
) -> tuple[str, int] | None:
    """Return the name and the number of shards of a named sweep, or of the newest that is unfinished."""
    query = select(sweeps.c.name, sweeps.c.shards).where(sweeps.c.name.is_not(None))
    if name is not None:
        query = query.where(sweeps.c.name == name)
    else:
        query = query.where(
            sweeps.c.scope == scope,
            sweeps.c.finished_at.is_(None),
            sweeps.c.started_at >= datetime.now(UTC) - within,
        )
    async with database.reading() as connection:
        found = (await connection.execute(query.order_by(sweeps.c.id.desc()).limit(1))).first()
    return None if found is None else (found.name, found.shards)
