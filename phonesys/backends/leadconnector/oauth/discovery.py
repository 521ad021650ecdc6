"""Discovery of locations: pages by `skip` and `limit`, several at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from phonesys.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence

    from phonesys.backends.leadconnector.oauth.wire import LocationPage

    Fetch: TypeAlias = Callable[[int, int], Awaitable[LocationPage]]

_PAGE_SIZE = 100
_MAX_CONCURRENCY = 16
_SPECULATIVE_PAGES = 4
_MAX_LOCATIONS = 1_000_000  # a larger count is wrong


@runtime_checkable
class ListsLocations(Protocol):
    """Credentials that can list the locations they give access to."""

    def locations(self) -> AsyncIterator[str]:
        """Yield their ids."""
        ...


async def location_ids(fetch: Fetch) -> AsyncIterator[str]:
    """Yield the ids of all locations. `fetch(skip, limit)` fetches a page of them.

    The first page says how many locations exist; without a count, a shorter page is the last. If the vendor
    returns fewer rows a page than requested, its page size is used. No request is running between two ids.
    Raises DecodeError after the last id if locations without an id were found.
    """
    first = await fetch(0, _PAGE_SIZE)
    nameless = _count_without_id(first)
    for id_ in _ids(first):
        yield id_
    step = len(first.locations)
    if not step:
        return
    counted = first.count is not None and step <= first.count <= _MAX_LOCATIONS
    ends = int(first.count) if counted and first.count is not None else _MAX_LOCATIONS
    starts = range(step, ends, step)
    at_once = _MAX_CONCURRENCY if counted else _SPECULATIVE_PAGES
    for begin in range(0, len(starts), at_once):
        pages = await _gather(fetch(skip, step) for skip in starts[begin : begin + at_once])
        for page in pages:
            nameless += _count_without_id(page)
            for id_ in _ids(page):
                yield id_
        # With a count, a short page is not the last: rows may have been left out.
        if any(len(page.locations) < (1 if counted else step) for page in pages):
            break
    if nameless:
        raise DecodeError(f"{nameless} of the locations have no id")


def _ids(page: LocationPage) -> Iterator[str]:
    for row in page.locations:
        if row.location_id and row.is_installed is not False:
            yield row.location_id


def _count_without_id(page: LocationPage) -> int:
    return sum(not row.location_id and row.is_installed is not False for row in page.locations)


async def _gather(fetches: Iterable[Awaitable[LocationPage]]) -> Sequence[LocationPage]:
    """Await all fetches. The first failure cancels the others and is raised as itself."""
    tasks = [asyncio.ensure_future(fetch) for fetch in fetches]
    try:
        return [await task for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
