"""Verification of one pass over an account: the rows of its pages, and whether they are consistent."""

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
    """Return the function that identifies a row: by number where numbers are unique, else by id."""
    return number_of if getattr(provider, "unique_numbers", False) else _id_of


def ids_and_numbers(
    rows: Sequence[PhoneNumber], identity: Callable[[PhoneNumber], str]
) -> tuple[list[str], list[str]]:
    """Return the rows' ids and numbers; the same list twice if rows are identified by number."""
    ids = list(map(identity, rows))
    return ids, ids if identity is number_of else list(map(number_of, rows))


class SeenRows(msgspec.Struct, eq=False):
    """Rows by id and by number. A vendor may leave out an id at times; its number replaces it."""

    ids: set[str] = msgspec.field(default_factory=set[str])
    numbers: set[str] = msgspec.field(default_factory=set[str])

    def __len__(self) -> int:
        return len(self.ids)

    def unseen(self, ids: list[str], numbers: list[str]) -> set[str]:
        """Return the ids of the rows that were not seen before. The arguments are from `ids_and_numbers`."""
        fresh = set(ids) - self.ids
        if numbers is ids:
            return fresh
        on_page = set(numbers)
        if on_page.isdisjoint(fresh) and on_page.isdisjoint(self.ids):
            return fresh  # no row lacked its id, neither then nor now
        rows = dict(zip(ids, numbers, strict=True))
        bare = {id_ for id_ in fresh if rows[id_] == id_}
        return {id_ for id_ in fresh - bare if rows[id_] not in self.ids} | (bare - self.numbers)

    def add(self, ids: list[str], numbers: list[str]) -> None:
        """Add rows."""
        self.ids.update(ids)
        if numbers is not ids:
            self.numbers.update(numbers)

    def update(self, others: SeenRows) -> None:
        """Add the rows of others."""
        self.ids |= others.ids
        self.numbers |= others.numbers


_MAX_EMPTY_PAGES = 100


class ListingPass(msgspec.Struct, eq=False):
    """The pages of one pass over an account.

    Rows move between pages while numbers are bought or released. These signs show it: another row at the
    place where a page ended, a total that changes or exceeds the rows, and, without a total, a row on two
    pages or a hole between two pages.
    """

    identity: Callable[[PhoneNumber], str]
    """Returns a row's identity."""
    sequential: bool = False
    """True if each page is requested only after the one before it has arrived."""
    seen: SeenRows = msgspec.field(default_factory=SeenRows)
    fingerprints: Counter[int] = msgspec.field(default_factory=Counter[int])
    """A hash of each page's rows."""
    totals: set[int] = msgspec.field(default_factory=set[int])
    rows: int = 0
    """All rows, repeated and unreadable ones included."""
    unreadable: set[bytes] = msgspec.field(default_factory=set[bytes])
    duplicates: int = 0
    has_repeats: bool = False
    """True if a row was on two pages."""
    row_moved: bool = False
    """True if another row was found at the place where a page had ended."""
    cursors: set[Cursor | None] = msgspec.field(default_factory=lambda: {None})
    queued: deque[Cursor] = msgspec.field(default_factory=deque[Cursor])
    starts: dict[int, int] = msgspec.field(default_factory=dict[int, int])
    """The number of rows of the page that starts at an offset."""
    ends: dict[int, str] = msgspec.field(default_factory=dict[int, str])
    """The last row of the page that ends before an offset."""
    boundaries: list[int] = msgspec.field(default_factory=list[int])
    """Offsets where one page ends and the next starts, and which were not verified yet."""
    empty_pages: int = 0

    # Pages

    def add(self, page: Page[PhoneNumber]) -> set[str]:
        """Add a page and return the ids of its new rows. Raise RepeatedPage if paging goes in a circle."""
        self._add_cursors(page.next)
        if page.total is not None:
            self.totals.add(page.total)
        self.rows += len(page.numbers) + len(page.rejected)
        self.unreadable.update(row.raw for row in page.rejected)
        ids, numbers = ids_and_numbers(page.numbers, self.identity)
        if page.offset is not None:
            self._add_boundaries(page.offset, ids, len(page.rejected))
        return self._add_rows(ids, numbers, page) if ids else self._add_empty(page)

    def next_cursors(self, named: tuple[Cursor, ...]) -> Iterator[Cursor]:
        """Yield the cursors to fetch after a page that named some."""
        if not self.sequential:
            yield from named
            return
        self.queued.extend(named)
        if self.queued:
            yield self.queued.popleft()

    def _add_cursors(self, named: tuple[Cursor, ...]) -> None:
        for cursor in named:
            if cursor in self.cursors:
                raise RepeatedPage(f"paging came back to cursor {cursor!r:.80}")
            self.cursors.add(cursor)

    def _add_rows(self, ids: list[str], numbers: list[str], page: Page[PhoneNumber]) -> set[str]:
        new = self.seen.unseen(ids, numbers)
        fingerprint = hash(tuple(ids))
        if not new and (fingerprint in self.fingerprints or page.next):
            raise RepeatedPage("a page came again: none of its numbers is new")
        if len(new) < len(ids):
            self.duplicates += len(ids) - len(new)
            self.has_repeats = self.has_repeats or len(new) < len(set(ids))
        self.fingerprints[fingerprint] += 1
        self.seen.add(ids, numbers)
        return new

    def _add_empty(self, page: Page[PhoneNumber]) -> set[str]:
        self.empty_pages += not page.rejected
        if page.next and self.empty_pages > _MAX_EMPTY_PAGES:
            raise RepeatedPage(f"{self.empty_pages} pages without a number, and another one named")
        return set()

    # Boundaries

    def _add_boundaries(self, start: int, ids: list[str], rejected: int) -> None:
        end = start + len(ids) + rejected
        self.starts[start] = end - start
        if ids and not rejected:  # an unreadable row may be the last one
            self.ends[end] = ids[-1]
        self.boundaries += [place for place in {start, end} if place in self.starts and place in self.ends]

    def pop_boundaries(self) -> Iterator[tuple[int, str]]:
        """Yield each row to look at again, once: its offset and its identity."""
        while self.boundaries:
            offset = self.boundaries.pop()
            yield offset - 1, self.ends[offset]

    @property
    def _has_holes(self) -> bool:
        pages = sorted(page for page in self.starts.items() if page[1])
        return any(start + rows < following for (start, rows), (following, _) in pairwise(pages))

    # Consistency

    @property
    def found(self) -> int:
        """The number of rows, each counted once."""
        return len(self.seen) + len(self.unreadable)

    @property
    def total(self) -> int:
        """The highest total that the vendor gave; 0 if it gave none."""
        return max(self.totals, default=0)

    @property
    def is_consistent(self) -> bool:
        """True if there is no sign of rows that moved or were left out."""
        if self.row_moved:
            return False
        if self.totals:
            return len(self.totals) == 1 and self.found >= self.total
        return not (self.has_repeats or self._has_holes)
