"""Writing a sweep: each transaction holds some pages' rows and how far their accounts are."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import BigInteger, bindparam, delete, exists, func, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from phonesys.inventory.errors import SweepSuperseded
from phonesys.inventory.store import rows
from phonesys.inventory.store.schema import PAGE, accounts, numbers, pages, pools, sweep_pages, sweeps
from phonesys.model import Page, PhoneNumber
from phonesys.sweep import AccountReport, Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
    from datetime import timedelta

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

    from phonesys.inventory.store.database import Database

    Key = tuple[str, str]

_WHOLE = (Outcome.DONE.value, Outcome.EMPTY.value, Outcome.NOT_CONNECTED.value)
_BEGUN = AccountReport(outcome=Outcome.NOT_REACHED)
_INSERT = "INSERT INTO numbers (key, number, status, record) VALUES"
_WIDTH = 4
_VALUES = 1000 * _WIDTH  # by one statement, of the 32,766 that SQLite takes
_KEYS_AT_ONCE = 256  # databases bound the parameters of a statement


class Prepared(msgspec.Struct):
    """A page, and what is to be written of it."""

    page: Page[PhoneNumber]
    key: Key
    digest: bytes
    cells: rows.Cells | None
    """Left for later where the page may be there already."""


class SweepWriter:
    """Stores one sweep; `begin` makes one.

    Every write fails with SweepSuperseded once another process has taken the sweep over.
    """

    def __init__(self, database: Database, sweep_id: int, started_at: datetime, base: int | None) -> None:
        self.id = sweep_id
        self.started_at = started_at
        self._database = database
        self._writer = secrets.token_hex(8)
        self._base = base
        self._begun: dict[Key, AccountReport] = {}
        self._is_sqlite = database.dialect == "sqlite"
        self._insert = sqlite.insert if self._is_sqlite else postgresql.insert

    def prepare(self, page: Page[PhoneNumber]) -> Prepared:
        """Do what needs no database: best at once, while the page is in the processor's cache.

        It bears its backend's name in this system.
        """
        numbers = page.numbers
        digest = rows.digest(page) if numbers else b""
        cells = rows.cells_of(numbers) if numbers and self._base is None else None
        return Prepared(page, (page.provider, page.account), digest, cells)

    async def write(self, read: Sequence[Prepared], results: Iterable[tuple[Key, AccountReport]]) -> None:
        """Store pages, and what came of accounts, in one transaction.

        Pages come before the result of their account.
        """
        settled = dict(results)
        async with self._database.writing() as connection:
            await self._hold(connection, sum(len(one.page.numbers) for one in read))
            await self._store(connection, [one for one in read if one.page.numbers])
            counted = self._counted(read)
            await self._enter(connection, {**counted, **settled})
        # Only now: what was rolled back did not happen.
        self._begun.update(counted)
        for key in settled:
            self._begun.pop(key, None)

    async def finish(self, failures: Iterable[tuple[Key, AccountReport]]) -> datetime:
        """Make a snapshot of the sweep."""
        now = datetime.now(UTC)
        async with self._database.writing() as connection:
            await self._hold(connection, 0)
            await self._enter(connection, dict(failures))
            count = select(func.coalesce(func.sum(accounts.c.numbers), 0)).where(
                accounts.c.sweep_id == self.id
            )
            await connection.execute(
                update(sweeps)
                .where(sweeps.c.id == self.id)
                .values(finished_at=now, numbers=count.scalar_subquery())
            )
        return now

    async def whole(self) -> AsyncIterator[tuple[Key, AccountReport]]:
        """Yield the accounts that were read whole already."""
        query = select(accounts).where(accounts.c.sweep_id == self.id, accounts.c.outcome.in_(_WHOLE))
        async with self._database.reading() as connection:
            async for row in await connection.stream(query):
                yield (row.backend, row.account), _report_of(row)

    # In a transaction

    async def take(self, connection: AsyncConnection) -> None:
        """Make this the sweep's only writer, and forget what was read of accounts that must be read again."""
        await connection.execute(update(sweeps).where(sweeps.c.id == self.id).values(writer=self._writer))
        partly = select(accounts.c.backend, accounts.c.account).where(
            accounts.c.sweep_id == self.id, accounts.c.outcome.not_in(_WHOLE)
        )
        held = tuple_(sweep_pages.c.backend, sweep_pages.c.account)
        await connection.execute(
            delete(sweep_pages).where(sweep_pages.c.sweep_id == self.id, held.in_(partly))
        )
        await connection.execute(
            delete(accounts).where(accounts.c.sweep_id == self.id, accounts.c.outcome.not_in(_WHOLE))
        )
        await delete_orphans(connection)

    async def _hold(self, connection: AsyncConnection, found: int) -> None:
        """Make sure that nobody else writes this sweep, until the transaction ends."""
        mine = update(sweeps).where(sweeps.c.id == self.id, sweeps.c.writer == self._writer)
        done = await connection.execute(mine.values(numbers=sweeps.c.numbers + found))
        if done.rowcount != 1:
            raise SweepSuperseded(f"sweep {self.id} was resumed or begun anew by somebody else")

    async def _store(self, connection: AsyncConnection, read: Sequence[Prepared]) -> None:
        """Refer to the pages, after writing those that are new."""
        if not read:
            return
        known = await self._known(connection, {one.key for one in read})
        ids = [known.get((one.key, one.digest)) for one in read]
        fresh = [place for place, id_ in enumerate(ids) if id_ is None]
        if fresh:
            made = await _new_pages(connection, [read[place] for place in fresh])
            for place, id_ in zip(fresh, made, strict=True):
                ids[place] = id_
            await self._write_numbers(connection, zip(made, (read[place] for place in fresh), strict=True))
        await connection.execute(insert(sweep_pages), self._references(read, ids))

    async def _known(
        self, connection: AsyncConnection, keys: Collection[Key]
    ) -> dict[tuple[Key, bytes], int]:
        """Find the pages that these accounts had in the sweep before."""
        found: dict[tuple[Key, bytes], int] = {}
        if self._base is None:
            return found
        every = sorted(keys)
        for start in range(0, len(every), _KEYS_AT_ONCE):
            held = await connection.execute(
                select(sweep_pages.c.backend, sweep_pages.c.account, pages.c.digest, pages.c.id)
                .join_from(sweep_pages, pages, pages.c.id == sweep_pages.c.page_id)
                .where(
                    sweep_pages.c.sweep_id == self._base,
                    tuple_(sweep_pages.c.backend, sweep_pages.c.account).in_(
                        every[start : start + _KEYS_AT_ONCE]
                    ),
                )
            )
            found.update((((backend, account), digest), id_) for backend, account, digest, id_ in held)
        return found

    async def _write_numbers(
        self, connection: AsyncConnection, fresh: Iterable[tuple[int, Prepared]]
    ) -> None:
        in_pools: list[dict[str, Any]] = []
        values: list[int | str] = []
        for id_, one in fresh:
            cells = one.cells or rows.cells_of(one.page.numbers)
            values += chain.from_iterable(cells.rows(id_))
            if cells.in_pools:
                in_pools += [rows.pool_row(id_, pool) for pool in rows.pools_of(one.page).values()]
            # As soon as there are enough, so that the loop is never held for long.
            while len(values) >= _VALUES:
                await self._insert_numbers(connection, values[:_VALUES])
                del values[:_VALUES]
        if values:
            await self._insert_numbers(connection, values)
        if in_pools:
            await connection.execute(insert(pools), in_pools)

    async def _insert_numbers(self, connection: AsyncConnection, values: Sequence[int | str]) -> None:
        """Write rows straight by the driver: SQLAlchemy's own way costs as much as the database."""
        if self._is_sqlite:
            # sqlite3 lets go of the interpreter's lock for every statement, and then has to wait for it.
            more = len(values) // _WIDTH - 1
            await connection.exec_driver_sql(
                f"{_INSERT} (?, ?, ?, ?){', (?, ?, ?, ?)' * more}", tuple(values)
            )
        else:
            every = list(zip(*[iter(values)] * _WIDTH, strict=True))
            await connection.exec_driver_sql(f"{_INSERT} ($1, $2, $3, $4::text::jsonb)", every)

    def _references(self, read: Sequence[Prepared], ids: Sequence[int | None]) -> list[dict[str, Any]]:
        places: dict[Key, int] = {}
        references: list[dict[str, Any]] = []
        for one, id_ in zip(read, ids, strict=True):
            key = one.key
            place = places.get(key, self._begun.get(key, _BEGUN).pages)
            places[key] = place + 1
            references.append(
                {"sweep_id": self.id, "backend": key[0], "account": key[1], "place": place, "page_id": id_}
            )
        return references

    def _counted(self, read: Sequence[Prepared]) -> dict[Key, AccountReport]:
        """Add the pages to what is known of their accounts."""
        counted: dict[Key, AccountReport] = {}
        for one in read:
            page, key = one.page, one.key
            before = counted.get(key) or self._begun.get(key, _BEGUN)
            counted[key] = AccountReport(
                outcome=Outcome.NOT_REACHED,
                numbers=before.numbers + len(page.numbers),
                pages=before.pages + 1,
                rejected=before.rejected + len(page.rejected),
            )
        return counted

    async def _enter(self, connection: AsyncConnection, reports: dict[Key, AccountReport]) -> None:
        if not reports:
            return
        statement = self._insert(accounts)
        changed = {
            column.name: statement.excluded[column.name] for column in accounts.c if not column.primary_key
        }
        upsert = statement.on_conflict_do_update(index_elements=list(accounts.primary_key), set_=changed)
        await connection.execute(
            upsert,
            [_account_row(self.id, key, report) for key, report in sorted(reports.items(), key=_by_key)],
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


async def _new_pages(connection: AsyncConnection, fresh: Iterable[Prepared]) -> Sequence[int]:
    rows_ = [{"backend": one.key[0], "account": one.key[1], "digest": one.digest} for one in fresh]
    made = await connection.execute(insert(pages).returning(pages.c.id, sort_by_parameter_order=True), rows_)
    ids: Sequence[int] = made.scalars().all()
    return ids


async def delete_orphans(connection: AsyncConnection) -> None:
    """Delete the pages that no sweep refers to."""
    query = select(pages.c.id).where(~exists().where(sweep_pages.c.page_id == pages.c.id))
    orphans = (await connection.execute(query.order_by(pages.c.id))).scalars().all()
    if not orphans:
        return
    gone = [{"first": first, "last": last} for first, last in _runs(orphans)]
    first, last = bindparam("first", type_=BigInteger), bindparam("last", type_=BigInteger)
    for statement in (
        delete(numbers).where(numbers.c.key >= first * PAGE, numbers.c.key < (last + 1) * PAGE),
        delete(pools).where(pools.c.page_id.between(first, last)),
        delete(pages).where(pages.c.id.between(first, last)),
    ):
        await connection.execute(statement, gone)


def _runs(ids: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Find the first and the last of ids that follow one another: those of a sweep mostly do."""
    for _, run in groupby(enumerate(ids), key=lambda item: item[1] - item[0]):
        held = [id_ for _, id_ in run]
        yield held[0], held[-1]


async def prune(connection: AsyncConnection, which: ColumnElement[bool]) -> int:
    """Delete sweeps, and the pages that only they referred to; return how many there were."""
    ids = (await connection.execute(select(sweeps.c.id).where(which))).scalars().all()
    if ids:
        for table, column in ((sweep_pages, "sweep_id"), (accounts, "sweep_id"), (sweeps, "id")):
            await connection.execute(
                delete(table).where(table.c[column] == bindparam("gone")), [{"gone": id_} for id_ in ids]
            )
        await delete_orphans(connection)
    return len(ids)


async def begin(database: Database, scope: str, resume_within: timedelta | None) -> SweepWriter:
    """Resume the unfinished sweep of the same scope, if it is young enough, or begin a new one.

    Unfinished ones that are not resumed are forgotten.
    """
    async with database.writing() as connection:
        base = await last_finished(connection, scope)
        resumed = await _unfinished(connection, scope, resume_within)
        same = sweeps.c.scope == scope
        stale = same & sweeps.c.finished_at.is_(None)
        await prune(connection, stale if resumed is None else stale & (sweeps.c.id != resumed[0]))
        sweep_id, started_at = resumed if resumed is not None else await _insert_sweep(connection, scope)
        writer = SweepWriter(database, sweep_id, started_at, base)
        await writer.take(connection)
    return writer


async def _unfinished(
    connection: AsyncConnection, scope: str, within: timedelta | None
) -> tuple[int, datetime] | None:
    if within is None:
        return None
    query = select(sweeps.c.id, sweeps.c.started_at).where(
        sweeps.c.scope == scope,
        sweeps.c.finished_at.is_(None),
        sweeps.c.started_at >= datetime.now(UTC) - within,
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
    """Find the newest snapshot of a scope."""
    query = select(sweeps.c.id).where(sweeps.c.scope == scope, sweeps.c.finished_at.is_not(None))
    newest = query.order_by(sweeps.c.finished_at.desc(), sweeps.c.id.desc()).limit(1)
    return (await connection.execute(newest)).scalar()
