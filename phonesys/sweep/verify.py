"""Verification of one pass over an account: the rows of its pages, and whether they are consistent.

Rows are compared by the hashes of their ids or numbers. The texts themselves would lie between the objects of
the pages to come, and make big pages a quarter slower. Two of a million rows have the same hash once in 40
million times.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from operator import attrgetter, eq
from typing import TYPE_CHECKING, Any, NamedTuple

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


class Identities(NamedTuple):
    """Hashes of the ids and numbers of a page's rows; one list twice if rows are identified by number."""

    ids: list[int]
    numbers: list[int]
    lacks_id: bool = False
    """True if a row's number stands in for its id."""


def identities_of(rows: Sequence[PhoneNumber], identity: Callable[[PhoneNumber], str]) -> Identities:
    """Return the identities of a page's rows.

    Numbers that are being provisioned have no digits yet, and are identified by id. Backends' rows name the
    field of their id as `id_field`. If no row lacks it, that takes a third of the time of their `id`.
    """
    texts = list(map(number_of, rows))
    if identity is number_of:
        hashes = list(map(hash, texts if all(texts) else [_text_of(row, identity) for row in rows]))
        return Identities(hashes, hashes)
    numbers = list(map(hash, texts))
    field = getattr(type(rows[0]), "id_field", "") if rows else ""
    if field:
        read_id: Callable[[Any], str] = attrgetter(field)
        texts = list(map(read_id, rows))
        if all(texts):
            return Identities(list(map(hash, texts)), numbers)
    ids = list(map(hash, map(_id_of, rows)))
    return Identities(ids, numbers, lacks_id=any(map(eq, ids, numbers)))


def _text_of(row: PhoneNumber, identity: Callable[[PhoneNumber], str]) -> str:
    return identity(row) or row.id


class SeenRows(msgspec.Struct, eq=False):
    """Rows by id and by number. A vendor may leave out an id at times; its number replaces it."""

    ids: dict[int, None] = msgspec.field(default_factory=dict[int, None])
    numbers: set[int] = msgspec.field(default_factory=set[int])

    def unseen(self, ids: Sequence[int], numbers: Sequence[int]) -> set[int]:
        """Return the ids of the rows that were not seen before. The arguments are those of `Identities`."""
        fresh = set(ids).difference(self.ids)
        if numbers is ids:
            return fresh
        on_page = set(numbers)
        if on_page.isdisjoint(fresh) and on_page.isdisjoint(self.ids):
            return fresh  # no row lacked its id, neither then nor now
        rows = dict(zip(ids, numbers, strict=True))
        bare = {id_ for id_ in fresh if rows[id_] == id_}
        return {id_ for id_ in fresh - bare if rows[id_] not in self.ids} | (bare - self.numbers)

    def add(self, page: PassPage) -> None:
        """Add the rows of a page."""
        self.ids.update(dict.fromkeys(page.ids[page.skipped :]))
        if page.numbers is not page.ids:
            self.numbers.update(page.numbers[page.skipped :])


class PassPage(msgspec.Struct, eq=False, gc=False):
    """A page as far as later pages are compared with it."""

    cursor: Cursor | None
    next: tuple[Cursor, ...]
    start: int
    """The offset of its first row; -1 if the vendor does not page by offset."""
    ids: list[int]
    numbers: list[int]
    unreadable: tuple[bytes, ...]
    total: int = 0
    """The vendor's total; 0 if it gave none."""
    skipped: int = 0
    """The number of leading rows that the page before it holds as well, and that were not handed on."""
    end: int = -1
    """The offset after its last row."""
    first_row: str = ""
    last_row: str = ""
    """The identities of these rows as text, to ask the vendor for them."""

    def __post_init__(self) -> None:
        self.end = self.start + len(self.ids) + len(self.unreadable)

    @property
    def is_last(self) -> bool:
        """True if the list ended with this page when it was read."""
        return not self.next and self.total <= self.end

    def ids_after_missing(self, found: set[int]) -> list[int]:
        """Return its rows after the last one that was left out here and is on no other page."""
        missing = (place for place in range(self.skipped, 0, -1) if self.ids[place - 1] not in found)
        return self.ids[next(missing, 0) :]


class RowCheck(NamedTuple):
    """A request that shows whether a row moved between two pages that do not overlap."""

    offset: int
    row: str


class EndCheck(NamedTuple):
    """A request that shows whether a page is still empty."""

    cursor: Cursor | None


_MAX_EMPTY_PAGES = 100


class ListingPass(msgspec.Struct, eq=False):
    """The pages of one pass over an account.

    Rows move between pages while numbers are bought or released. These signs show it: other rows where two
    pages overlap or meet, a total that changes or exceeds the rows, and, without a total, a row on two pages
    or a hole between two pages.

    A consistent pass adds the rows of each page to a dictionary, which takes less memory than a set of as
    many, and half of the time. Everything else is computed only if that shows that a row came twice, or once
    the pass is compared with another.
    """

    identity: Callable[[PhoneNumber], str]
    """Returns a row's identity."""
    sequential: bool = False
    """True if each page is requested only after the one before it has arrived."""
    overlapping: bool = False
    """True if the pages are requested so that they overlap."""
    pages: list[PassPage] = msgspec.field(default_factory=list[PassPage])
    ids: dict[int, None] = msgspec.field(default_factory=dict[int, None])
    seen: SeenRows | None = None
    """The rows, by number too; None until a row came twice or lacked its id."""
    totals: set[int] = msgspec.field(default_factory=set[int])
    unreadable: Counter[bytes] = msgspec.field(default_factory=Counter[bytes])
    duplicates: int = 0
    has_repeats: bool = False
    """True if a row was on two pages, beyond the rows that both should hold."""
    row_moved: bool = False
    """True if two pages disagree on the rows where they overlap or meet."""
    cursors: set[Cursor | None] = msgspec.field(default_factory=lambda: {None})
    queued: deque[Cursor] = msgspec.field(default_factory=deque[Cursor])
    starts: list[int] = msgspec.field(default_factory=list[int])
    by_start: list[PassPage] = msgspec.field(default_factory=list[PassPage])
    """The pages whose offset is known, in the order of their rows."""
    checks: list[RowCheck | EndCheck] = msgspec.field(default_factory=list[RowCheck | EndCheck])
    """Requests that are still to be made where pages meet without overlap."""
    empty_pages: int = 0
    last: PassPage | None = None
    """The page with which the list ended, if it has arrived. Rows may have been appended since."""
    has_ended: bool = False
    """True once the pass was seen to be whole, so that it is not looked at for each page that is left."""
    repeated: int | None = None
    """The offset of the first page that held no row that is new."""

    # Pages

    def add(self, page: Page[PhoneNumber]) -> Page[PhoneNumber]:
        """Add a page and return it with its new rows only. Raise RepeatedPage if paging goes in a circle."""
        self._add_cursors(page.next)
        if page.total is not None:
            self.totals.add(page.total)
        identities = identities_of(page.numbers, self.identity)
        entry = self._entry_of(page, identities)
        if page.overlap:
            page = self._without_overlap(page, entry)
        if not entry.ids:
            self._add_empty(page)
        elif not self._add_unseen(entry, identities):
            page = self._add_repeating(page, entry)
        if entry.unreadable:
            page = self._without_repeated_rejects(page, entry)
        self.pages.append(entry)
        if entry.start >= 0:
            self._add_at_offset(entry)
        if entry.is_last:
            self._add_last(entry)
        return page

    def _entry_of(self, page: Page[PhoneNumber], identities: Identities) -> PassPage:
        rows = page.numbers
        return PassPage(
            page.cursor,
            page.next,
            -1 if page.offset is None else page.offset,
            identities.ids,
            identities.numbers,
            tuple(row.raw for row in page.rejected),
            page.total or 0,
            first_row=_text_of(rows[0], self.identity) if rows else "",
            last_row=_text_of(rows[-1], self.identity) if rows else "",
        )

    def next_cursors(self, named: tuple[Cursor, ...]) -> tuple[Cursor, ...]:
        """Return the cursors to fetch after a page that named some."""
        if not self.sequential:
            return named
        self.queued.extend(named)
        return (self.queued.popleft(),) if self.queued else ()

    def _add_cursors(self, named: tuple[Cursor, ...]) -> None:
        for cursor in named:
            if cursor in self.cursors:
                raise RepeatedPage(f"paging came back to cursor {cursor!r:.80}")
            self.cursors.add(cursor)

    def _without_overlap(self, page: Page[PhoneNumber], entry: PassPage) -> Page[PhoneNumber]:
        """Return the page without the rows that are on the page before it.

        Those are compared with that page once both have arrived. Where a row is unreadable, its place on the
        page is unknown, and rows are left out by identity instead.
        """
        if entry.unreadable:
            return page
        entry.skipped = self._count_shared(entry, min(page.overlap, len(page.numbers)))
        return msgspec.structs.replace(
            page, numbers=page.numbers[entry.skipped :], overlap=0, offset=entry.start + entry.skipped
        )

    def _count_shared(self, page: PassPage, overlap: int) -> int:
        """Return how many leading rows of a page the page before it holds; it may not have arrived yet.

        If it has, those are counted that it really holds: rows may have moved, or the list may have ended
        before this page, with rows appended since.
        """
        if self.sequential:
            return next((place for place in range(overlap) if page.ids[place] not in self.ids), overlap)
        if self.last is not None and self.last.start < page.start:
            return max(0, min(overlap, self.last.end - page.start))
        return overlap

    def _add_last(self, page: PassPage) -> None:
        """Remember the page with which the list ended. Those queued on a guess are not requested any more."""
        if self.last is None or page.start < self.last.start:
            self.last = page
        if self.overlapping and not page.total:
            self.queued.clear()

    def _add_unseen(self, page: PassPage, identities: Identities) -> bool:
        """Add the rows of a page. Return False if some may have been seen before."""
        if self.seen is not None:
            return False
        fresh = identities.ids[page.skipped :]
        before = len(self.ids)
        self.ids.update(dict.fromkeys(fresh))
        return len(self.ids) - before == len(fresh) and not identities.lacks_id

    def _add_repeating(self, page: Page[PhoneNumber], entry: PassPage) -> Page[PhoneNumber]:
        """Add a page of which rows were seen, or lack their id, and return it with its unseen rows."""
        if self.seen is None:
            self.seen = self.rows()
            self.ids = self.seen.ids
        ids, numbers = entry.ids[entry.skipped :], entry.numbers[entry.skipped :]
        if self.identity is number_of:
            numbers = ids
        new = self.seen.unseen(ids, numbers)
        if ids and not new and (entry.next or any(other.ids == entry.ids for other in self.pages)):
            page = self._stop_at_repeated(page, entry)
        if not (self.overlapping and (self.unreadable or entry.unreadable)):
            self.duplicates += len(ids) - len(new)
            self.has_repeats = self.has_repeats or len(new) < len(set(ids))
        self.seen.add(entry)
        return with_rows(page, new, self.identity)

    def _stop_at_repeated(self, page: Page[PhoneNumber], entry: PassPage) -> Page[PhoneNumber]:
        """Return a page without new rows as one that names no other. Raise RepeatedPage unless rows moved.

        Small overlapping pages may hold nothing new once their rows have moved. Then another pass is needed.
        """
        if self.repeated is None or entry.start < self.repeated:
            self.repeated = entry.start
        if not self.overlapping or (not self.sequential and (entry.next or self.is_whole)):
            raise RepeatedPage("a page came again: none of its numbers is new")
        self.row_moved = True
        return msgspec.structs.replace(page, next=())

    def _without_repeated_rejects(self, page: Page[PhoneNumber], entry: PassPage) -> Page[PhoneNumber]:
        """Count the unreadable rows, and leave out those that an overlapping page held as well."""
        shared = Counter[bytes]()
        for other in self._neighbours(entry):
            if other.start < entry.end and entry.start < other.end:
                shared.update(other.unreadable)
        kept = tuple(row for row in page.rejected if not _take_one(shared, row.raw))
        self.unreadable.update(row.raw for row in kept)
        return msgspec.structs.replace(page, rejected=kept)

    def _add_empty(self, page: Page[PhoneNumber]) -> None:
        self.empty_pages += not page.rejected
        if page.next and self.empty_pages > _MAX_EMPTY_PAGES:
            raise RepeatedPage(f"{self.empty_pages} pages without a number, and another one named")

    # Neighbours

    def _add_at_offset(self, page: PassPage) -> None:
        """Compare a page with those before and after it that have arrived."""
        for other in self._neighbours(page):
            first, second = (other, page) if other.start <= page.start else (page, other)
            self._compare(first, second)
        place = bisect(self.starts, page.start)
        self.starts.insert(place, page.start)
        self.by_start.insert(place, page)

    def _neighbours(self, page: PassPage) -> list[PassPage]:
        place = bisect(self.starts, page.start)
        return self.by_start[max(place - 1, 0) : place + 1]

    def _compare(self, first: PassPage, second: PassPage) -> None:
        overlap = first.end - second.start
        if overlap > 0:
            self.row_moved = self.row_moved or not _agree(first, second, overlap)
        elif not self.overlapping:
            self.checks += self._checks(first, second)

    def _checks(self, first: PassPage, second: PassPage) -> Iterator[RowCheck | EndCheck]:
        """Yield the requests that show whether a row moved between two pages that meet.

        The last row of the first page is enough if the second page was requested after the first had arrived.
        """
        if first.end != second.start or not first.ids or first.unreadable or not (first.next or second.ids):
            return
        yield RowCheck(second.start - 1, first.last_row)
        if self.sequential or second.cursor in first.next:
            return
        if second.ids and not second.unreadable:
            yield RowCheck(second.start, second.first_row)
        elif not second.ids:
            yield EndCheck(second.cursor)

    def add_remaining_checks(self) -> None:
        """Add the checks for pages that meet in a pass whose pages overlap, once all of them have arrived.

        Only the smallest pages leave places without overlap. Until the end, a page over one may be missing.
        """
        if self.overlapping:
            for first, second in pairwise(self.by_start):
                self.checks += self._checks(first, second)

    def pop_checks(self) -> Iterator[RowCheck | EndCheck]:
        """Yield each check that is to be made, once."""
        while self.checks:
            yield self.checks.pop()

    @property
    def _has_holes(self) -> bool:
        end = -1
        for page in self.by_start:
            if page.end > page.start:
                if 0 <= end < page.start + page.skipped:
                    return True
                end = page.end
        return False

    # Consistency

    def rows(self) -> SeenRows:
        """Return the rows of all pages."""
        seen = SeenRows()
        for page in self.pages:
            seen.add(page)
        return seen

    def fingerprints(self) -> Counter[int]:
        """Return a hash of the rows of each page, to compare two passes by."""
        return Counter(hash(tuple(page.ids)) for page in self.pages if page.ids)

    @property
    def row_count(self) -> int:
        """The number of rows, repeated ones included."""
        return sum(len(page.ids) + len(page.unreadable) - page.skipped for page in self.pages)

    @property
    def found(self) -> int:
        """The number of rows, each counted once."""
        return len(self.ids) + self.unreadable.total()

    @property
    def total(self) -> int:
        """The highest total that the vendor gave; 0 if it gave none."""
        return max(self.totals, default=0)

    @property
    def is_whole(self) -> bool:
        """True if the pages cover all rows from the first to the end: to a page that names no other."""
        if not self.by_start or self.by_start[0].start or self._has_holes:
            return False
        last = next((page for page in reversed(self.by_start) if page.end > page.start), None)
        return last is not None and not last.next and self.found >= self.total

    @property
    def ends_in_repetition(self) -> bool:
        """True if, instead of a page after the last, the vendor repeats others.

        At least two different pages show that it does not ignore which page is requested.
        """
        if not self.by_start[1:] or self.by_start[0].start or self._has_holes:
            return False
        return self.by_start[-1].end == self.repeated

    @property
    def is_consistent(self) -> bool:
        """True if there is no sign of rows that moved or were left out."""
        if self.row_moved:
            return False
        if self.totals:
            return len(self.totals) == 1 and self.found >= self.total
        return not (self.has_repeats or self._has_holes)


def form_one_list(pages: Sequence[PassPage]) -> bool:
    """Return True if one list from which rows came and went explains these pages, and they miss no row.

    Rows that stay keep their order. A page holds rows that followed one another when it was read, so two
    pages that share any row leave out no row between their others that was there all the time. The pages
    miss none if such pairs lead from the beginning of the list to its end. Pages on which two rows come in
    either order are of a list that is sorted differently each time, where this shows nothing.
    """
    return _lead_to_the_end(pages) and _keep_their_order(pages)


def _lead_to_the_end(pages: Sequence[PassPage]) -> bool:
    found = {row for page in pages for row in page.ids[page.skipped :]}
    holders: defaultdict[int, list[PassPage]] = defaultdict(list)
    for page in pages:
        for row in page.ids_after_missing(found):
            holders[row].append(page)
    waiting = [page for page in pages if not page.start and not page.skipped]
    while waiting:
        page = waiting.pop()
        if page.is_last:
            return True
        for row in page.ids_after_missing(found):
            waiting += holders.pop(row, ())
    return False


def _keep_their_order(pages: Sequence[PassPage]) -> bool:
    order = TopologicalSorter[int]()
    for page in pages:
        for row, following in pairwise(page.ids):
            order.add(following, row)
    try:
        order.prepare()
    except CycleError:
        return False
    return True


def _agree(first: PassPage, second: PassPage, overlap: int) -> bool:
    """Return True if two pages hold the same rows where they overlap.

    The place of an unreadable row is unknown. Pages with some agree unless the readable rows contradict it.
    """
    if first.unreadable or second.unreadable:
        shared = len(set(first.ids).intersection(second.ids))
        return overlap - len(first.unreadable) - len(second.unreadable) <= shared <= overlap
    # A second page that ends within the first was the end of the list when it was read: rows were appended or
    # removed since. Rows keep their order, so the rows that both pages share show that no other was missed.
    offset, head = second.start - first.start, second.ids[:overlap]
    return bool(head) and first.ids[offset : offset + len(head)] == head


def _take_one(counts: Counter[bytes], key: bytes) -> bool:
    """Remove one of a kind from the counts. Return False if there is none."""
    if counts[key] <= 0:
        return False
    counts[key] -= 1
    return True


def with_rows(
    page: Page[PhoneNumber], ids: set[int], identity: Callable[[PhoneNumber], str]
) -> Page[PhoneNumber]:
    """Return the page with only these rows, each once."""
    if len(ids) == len(page.numbers):
        return page
    once = dict(zip(identities_of(page.numbers, identity).ids, page.numbers, strict=True))
    return msgspec.structs.replace(page, numbers=tuple(once[id_] for id_ in once if id_ in ids))
