from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from phonesys.sandbox.limits import SlidingWindows


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.floats(0, 3), max_size=200), st.integers(1, 8))
def test_no_window_ever_holds_too_many(gaps: list[float], most: int) -> None:
    """Wherever a window begins, no more than the limit were let through in it."""
    clock, let_through = Clock(), list[float]()
    windows = SlidingWindows((most, 5.0), clock=clock)
    for gap in gaps:
        clock.now += gap
        if windows.try_acquire("a").allowed:
            let_through.append(clock.now)
    for first, too_many in zip(let_through, let_through[most:], strict=False):
        assert first <= too_many - 5.0


def test_a_full_window_opens_exactly_when_it_says() -> None:
    """`retry_after` is neither too early nor too late."""
    clock = Clock()
    windows = SlidingWindows((2, 10.0), clock=clock)
    windows.try_acquire("a")
    clock.now += 4
    windows.try_acquire("a")
    refused = windows.try_acquire("a")
    assert (refused.allowed, refused.retry_after) == (False, 6.0)
    clock.now += 5.5
    assert not windows.try_acquire("a").allowed
    clock.now += 0.5
    assert windows.try_acquire("a").allowed


def test_refused_requests_do_not_count() -> None:
    """Knocking on a closed door does not keep it closed."""
    clock = Clock()
    windows = SlidingWindows((1, 10.0), clock=clock)
    windows.try_acquire("a")
    for _ in range(9):
        clock.now += 1
        assert not windows.try_acquire("a").allowed
    clock.now += 1
    assert windows.try_acquire("a").allowed


def test_keys_do_not_compete() -> None:
    """One key's window says nothing about another's."""
    windows = SlidingWindows((1, 10.0), clock=Clock())
    assert windows.try_acquire("a").allowed
    assert windows.try_acquire("b").allowed
    assert not windows.try_acquire("a").allowed


def test_several_limits_hold_together() -> None:
    """What is left is counted per limit, and the one that is spent for longest decides."""
    clock = Clock()
    windows = SlidingWindows((2, 10.0), (3, 100.0), clock=clock)
    assert windows.try_acquire("a").remaining == (1, 2)
    assert windows.try_acquire("a").remaining == (0, 1)
    assert windows.try_acquire("a").retry_after == 10.0
    clock.now += 10
    assert windows.try_acquire("a").remaining == (1, 0)
    refused = windows.try_acquire("a")
    assert (refused.allowed, refused.remaining, refused.retry_after) == (False, (1, 0), 90.0)


def test_no_limits_allow_everything() -> None:
    """Without limits nothing is remembered either."""
    windows = SlidingWindows(clock=Clock())
    assert all(windows.try_acquire("a").allowed for _ in range(1000))


def test_a_limit_of_nothing_refuses_everything() -> None:
    """Zero requests are a limit too."""
    assert not SlidingWindows((0, 10.0), clock=Clock()).try_acquire("a").allowed


def test_unenforced_limits_stay_full() -> None:
    """Nothing is counted, and whoever reads what is left sees all of it."""
    windows = SlidingWindows((1, 10.0), clock=Clock(), enforce=False)
    assert [windows.try_acquire("a").remaining for _ in range(3)] == [(1,)] * 3
