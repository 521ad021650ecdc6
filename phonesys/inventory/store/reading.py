"""Reading snapshots, in batches: no query's result is ever in memory whole."""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Text, cast, func, select

from phonesys.inventory.store.rows import pool_from, records_from
from phonesys.inventory.store.schema import PAGE, accounts, numbers, pages, pools, sweep_pages, sweeps
from phonesys.sweep import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from sqlalchemy import ColumnElement

    from phonesys.inventory.record import NumberRecord
    from phonesys.inventory.store.database import Database
    from phonesys.model import NumberPool

_BATCH = 1000
_PAGES_AT_ONCE = 400


class SweepRow(msgspec.Struct, frozen=True):
    """A sweep as it is stored."""

    id: int
    scope: dict[str, str]
    """By backend, `listed` where all that it lists was swept, `named` where accounts were given."""
    started_at: datetime
    finished_at: datetime | None
    numbers: int


class AccountRow(msgspec.Struct, frozen=True):
    """What came of an account, and the pages that it was found to hold."""

    backend: str
    account: str
    outcome: Outcome
    error: str | None
    numbers: int
    pages: tuple[int, ...]

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from others, and the order in which accounts are read."""
        return self.backend, self.account

    @property
    def is_whole(self) -> bool:
        """Whether it is known what the account holds."""
        return self.outcome in {Outcome.DONE, Outcome.EMPTY, Outcome.NOT_CONNECTED}


async def find_sweeps(
    database: Database, *conditions: ColumnElement[bool], limit: int | None = None
) -> list[SweepRow]:
    """Find sweeps, those that finished last first."""
    query = select(sweeps).where(*conditions).order_by(sweeps.c.finished_at.desc(), sweeps.c.id.desc())
    async with database.reading() as connection:
        found = (await connection.execute(query.limit(limit))).all()
    return [
        SweepRow(row.id, msgspec.json.decode(row.scope), row.started_at, row.finished_at, row.numbers)
        for row in found
    ]


async def _stream(database: Database, query: Any) -> AsyncGenerator[Sequence[Any]]:
    async with database.reading() as connection, connection.stream(query) as result:
        async for batch in result.partitions(_BATCH):
            yield batch


_RECORD = cast(numbers.c.record, Text)  # drivers of PostgreSQL would decode it
_HELD = (sweep_pages.c.backend, sweep_pages.c.account)


def _on(page: ColumnElement[int]) -> ColumnElement[bool]:
    """Find the numbers of a page by their keys."""
    return (numbers.c.key >= page * PAGE) & (numbers.c.key < (page + 1) * PAGE)


async def records(
    database: Database, sweep_id: int, *, backend: str | None = None, account: str | None = None
) -> AsyncGenerator[list[NumberRecord]]:
    """Yield a sweep's numbers in batches, by backend and account."""
    query = select(*_HELD, _RECORD).join_from(sweep_pages, numbers, _on(sweep_pages.c.page_id))
    query = query.where(sweep_pages.c.sweep_id == sweep_id)
    if backend is not None:
        query = query.where(sweep_pages.c.backend == backend)
    if account is not None:
        query = query.where(sweep_pages.c.account == account)
    async for batch in _stream(database, query.order_by(*_HELD, sweep_pages.c.place, numbers.c.key)):
        yield records_from(batch)


async def pools_of(database: Database, sweep_id: int) -> AsyncGenerator[tuple[str, NumberPool]]:
    """Yield the pools that a sweep's numbers sit in, each once, with its backend."""
    query = select(*_HELD, pools.c.id, func.max(pools.c.more)).where(sweep_pages.c.sweep_id == sweep_id)
    query = query.join_from(sweep_pages, pools, pools.c.page_id == sweep_pages.c.page_id)
    query = query.group_by(*_HELD, pools.c.id).order_by(*_HELD, pools.c.id)
    async for batch in _stream(database, query):
        for backend, account, _, more in batch:
            yield backend, pool_from(account, more)


async def accounts_of(
    database: Database, sweep_id: int, *, account: str | None = None
) -> AsyncGenerator[AccountRow]:
    """Yield a sweep's accounts with their pages, by backend and account; or only those of this id."""
    same = (
        (sweep_pages.c.sweep_id == accounts.c.sweep_id)
        & (sweep_pages.c.backend == accounts.c.backend)
        & (sweep_pages.c.account == accounts.c.account)
    )
    query = (
        select(accounts.c.backend, accounts.c.account, accounts.c.outcome, accounts.c.error,
               accounts.c.numbers, sweep_pages.c.page_id)
        .join_from(accounts, sweep_pages, same, isouter=True)
        .where(accounts.c.sweep_id == sweep_id)
        .order_by(accounts.c.backend, accounts.c.account, sweep_pages.c.place)
    )  # fmt: skip
    if account is not None:
        query = query.where(accounts.c.account == account)
    last: AccountRow | None = None
    async for batch in _stream(database, query):
        for row in _grouped(batch):
            if last is not None and last.key == row.key:  # its pages went over the batch's end
                last = msgspec.structs.replace(row, pages=last.pages + row.pages)
                continue
            if last is not None:
                yield last
            last = row
    if last is not None:
        yield last


def _grouped(batch: Iterable[Any]) -> Iterable[AccountRow]:
    for (backend, account, outcome, error, count), rows in groupby(batch, key=lambda row: tuple(row[:5])):
        held = tuple(row[5] for row in rows if row[5] is not None)
        yield AccountRow(backend, account, Outcome(outcome), error, count, held)


async def numbers_of_pages(
    database: Database, owners: dict[int, tuple[str, str]]
) -> dict[int, list[NumberRecord]]:
    """Fetch the numbers of some pages, whose backend and account are known."""
    found: dict[int, list[NumberRecord]] = {id_: [] for id_ in owners}
    ids = sorted(owners)
    query = select(pages.c.id, _RECORD).join_from(pages, numbers, _on(pages.c.id))
    query = query.order_by(pages.c.id, numbers.c.key)
    async with database.reading() as connection:
        for start in range(0, len(ids), _PAGES_AT_ONCE):
            some = ids[start : start + _PAGES_AT_ONCE]
            result = await connection.stream(query.where(pages.c.id.in_(some)))
            async for batch in result.partitions(_BATCH):
                records_ = records_from((*owners[id_], text) for id_, text in batch)
                for (id_, _), record in zip(batch, records_, strict=True):
                    found[id_].append(record)
    return found


async def last_known(database: Database, scope: str) -> AsyncGenerator[AccountRow]:
    """Yield every account of the newest snapshot; one that it does not know, as it was known last.

    An account that was never read whole comes as it is.
    """
    unknown: dict[tuple[str, str], AccountRow] | None = None
    for sweep in await find_sweeps(database, sweeps.c.finished_at.is_not(None), sweeps.c.scope == scope):
        newest = unknown is None
        unknown = {} if unknown is None else unknown
        async for row in accounts_of(database, sweep.id):
            if row.is_whole and (newest or row.key in unknown):
                unknown.pop(row.key, None)
                yield row
            elif newest:
                unknown[row.key] = row
        if not unknown:
            return
    for row in (unknown or {}).values():
        yield row
