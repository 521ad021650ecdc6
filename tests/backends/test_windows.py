"""Overlapping pages: which windows are requested, and what they cover."""

from __future__ import annotations

from itertools import pairwise
from math import lcm
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonesys import AgentNumbers, InvalidArgument, LeadConnector, NumberProvider
from phonesys.backends.windows import Window, WindowPosition, next_window, pages_named_by, window_plan
from phonesys.provider import OverlapsPages, require
from phonesys.sandbox import Sandbox

SIZES = st.integers(1, 1000)


@pytest.fixture(autouse=True)
def new_plans() -> None:
    """Compute every plan in the test that needs it."""
    window_plan.cache_clear()


def read(max_size: int, rows: int, *, total: bool = False, lookahead: int = 1) -> list[Window]:
    """Return the windows that are requested of a list with so many rows, in order."""
    waiting: list[str | None] = [None]
    windows: list[Window] = []
    while waiting:
        position = WindowPosition.parse(waiting.pop(0), max_size)
        window = position.window
        windows.append(window)
        held = max(0, min(window.end, rows) - window.start)
        waiting += position.following(held, rows if total else None, lookahead=lookahead)
    return windows


@settings(deadline=None)
@given(max_size=SIZES, rows=st.integers(0, 20_000))
def test_windows_cover_every_row_and_overlap(max_size: int, rows: int) -> None:
    """Neighbours share a row at least, sizes stay within the limit, and each window reaches farther."""
    rows = min(rows, 60 * max_size)
    windows = read(max_size, rows)
    assert windows[0].start == 0
    assert windows[-1].end > rows
    assert all(1 <= window.size <= max_size for window in windows)
    for first, second in pairwise(windows):
        assert first.start < second.start <= first.end < second.end
        assert second.start < first.end or first.end % lcm(*range(1, max_size + 1)) == 0


@settings(deadline=None)
@given(max_size=st.integers(1, 60), end=st.integers(1, 5000))
def test_the_next_window_reaches_farthest(max_size: int, end: int) -> None:
    """No other window that begins before the end reaches as far beyond it."""
    chosen = next_window(end, max_size)
    others = [Window((end - 1) // size, size) for size in range(1, max_size + 1)]
    farthest = max(window.end for window in others)
    assert chosen.end == (farthest if farthest > end else end + max_size)


@settings(deadline=None)
@given(max_size=SIZES, rows=st.integers(1, 20_000))
def test_a_page_after_a_full_one_is_never_beyond_the_end(max_size: int, rows: int) -> None:
    """With pages of 11 rows or more, it begins on a row that is known, so vendors are not asked in vain."""
    rows = min(rows, 60 * max_size)
    assert all(window.start < rows for window in read(max(11, max_size), rows))


@pytest.mark.parametrize(
    ("max_size", "rows", "requests"),
    [
        (1000, 1000, 2),
        (1000, 1500, 2),
        (1000, 2500, 3),
        (1000, 21_000, 22),
        (1000, 100_000, 104),
        (100, 10_000, 114),
    ],
)
def test_overlapping_costs_few_requests(max_size: int, rows: int, requests: int) -> None:
    """A list is read in hardly more pages than there are without overlap."""
    assert len(read(max_size, rows)) == requests


@settings(deadline=None)
@given(max_size=st.integers(100, 1000), pages=st.integers(1, 100))
def test_a_total_names_the_whole_plan(max_size: int, pages: int) -> None:
    """The first page names all others: at most one more in eight than without overlap, and two."""
    rows = pages * max_size
    windows = read(max_size, rows, total=True)
    assert windows == [window_plan(max_size)[number] for number in range(len(windows))]
    assert windows[-1].start < rows <= windows[-1].end
    assert len(windows) <= 1.13 * pages + 2


@pytest.mark.parametrize("lookahead", [1, 2, 4, 12, 50])
def test_each_page_is_named_once(lookahead: int) -> None:
    """Full pages name one another without gaps, one at first and never more ahead than allowed."""
    named = [page for number in range(300) for page in pages_named_by(number, lookahead)]
    assert named == list(range(1, len(named) + 1))
    for full in range(1, 300):
        ahead = pages_named_by(full - 1, lookahead).stop - full
        assert 1 <= ahead <= lookahead
        assert ahead - 1 <= (full + 4) / 4
    assert list(pages_named_by(0, lookahead)) == [1]


@pytest.mark.parametrize(
    "cursor", [0, 3, -1, "", "3", "3/", "/10", "3/0", "3/11", "-1/10", "1.0/10", "٣/10", "999999/10"]
)
def test_other_cursors_are_refused(cursor: Any) -> None:
    """The error names the form that was expected."""
    with pytest.raises(InvalidArgument, match="number and largest size of a page, as in '3/10'"):
        WindowPosition.parse(cursor, 10)


def test_a_total_that_grows_is_read_to_its_end() -> None:
    """The last page of the plan names those that were added; the pages before it name none again."""
    assert read(16, 40, total=True) == read(16, 60, total=True)[:3]
    planned = [WindowPosition.parse(cursor, 16) for cursor in WindowPosition(0, 16).following(16, 40)]
    grown = [position.following(16, 60) for position in planned]
    assert grown == [(), ("3/16/5", "4/16/5")]
    assert WindowPosition.parse("4/16/5", 16).following(4, 60) == ()


def test_implausible_totals_are_no_plan() -> None:
    """A vendor that counts billions of rows does not make the client plan for them."""
    assert WindowPosition(0, 10).following(10, 10**12) == ("1/10",)
    assert WindowPosition(0, 10).following(10, 100_001) == ("1/10",)
    assert len(WindowPosition(0, 10).following(10, 100_000)) >= 10_000


@pytest.mark.parametrize(
    ("page", "named"),
    [
        (0, [1]),
        (1, [2, 3]),
        (2, [4]),
        (3, [5, 6]),
        (4, [7]),
        (7, [10, 11]),
        (39, [50, 51]),
        (40, [52]),
        (99, [111]),
    ],
)
def test_more_pages_are_named_as_pages_prove_full(page: int, named: list[int]) -> None:
    """Two ahead of the second page, and one more for each four that are full, up to the limit."""
    assert list(pages_named_by(page, 12)) == named


def test_positions_are_made_of_cursors_and_first_pages() -> None:
    """A cursor without a plan is of none, and a vendor's own page size is adopted from its first page."""
    assert WindowPosition.parse("3/10", 10) == (3, 10, 0)
    assert WindowPosition.parse("3/10/7", 10) == (3, 10, 7)
    assert WindowPosition(0, 100).resized(50, reported=50, more=None) == (0, 50, 0)
    assert WindowPosition(0, 100).resized(30, reported=50, more=False) == (0, 50, 0)
    assert WindowPosition(0, 100).resized(30, reported=None, more=True) == (0, 30, 0)
    assert WindowPosition(2, 100).resized(30, reported=None, more=True) == (2, 100, 0)
    assert WindowPosition(4, 10).following(10, None) == ("5/10",)
    assert str(next_window(60, 5)) == "Window(page=12, size=5)"


def providers(sandbox: Sandbox) -> list[NumberProvider]:
    url, token = sandbox.leadconnector_url, sandbox.leadconnector_token
    locations = sandbox.location_ids
    return [
        LeadConnector(token, base_url=url, page_size=16, locations=locations),
        LeadConnector(token, base_url=url, page_size=16, locations=locations, version="v3"),
        AgentNumbers(sandbox.agents_key, base_url=sandbox.agents_url, page_size=16),
    ]


@pytest.mark.parametrize("kind", [0, 1, 2])
async def test_backends_list_overlapping_pages(kind: int) -> None:
    """Each page states its offset and its overlap, and together they hold every row in order."""
    async with Sandbox(locations=1, numbers=150, agents=150, leadping=0) as sandbox:
        provider: Any = providers(sandbox)[kind]
        async with provider:
            backend = require(provider, OverlapsPages)
            account = await anext(provider.accounts())
            waiting: list[Any] = [None]
            rows: list[str] = []
            while waiting:
                page = await backend.overlapping_page(account, waiting.pop(0))
                waiting += page.next
                assert page.offset is not None
                if page.numbers:
                    assert page.offset + page.overlap == len(rows)
                    numbers = [number.number for number in page.numbers]
                    assert rows[page.offset :] == numbers[: page.overlap]
                    rows += numbers[page.overlap :]
            assert len(rows) == 150
            assert set(rows) == sandbox.truth[provider.name, account]
