"""Comparing two snapshots. Only pages that they do not share are read."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, TypeAlias

from phonesys.inventory.diff.changes import MoveDetector, compare, unknown_account
from phonesys.inventory.diff.coverage import Coverage, unknown_reason
from phonesys.inventory.store import reading

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from phonesys.inventory.diff.changes import Change
    from phonesys.inventory.snapshot import Snapshot
    from phonesys.inventory.store.database import Database
    from phonesys.inventory.store.reading import AccountRow
    from phonesys.record import NumberRecord

Pair: TypeAlias = "tuple[AccountRow | None, AccountRow | None]"

_MAX_PAGES = 64


async def compare_snapshots(database: Database, older: Snapshot, newer: Snapshot) -> AsyncGenerator[Change]:
    """Yield unknown accounts and changed numbers as they are found, and the rest at the end."""
    moves = MoveDetector()
    waiting: list[Pair] = []
    before, now = await _read_coverage(database, older), await _read_coverage(database, newer)
    async with aclosing(_pairs(database, older.id, newer.id)) as pairs:
        async for old, new in pairs:
            if (reason := unknown_reason(old, new, before, now)) is not None:
                row = new or old
                if row is not None and row.account:
                    yield unknown_account(row.backend, row.account, reason)
            elif (old.pages if old else ()) != (new.pages if new else ()):
                waiting.append((old, new))
                if sum(map(_page_count, waiting)) >= _MAX_PAGES:
                    for change in await _compare_pairs(database, waiting, moves):
                        yield change
                    waiting = []
    for change in await _compare_pairs(database, waiting, moves):
        yield change
    for change in moves.finish():
        yield change


async def _read_coverage(database: Database, snapshot: Snapshot) -> Coverage:
    lists = [row async for row in reading.read_accounts(database, snapshot.id, account="")]
    return Coverage.of(snapshot.coverage, (row.backend for row in lists if not row.is_complete))


def _page_count(pair: Pair) -> int:
    return sum(1 + len(row.pages) for row in pair if row is not None)


async def _compare_pairs(database: Database, pairs: list[Pair], moves: MoveDetector) -> list[Change]:
    """Read the pages that the sides of each pair do not share, and compare the pairs."""
    wanted: dict[int, AccountRow] = {}
    for old, new in pairs:
        for row, other in ((old, new), (new, old)):
            if row is not None:
                wanted.update(dict.fromkeys(_unshared_pages(row, other), row))
    numbers = await reading.records_by_page(database, wanted)

    def unshared(row: AccountRow | None, other: AccountRow | None) -> list[NumberRecord]:
        return [record for page in _unshared_pages(row, other) for record in numbers[page]]

    found: list[Change] = []
    for old, new in pairs:
        found += moves.add(compare(unshared(old, new), unshared(new, old)))
    return found


def _unshared_pages(row: AccountRow | None, other: AccountRow | None) -> list[int]:
    shared = set(other.pages) if other is not None else set[int]()
    return [page for page in row.pages if page not in shared] if row is not None else []


async def _pairs(database: Database, older: int, newer: int) -> AsyncGenerator[Pair]:
    """Merge the accounts of both snapshots, in their common order."""
    async with (
        aclosing(reading.read_accounts(database, older)) as olds,
        aclosing(reading.read_accounts(database, newer)) as news,
    ):
        old, new = await _next(olds), await _next(news)
        while old is not None or new is not None:
            if new is None or (old is not None and old.key < new.key):
                yield old, None
                old = await _next(olds)
            elif old is None or new.key < old.key:
                yield None, new
                new = await _next(news)
            else:
                yield old, new
                old, new = await _next(olds), await _next(news)


async def _next(rows: AsyncIterator[AccountRow]) -> AccountRow | None:
    return await anext(rows, None)
