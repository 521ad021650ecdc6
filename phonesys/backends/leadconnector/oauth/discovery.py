"""Discovery of locations: every row of a list that may change while it is read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from phonesys.backends.leadconnector.oauth.wire import LocationPage
from phonesys.backends.paging import END_ERRORS
from phonesys.errors import DecodeError, InconsistentListing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from phonesys.backends.leadconnector.oauth.wire import LocationRow
    from phonesys.provider import NamedAccount

    FetchAt: TypeAlias = Callable[[int, int], Awaitable[LocationPage]]
    FetchAfter: TypeAlias = Callable[[str | None], Awaitable[LocationPage]]

PAGE_SIZE = 100
_OVERLAP = 1
_MAX_CONCURRENCY = 16
_SPECULATIVE_PAGES = 4
_MAX_LOCATIONS = 1_000_000  # a larger count is wrong
_MAX_PASSES = 3
_END = LocationPage(())


@runtime_checkable
class ListsLocations(Protocol):
    """Credentials of a company that can list the locations they give access to."""

    company_id: str

    def locations_with_names(self) -> AsyncIterator[NamedAccount]:
        """Yield their ids and names."""
        ...


async def list_by_offset(
    fetch: FetchAt, *, fetch_unfiltered: FetchAt | None = None
) -> AsyncIterator[LocationRow]:
    """Yield the installed locations of a list paged by `skip` and `limit`. `fetch(skip, limit)` gets a page.

    Pages overlap by a row, so that one location deleted meanwhile hides no other, and rows that moved are
    noticed. A page that brings nothing new is the last. If rows moved, or the vendor counts more than it
    lists, the list is read again. No request is running between two locations.

    - `fetch_unfiltered`: gets a page of installed and other locations. It is used if the count is larger than
      the list, since the vendor was seen to count all locations whatever the filter.

    Raises InconsistentListing after the last location if the passes still disagree, and DecodeError if
    locations have no id.
    """
    known: set[str] = set()
    for remaining in reversed(range(_MAX_PASSES)):
        found = _Pass(known)
        async for row in found.read_offsets(fetch):
            yield row
        if found.missing and not found.moved and fetch_unfiltered is not None:
            async for row in found.read_offsets(fetch_unfiltered, filtered=False):
                yield row
        if found.is_consistent or not remaining:
            found.raise_if_incomplete()
            return


async def list_by_token(fetch: FetchAfter) -> AsyncIterator[LocationRow]:
    """Yield the installed locations of a list paged by token. `fetch(token)` gets a page.

    A page without a next token is the last, and so is one that brings nothing new. Raises as `list_by_offset`
    does.
    """
    known: set[str] = set()
    for remaining in reversed(range(_MAX_PASSES)):
        found = _Pass(known)
        async for row in found.read_tokens(fetch):
            yield row
        if found.is_consistent or not remaining:
            found.raise_if_incomplete()
            return


class _Pass:
    """One reading of the list. `known` holds the ids that were yielded in any pass."""

    def __init__(self, known: set[str]) -> None:
        self._known = known
        self._listed: set[str] = set()
        self._without_id = 0
        self._count: int | None = None
        self.moved = False

    @property
    def missing(self) -> int:
        """Number of locations that the vendor counts and did not list."""
        return max(0, (self._count or 0) - len(self._listed) - self._without_id)

    @property
    def is_consistent(self) -> bool:
        """True if no row moved, and the vendor counts no more than it lists."""
        return not self.moved and not self.missing

    def raise_if_incomplete(self) -> None:
        """Raise the error that says why a location may be missing."""
        if self._without_id:
            raise DecodeError(f"{self._without_id} of the locations have no id")
        if self.missing:
            raise InconsistentListing(
                f"the vendor counts {self._count} locations and lists {len(self._listed)}"
            )
        if self.moved:
            raise InconsistentListing("the list of locations changed each time while it was read")

    async def read_offsets(self, fetch: FetchAt, *, filtered: bool = True) -> AsyncIterator[LocationRow]:
        """Yield the locations that no pass has yielded yet."""
        first = await fetch(0, PAGE_SIZE)
        self._count = first.count if filtered else self._count
        here: set[str] = set()
        for row in self._new(first, here, filtered=filtered):
            yield row
        step = max(1, len(first.locations) - _OVERLAP)
        last, start = first, step
        while first.locations and start < _MAX_LOCATIONS:
            starts = range(start, start + step * self._batch_size(start, step), step)
            for page in await _gather(self._fetch(fetch, skip) for skip in starts):
                before = len(here)
                for row in self._new(page, here, last.locations[step:], filtered=filtered):
                    yield row
                is_end = len(here) == before
                if not _continues(last, page, step) and not (is_end and self._repeats(page, first, last)):
                    self.moved = True
                if is_end:
                    return
                last = page
            start = starts[-1] + step

    async def read_tokens(self, fetch: FetchAfter) -> AsyncIterator[LocationRow]:
        """Yield the locations that no pass has yielded yet."""
        token: str | None = None
        while True:
            page = await fetch(token)
            self._count = page.count if self._count is None else self._count
            before = len(self._listed)
            for row in self._new(page, self._listed):
                yield row
            token = None if page.has_next is False else page.next_token
            if token is None or len(self._listed) == before:
                promised = token is not None or page.has_next is True
                self.moved = promised and self._count is None
                return

    def _new(
        self,
        page: LocationPage,
        here: set[str],
        overlap: Sequence[LocationRow] = (),
        *,
        filtered: bool = True,
    ) -> list[LocationRow]:
        """Record a page, and return its installed locations that no pass has yielded yet."""
        self._without_id += sum(row.id is None for row in page.locations[len(overlap) :])
        new: list[LocationRow] = []
        for row in page.locations:
            if row.id is None:
                continue
            here.add(row.id)
            self._listed.add(row.id)
            # Without the filter, a row that does not say so may be any location.
            is_installed = row.is_installed or (filtered and row.is_installed is None)
            if is_installed and row.id not in self._known:
                self._known.add(row.id)
                new.append(row)
        return new

    def _batch_size(self, start: int, step: int) -> int:
        """Return how many pages to get at once: up to the first one beyond the count."""
        if self._count is None or start > self._count:
            return _SPECULATIVE_PAGES
        beyond = -(-(self._count - start - _OVERLAP) // step) + 1
        return max(1, min(_MAX_CONCURRENCY, beyond))

    async def _fetch(self, fetch: FetchAt, skip: int) -> LocationPage:
        """Get a page. A rejection of one that may be beyond the end is the end."""
        try:
            return await fetch(skip, PAGE_SIZE)
        except END_ERRORS:
            if self._count is not None and skip + _OVERLAP < self._count:
                raise
            return _END

    def _repeats(self, page: LocationPage, first: LocationPage, last: LocationPage) -> bool:
        """Return True if the vendor sends its first or last page again beyond the end of the list."""
        if page.locations not in {first.locations, last.locations}:
            return False
        if len(page.locations) < PAGE_SIZE:
            return True
        # A full page that repeats may also be all that a vendor without paging sends.
        return self._count is not None and self._count > PAGE_SIZE and not self.missing


def _continues(last: LocationPage, page: LocationPage, step: int) -> bool:
    """Return True if a page begins with the rows that the one before it ends with."""
    tail = last.locations[step:]
    return page.locations[: len(tail)] == tail if tail else not page.locations


async def _gather(fetches: Iterable[Awaitable[LocationPage]]) -> Sequence[LocationPage]:
    """Await all fetches. The first failure cancels the others and is raised as itself."""
    tasks = [asyncio.ensure_future(fetch) for fetch in fetches]
    try:
        return [await task for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
