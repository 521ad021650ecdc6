"""Paging by index and size, with what vendors do not document: silent caps, and responses beyond the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeAlias, TypeVar, get_args

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

BeyondEnd: TypeAlias = Literal["empty", "null", "first", "last", "400", "404", "422", "500"]
"""Response to a page beyond the end: no rows, null, the first or the last page again, or an error status."""


class PageSlice(NamedTuple, Generic[T]):
    """Rows of one page; `rows` is None where the vendor answers null."""

    rows: Sequence[T] | None
    size: int
    """Rows of a full page: the size that was asked for, or the cap."""


class Pager:
    """Cuts lists into pages.

    - `cap`: the most rows in a page, whatever size was asked for; responses do not mention it.
    - `beyond_end`: the response to a page after the last one.
    - `reject`: makes the vendor's error of a status and a message.
    """

    def __init__(
        self, cap: int | None, beyond_end: BeyondEnd, reject: Callable[[int, str], Exception]
    ) -> None:
        if beyond_end not in get_args(BeyondEnd):
            raise ValueError(
                f"beyond_end: expected one of {', '.join(get_args(BeyondEnd))}, got {beyond_end!r}"
            )
        if cap is not None and cap < 1:
            raise ValueError(f"page_cap: expected 1 or more, got {cap!r}")
        self._cap = cap
        self._beyond_end: BeyondEnd = beyond_end
        self._reject = reject

    def cut(self, rows: Sequence[T], index: int, size: int) -> PageSlice[T]:
        """Return the page at this index, from 0; raise the vendor's error where it rejects such a page."""
        if self._cap is not None:
            size = min(size, self._cap)
        start = index * size
        if start >= len(rows) and index > 0:
            return self._after_end(rows, size)
        return PageSlice(rows[start : start + size], size)

    def _after_end(self, rows: Sequence[T], size: int) -> PageSlice[T]:
        match self._beyond_end:
            case "empty":
                return PageSlice((), size)
            case "null":
                return PageSlice(None, size)
            case "first":
                return PageSlice(rows[:size], size)
            case "last":
                last = max(0, len(rows) - 1) // size * size
                return PageSlice(rows[last : last + size], size)
            case status:
                raise self._reject(int(status), "The page is beyond the end of the list.")
