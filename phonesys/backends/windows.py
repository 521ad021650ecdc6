"""Overlapping pages: which pages to request so that neighbours share rows.

A vendor that pages by index and size lets the client choose both. Pages of slightly different sizes overlap,
such as (0, 1000), (1, 999), (2, 998): each begins on the last rows of the one before. If both pages hold the
same rows there, no row moved between the two requests, and that costs no request of its own. 21 000 rows take
22 requests this way, as many as pages of one size need without a total.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from phonesys.backends.paging import effective_page_size, may_be_capped
from phonesys.errors import InvalidArgument

if TYPE_CHECKING:
    from phonesys.model import Cursor

_MAX_PLANNED = 10_000
"""Vendors that count more rows than this times the largest size are read as if they gave no total."""

_CURSOR = re.compile(r"([0-9]{1,5})/([0-9]{1,9})(?:/([0-9]{1,5}))?").fullmatch


class Window(NamedTuple):
    """A page of some size: the rows from `page * size` to the row before `(page + 1) * size`."""

    page: int
    size: int

    @property
    def start(self) -> int:
        """The offset of the first row."""
        return self.page * self.size

    @property
    def end(self) -> int:
        """The offset after the last row."""
        return self.start + self.size


def next_window(end: int, max_size: int) -> Window:
    """Return the window that reaches farthest beyond `end`, of those that begin before it.

    If every size divides `end`, no window does both, and the next one begins exactly at `end`. That happens
    only with small pages: at row 60 with pages of up to 5 rows, at row 2520 with pages of up to 10.
    """
    best = Window(end // max_size, max_size)
    reach = end
    for size in range(max_size, 0, -1):
        if end - 1 + size <= reach:
            break  # smaller windows cannot reach farther
        window = Window((end - 1) // size, size)
        if window.end > reach:
            best, reach = window, window.end
    return best


class WindowPlan:
    """The windows of an account in order, for one largest size. They are computed as they are asked for."""

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self._windows = [Window(0, max_size)]
        self._ends = [max_size]

    def __getitem__(self, number: int) -> Window:
        while len(self._windows) <= number:
            window = next_window(self._ends[-1], self.max_size)
            self._windows.append(window)
            self._ends.append(window.end)
        return self._windows[number]

    def overlap(self, number: int) -> int:
        """Return the number of leading rows that a window shares with the one before it."""
        return self[number - 1].end - self[number].start if number else 0

    def count(self, rows: int) -> int:
        """Return the number of windows that cover so many rows."""
        while self._ends[-1] < rows:
            self[len(self._windows)]
        return bisect_left(self._ends, rows) + 1


@lru_cache(maxsize=256)
def window_plan(max_size: int) -> WindowPlan:
    """Return the plan for a largest size, which all accounts share."""
    return WindowPlan(max_size)


class WindowPosition(NamedTuple):
    """A window by its number in the plan for a largest size, written `3/1000` as a cursor.

    `3/1000/21` is one of the 21 windows that cover the total of the first page.
    """

    number: int
    max_size: int
    planned: int = 0
    """The number of windows that have been named by a total, the first one included."""

    @classmethod
    def parse(cls, cursor: Cursor | None, max_size: int) -> WindowPosition:
        """Parse a cursor; None is the first window. Raise InvalidArgument."""
        if cursor is None:
            return _first_position(max_size)
        parts = _CURSOR(cursor) if isinstance(cursor, str) else None
        if parts is None or not 0 < int(parts[2]) <= max_size:
            raise InvalidArgument(
                f"cursor: expected the number and largest size of a page, as in '3/{max_size}', "
                f"got {cursor!r:.80}"
            )
        return cls(int(parts[1]), int(parts[2]), int(parts[3] or 0))

    @property
    def window(self) -> Window:
        """The window at this position."""
        return window_plan(self.max_size)[self.number]

    @property
    def overlap(self) -> int:
        """The number of leading rows that it shares with the window before it."""
        return window_plan(self.max_size).overlap(self.number)

    def resized(
        self, rows: int, *, reported: int | None, more: bool | None, largest: int = 0
    ) -> WindowPosition:
        """Return the position in the plan for the size that the vendor really has, judged by its first page.

        A vendor may cap the size of its pages without saying so. A short first page is then a full one. If it
        is in doubt, the next window shows it: it begins on a row that is known, so that it is never beyond
        the end. `largest` are the rows of the largest page of this vendor so far.
        """
        if self.number:
            return self
        size = self.max_size if reported is None else effective_page_size(self.max_size, reported)
        if rows and rows < size and (more or (more is None and may_be_capped(rows, size, largest=largest))):
            size = rows
        return self if size == self.max_size else WindowPosition(0, size)

    def following(
        self, rows: int, total: int | None, *, more: bool | None = None, lookahead: int = 1
    ) -> tuple[str, ...]:
        """Return the cursors that a page with so many rows names.

        With a total, the first page names all others, and the last of those names more if the total has
        grown. Without one, a page is the last if the vendor says that there are no more rows, or, where it
        says nothing, if the page is not full.
        """
        if rows and total is not None and total <= _MAX_PLANNED * self.max_size:
            return self._following_by_total(total)
        if more or (more is None and rows >= (self.window.size if self.number else self.max_size)):
            numbers = pages_named_by(self.number, lookahead)
            return tuple(f"{number}/{self.max_size}" for number in numbers)
        return ()

    def _following_by_total(self, total: int) -> tuple[str, ...]:
        if self.number and self.number != self.planned - 1:
            return ()
        count = window_plan(self.max_size).count(total)
        return tuple(f"{number}/{self.max_size}/{count}" for number in range(self.number + 1, count))


@lru_cache(maxsize=256)
def _first_position(max_size: int) -> WindowPosition:
    """Return the position of the first window, which most accounts need and no other."""
    return WindowPosition(0, max_size)


def pages_named_by(number: int, lookahead: int) -> range:
    """Return the numbers of the pages that a full page names, where the vendor gives no total.

    A full first page names one more. The more pages have proved full, the more are requested ahead, up to
    `lookahead`, so that a deep account is read concurrently, and at most a quarter of its requests are in
    vain. Each page is named once.
    """
    return range(_named(number, lookahead), _named(number + 1, lookahead))


def _named(full: int, lookahead: int) -> int:
    """Return the number of pages that are named once so many have proved full."""
    return full + min(lookahead, 2 + full // 4) if full > 1 else full + 1
