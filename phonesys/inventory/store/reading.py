"""Reading snapshots in batches, so that no result is in memory as a whole."""

from __future__ import annotations

from contextlib import aclosing
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from sqlalchemy import BigInteger, Text, case, cast, func, select, tuple_

from phonesys.inventory.errors import InventoryError
from phonesys.inventory.record import COMPLETE_OUTCOMES, missing_reason
from phonesys.inventory.store.rows import parse_pool, parse_records
from phonesys.inventory.store.schema import (
    KEYS_PER_PAGE,
    accounts,
    numbers,
    pages,
    pools,
    sweep_pages,
    sweeps,
)
from phonesys.sweep import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Table

    from phonesys.inventory.record import AccountKey
    from phonesys.inventory.store.database import Database
    from phonesys.model import NumberPool
    from phonesys.record import NumberRecord

T = TypeVar("T")

_BATCH = 1000
_MAX_PAGES = 400


class SweepRow(msgspec.Struct, frozen=True):
    """A stored sweep."""

    id: int
    coverage: dict[str, str]
    """By backend: `listed` for all accounts that it lists, `named` for given accounts."""
    started_at: datetime
    finished_at: datetime | None
    numbers: int
    incomplete_accounts: int
    rejected: int
    name: str | None


class AccountRow(msgspec.Struct, frozen=True):
    """The outcome of an account, and the ids of its pages."""

    backend: str
    account: str
    outcome: Outcome
    error: str | None
    numbers: int
    rejected: int
    name: str | None
    pages: tuple[int, ...]

    @property
    def key(self) -> AccountKey:
        """The backend and the account: the order in which accounts are read."""
        return self.backend, self.account

    @property
    def is_complete(self) -> bool:
        """True if every number of the account is known."""
        return self.problem is None

    @property
    def problem(self) -> str | None:
        """The reason why numbers are missing, or None for a complete account."""
        return missing_reason(self.outcome, self.error, self.rejected)


async def find_sweeps(
    database: Database, *conditions: ColumnElement[bool], limit: int | None = None
) -> list[SweepRow]:
    """Return sweeps, the newest first."""
    incomplete = accounts.c.outcome.not_in(COMPLETE_OUTCOMES) | (accounts.c.rejected > 0)
    query = (
        select(sweeps, _sum(case((incomplete, 1), else_=0)), _sum(accounts.c.rejected))
        .join_from(sweeps, accounts, accounts.c.sweep_id == sweeps.c.id, isouter=True)
        .where(*conditions)
        .group_by(*sweeps.c)
        .order_by(sweeps.c.id.desc())  # not by time: clocks are set back
    )
    async with database.reading() as connection:
        found = (await connection.execute(query.limit(limit))).all()
        return [
            SweepRow(
                row.id,
                _decode_coverage(row.scope),
                row.started_at,
                row.finished_at,
                int(row.numbers),
                int(row[-2]),
                int(row[-1]),
                row.name,
            )
            for row in found
        ]


_decode_coverage = msgspec.json.Decoder(dict[str, str]).decode


def _sum(value: ColumnElement[int]) -> ColumnElement[int]:
    return cast(func.coalesce(func.sum(value), 0), BigInteger)


async def _stream(
    database: Database, query: Any, decode: Callable[[Sequence[Any]], list[T]]
) -> AsyncGenerator[list[T]]:
    async with database.reading() as connection, connection.stream(query) as result:
        async for batch in result.partitions(_BATCH):
            yield decode(batch)


_RECORD = cast(numbers.c.record, Text)  # drivers of PostgreSQL would decode JSON
_HELD = (sweep_pages.c.backend, sweep_pages.c.account)
_SAME_ACCOUNT = (
    (sweep_pages.c.sweep_id == accounts.c.sweep_id)
    & (sweep_pages.c.backend == accounts.c.backend)
    & (sweep_pages.c.account == accounts.c.account)
)


def _is_on(page: ColumnElement[int]) -> ColumnElement[bool]:
    """Return the condition that a number is on a page."""
    return (numbers.c.key >= page * KEYS_PER_PAGE) & (numbers.c.key < (page + 1) * KEYS_PER_PAGE)


async def read_records(
    database: Database,
    sweep_id: int,
    *,
    backend: str | None = None,
    account: str | None = None,
    start: AccountKey | None = None,
) -> AsyncGenerator[list[NumberRecord]]:
    """Yield the records of a sweep in batches, ordered by backend and account, from the account `start` on.

    Raises InventoryError at the end if they are not as many as were stored.
    """
    query = select(*_HELD, accounts.c.name, _RECORD).select_from(
        # Accounts before numbers: SQLite looks up the account once per page, not once per number.
        sweep_pages.outerjoin(accounts, _SAME_ACCOUNT).join(numbers, _is_on(sweep_pages.c.page_id))
    )
    query = query.where(*_filter(sweep_pages, sweep_id, backend, account, start))
    count = select(_sum(accounts.c.numbers)).where(*_filter(accounts, sweep_id, backend, account, start))
    found = 0
    async with database.reading() as connection:
        expected = (await connection.execute(count)).scalar_one()
        ordered = query.order_by(*_HELD, sweep_pages.c.place, numbers.c.key)
        is_whole = False
        async with connection.stream(ordered) as result:
            async for batch in result.partitions(_BATCH):
                found += len(batch)
                yield parse_records(batch)
            is_whole = True
    # SQLAlchemy's block also ends here if this generator is closed in its midst.
    if is_whole:
        _check_count(database, f"sweep {sweep_id}", expected, found)


def _filter(
    table: Table, sweep_id: int, backend: str | None, account: str | None, start: AccountKey | None
) -> Iterator[ColumnElement[bool]]:
    wanted = {"sweep_id": sweep_id, "backend": backend, "account": account}
    yield from (table.c[name] == value for name, value in wanted.items() if value is not None)
    if start is not None:
        yield tuple_(table.c.backend, table.c.account) >= start


def _check_count(database: Database, place: str, expected: int, found: int) -> None:
    if found != expected:
        raise InventoryError(
            f"{database.name} is damaged: {place} has {expected:,} numbers, but {found:,} are stored"
        )


async def read_pools(database: Database, sweep_id: int) -> AsyncGenerator[tuple[str, NumberPool]]:
    """Yield each pool of a sweep's numbers once, with its backend."""
    query = select(*_HELD, pools.c.id, func.max(pools.c.more)).where(sweep_pages.c.sweep_id == sweep_id)
    query = query.join_from(sweep_pages, pools, pools.c.page_id == sweep_pages.c.page_id)
    query = query.group_by(*_HELD, pools.c.id).order_by(*_HELD, pools.c.id)
    async with aclosing(_stream(database, query, _decode_pools)) as batches:
        async for batch in batches:
            for pool in batch:
                yield pool


def _decode_pools(batch: Sequence[Any]) -> list[tuple[str, NumberPool]]:
    return [(backend, parse_pool(account, more)) for backend, account, _, more in batch]


async def read_accounts(
    database: Database, sweep_id: int, *, account: str | None = None
) -> AsyncGenerator[AccountRow]:
    """Yield the accounts of a sweep, ordered by backend and account, or only those with this id."""
    query = (
        select(accounts.c.backend, accounts.c.account, accounts.c.outcome, accounts.c.error,
               accounts.c.numbers, accounts.c.rejected, accounts.c.name, sweep_pages.c.page_id)
        .join_from(accounts, sweep_pages, _SAME_ACCOUNT, isouter=True)
        .where(accounts.c.sweep_id == sweep_id)
        .order_by(accounts.c.backend, accounts.c.account, sweep_pages.c.place)
    )  # fmt: skip
    if account is not None:
        query = query.where(accounts.c.account == account)
    last: AccountRow | None = None
    async with aclosing(_stream(database, query, partial(_group_accounts, database))) as batches:
        async for batch in batches:
            for row in batch:
                if last is not None and last.key == row.key:  # its pages continue in this batch
                    last = msgspec.structs.replace(row, pages=last.pages + row.pages)
                    continue
                if last is not None:
                    yield last
                last = row
    if last is not None:
        yield last


def _group_accounts(database: Database, batch: Sequence[Any]) -> list[AccountRow]:
    found: list[AccountRow] = []
    for account, rows in groupby(batch, key=lambda row: tuple(row[:7])):
        backend, id_, outcome, error, count, rejected, name = account
        held = tuple(row[7] for row in rows if row[7] is not None)
        found.append(AccountRow(backend, id_, Outcome(outcome), error, int(count), int(rejected), name, held))
        if count and not held:
            _check_count(database, f"account {backend} {id_}", count, 0)
    return found


async def records_by_page(
    database: Database, owners: Mapping[int, AccountRow]
) -> dict[int, list[NumberRecord]]:
    """Return the records of some pages, whose accounts are given."""
    found: dict[int, list[NumberRecord]] = {id_: [] for id_ in owners}
    ids = sorted(owners)
    query = select(pages.c.id, _RECORD).join_from(pages, numbers, _is_on(pages.c.id))
    query = query.order_by(pages.c.id, numbers.c.key)
    async with database.reading() as connection:
        for start in range(0, len(ids), _MAX_PAGES):
            some = ids[start : start + _MAX_PAGES]
            result = await connection.stream(query.where(pages.c.id.in_(some)))
            async for batch in result.partitions(_BATCH):
                records_ = parse_records((*owners[id_].key, owners[id_].name, text) for id_, text in batch)
                for (id_, _), record in zip(batch, records_, strict=True):
                    found[id_].append(record)
    for id_, held in found.items():
        if not held:  # a page without numbers is not stored
            raise InventoryError(
                f"{database.name} is damaged: page {id_} of {' '.join(owners[id_].key)} is empty"
            )
    return found


async def records_of_account(database: Database, row: AccountRow) -> list[NumberRecord]:
    """Return the records of an account."""
    pages_ = await records_by_page(database, dict.fromkeys(row.pages, row))
    found = [record for page in row.pages for record in pages_[page]]
    _check_count(database, f"account {' '.join(row.key)}", row.numbers, len(found))
    return found


async def last_complete_accounts(
    database: Database, scope: str, until: int | None = None
) -> AsyncGenerator[AccountRow]:
    """Yield every account of the newest snapshot, as it was last read completely.

    An account that was never read completely is yielded as it is. Snapshots after `until` are not read.
    """
    unknown: dict[AccountKey, AccountRow] | None = None
    conditions = [sweeps.c.finished_at.is_not(None), sweeps.c.scope == scope]
    if until is not None:
        conditions.append(sweeps.c.id <= until)
    for sweep in await find_sweeps(database, *conditions):
        newest = unknown is None
        unknown = {} if unknown is None else unknown
        async with aclosing(read_accounts(database, sweep.id)) as rows:
            async for row in rows:
                if row.is_complete and (newest or row.key in unknown):
                    unknown.pop(row.key, None)
                    yield row
                elif newest:
                    unknown[row.key] = row
        if not unknown:
            return
    for row in (unknown or {}).values():
        yield row
