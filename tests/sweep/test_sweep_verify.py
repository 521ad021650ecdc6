"""What the pages of one pass show: which rows are the same, which moved, and what must be looked at again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import pytest

from phonesys import Page, RepeatedPage
from phonesys.backends.agents import AgentNumber
from phonesys.backends.leadping.wire import LeadpingRow
from phonesys.sweep.verify import EndCheck, ListingPass, RowCheck, identities_of, identity_of, number_of
from tests.sweep.memory import Memory, number, page_at

by_id = identity_of(Memory({}))


def page_of(*rows: Any, following: tuple[str, ...] = ()) -> Page[Any]:
    return Page(account="a", numbers=rows, next=following)


def kept(page: Page[Any]) -> list[str]:
    return [row.number for row in page.numbers]


def numbers_of(*rows: int) -> list[str]:
    return [number(row).number for row in rows]


# The same row


@pytest.mark.parametrize("unique", [True, False])
def test_rows_with_one_number_are_one_row_where_numbers_are_unique(unique: bool) -> None:
    """Elsewhere their ids tell them apart."""

    class Unique(Memory):
        unique_numbers = unique

    listing = ListingPass(identity_of(Unique({})))
    listing.add(page_of(AgentNumber(number="+1", row_id="x"), following=("1",)))
    page = listing.add(page_of(AgentNumber(number="+1", row_id="y"), AgentNumber(number="+2", row_id="z")))
    assert kept(page) == (["+2"] if unique else ["+1", "+2"])
    assert listing.duplicates == unique


def test_numbers_without_digits_are_told_apart_by_id() -> None:
    """Numbers that are being provisioned are rows as well, each once."""
    listing = ListingPass(number_of)
    first = AgentNumber(number="", row_id="x"), AgentNumber(number="", row_id="y"), number(1)
    assert listing.add(page_of(*first, following=("1",))).numbers == first
    page = listing.add(page_of(AgentNumber(number="", row_id="y"), AgentNumber(number="", row_id="z")))
    assert [row.id for row in page.numbers] == ["z"]
    assert listing.found == 4


@pytest.mark.parametrize("kind", [AgentNumber, LeadpingRow])
@pytest.mark.parametrize("bare", [0, 1])
def test_a_row_that_lacks_its_id_on_one_page_comes_once(kind: Any, bare: int) -> None:
    """Its number stands in for the id, whichever of the two pages arrives first."""
    listing = ListingPass(by_id)
    pages = [
        [kind(number=f"+{row}", row_id=None if row == 2 and page == bare else f"id-{row}") for row in rows]
        for page, rows in enumerate(([1, 2], [2, 3]))
    ]
    found = kept(listing.add(page_of(*pages[0], following=("1",)))) + kept(listing.add(page_of(*pages[1])))
    assert found == ["+1", "+2", "+3"]
    assert listing.duplicates == 1


@dataclass
class Row:
    """A row whose `id` must not be read."""

    number: str
    row_id: str
    id_field: ClassVar[str] = "row_id"

    @property
    def id(self) -> str:
        raise AssertionError


def test_rows_that_name_the_field_of_their_id_are_identified_by_it() -> None:
    """Their `id` computes the same, and takes three times as long."""
    rows: Any = [Row("+1", "x"), Row("+2", "y")]
    assert identities_of(rows, by_id) == (hashes("x", "y"), hashes("+1", "+2"), False)


def hashes(*texts: str) -> list[int]:
    return [hash(text) for text in texts]


class Plain(NamedTuple):
    """A row of a backend that knows nothing of `id_field`."""

    number: str
    id: str


def test_rows_of_any_class_are_identified_by_their_id() -> None:
    """They need not name a field."""
    rows: Any = [Plain("+1", "x"), Plain("+2", "y")]
    assert identities_of(rows, by_id) == (hashes("x", "y"), hashes("+1", "+2"), False)


@pytest.mark.parametrize("identity", [by_id, number_of])
def test_a_consistent_pass_keeps_one_set_of_rows(identity: Any) -> None:
    """Numbers are kept beside ids only once a row came twice or lacked its id."""
    listing = ListingPass(identity, overlapping=True)
    listing.add(page_at(0, range(4), following=("1",)))
    listing.add(page_at(3, range(3, 8), overlap=1, following=("2",)))
    listing.add(page_at(8, range(8, 9)))
    assert listing.seen is None
    assert listing.found == 9
    assert listing.is_consistent
    assert listing.is_whole


def test_pages_without_an_offset_are_not_compared() -> None:
    """Their places are unknown. Rows that come once are no sign of moving."""
    listing = ListingPass(by_id)
    listing.add(page_at(None, [0, 1, 2], following=("1",)))
    listing.add(page_at(None, [3, 4], following=("2",)))
    listing.add(page_at(None, [5]))
    assert listing.is_consistent
    assert not [*listing.pop_checks()]


# Overlaps


def test_a_page_is_handed_on_without_its_overlap() -> None:
    """It then begins at the first row that is new."""
    listing = ListingPass(number_of, overlapping=True)
    listing.add(page_at(0, range(4), following=("1",)))
    page = listing.add(page_at(2, range(2, 6), overlap=2))
    assert (page.offset, page.overlap, kept(page)) == (4, 0, numbers_of(4, 5))


def test_pages_in_order_are_read_without_their_overlap() -> None:
    """The rows that the page before really holds are left out, and are no repetition."""
    listing = ListingPass(number_of, sequential=True, overlapping=True)
    listing.add(page_at(0, range(4), following=("1",)))
    assert kept(listing.add(page_at(2, range(2, 6), overlap=2, following=("2",)))) == numbers_of(4, 5)
    assert listing.duplicates == 0
    assert listing.is_consistent
    assert kept(listing.add(page_at(4, [5, 6, 7], overlap=2))) == numbers_of(6, 7)
    assert not listing.is_consistent


def test_a_page_behind_the_last_one_shares_no_row_with_it() -> None:
    """Its rows were appended since, and all of them are new."""
    listing = ListingPass(number_of, overlapping=True)
    listing.add(page_at(0, range(4), following=("1", "2")))
    listing.add(page_at(3, [3, 4], overlap=1))
    assert kept(listing.add(page_at(7, [7, 8], overlap=1))) == numbers_of(7, 8)
    assert not listing.is_consistent  # rows 5 and 6 are on no page


def test_a_row_that_moved_behind_an_overlap_is_seen() -> None:
    """The rows that both pages hold are the same, but another one came twice."""
    listing = ListingPass(number_of, overlapping=True)
    listing.add(page_at(0, range(4), following=("1",)))
    assert kept(listing.add(page_at(3, [3, 1, 4], overlap=1))) == numbers_of(4)
    assert listing.duplicates == 1
    assert not listing.is_consistent


def test_repeated_rows_of_all_pages_are_counted() -> None:
    """Page by page."""
    listing = ListingPass(by_id)
    listing.add(page_at(None, [0, 1], following=("1",)))
    listing.add(page_at(None, [0, 1, 2], following=("2",)))
    listing.add(page_at(None, [2, 3]))
    assert listing.duplicates == 3


# Rows that cannot be read


@pytest.mark.parametrize("first_arrives", [True, False])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (page_at(0, [0, 1, 3], unreadable=(b"2",), following=("1",)), page_at(3, [3, 4], overlap=1)),
        (page_at(0, range(4), following=("1",)), page_at(3, [3, 5], overlap=1, unreadable=(b"4",))),
        (page_at(0, range(3), unreadable=(b"3",), following=("1",)), page_at(3, [3, 4], overlap=1)),
        (page_at(0, [0, 3], unreadable=(b"1", b"2"), following=("1",)), page_at(3, [3, 4], overlap=1)),
    ],
    ids=["in the first", "in the second", "in one of them only", "several"],
)
def test_pages_with_unreadable_rows_may_agree(
    first: Page[Any], second: Page[Any], *, first_arrives: bool
) -> None:
    """The place of such a row is unknown. Pages agree unless the rows that can be read contradict it."""
    listing = ListingPass(number_of, overlapping=True)
    for page in (first, second) if first_arrives else (second, first):
        listing.add(page)
    assert listing.is_consistent
    assert listing.duplicates == 0


def test_readable_rows_contradict_an_overlap() -> None:
    """More rows are shared, or fewer, than the pages have room for."""
    fewer = ListingPass(number_of, overlapping=True)
    fewer.add(page_at(0, range(5), following=("1",)))
    fewer.add(page_at(2, [5, 6, 7], overlap=3, unreadable=(b"x",)))
    assert not fewer.is_consistent
    more = ListingPass(number_of, overlapping=True)
    more.add(page_at(0, range(4), following=("1",)))
    more.add(page_at(3, [2, 3, 4], overlap=1, unreadable=(b"x",)))
    assert not more.is_consistent


@pytest.mark.parametrize(
    ("first", "second", "left"),
    [
        ((b"x",), (b"x", b"x"), (b"x",)),
        ((b"x", b"x"), (b"x", b"x"), ()),
        ((b"x",), (b"y",), (b"y",)),
    ],
)
def test_unreadable_rows_of_an_overlap_are_counted_once(
    first: tuple[bytes, ...], second: tuple[bytes, ...], left: tuple[bytes, ...]
) -> None:
    """As often as the page before holds the same bytes; any others are rows of their own."""
    listing = ListingPass(number_of, overlapping=True)
    listing.add(page_at(0, [0, 1], unreadable=first, following=("1",)))
    page = listing.add(page_at(2, [4], overlap=2, unreadable=second))
    assert tuple(row.raw for row in page.rejected) == left
    assert listing.found == 3 + len(first) + len(left)


@pytest.mark.parametrize("first_arrives", [True, False])
def test_unreadable_rows_of_pages_that_only_meet_are_two(first_arrives: bool) -> None:
    """Equal bytes on both do not make them one."""
    listing = ListingPass(number_of)
    first = page_at(0, [0, 1], unreadable=(b"x",), following=("1",))
    second = page_at(3, [2, 3], unreadable=(b"x",))
    pages = (first, second) if first_arrives else (second, first)
    assert [len(listing.add(page).rejected) for page in pages] == [1, 1]
    assert listing.found == 6


# What is looked at again


@pytest.mark.parametrize(
    ("first", "second", "checks"),
    [
        (page_at(0, [0, 1], following=("x",)), page_at(2, [2]), [RowCheck(1, "a-1"), RowCheck(2, "a-2")]),
        (page_at(0, [0, 1], following=("x",)), page_at(2, []), [RowCheck(1, "a-1"), EndCheck(None)]),
        (page_at(0, [0, 1]), page_at(2, []), []),  # the first named no other, and the second has no row
        (page_at(0, [0, 1], following=("x",)), page_at(3, [3]), []),  # they do not meet
        (page_at(0, [0], unreadable=(b"1",), following=("x",)), page_at(2, [2]), []),
        (
            page_at(0, [0, 1], following=("x",)),
            page_at(2, [3], unreadable=(b"2",)),
            [RowCheck(1, "a-1")],
        ),
        (page_at(0, [], following=("x",)), page_at(0, [], following=("y",)), []),
    ],
    ids=["rows", "end", "no end", "hole", "unreadable before", "unreadable after", "no rows"],
)
@pytest.mark.parametrize("first_arrives", [True, False])
def test_places_where_pages_meet_are_checked(
    first: Page[Any], second: Page[Any], checks: list[Any], *, first_arrives: bool
) -> None:
    """The rows on both sides, where their places are known, or that the list still ends there."""
    listing = ListingPass(by_id)
    for page in (first, second) if first_arrives else (second, first):
        listing.add(page)
    assert sorted(listing.pop_checks(), key=repr) == sorted(checks, key=repr)
    assert not [*listing.pop_checks()]


# Where a list ends


def test_a_pass_in_order_requests_nothing_beyond_its_end() -> None:
    """Pages that were named on a guess are dropped, even if rows moved before the end."""
    listing = ListingPass(number_of, sequential=True, overlapping=True)
    listing.add(page_at(0, range(4), following=("1", "2", "3")))
    assert listing.next_cursors(("1", "2", "3")) == ("1",)
    listing.add(page_at(3, [7, 8], overlap=1))
    assert listing.next_cursors(()) == ()


@pytest.mark.parametrize("total", [12, None])
def test_pages_without_overlap_or_with_a_total_are_all_requested(total: int | None) -> None:
    """A page that looks like the last one may be wrong about it."""
    listing = ListingPass(number_of, sequential=True, overlapping=total is not None)
    listing.add(page_at(0, range(4), following=("1", "2", "3"), total=total))
    assert listing.next_cursors(("1", "2", "3")) == ("1",)
    listing.add(page_at(4, [4, 5, 6], total=total and 7))
    assert listing.next_cursors(()) == ("2",)


def test_paging_that_comes_back_to_a_cursor_is_an_error() -> None:
    """The error names the cursor."""
    listing = ListingPass(number_of)
    listing.add(page_at(0, [0], following=("x",)))
    with pytest.raises(RepeatedPage) as raised:
        listing.add(page_at(1, [1], following=("x",)))
    assert str(raised.value) == "paging came back to cursor 'x'"


def test_pages_without_a_number_may_not_go_on_for_ever() -> None:
    """A hundred may name another. The last one may be empty as well, and a row that is unreadable counts."""
    listing = ListingPass(number_of)
    for page in range(99):
        listing.add(page_at(None, [], following=(page,)))
    for page in range(99, 300):
        listing.add(page_at(None, [], unreadable=(b"x",), following=(page,)))
    listing.add(page_at(None, [], following=(300,)))
    listing.add(page_at(None, []))
    with pytest.raises(RepeatedPage) as raised:
        listing.add(page_at(None, [], following=(301,)))
    assert str(raised.value) == "102 pages without a number, and another one named"


def test_a_page_without_new_rows_ends_a_pass_in_order() -> None:
    """Rows moved. The pages that it names would not show more, and another pass is needed."""
    listing = ListingPass(number_of, sequential=True, overlapping=True)
    listing.add(page_at(0, range(4), following=("1",)))
    page = listing.add(page_at(3, [1, 2], overlap=1, following=("2",)))
    assert (page.next, page.numbers) == ((), ())
    assert not listing.is_consistent


def test_a_page_that_comes_again_is_named_in_the_error() -> None:
    """In words: there is no cursor to blame."""
    listing = ListingPass(number_of)
    listing.add(page_at(0, [0, 1], following=("1",)))
    with pytest.raises(RepeatedPage) as raised:
        listing.add(page_at(2, [0, 1]))
    assert str(raised.value) == "a page came again: none of its numbers is new"


@pytest.mark.parametrize(("repeated", "ends"), [((4, [0, 1]), True), ((6, [0, 1]), False)])
def test_a_list_may_end_in_repetition(repeated: tuple[int, list[int]], *, ends: bool) -> None:
    """Directly after its last page, and after two different ones at least."""
    listing = ListingPass(number_of, sequential=True)
    listing.add(page_at(0, [0, 1], following=("1",)))
    assert not listing.ends_in_repetition
    listing.add(page_at(2, [2, 3], following=("2",)))
    with pytest.raises(RepeatedPage):
        listing.add(page_at(*repeated, following=("3",)))
    assert listing.ends_in_repetition is ends
