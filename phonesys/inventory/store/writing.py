"""Writing a sweep: each transaction holds some pages' rows and how far their accounts are."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import BigInteger, bindparam, delete, exists, func, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from phonesys.inventory.errors import DatabaseUnavailable, InventoryError, SweepSuperseded
from phonesys.inventory.store import rows
from phonesys.inventory.store.schema import (
    KEYS_PER_PAGE,
    accounts,
    numbers,
    pages,
    pools,
    shards,
    sweep_pages,
    sweeps,
)
from phonesys.model import Page, PhoneNumber
from phonesys.sweep import AccountReport, Outcome

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Collection,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )
    from datetime import timedelta

    from sqlalchemy import ColumnElement, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from phonesys.inventory.store.database import Database

    Key = tuple[str, str]

WHOLE = (Outcome.DONE.value, Outcome.EMPTY.value, Outcome.NOT_CONNECTED.value)
_NOTHING_READ = AccountReport(outcome=Outcome.NOT_REACHED)
_INSERT = "INSERT INTO numbers (key, number, status, record) VALUES"
_WIDTH = 4
_VALUES = 1000 * _WIDTH  # by one statement, of the 32,766 that SQLite takes
_MAX_KEYS = 256  # databases limit the parameters of a statement
_OUTAGE = 120.0  # seconds that a server may be away in the middle of a sweep
_RECONNECT = 0.25


class PreparedPage(msgspec.Struct):
    """A page and its encoded rows."""

    page: Page[PhoneNumber]
    key: Key
    digest: bytes
    encoded: rows.PageRows | None
    """None if the page may be stored already, so that encoding it may be unnecessary."""


class SweepWriter:
    """Stores one sweep; made by `begin_sweep`.

    Writes raise SweepSuperseded once another process has taken over the sweep. They wait while the server is
    away for a moment, and are stored once.
    """

    def __init__(self, database: Database, sweep_id: int, started_at: datetime, base: int | None) -> None:
        self.names: Mapping[Key, str] = {}
        """The names of accounts, stored with their outcomes."""
        self.id = sweep_id
        self.started_at = started_at
        self.is_finished = False
        """True if there is nothing left to sweep."""
        self.unfinished_shards: tuple[int, ...] = ()
        """Shards of the snapshot that other processes have not finished yet; known once this one has."""
        self._database = database
        self._token = secrets.token_hex(8)
        self._next_token = self._token
        self._previous = base
        self._partial: dict[Key, AccountReport] = {}
        self._is_sqlite = database.dialect == "sqlite"
        self._insert = sqlite.insert if self._is_sqlite else postgresql.insert

    # What one writer owns: the sweep, or in `sharding` one of its shards

    _shard: int | None = None

    @property
    def _owned(self) -> tuple[Table, ColumnElement[bool]]:
        """The table whose row names the writer, and the condition for its row."""
        return sweeps, sweeps.c.id == self.id

    @property
    def _accounts(self) -> ColumnElement[bool]:
        """The condition for the accounts that this writer stores."""
        return accounts.c.sweep_id == self.id

    def prepare(self, page: Page[PhoneNumber]) -> PreparedPage:
        """Encode a page. Best done on arrival, while the page is in the processor's cache."""
        numbers = page.numbers
        digest = rows.digest(page) if numbers else b""
        cells = rows.encode_page(numbers) if numbers and self._previous is None else None
        return PreparedPage(page, (page.provider, page.account), digest, cells)

    async def write(self, read: Sequence[PreparedPage], results: Iterable[tuple[Key, AccountReport]]) -> None:
        """Store pages and the outcomes of accounts in one transaction.

        The pages of an account come before its outcome.
        """
        outcomes = dict(results)
        counted = self._add_pages(read)

        async def store(connection: AsyncConnection) -> None:
            await self._check_ownership(connection, sum(len(one.page.numbers) for one in read))
            await self._store_pages(connection, [one for one in read if one.page.numbers])
            await self._upsert_accounts(connection, {**counted, **outcomes})

        await self._write_once(store)
        # After the commit, since a rolled back transaction has written nothing.
        self._partial.update(counted)
        for key in outcomes:
            self._partial.pop(key, None)

    async def finish(self, failures: Iterable[tuple[Key, AccountReport]]) -> datetime:
        """Finish the sweep, which makes it a snapshot."""
        now = datetime.now(UTC)
        lists = dict(failures)

        async def store(connection: AsyncConnection) -> None:
            await self._check_ownership(connection, 0)
            await self._upsert_accounts(connection, lists)
            await self._finish(connection, now)

        await self._write_once(store)
        return now

    async def _finish(self, connection: AsyncConnection, now: datetime) -> None:
        count = select(func.coalesce(func.sum(accounts.c.numbers), 0)).where(accounts.c.sweep_id == self.id)
        await connection.execute(
            update(sweeps)
            .where(sweeps.c.id == self.id)
            .values(finished_at=now, numbers=count.scalar_subquery())
        )

    async def _write_once(self, store: Callable[[AsyncConnection], Awaitable[None]]) -> None:
        """Run a transaction, again after a lost connection unless it was committed.

        Each transaction leaves another token in the row that names the writer, which shows afterwards that it
        was committed.
        """
        self._next_token = secrets.token_hex(8)
        try:
            await self._database.write(store)
        except DatabaseUnavailable:
            await self._write_again(store)
        self._token = self._next_token

    async def _write_again(self, store: Callable[[AsyncConnection], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _OUTAGE
        while True:
            await asyncio.sleep(_RECONNECT)
            try:
                if await self._stored_token() != self._next_token:
                    await self._database.write(store)
                return
            except SweepSuperseded:
                # The lost transaction may have held its lock until it was committed after all.
                if await self._stored_token() != self._next_token:
                    raise
                return
            except DatabaseUnavailable:
                if loop.time() >= deadline:
                    raise

    async def _stored_token(self) -> str | None:
        table, mine = self._owned
        async with self._database.reading() as connection:
            found: str | None = await connection.scalar(select(table.c.writer).where(mine))
        return found

    def _name(self, key: Key) -> str | None:
        name = self.names.get(key)
        return None if name is None else name.replace("\0", "")

    async def stored_accounts(self) -> AsyncIterator[tuple[Key, AccountReport, str | None]]:
        """Yield the accounts that need not be read, and their names."""
        query = select(accounts).where(self._accounts)
        if not self.is_finished:
            query = query.where(accounts.c.outcome.in_(WHOLE))
        async with self._database.reading() as connection:
            async for row in await connection.stream(query):
                yield (row.backend, row.account), _report_of(row), row.name

    # In a transaction

    async def claim(self, connection: AsyncConnection) -> None:
        """Become the only writer, and delete what must be read again."""
        table, mine = self._owned
        await connection.execute(update(table).where(mine).values(writer=self._token))
        partly = self._accounts & accounts.c.outcome.not_in(WHOLE)
        held = tuple_(sweep_pages.c.backend, sweep_pages.c.account)
        deleted = await connection.execute(
            delete(sweep_pages).where(
                sweep_pages.c.sweep_id == self.id,
                held.in_(select(accounts.c.backend, accounts.c.account).where(partly)),
            )
        )
        await connection.execute(delete(accounts).where(partly))
        if deleted.rowcount:
            await delete_orphans(connection)

    async def _check_ownership(self, connection: AsyncConnection, found: int) -> None:
        """Lock what is owned for this transaction. Raises SweepSuperseded if another process claimed it."""
        table, mine = self._owned
        owned = update(table).where(mine, table.c.writer == self._token)
        done = await connection.execute(
            owned.values(numbers=table.c.numbers + found, writer=self._next_token)
        )
        if done.rowcount != 1:
            what = f"sweep {self.id}" if self._shard is None else f"shard {self._shard} of sweep {self.id}"
            raise SweepSuperseded(f"{what} was resumed or restarted by another process")

    async def _store_pages(self, connection: AsyncConnection, read: Sequence[PreparedPage]) -> None:
        """Store references to the pages, after writing the new ones."""
        if not read:
            return
        known = await self._existing_pages(connection, {one.key for one in read})
        ids = [known.get((one.key, one.digest)) for one in read]
        fresh = [place for place, id_ in enumerate(ids) if id_ is None]
        if fresh:
            made = await _new_pages(connection, [read[place] for place in fresh])
            for place, id_ in zip(fresh, made, strict=True):
                ids[place] = id_
            await self._write_numbers(connection, zip(made, (read[place] for place in fresh), strict=True))
        await connection.execute(insert(sweep_pages), self._references(read, ids))

    async def _existing_pages(
        self, connection: AsyncConnection, keys: Collection[Key]
    ) -> dict[tuple[Key, bytes], int]:
        """Return the ids of the pages that these accounts had in the previous snapshot."""
        found: dict[tuple[Key, bytes], int] = {}
        if self._previous is None:
            return found
        every = sorted(keys)
        for start in range(0, len(every), _MAX_KEYS):
            held = await connection.execute(
                select(sweep_pages.c.backend, sweep_pages.c.account, pages.c.digest, pages.c.id)
                .join_from(sweep_pages, pages, pages.c.id == sweep_pages.c.page_id)
                .where(
                    sweep_pages.c.sweep_id == self._previous,
                    tuple_(sweep_pages.c.backend, sweep_pages.c.account).in_(
                        every[start : start + _MAX_KEYS]
                    ),
                )
            )
            found.update((((backend, account), digest), id_) for backend, account, digest, id_ in held)
        return found

    async def _write_numbers(
        self, connection: AsyncConnection, fresh: Iterable[tuple[int, PreparedPage]]
    ) -> None:
        in_pools: list[dict[str, Any]] = []
        values: list[int | str] = []
        for id_, one in fresh:
            cells = one.encoded or rows.encode_page(one.page.numbers)
            values += chain.from_iterable(cells.rows(id_))
            if cells.in_pools:
                in_pools += [rows.pool_row(id_, pool) for pool in rows.pools_on(one.page).values()]
            # In parts, so that the event loop is never blocked for long.
            while len(values) >= _VALUES:
                await self._insert_numbers(connection, values[:_VALUES])
                del values[:_VALUES]
        if values:
            await self._insert_numbers(connection, values)
        if in_pools:
            await connection.execute(insert(pools), in_pools)

    async def _insert_numbers(self, connection: AsyncConnection, values: Sequence[int | str]) -> None:
        """Insert rows through the driver: SQLAlchemy's own insert costs as much as the database."""
        if self._is_sqlite:
            # sqlite3 releases the interpreter's lock for every statement and then waits for it again.
            more = len(values) // _WIDTH - 1
            await connection.exec_driver_sql(
                f"{_INSERT} (?, ?, ?, ?){', (?, ?, ?, ?)' * more}", tuple(values)
            )
        else:
            every = list(zip(*[iter(values)] * _WIDTH, strict=True))
            await connection.exec_driver_sql(f"{_INSERT} ($1, $2, $3, $4::text::jsonb)", every)

    def _references(self, read: Sequence[PreparedPage], ids: Sequence[int | None]) -> list[dict[str, Any]]:
        positions: dict[Key, int] = {}
        references: list[dict[str, Any]] = []
        for one, id_ in zip(read, ids, strict=True):
            key = one.key
            place = positions.get(key, self._partial.get(key, _NOTHING_READ).pages)
            positions[key] = place + 1
            references.append(
                {"sweep_id": self.id, "backend": key[0], "account": key[1], "place": place, "page_id": id_}
            )
        return references

    def _add_pages(self, read: Sequence[PreparedPage]) -> dict[Key, AccountReport]:
        """Return the reports of the pages' accounts with these pages added."""
        counted: dict[Key, AccountReport] = {}
        for one in read:
            page, key = one.page, one.key
            before = counted.get(key) or self._partial.get(key, _NOTHING_READ)
            counted[key] = AccountReport(
                outcome=Outcome.NOT_REACHED,
                numbers=before.numbers + len(page.numbers),
                pages=before.pages + 1,
                rejected=before.rejected + len(page.rejected),
            )
        return counted

    async def _upsert_accounts(self, connection: AsyncConnection, reports: dict[Key, AccountReport]) -> None:
        if not reports:
            return
        statement = self._insert(accounts)
        changed = {
            column.name: statement.excluded[column.name] for column in accounts.c if not column.primary_key
        }
        upsert = statement.on_conflict_do_update(index_elements=list(accounts.primary_key), set_=changed)
        await connection.execute(
            upsert,
            [
                _account_row(self.id, key, report) | {"name": self._name(key), "shard": self._shard}
                for key, report in sorted(reports.items(), key=_by_key)
            ],
        )


def _by_key(item: tuple[Key, AccountReport]) -> Key:
    return item[0]


def _report_of(row: Any) -> AccountReport:
    return AccountReport(
        outcome=Outcome(row.outcome),
        numbers=row.numbers,
        pages=row.pages,
        rejected=row.rejected,
        duplicates=row.duplicates,
        error=None if row.error is None else InventoryError(row.error),
    )


def _account_row(sweep_id: int, key: Key, report: AccountReport) -> dict[str, Any]:
    return {
        "sweep_id": sweep_id,
        "backend": key[0],
        "account": key[1],
        "outcome": report.outcome.value,
        "numbers": report.numbers,
        "pages": report.pages,
        "rejected": report.rejected,
        "duplicates": report.duplicates,
        "error": None if report.error is None else str(report.error).replace("\0", ""),
    }


async def _new_pages(connection: AsyncConnection, fresh: Iterable[PreparedPage]) -> Sequence[int]:
    new_rows = [{"backend": one.key[0], "account": one.key[1], "digest": one.digest} for one in fresh]
    made = await connection.execute(
        insert(pages).returning(pages.c.id, sort_by_parameter_order=True), new_rows
    )
    ids: Sequence[int] = made.scalars().all()
    return ids


async def delete_orphans(connection: AsyncConnection) -> None:
    """Delete the pages that no sweep refers to."""
    query = select(pages.c.id).where(~exists().where(sweep_pages.c.page_id == pages.c.id))
    orphans = (await connection.execute(query.order_by(pages.c.id))).scalars().all()
    if not orphans:
        return
    orphaned = [{"first": first, "last": last} for first, last in _runs(orphans)]
    first, last = bindparam("first", type_=BigInteger), bindparam("last", type_=BigInteger)
    for statement in (
        delete(numbers).where(
            numbers.c.key >= first * KEYS_PER_PAGE, numbers.c.key < (last + 1) * KEYS_PER_PAGE
        ),
        delete(pools).where(pools.c.page_id.between(first, last)),
        delete(pages).where(pages.c.id.between(first, last)),
    ):
        await connection.execute(statement, orphaned)


def _runs(ids: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last of consecutive ids, as those of a sweep mostly are."""
    for _, run in groupby(enumerate(ids), key=lambda item: item[1] - item[0]):
        held = [id_ for _, id_ in run]
        yield held[0], held[-1]


async def prune(connection: AsyncConnection, which: ColumnElement[bool]) -> int:
    """Delete sweeps and the pages that only they referred to. Return the number of sweeps."""
    ids = (await connection.execute(select(sweeps.c.id).where(which))).scalars().all()
    if ids:
        for table in (sweep_pages, accounts, shards, sweeps):
            column = "id" if table is sweeps else "sweep_id"
            await connection.execute(
                delete(table).where(table.c[column] == bindparam("sweep")), [{"sweep": id_} for id_ in ids]
            )
        await delete_orphans(connection)
    return len(ids)


async def begin_sweep(database: Database, scope: str, resume_within: timedelta | None) -> SweepWriter:
    """Resume the unfinished sweep with the same coverage if it is recent enough, or begin a new one.

    Unfinished sweeps that are not resumed are deleted.
    """

    async def claim(connection: AsyncConnection) -> SweepWriter:
        base = await last_finished(connection, scope)
        resumed = await _unfinished(connection, scope, resume_within)
        same = (sweeps.c.scope == scope) & sweeps.c.name.is_(None)
        stale = same & sweeps.c.finished_at.is_(None)
        await prune(connection, stale if resumed is None else stale & (sweeps.c.id != resumed[0]))
        sweep_id, started_at = resumed if resumed is not None else await _insert_sweep(connection, scope)
        writer = SweepWriter(database, sweep_id, started_at, base)
        await writer.claim(connection)
        return writer

    return await database.write(claim)


async def _unfinished(
    connection: AsyncConnection, scope: str, within: timedelta | None
) -> tuple[int, datetime] | None:
    if within is None:
        return None
    now = datetime.now(UTC)
    query = select(sweeps.c.id, sweeps.c.started_at).where(
        sweeps.c.scope == scope,
        sweeps.c.name.is_(None),
        sweeps.c.finished_at.is_(None),
        # A sweep far in the future began before the clock was set back. Its age is unknown.
        sweeps.c.started_at.between(now - within, now + within),
    )
    found = (await connection.execute(query.order_by(sweeps.c.id.desc()).limit(1))).first()
    return None if found is None else (found.id, found.started_at)


async def _insert_sweep(connection: AsyncConnection, scope: str) -> tuple[int, datetime]:
    now = datetime.now(UTC)
    made = await connection.execute(
        insert(sweeps).values(scope=scope, writer="", started_at=now, numbers=0).returning(sweeps.c.id)
    )
    return made.scalar_one(), now


async def last_finished(connection: AsyncConnection, scope: str) -> int | None:
    """Return the id of the newest snapshot with this coverage."""
    query = select(sweeps.c.id).where(sweeps.c.scope == scope, sweeps.c.finished_at.is_not(None))
    return (await connection.execute(query.order_by(sweeps.c.id.desc()).limit(1))).scalar()
