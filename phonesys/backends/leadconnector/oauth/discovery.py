"""Which locations there are: pages by `skip` and `limit`, several at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from phonesys.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence

    from phonesys.backends.leadconnector.oauth.wire import Locations

    Fetch: TypeAlias = Callable[[int, int], Awaitable[Locations]]

_PAGE = 100
_AT_ONCE = 16
_BEYOND = 4
_MOST = 1_000_000  # a vendor that counts more has counted wrong


@runtime_checkable
class ListsLocations(Protocol):
    """Credentials that can ask which locations they open."""

    def locations(self) -> AsyncIterator[str]:
        """Yield their ids."""
        ...


async def location_ids(fetch: Fetch) -> AsyncIterator[str]:
    """Yield the ids of all locations; `fetch(skip, limit)` fetches a page of them.

    The first page says how many there are, or else the end is a page that is shorter. A vendor that allows
    fewer per page than it is asked for is taken at its answer. No request is under way between two ids.
    Raises DecodeError, after all that can be named, where a location has no id: nobody would miss it.
    """
    first = await fetch(0, _PAGE)
    nameless = _nameless(first)
    for id_ in _ids(first):
        yield id_
    step = len(first.locations)
    if not step:
        return
    counted = first.count is not None and step <= first.count <= _MOST
    ends = int(first.count) if counted and first.count is not None else _MOST
    starts = range(step, ends, step)
    at_once = _AT_ONCE if counted else _BEYOND
    for begin in range(0, len(starts), at_once):
        pages = await _together(fetch(skip, step) for skip in starts[begin : begin + at_once])
        for page in pages:
            nameless += _nameless(page)
            for id_ in _ids(page):
                yield id_
        # Where the vendor counts, a short page may be one that rows were left out of.
        if any(len(page.locations) < (1 if counted else step) for page in pages):
            break
    if nameless:
        raise DecodeError(f"{nameless} of the locations came without an id")


def _ids(page: Locations) -> Iterator[str]:
    for row in page.locations:
        if row.location_id and row.is_installed is not False:
            yield row.location_id


def _nameless(page: Locations) -> int:
    return sum(not row.location_id and row.is_installed is not False for row in page.locations)


async def _together(fetches: Iterable[Awaitable[Locations]]) -> Sequence[Locations]:
    """Await them all; the first failure cancels the rest, and is raised as itself."""
    tasks = [asyncio.ensure_future(fetch) for fetch in fetches]
    try:
        return [await task for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
