"""Rows that move between pages while an account is read: found by reading again, or said to be in doubt."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonesys import InconsistentListing, Outcome, Page, RepeatedPage
from phonesys.model import UnreadableRow as RejectedRow
from phonesys.sweep import Source, Sweep
from tests.conftest import JumpingLoop
from tests.sweep.memory import number

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from phonesys import Cursor, SweepReport

    Change = Callable[[list[int]], None]

SIZE = 3


class Changing:
    """One account paged by place, whose list changes between requests.

    `changes` says what happens to the list, as a function of it, with the request of that count.
    """

    name = "changing"

    def __init__(
        self,
        rows: int,
        changes: dict[int, Change],
        *,
        totals: bool = True,
        ahead: int = 1,
        seed: int = 0,
    ) -> None:
        self.rows = list(range(rows))
        self.next_row = rows
        self.changes = changes
        self.totals = totals
        self.ahead = ahead
        self.draw = random.Random(seed)
        self.requests = 0
        self.always = set(self.rows)
        """The rows that were there in every moment."""

    async def accounts(self) -> AsyncIterator[str]:
        yield "a"

    async def _request(self) -> None:
        await asyncio.sleep(self.draw.random())
        self.requests += 1
        if change := self.changes.get(self.requests):
            change(self.rows)
            self.always &= set(self.rows)
        await asyncio.sleep(0)

    async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
        await self._request()
        place = int(cursor or 0)
        held = self.rows[place : place + SIZE]
        await asyncio.sleep(self.draw.random())
        return Page(
            account=account,
            numbers=tuple(number(row) for row in held),
            next=self._next(place, len(held)),
            offset=place,
            total=len(self.rows) if self.totals else None,
        )

    def _next(self, place: int, rows: int) -> tuple[int, ...]:
        if self.totals:
            return tuple(range(SIZE, len(self.rows), SIZE)) if not place else ()
        if rows < SIZE:
            return ()
        if not place:
            return tuple(SIZE * page for page in range(1, self.ahead + 1))
        return (place + SIZE * self.ahead,)


class Looking(Changing):
    """The same, where one place can be looked at by itself."""

    async def has_row_at(self, account: str, place: int, row: str) -> bool:
        del account
        await self._request()
        return [number(held).id for held in self.rows[place : place + 1]] == [row]


def swept(backend: Any, **options: Any) -> tuple[list[str], SweepReport]:
    async def main() -> tuple[list[str], SweepReport]:
        sweep = Sweep([Source(backend.name, backend)], **options)
        async with sweep:
            found = [row.id async for page in sweep for row in page.numbers]
        return found, sweep.report

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(main())


def insert(place: int, row: int) -> Change:
    return lambda rows: rows.insert(place, row)


def remove(place: int, _row: int = 0) -> Change:
    return lambda rows: rows.__delitem__(slice(place, place + 1))


def exchange(place: int, row: int) -> Change:
    """One number is released, and another bought, which comes last: their count stays as it was."""

    def change(rows: list[int]) -> None:
        remove(place)(rows)
        rows.append(row)

    return change


@settings(max_examples=150, deadline=None)
@given(
    change=st.sampled_from([insert, remove, exchange]),
    moments=st.dictionaries(st.integers(1, 25), st.integers(0, 20), max_size=6),
    rows=st.integers(0, 20),
    totals=st.booleans(),
    ahead=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_whoever_is_done_was_read_whole(
    change: Callable[[int, int], Change],
    moments: dict[int, int],
    rows: int,
    *,
    totals: bool,
    ahead: int,
    seed: int,
) -> None:
    """Wherever and whenever numbers come, go, or do both, in whichever order the pages are read."""
    changes = {moment: change(min(place, rows), 1000 + moment) for moment, place in moments.items()}
    backend = Looking(rows, changes, totals=totals, ahead=ahead, seed=seed)
    found, report = swept(backend)
    entry = report.accounts["changing", "a"]
    assert len(found) == len(set(found))
    if entry.outcome is Outcome.FAILED:
        assert isinstance(entry.error, InconsistentListing | RepeatedPage)
    else:
        assert {number(row).id for row in backend.always} <= set(found)


@pytest.mark.parametrize("kind", ["totals", "looks", "repeated rows"])
def test_what_moved_once_is_found_by_reading_again(kind: str) -> None:
    """A row that slipped through is found, and the account is done; the rows that were known come once."""
    change = insert(0, 99) if kind == "repeated rows" else remove(0)
    backend = (Looking if kind == "looks" else Changing)(9, {2: change}, totals=kind == "totals", seed=1)
    found, report = swept(backend)
    entry = report.accounts["changing", "a"]
    assert entry.outcome is Outcome.DONE
    assert entry.passes == 2
    assert report.duplicates == entry.duplicates == (1 if kind == "repeated rows" else 0)
    assert sorted(found) == sorted({number(row).id for row in [*backend.rows, *range(9)]})
    assert report.complete


def test_rows_that_never_rest_leave_the_account_in_doubt() -> None:
    """After three readings it fails, with an error that says so; what was found was handed on."""
    backend = Changing(9, {moment: insert(0, 100 + moment) for moment in range(1, 100)})
    found, report = swept(backend)
    (failure,) = report.failures
    assert isinstance(failure.error, InconsistentListing)
    assert str(failure.error) == (
        "changing page a: rows moved between its pages each time that it was read, 3 times"
    )
    assert len(found) > 9
    assert report.numbers == report.accounts["changing", "a"].numbers == len(found)
    assert not report.complete


class Miscounting(Changing):
    """Lists less than it counts."""

    def __init__(self, rows: int, *, more: int, repeated: bool = False) -> None:
        super().__init__(rows, {})
        self.more = more
        self.repeated = repeated

    async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
        page = await super().page(account, cursor)
        numbers = page.numbers + (page.numbers[:1] if self.repeated else ())
        return Page(account=account, numbers=numbers, next=page.next, total=len(self.rows) + self.more)


@pytest.mark.parametrize("rows", [0, 2, 9])
def test_a_vendor_that_counts_more_than_it_lists_is_not_believed_to_be_done(rows: int) -> None:
    """Read twice with the same answer, the account fails: short, and not silently."""
    found, report = swept(Miscounting(rows, more=2))
    (failure,) = report.failures
    assert str(failure.error) == f"changing page a: the vendor counts {rows + 2} numbers and lists {rows}"
    assert len(found) == rows
    assert report.accounts["changing", "a"].passes == 2


def test_a_vendor_that_counts_less_than_it_lists_is_taken_at_its_list() -> None:
    """A total that the rows belie says nothing."""
    found, report = swept(Miscounting(9, more=-4))
    assert len(found) == 9
    assert report.complete


def test_a_row_that_comes_twice_on_one_page_is_handed_on_once() -> None:
    """One answer shows one moment: the account needs no second reading for it."""
    found, report = swept(Miscounting(2, more=0, repeated=True))
    assert len(found) == 2
    assert report.duplicates == 1
    assert report.accounts["changing", "a"].passes == 1


def test_a_list_that_is_odd_in_the_same_way_twice_is_whole() -> None:
    """Rows on two pages, without a total: two readings that agree show that nothing moves."""

    class Odd(Changing):
        async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
            page = await super().page(account, cursor)
            return Page(account=account, numbers=(*page.numbers, number(0)), next=page.next)

    found, report = swept(Odd(8, {}, totals=False))
    assert sorted(found) == sorted(number(row).id for row in range(8))
    assert report.accounts["changing", "a"].outcome is Outcome.DONE
    assert report.accounts["changing", "a"].passes == 2


@pytest.mark.parametrize("bare", [1, 2])
def test_rows_without_their_id_in_one_reading_are_still_the_same_rows(bare: int) -> None:
    """A vendor that leaves ids out once, in the first reading or in the second, has no row come twice."""

    class Forgetful(Changing):
        async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
            page = await super().page(account, cursor)
            if (self.requests <= 3) is (bare == 1):
                for row in page.numbers:
                    row.row_id = None
            return page

    found, report = swept(Forgetful(9, {2: insert(9, 9)}))
    assert report.accounts["changing", "a"].passes == 2
    assert report.numbers == len(found) == 10


def test_numbers_that_an_account_lists_twice_are_two_rows() -> None:
    """Where rows bear ids, those tell them apart: one number may be assigned twice."""

    class Twice(Changing):
        async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
            page = await super().page(account, cursor)
            for row in page.numbers:
                row.number = "+14155550100"
            return page

    found, _ = swept(Twice(9, {2: insert(9, 9)}))
    assert len(found) == len(set(found)) == 10


def test_unreadable_rows_are_counted_once_however_often_they_are_read() -> None:
    """And they count towards what the vendor says there is."""

    class Unreadable(Changing):
        async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
            page = await super().page(account, cursor)
            bad = tuple(RejectedRow(raw=row.id.encode(), reason="no") for row in page.numbers[:1])
            return msgspec.structs.replace(page, numbers=page.numbers[1:], rejected=bad)

    found, report = swept(Unreadable(9, {2: lambda rows: rows.append(9)}))
    assert len(found) + report.rejected == 10
    assert report.rejected == report.accounts["changing", "a"].rejected == 4
    assert report.accounts["changing", "a"].passes == 2
    assert not report.failures


def test_without_verifying_pages_are_taken_as_they_come() -> None:
    """One reading, whatever it shows; still nothing twice."""
    backend = Changing(9, {2: insert(0, 99)}, seed=1)
    found, report = swept(backend, verify=False)
    assert len(found) == len(set(found))
    assert report.accounts["changing", "a"].passes == 1
    assert report.complete
