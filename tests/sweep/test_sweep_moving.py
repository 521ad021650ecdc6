"""Rows that move between pages while an account is read: found by reading again, or said to be in doubt."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phonesys import BadRequest, InconsistentListing, Outcome, Page, RepeatedPage
from phonesys.backends.windows import WindowPosition
from phonesys.model import UnreadableRow
from phonesys.sweep.verify import ListingPass, PassPage, form_one_list, number_of
from tests.sweep.changing import Capped, Changing, Looking, Overlapping, exchange, insert, remove, swept
from tests.sweep.memory import number, page_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonesys import Cursor
    from tests.sweep.changing import Change


@settings(max_examples=250, deadline=None)
@given(
    kind=st.sampled_from([Looking, Overlapping]),
    change=st.sampled_from([insert, remove, exchange]),
    moments=st.dictionaries(st.integers(1, 25), st.integers(0, 20), max_size=6),
    rows=st.integers(0, 20),
    totals=st.booleans(),
    ahead=st.integers(1, 4),
    seed=st.integers(0, 99),
)
@example(kind=Looking, change=insert, moments={3: 3}, rows=6, totals=False, ahead=2, seed=0)
def test_an_account_that_is_done_was_read_whole(
    kind: type[Looking],
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
    backend = kind(rows, changes, totals=totals, ahead=ahead, seed=seed)
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
            bad = tuple(UnreadableRow(raw=row.id.encode(), reason="no") for row in page.numbers[:1])
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


@settings(max_examples=250, deadline=None)
@given(
    change=st.sampled_from([insert, remove, exchange]),
    moment=st.integers(1, 25),
    place=st.integers(0, 60),
    rows=st.integers(0, 60),
    size=st.integers(3, 20),
    totals=st.booleans(),
    ahead=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_one_move_never_costs_an_account(
    change: Callable[[int, int], Change],
    moment: int,
    place: int,
    rows: int,
    *,
    size: int,
    totals: bool,
    ahead: int,
    seed: int,
) -> None:
    """A number that comes or goes once, at any moment, leaves an account that is done and whole."""
    changes = {moment: change(min(place, rows), 1000)}
    backend = Overlapping(rows, changes, size=size, totals=totals, ahead=ahead, seed=seed)
    found, report = swept(backend)
    assert report.complete
    assert len(found) == len(set(found))
    assert {number(row).id for row in backend.always} <= set(found)


@pytest.mark.parametrize(
    ("rows", "totals", "ahead", "pages", "looks"),
    [
        (3, True, 1, 1, 0),
        (8, True, 1, 3, 3),
        (3, False, 1, 2, 1),
        (8, False, 1, 3, 2),
        (9, False, 1, 4, 3),
        (8, False, 2, 3, 3),
        (9, False, 2, 5, 5),
    ],
)
def test_places_where_pages_meet_are_looked_at_again(
    rows: int, pages: int, looks: int, *, totals: bool, ahead: int
) -> None:
    """Once where the second page was requested after the first had arrived, and twice elsewhere."""
    backend = Looking(rows, {}, totals=totals, ahead=ahead)
    _, report = swept(backend)
    assert report.pages == pages
    assert backend.requests == pages + looks
    assert report.accounts["changing", "a"].passes == 1


@pytest.mark.parametrize("totals", [False, True])
@pytest.mark.parametrize("change", [insert, remove, exchange])
def test_rows_that_never_rest_are_found_where_pages_share_rows(
    change: Callable[[int, int], Change], *, totals: bool
) -> None:
    """No pass is consistent, but three of them lead from row to row through the list."""
    changes = {moment: change(0, 1000 + moment) for moment in range(2, 100)}
    backend = Overlapping(60, changes, size=20, totals=totals)
    found, report = swept(backend)
    assert report.complete
    assert report.accounts["changing", "a"].passes == 3
    assert {number(row).id for row in backend.always} <= set(found)
    assert len(found) == len(set(found))


def test_a_list_in_another_order_each_time_is_in_doubt() -> None:
    """Then pages that share rows may leave out others."""
    backend = Overlapping(60, {moment: random.Random(moment).shuffle for moment in range(99)}, size=20)
    _, report = swept(backend)
    (failure,) = report.failures
    assert isinstance(failure.error, InconsistentListing)


@settings(max_examples=300, deadline=None)
@given(
    reads=st.lists(
        st.tuples(st.integers(0, 12), st.integers(1, 8), st.integers(0, 2), st.integers(-14, 14)),
        min_size=1,
        max_size=12,
    )
)
@example(reads=[(0, 6, 0, 1), (5, 6, 0, 0), (9, 8, 0, 0)])
@example(reads=[(0, 6, 0, -1), (5, 6, 0, 0), (9, 8, 0, 0)])
def test_pages_that_form_one_list_hold_all_that_was_there(reads: list[tuple[int, int, int, int]]) -> None:
    """Whatever pages are read, of whatever passes, and whatever is bought and released between two."""
    rows, pages = list(range(15)), []
    always = set(rows)
    for moment, (start, size, skipped, move) in enumerate(reads):
        held = [hash(number(row).id) for row in rows[start : start + size]]
        following = ("more",) if start + size < len(rows) else ()
        pages.append(PassPage(None, following, start, held, held, (), skipped=min(skipped, len(held))))
        (insert if move > 0 else remove)(abs(move) - 1 if move else 99, 100 + moment)(rows)
        always &= set(rows)
    delivered = {row for page in pages for row in page.ids[page.skipped :]}
    if form_one_list(pages):
        assert {hash(number(row).id) for row in always} <= delivered
    elif not any(move for *_, move in reads) and not any(page.skipped for page in pages):
        assert not all(page.ids for page in pages) or len(delivered) < len(always) or not touching(reads)


def touching(reads: list[tuple[int, int, int, int]]) -> bool:
    """Return True if each of the pages, in order, begins on a row of one before it."""
    reach = 1
    for start, size, *_ in sorted(reads):
        if start >= reach:
            return False
        reach = max(reach, start + size)
    return True


@pytest.mark.parametrize(
    ("pages", "one_list"),
    [
        (["0abc", "2cdef."], True),
        (["2cdef.", "0abc"], True),
        (["0abc", "3def."], False),  # no row of both
        (["0abc", "3def.", "2cd"], True),  # a page of another pass has rows of both
        (["0abc", "2cde"], False),  # the end is missing
        (["1bc", "2cdef."], False),  # the beginning is missing
        (["0abc", "2cbdef."], False),  # two rows in either order
        (["0abc", "0bacdef."], False),
        (["0abc", "0aac", "2cdef."], False),  # a row that follows itself
        (["0."], True),
        (["0abcdef."], True),
        (["0abc", "2+cdef."], True),  # the shared row was left out, and is on the other page
        (["0ab", "1++bxcdef."], False),  # a row that was left out is on no other page
        (["0+abc."], False),
        (["0ab", "1+xbc", "3+xyz."], False),  # the row that both left out leads nowhere
        (["0ab", "1++xebc", "4++xdyz.", "8d", "9e"], False),  # as before, with others left out
    ],
)
def test_pages_form_one_list(pages: list[str], *, one_list: bool) -> None:
    """Pages are written as offset, `+` for each row left out, rows, and a dot at the list's end."""
    made = [
        PassPage(
            None, () if page.endswith(".") else (1,), int(page[0]), ids, ids, (), skipped=page.count("+")
        )
        for page in pages
        for ids in [[ord(row) for row in page[1:].strip("+.")]]
    ]
    assert form_one_list(made) is one_list


@pytest.mark.parametrize("totals", [False, True])
def test_overlapping_pages_take_no_further_request(totals: bool) -> None:
    """The pages themselves show that nothing moved; a list is read in the requests of its windows."""
    backend = Overlapping(20, {}, size=8, totals=totals)
    found, report = swept(backend)
    assert len(found) == 20
    assert report.pages == backend.requests == 4
    assert report.duplicates == 0


def test_unverified_pages_do_not_overlap() -> None:
    """`verify=False` reads pages of one size."""
    backend = Overlapping(20, {}, size=8)
    found, report = swept(backend, verify=False)
    assert len(found) == 20
    assert report.pages == backend.requests == 7  # of three rows


@pytest.mark.parametrize("totals", [False, True])
def test_a_backend_whose_pages_do_not_overlap_is_read_in_others(totals: bool) -> None:
    """Two passes that agree show it. The account is read whole, and later ones at once without overlap."""
    backend = Capped(20, {}, size=8, totals=totals)
    found, report = swept(backend)
    assert sorted(found) == sorted(number(row).id for row in range(20))
    assert report.complete
    assert report.accounts["changing", "a"].passes == 3
    assert backend.overlaps is False
    found, report = swept(backend)
    assert len(found) == 20
    assert report.accounts["changing", "a"].passes == 1


class Ending(Overlapping):
    """Refuses or repeats pages beyond the end."""

    def __init__(self, rows: int, beyond: str, **options: Any) -> None:
        super().__init__(rows, {}, totals=False, **options)
        self.beyond = beyond

    async def overlapping_page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
        page = await super().overlapping_page(account, cursor)
        if page.numbers or cursor is None:
            return page
        if self.beyond == "refusal":
            raise BadRequest("no such page", status=400)
        start = 0 if self.beyond == "first page" else len(self.rows) - 2
        held = self.rows[start : start + WindowPosition.parse(cursor, self.size).window.size]
        return msgspec.structs.replace(page, numbers=tuple(map(number, held)))


@pytest.mark.parametrize("beyond", ["refusal", "first page", "last rows"])
@pytest.mark.parametrize("rows", range(17, 40))
def test_pages_beyond_the_end_fail_no_account(beyond: str, rows: int) -> None:
    """Pages that were requested on a guess do not matter once the others are the whole account."""
    found, report = swept(Ending(rows, beyond, size=8, ahead=5))
    assert report.complete
    assert sorted(found) == sorted(number(row).id for row in range(rows))


def test_a_page_that_fails_within_the_account_fails_it() -> None:
    """Its neighbours overlap, but not all of its rows are on them."""

    class Broken(Overlapping):
        async def overlapping_page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
            if cursor == "2/8":
                raise BadRequest("no such page", status=400)
            return await super().overlapping_page(account, cursor)

    _, report = swept(Broken(40, {}, size=8, totals=False, ahead=5))
    (failure,) = report.failures
    assert isinstance(failure.error, BadRequest)


def test_unreadable_rows_where_pages_overlap_are_counted_once() -> None:
    """A row that two pages hold is one row, and pages that agree otherwise need no other pass."""

    class Unreadable(Overlapping):
        async def overlapping_page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
            page = await super().overlapping_page(account, cursor)
            bad = {number(row).id for row in (0, 4, 7, 8, 12, 19)}
            raws = tuple(
                UnreadableRow(raw=row.id.encode(), reason="no") for row in page.numbers if row.id in bad
            )
            good = tuple(row for row in page.numbers if row.id not in bad)
            return msgspec.structs.replace(page, numbers=good, rejected=raws)

    found, report = swept(Unreadable(20, {}, size=8))
    assert len(found) == len(set(found)) == 14
    assert report.rejected == 6
    assert report.accounts["changing", "a"].passes == 1


@pytest.mark.parametrize(
    ("held", "consistent"),
    [
        ([5, 6, 7, 8], True),
        ([5, 6, 7], True),
        ([5, 6], True),
        ([5], True),
        ([], False),
        ([5, 9], False),
        ([6], False),
    ],
)
def test_pages_agree_on_the_rows_that_both_hold(held: list[int], *, consistent: bool) -> None:
    """A page that ended the list when it was read may lack rows that were appended since.

    A page without any row may have lacked others as well.
    """
    listing = ListingPass(number_of)
    listing.add(page_at(5, held, overlap=3))
    listing.add(page_at(0, list(range(8)), following=("1/8",)))
    assert listing.is_consistent is consistent


def test_rows_appended_behind_the_last_page_come_once() -> None:
    """A page that was requested ahead holds them; the rows of the last page are left out of it."""
    listing = ListingPass(number_of, overlapping=True)
    listing.add(page_at(0, [0, 1, 2, 3], following=("1/4", "2/4")))
    listing.add(page_at(3, [3, 4], overlap=1))
    late = listing.add(page_at(4, [4, 5, 6], overlap=2))
    assert [row.number for row in late.numbers] == [number(row).number for row in (5, 6)]
    assert late.offset == 5
    assert listing.is_consistent


def test_a_row_twice_on_one_page_of_several_is_no_sign_of_moving() -> None:
    """One response shows one moment. A row on two pages is such a sign."""
    listing = ListingPass(number_of)
    assert len(listing.add(page_at(0, [0, 0, 1], following=("1",))).numbers) == 2
    listing.add(page_at(3, [2, 3], following=("2",)))
    assert listing.duplicates == 1
    assert listing.is_consistent
    listing.add(page_at(5, [3, 4]))
    assert not listing.is_consistent


@pytest.mark.parametrize("whole", [True, False])
def test_a_page_that_comes_again_is_no_page(whole: bool) -> None:
    """Beyond the end, or one that names others, where pages are requested on a guess; else rows moved."""
    listing = ListingPass(number_of, overlapping=True)
    listing.add(page_at(0, [0, 1, 2, 3], following=("1/4", "2/4")))
    if whole:
        listing.add(page_at(3, [3, 4], overlap=1))
    with pytest.raises(RepeatedPage, match="none of its numbers is new"):
        listing.add(page_at(7, [3, 4]) if whole else page_at(6, [0, 1, 2, 3], following=("3/4",)))
    assert not listing.row_moved
    if not whole:
        assert not listing.add(page_at(6, [0, 1, 2, 3])).numbers
        assert listing.row_moved
