"""When an account is read again, when a failure matters, and what is then said about it."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from phonesys import BadRequest, Forbidden, InconsistentListing, Outcome, Page, RepeatedPage
from phonesys.backends.windows import window_plan
from phonesys.sweep import Source
from phonesys.sweep.account import AccountProgress, PreviousPasses
from phonesys.sweep.fetch import PageFetcher
from phonesys.sweep.verify import ListingPass, form_one_list, number_of
from tests.sweep.changing import SIZE, Capped, Changing, Looking, Overlapping, insert, swept
from tests.sweep.memory import Memory, number, page_at

if TYPE_CHECKING:
    from phonesys import Cursor
    from phonesys.sweep import AccountReport, SweepReport


def entry_of(report: SweepReport) -> AccountReport:
    (entry,) = report.accounts.values()
    return entry


# One pass is enough


@pytest.mark.parametrize(
    "page",
    [page_at(0, [0, 1]), page_at(0, [0, 1], total=2), page_at(0, [0, 1], total=3, unreadable=(b"x",))],
    ids=["no total", "a total", "an unreadable row"],
)
def test_one_consistent_page_costs_nothing_more(page: Page[Any]) -> None:
    """Most accounts have one page; the state to compare pages by is not made for them."""
    backend = Memory({})
    progress = AccountProgress(PageFetcher(Source("memory", backend), None, verify=True), "a")
    assert progress.add(page) is page
    assert progress.listing_pass is None
    entry = progress.result(Outcome.DONE)
    assert (entry.passes, entry.duplicates) == (1, 0)


def test_an_account_is_counted_as_it_was_handed_on() -> None:
    """Its numbers, its pages, and the rows that came twice."""
    found, report = swept(Memory({"a": [[number(1), number(2)], [number(2), number(3)], [number(4)]]}))
    entry = entry_of(report)
    assert (entry.numbers, entry.pages, entry.duplicates) == (len(found), 3, 1)
    assert entry.outcome is Outcome.DONE
    _, report = swept(Memory({"a": [[], []]}))
    assert entry_of(report).outcome is Outcome.EMPTY


def test_pages_beyond_the_end_are_dropped_while_they_wait() -> None:
    """Those that were named on a guess are not requested once the pages before them are the whole account."""
    backend = Overlapping(69, {}, size=8, totals=False, ahead=5)
    found, report = swept(backend, concurrency=1)
    assert len(found) == 69
    assert backend.requests == report.pages == window_plan(8).count(69) == 14
    assert report.complete


# Where numbers are unique


class Renumbering(Changing):
    """Its numbers are unique, and their ids are others in every response."""

    unique_numbers = True

    async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
        page = await super().page(account, cursor)
        for row in page.numbers:
            row.row_id = f"{row.number} of request {self.requests}"
        return page


def test_unique_numbers_are_the_same_rows_whatever_their_ids() -> None:
    """Within a pass, and in the next one."""
    found, report = swept(Renumbering(9, {2: insert(0, 99)}, totals=False, seed=1))
    assert len(found) == report.numbers == 10
    assert entry_of(report).passes == 2
    assert report.duplicates == 1


def test_a_number_that_moves_in_a_second_pass_comes_once() -> None:
    """It is new to that pass, and on two of its pages, with another id on each."""
    moves = {2: insert(0, 99), 5: insert(2, 100), 6: insert(0, 101)}
    found, report = swept(Renumbering(9, moves, totals=False, seed=1))
    assert len(found) == len({row.partition(" ")[0] for row in found}) == 12
    assert report.complete


def test_a_number_that_gets_its_digits_is_handed_on_with_them() -> None:
    """Between two passes. Without them, its id stood for it."""

    class Provisioning(Changing):
        unique_numbers = True

        async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
            page = await super().page(account, cursor)
            for row in page.numbers:
                if row.row_id == "a-0" and self.requests <= 3:
                    row.number = ""
            return page

    found, report = swept(Provisioning(9, {2: insert(9, 9)}))
    assert entry_of(report).passes == 2
    assert Counter(found) == {f"a-{row}": 2 if row == 0 else 1 for row in range(10)}


# Failures


class Broken(Changing):
    """Refuses one page."""

    def __init__(self, rows: int, broken: int, **options: Any) -> None:
        super().__init__(rows, options.pop("changes", {}), **options)
        self.broken = broken
        self.healthy_for = 0

    async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
        page = await super().page(account, cursor)
        if cursor == self.broken and self.requests > self.healthy_for:
            raise BadRequest("no such page", status=400)
        return page


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("totals", [True, False])
def test_an_account_is_not_done_without_a_page_that_was_refused(*, verify: bool, totals: bool) -> None:
    """Whether or not it is verified."""
    _, report = swept(Broken(20, 6, totals=totals, ahead=3), verify=verify)
    (failure,) = report.failures
    assert isinstance(failure.error, BadRequest)
    assert entry_of(report).outcome is Outcome.FAILED


def test_a_page_that_fails_ends_its_account_where_the_vendor_counts() -> None:
    """No page was requested on a guess, so the failure matters, and no further page is requested."""
    backend = Broken(30, SIZE)
    swept(backend, concurrency=1)
    assert backend.requests == 2


def test_a_page_that_fails_ends_its_account_where_pages_have_no_offset() -> None:
    """Nothing could show that the others are the whole account."""
    backend = Memory({"a": [[number(1)], Forbidden(status=403), [number(2)], [number(3)]]}, at_once=True)
    _, report = swept(backend, concurrency=1)
    assert backend.asked.total() == 2
    assert entry_of(report).outcome is Outcome.FAILED


def test_a_page_that_fails_in_a_second_pass_ends_its_account() -> None:
    """Read in order, a page before the end is one of the account's."""
    backend = Broken(9, 2 * SIZE, totals=False, changes={2: insert(0, 99)}, seed=1)
    backend.healthy_for = 4
    _, report = swept(backend)
    (failure,) = report.failures
    assert isinstance(failure.error, BadRequest)
    assert entry_of(report).passes == 2
    assert backend.requests == 7


class Repeating(Changing):
    """Sends rows again instead of those of some page."""

    def __init__(self, rows: int, *, at: int, instead: int) -> None:
        super().__init__(rows, {}, totals=False)
        self.at = at
        self.instead = instead

    async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
        place = int(cursor or 0)
        page = await super().page(account, self.instead if place == self.at else cursor)
        return msgspec.structs.replace(page, cursor=cursor, offset=place, next=self._next(place, SIZE))


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("instead", [0, 3])
def test_a_list_that_ends_in_repetition_is_whole(instead: int, *, verify: bool) -> None:
    """A second pass, page after page, shows that the repeated page is the one after the last."""
    found, report = swept(Repeating(6, at=6, instead=instead), verify=verify)
    assert len(found) == 6
    assert report.complete
    assert entry_of(report).passes == (2 if verify else 1)


@pytest.mark.parametrize("verify", [True, False])
def test_a_vendor_that_repeats_its_first_page_is_not_believed(*, verify: bool) -> None:
    """It may ignore which page is requested."""
    _, report = swept(Repeating(12, at=3, instead=0), verify=verify)
    (failure,) = report.failures
    assert isinstance(failure.error, RepeatedPage)


# Two passes that agree


class Miscounting(Overlapping):
    """Counts more rows than it lists."""

    async def overlapping_page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
        page = await super().overlapping_page(account, cursor)
        return msgspec.structs.replace(page, total=len(self.rows) + 2)


def test_a_wrong_total_is_no_reason_to_stop_overlapping() -> None:
    """The pages agree where they overlap; the account is short, and other accounts are read as before."""
    backend = Miscounting(20, {}, size=8)
    _, report = swept(backend)
    entry = entry_of(report)
    assert isinstance(entry.error, InconsistentListing)
    assert str(entry.error) == "changing page a: the vendor counts 22 numbers and lists 20"
    assert entry.passes == 2
    assert backend.overlaps


def test_a_total_that_counts_a_repeated_row_is_right() -> None:
    """A list that bears a row twice, twice in the same place, has as many rows as the vendor counts."""
    backend = Changing(9, {})
    backend.rows[8] = 0
    found, report = swept(backend)
    assert report.complete
    assert len(found) == 8
    assert entry_of(report).passes == 2


class Contradicting(Looking):
    """Denies that any row is where it was listed."""

    async def has_row_at(self, account: str, place: int, row: str) -> bool:
        del account, place, row
        return False


def test_second_looks_that_contradict_two_equal_passes_are_wrong() -> None:
    """The pages themselves agree; a third pass would show no more."""
    _, report = swept(Contradicting(9, {}))
    assert report.complete
    assert entry_of(report).passes == 2


def test_rows_that_never_rest_after_pages_that_do_not_overlap_end_in_doubt() -> None:
    """Two passes show that pages do not overlap, and three of the others are tried after them."""
    backend = Capped(30, {moment: random.Random(moment).shuffle for moment in range(16, 300)}, size=8)
    _, report = swept(backend)
    entry = entry_of(report)
    assert isinstance(entry.error, InconsistentListing)
    assert entry.passes == 5


# Three passes that differ


def test_all_passes_together_may_lead_to_the_end() -> None:
    """The pages of each are kept, not only those of the last two."""
    first, second, third = (ListingPass(number_of) for _ in range(3))
    first.add(page_at(0, [0, 1, 2], following=("1",)))
    second.add(page_at(2, [2, 3, 4], following=("1",)))
    third.add(page_at(4, [4, 5]))
    previous = PreviousPasses()
    previous.remember(first)
    previous.remember(second)
    assert form_one_list([*previous.pages, *third.pages])
    assert previous.fingerprints == second.fingerprints()
