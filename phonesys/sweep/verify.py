"""Verification of one pass over an account: the rows it saw, and whether they are consistent."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec

from phonesys.errors import RepeatedPage
from phonesys.model import Cursor, PhoneNumber

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phonesys.model import Page
    from phonesys.provider import NumberProvider

number_of: Callable[[PhoneNumber], str] = attrgetter("number")
_id_of: Callable[[PhoneNumber], str] = attrgetter("id")


def identity_of(provider: NumberProvider) -> Callable[[PhoneNumber], str]:
    """Return what tells a backend's rows apart: the number where no two rows of an account share one."""
    return number_of if getattr(provider, "unique_numbers", False) else _id_of


def ids_and_numbers(
    rows: Sequence[PhoneNumber], identity: Callable[[PhoneNumber], str]
) -> tuple[list[str], list[str]]:
    """Return the rows' ids and numbers: the same list twice where rows are told apart by number."""
    ids = list(map(identity, rows))
    return ids, ids if identity is number_of else list(map(number_of, rows))


class SeenRows(msgspec.Struct, eq=False):
    """Rows by id and by number: a vendor may leave out a row's id at times, whose id then is the number."""

    ids: set[str] = msgspec.field(default_factory=set[str])
    numbers: set[str] = msgspec.field(default_factory=set[str])

    def __len__(self) -> int:
        return len(self.ids)

    def unseen(self, ids: list[str], numbers: list[str]) -> set[str]:
        """Return the ids of the rows that are not known; takes what `told_apart` returns, as `add` does."""
        # From set to set all the way: anything else beside a set that grows costs a copy of it.
        fresh = set(ids) - self.ids
        if numbers is ids:
            return fresh
        on_page = set(numbers)
        if on_page.isdisjoint(fresh) and on_page.isdisjoint(self.ids):
            return fresh  # every row has an id of its own, then as now
        rows = dict(zip(ids, numbers, strict=True))
        bare = {id_ for id_ in fresh if rows[id_] == id_}
        return {id_ for id_ in fresh - bare if rows[id_] not in self.ids} | (bare - self.numbers)

    def add(self, ids: list[str], numbers: list[str]) -> None:
        """Add rows."""
        self.ids.update(ids)
        if numbers is not ids:
            self.numbers.update(numbers)

    def update(self, others: SeenRows) -> None:
        """Add what others know."""
        self.ids |= others.ids
        self.numbers |= others.numbers


_MOST_EMPTY_PAGES = 100


class ListingPass(msgspec.Struct, eq=False):
    """What the pages of one reading said.

    Rows move between pages when numbers are bought or released meanwhile. What gives that away: another row
    where a page ended a moment ago, a total that changes or that the rows do not reach, and where there
    is none, a row on two pages or a hole between them.
    """

    identity: Callable[[PhoneNumber], str]
    """What tells two rows apart."""
    in_order: bool = False
    """Whether each page is fetched only after the one before it."""
    seen: SeenRows = msgspec.field(default_factory=SeenRows)
    fingerprints: Counter[int] = msgspec.field(default_factory=Counter[int])
    """The pages, by what they hold."""
    totals: set[int] = msgspec.field(default_factory=set[int])
    rows: int = 0
    """All of them, repeated and unreadable ones too."""
    unreadable: set[bytes] = msgspec.field(default_factory=set[bytes])
    duplicates: int = 0
    overlapping: bool = False
    """Whether a row came on two pages."""
    row_moved: bool = False
    """Whether another row was found where a page had ended."""
    cursors: set[Cursor | None] = msgspec.field(default_factory=lambda: {None})
    waiting: deque[Cursor] = msgspec.field(default_factory=deque[Cursor])
    starts: dict[int, int] = msgspec.field(default_factory=dict[int, int])
    """How many rows the page has that starts at a place."""
    ends: dict[int, str] = msgspec.field(default_factory=dict[int, str])
    """The last row of the page that ends before a place."""
    boundaries: list[int] = msgspec.field(default_factory=list[int])
    """Places where one page ends and another starts that were not looked at again."""
    empty_pages: int = 0

    # What comes

    def add(self, page: Page[PhoneNumber]) -> set[str]:
        """Take note of a page, and return the ids that are new; raises RepeatedPage for a circle."""
        self._name(page.next)
        if page.total is not None:
            self.totals.add(page.total)
        self.rows += len(page.numbers) + len(page.rejected)
        self.unreadable.update(row.raw for row in page.rejected)
        ids, numbers = ids_and_numbers(page.numbers, self.identity)
        if page.offset is not None:
            self._place(page.offset, ids, len(page.rejected))
        return self._new(ids, numbers, page) if ids else self._empty(page)

    def following(self, named: tuple[Cursor, ...]) -> Iterator[Cursor]:
        """Yield the cursors to fetch now that this page, which named some, is read."""
        if not self.in_order:
            yield from named
            return
        self.waiting.extend(named)
        if self.waiting:
            yield self.waiting.popleft()

    def _name(self, following: tuple[Cursor, ...]) -> None:
        for cursor in following:
            if cursor in self.cursors:
                raise RepeatedPage(f"paging came back to cursor {cursor!r:.80}")
            self.cursors.add(cursor)

    def _new(self, ids: list[str], numbers: list[str], page: Page[PhoneNumber]) -> set[str]:
        new = self.seen.unseen(ids, numbers)
        print_ = hash(tuple(ids))
        if not new and (print_ in self.fingerprints or page.next):
            raise RepeatedPage("a page came again: none of its numbers is new")
        if len(new) < len(ids):
            self.duplicates += len(ids) - len(new)
            self.overlapping = self.overlapping or len(new) < len(set(ids))
        self.fingerprints[print_] += 1
        self.seen.add(ids, numbers)
        return new

    def _empty(self, page: Page[PhoneNumber]) -> set[str]:
        self.empty_pages += not page.rejected
        if page.next and self.empty_pages > _MOST_EMPTY_PAGES:
            raise RepeatedPage(f"{self.empty_pages} pages without a number, and another one named")
        return set()

    # Places

    def _place(self, start: int, ids: list[str], rejected: int) -> None:
        end = start + len(ids) + rejected
        self.starts[start] = end - start
        if ids and not rejected:  # a row that cannot be read may well be the last one
            self.ends[end] = ids[-1]
        self.boundaries += [place for place in {start, end} if place in self.starts and place in self.ends]

    def pop_boundaries(self) -> Iterator[tuple[int, str]]:
        """Yield the rows to look at again, by place and what tells them apart, each once."""
        while self.boundaries:
            place = self.boundaries.pop()
            yield place - 1, self.ends[place]

    @property
    def _has_holes(self) -> bool:
        pages = sorted(place for place in self.starts.items() if place[1])
        return any(start + rows < following for (start, rows), (following, _) in pairwise(pages))

    # Whether it adds up

    @property
    def found(self) -> int:
        """How many rows there were, each counted once."""
        return len(self.seen) + len(self.unreadable)

    @property
    def total(self) -> int:
        """The most that the vendor counted; 0 where it does not count."""
        return max(self.totals, default=0)

    @property
    def is_consistent(self) -> bool:
        """Whether nothing hints at rows that moved, or that were left out."""
        if self.row_moved:
            return False
        if self.totals:
            return len(self.totals) == 1 and self.found >= self.total
        return not (self.overlapping or self._has_holes)
