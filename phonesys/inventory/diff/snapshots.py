"""What changed between two snapshots, reading only what is not the same page in both."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from phonesys.inventory.diff.changes import Moves, compare, unknown
from phonesys.inventory.snapshot import LISTED
from phonesys.inventory.store import reading

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from phonesys.inventory.diff.changes import Change
    from phonesys.inventory.record import NumberRecord
    from phonesys.inventory.snapshot import Snapshot
    from phonesys.inventory.store.database import Database
    from phonesys.inventory.store.reading import AccountRow

Pair: TypeAlias = "tuple[AccountRow | None, AccountRow | None]"

_PAGES_AT_ONCE = 64


async def changes(database: Database, older: Snapshot, newer: Snapshot) -> AsyncGenerator[Change]:
    """Yield what is unknown or changed as accounts are compared; what came, went or moved at the end."""
    moves = Moves()
    waiting: list[Pair] = []
    before, now = await _side(database, older), await _side(database, newer)
    async with aclosing(_pairs(database, older.id, newer.id)) as pairs:
        async for old, new in pairs:
            if (reason := _unknown(old, new, before, now)) is not None:
                row = new or old
                if row is not None and row.account:
                    yield unknown(row.backend, row.account, reason)
            elif (old.pages if old else ()) != (new.pages if new else ()):
                waiting.append((old, new))
                if sum(map(_weight, waiting)) >= _PAGES_AT_ONCE:
                    for change in await _compared(database, waiting, moves):
                        yield change
                    waiting = []
    for change in await _compared(database, waiting, moves):
        yield change
    for change in moves.settle():
        yield change


class _Side(msgspec.Struct, frozen=True):
    """What a snapshot can say of an account that it does not have."""

    backends: frozenset[str]
    partly: frozenset[str]
    """Backends of which only some accounts were named, or whose list of accounts could not be read."""

    def silence(self, backend: str, when: str) -> str | None:
        """Say why an account's absence means nothing; None if it means that there was no such account."""
        return f"not read {when}" if backend in self.partly or backend not in self.backends else None


async def _side(database: Database, snapshot: Snapshot) -> _Side:
    lists = [row async for row in reading.accounts_of(database, snapshot.id, account="")]
    named = {name for name, how in snapshot.coverage.items() if how != LISTED}
    return _Side(
        frozenset(snapshot.coverage), frozenset(named | {row.backend for row in lists if not row.is_whole})
    )


def _unknown(old: AccountRow | None, new: AccountRow | None, before: _Side, now: _Side) -> str | None:
    """Say why an account cannot be compared; None if it can."""
    for row, when in ((new, "now"), (old, "before")):
        if row is not None and not row.is_whole:
            return row.error or f"{row.outcome.value} {when}"
    if old is not None and new is None:
        return now.silence(old.backend, "now")
    return before.silence(new.backend, "before") if new is not None and old is None else None


def _weight(pair: Pair) -> int:
    return sum(1 + len(row.pages) for row in pair if row is not None)


async def _compared(database: Database, pairs: list[Pair], moves: Moves) -> list[Change]:
    """Fetch the pages that only one side has, and compare them account by account."""
    wanted: dict[int, tuple[str, str]] = {}
    for old, new in pairs:
        for row, other in ((old, new), (new, old)):
            for page in _only(row, other):
                wanted[page] = row.key if row is not None else ("", "")
    numbers = await reading.numbers_of_pages(database, wanted)

    def of(row: AccountRow | None, other: AccountRow | None) -> list[NumberRecord]:
        return [record for page in _only(row, other) for record in numbers[page]]

    found: list[Change] = []
    for old, new in pairs:
        found += moves.add(compare(of(old, new), of(new, old)))
    return found


def _only(row: AccountRow | None, other: AccountRow | None) -> list[int]:
    shared = set(other.pages) if other is not None else set[int]()
    return [page for page in row.pages if page not in shared] if row is not None else []


async def _pairs(database: Database, older: int, newer: int) -> AsyncGenerator[Pair]:
    """Walk both snapshots' accounts side by side, in their common order."""
    async with (
        aclosing(reading.accounts_of(database, older)) as olds,
        aclosing(reading.accounts_of(database, newer)) as news,
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
