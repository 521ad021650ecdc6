"""Paging of vendors that page by index and size: statements in responses, and what follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from phonesys._validation import is_object
from phonesys.backends.words import fold
from phonesys.errors import BadRequest, DecodeError, InvalidArgument, NotFound, ServerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from phonesys.model import Cursor

MAX_PAGES = 100_000
"""A page count above this is implausible; such an account is read page after page."""

CUSTOMARY_SIZES = frozenset({10, 20, 25, 30, 40, 50, 100, 200, 250, 500})
"""Page sizes that vendors impose without saying so. A first page of so many rows may not be the last."""

END_ERRORS = (BadRequest, NotFound, ServerError, DecodeError)
"""Errors that vendors raise for pages beyond the end, instead of an empty page."""


class Position(NamedTuple):
    """A page by its number and size."""

    number: int
    size: int

    def cursor(self, requested: int) -> Cursor:
        """Encode the position: the number alone, or `number/size` for another size than the backend's."""
        return self.number if self.size == requested else f"{self.number}/{self.size}"


def position_of(cursor: Cursor | None, requested: int, *, first: int) -> Position:
    """Decode a cursor; the first page by default. Raises InvalidArgument."""
    if cursor is None:
        return Position(first, requested)
    if isinstance(cursor, int):
        position = Position(cursor, requested)
    else:
        number, _, size = cursor.partition("/") if isinstance(cursor, str) else ("", "", "")
        position = Position(_count(number), _count(size))
    if position.number < first or not 0 < position.size <= requested:
        raise InvalidArgument(f"cursor: expected the number of a page, from {first}, got {cursor!r:.80}")
    return position


_MAX_DIGITS = 18


def _count(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else -1


class Paging(msgspec.Struct, frozen=True, kw_only=True):
    """A page's place among the others, as far as the vendor says."""

    page: int | None = None
    limit: int | None = None
    total: int | None = None
    pages: int | None = None
    has_more: bool | None = None


_KEYS = {
    "page": ("page", "currentPage", "pageNumber"),
    "limit": ("limit", "pageSize", "perPage", "size"),
    "total": ("total", "totalCount", "totalItems", "totalResults", "totalRecords", "totalElements"),
    "pages": ("totalPages", "pages", "lastPage", "pageCount", "numPages"),
    "has_more": ("hasMore", "hasNext", "hasNextPage", "hasMorePages", "more"),
    "next": ("nextPage", "next", "nextCursor", "nextPageUrl", "nextUrl"),
}
_CONTAINERS = ("pagination", "meta", "paging", "pageInfo", "page", "links")
_TRUE, _FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})


def find_paging(*objects: dict[str, Any], rows: int) -> Paging:
    """Return the paging stated in any of the objects or in a container in them, in any common spelling.

    Statements of another type are ignored. `count` is a total only if it exceeds the rows of the page: some
    vendors count the page.
    """
    said: dict[str, Any] = {}
    for found in objects:
        _collect(found, said)
    count = _integer(said.get("count"))
    total = _first_integer(said, "total")
    more = next((flag for key in _KEYS["has_more"] if (flag := _flag(said.get(fold(key)))) is not None), None)
    return Paging(
        page=_first_integer(said, "page"),
        limit=_first_integer(said, "limit"),
        total=count if total is None and count is not None and count > rows else total,
        pages=_first_integer(said, "pages"),
        has_more=_names_next(said) if more is None else more,
    )


def _collect(found: dict[str, Any], said: dict[str, Any], depth: int = 0) -> None:
    """Gather statements by folded key. Statements in a container win over those beside it."""
    folded = {fold(key): value for key, value in found.items()}
    for key in _CONTAINERS:
        if is_object(inner := folded.get(fold(key))) and depth < 2:  # noqa: PLR2004 -- as in meta.pagination
            _collect(inner, said, depth + 1)
    for key, value in folded.items():
        said.setdefault(key, value)


def _first_integer(said: dict[str, Any], field: str) -> int | None:
    return next((n for key in _KEYS[field] if (n := _integer(said.get(fold(key)))) is not None), None)


def _integer(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        return msgspec.convert(value, int, strict=False)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return None


def _flag(value: Any) -> bool | None:
    word = fold(value) if isinstance(value, str) else str(value).casefold() if isinstance(value, int) else ""
    return True if word in _TRUE else False if word in _FALSE else None


def _names_next(said: dict[str, Any]) -> bool | None:
    """Return True if a next page is named, False if the key is there and empty, None without the key."""
    named = [said[fold(key)] for key in _KEYS["next"] if fold(key) in said]
    return any(bool(value) for value in named) if named else None


def effective_page_size(requested: int, reported: int | None) -> int:
    """Return the rows per page: what the vendor reports, if that is less than requested."""
    return min(reported, requested) if reported is not None and reported > 0 else requested


def plausible_total(total: int | None, minimum: int) -> int | None:
    """Return the vendor's total, or None if fewer than the rows that were seen."""
    return None if total is None or total < minimum else total


def may_be_capped(rows: int, size: int, *, largest: int = 0) -> bool:
    """Return True if a short first page may be a full one of a vendor that caps pages silently.

    `largest` are the rows of the largest page that the vendor has sent so far. It does not cap at less.
    """
    return largest <= rows < size and rows in CUSTOMARY_SIZES


async def brings_new_rows(second_page: Awaitable[Collection[str]], known: Collection[str]) -> bool:
    """Return True if the page after a short one has rows of its own: ids that are not known.

    An empty page, a refusal, or a page that repeats known rows confirms that the short one was the last.
    """
    try:
        rows = await second_page
    except END_ERRORS:
        return False
    return not set(rows) <= set(known)


async def is_beyond_end(
    number: int,
    *,
    count_rows: Callable[[int], Awaitable[int]],
    size: int,
    has_row: Callable[[int], Awaitable[bool]],
) -> bool:
    """Return True if the page `number`, from 0, which failed, lies beyond the end of the list.

    The pages before it decide: after a short one there is no other. After a full one, the two rows that would
    follow are requested alone: one bad row could make its page fail, but not both.
    """
    for previous in range(number - 1, -1, -1):
        try:
            rows = await count_rows(previous)
        except END_ERRORS:
            continue
        if rows < size:
            return True
        start = (previous + 1) * size
        return not (await _exists(has_row, start) or await _exists(has_row, start + 1))
    return False


async def _exists(has_row: Callable[[int], Awaitable[bool]], offset: int) -> bool:
    try:
        return await has_row(offset)
    except END_ERRORS:
        return False
