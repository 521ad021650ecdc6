"""Our share of a window: falls when the vendor refuses, grows back, and believes what headers say."""

from __future__ import annotations

from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from phonesys.http.ratelimit.adaptive import AdaptiveLimit


@settings(deadline=None)
@given(
    most=st.integers(1, 500),
    per=st.floats(0.01, 3600),
    events=st.lists(
        st.tuples(st.booleans(), st.integers(-600, 600), st.integers(0, 300), st.floats(0, 2)), max_size=40
    ),
)
def test_the_share_stays_between_one_and_the_limit(
    most: int, per: float, events: list[tuple[bool, int, int, float]]
) -> None:
    """There is always room for one request, so that no call waits for ever, and later for all again."""
    share, now = AdaptiveLimit(most, per), 0.0
    in_a_row = 0
    for refused, count, under_way, pause in events:
        in_a_row = in_a_row + 1 if refused else 0
        if refused:
            share.on_rejected(abs(count), in_a_row, now)
        else:
            share.on_foreign_usage(count, under_way, now)
        assert 1 <= share.capacity(now) <= most
        assert share.grows_at(now) > now
        now += pause * per
    assert share.capacity(now + 19 * per) == most


def test_foreign_usage_is_known_up_to_requests_in_flight() -> None:
    """The vendor may not have counted requests in flight yet, so others' usage is known as a range."""
    share = AdaptiveLimit(100, per=10)
    share.on_foreign_usage(40, 0, now=0)
    assert share.capacity(0) == 60
    share.on_foreign_usage(30, 20, now=1)  # 30 to 50, so 40 may still be right
    assert share.capacity(1) == 60
    share.on_foreign_usage(30, 5, now=2)
    assert share.capacity(2) == 65
    share.on_foreign_usage(70, 5, now=3)
    assert share.capacity(3) == 30
    share.on_foreign_usage(-10, 0, now=4)
    assert share.capacity(4) == 100


@given(most=st.integers(2, 500), used=st.integers(1, 500), in_a_row=st.integers(1, 3), part=st.floats(0, 1))
def test_a_share_grows_when_it_says(most: int, used: int, in_a_row: int, part: float) -> None:
    """One request more at the time that it names, none before, and the whole limit 18 windows later."""
    share, now = AdaptiveLimit(most, per=10), 1000.0
    share.on_rejected(used, in_a_row, now)
    while (at := share.grows_at(now)) < inf:
        before = share.capacity(now)
        assert share.capacity(now + part * (at - now) * 0.999) == before
        assert share.capacity(at + 1e-6) == before + 1
        now = at + 1e-6
    assert share.capacity(now) == most
    assert now <= 1180.1


def test_the_smallest_share_is_one_request() -> None:
    """A limit of two requests leaves one, and a limit of one stays."""
    for most in (1, 2):
        share = AdaptiveLimit(most, per=10)
        share.on_rejected(most, 3, now=0)
        assert share.capacity(0) == 1


def test_a_lower_limit_is_adopted() -> None:
    """The share is at most that, and grows back to no more."""
    share = AdaptiveLimit(100, per=10)
    share.lower_limit(50)
    assert share.capacity(0) == 50
    assert share.grows_at(0) == inf
    share.on_rejected(50, 3, now=0)
    assert share.capacity(0) == 35
    assert share.capacity(200) == 50


def test_foreign_usage_is_forgotten_when_it_has_expired() -> None:
    """A window later, only what the vendor counts then is known."""
    for now in (10.0, 25.0):
        share = AdaptiveLimit(100, per=10)
        share.on_foreign_usage(40, 0, now=0)
        share.on_foreign_usage(10, 50, now=now)
        assert share.capacity(now) == 90
    share = AdaptiveLimit(100, per=10)
    share.on_foreign_usage(0, 5, now=0)
    assert share.capacity(0) == 100
    share.on_foreign_usage(-10, 0, now=0)
    assert share.grows_at(0) == inf


def test_foreign_usage_expires_after_a_window() -> None:
    """Requests of others that were counted then have expired by then."""
    share = AdaptiveLimit(100, per=10)
    share.on_foreign_usage(40, 0, now=0)
    assert share.grows_at(5) == 10
    assert share.capacity(9.9) == 60
    assert share.capacity(10) == 100
    assert share.grows_at(10) == inf


def test_429s_in_a_row_cost_a_part_of_the_share_once_a_window() -> None:
    """A burst costs as much as three in a row, and another one costs again in the next window."""
    share = AdaptiveLimit(100, per=10)
    for count in range(50):
        share.on_rejected(100, in_a_row=count + 1, now=0)
    assert share.capacity(0) == 70
    share.on_rejected(76, in_a_row=3, now=9)
    assert share.capacity(9) == 70
    share.on_rejected(70, in_a_row=3, now=10)
    assert share.capacity(10) == 49


def test_a_stray_429_costs_little() -> None:
    """A fault of the vendor's is no sign of other programs; the second in a row may be one."""
    share = AdaptiveLimit(100, per=10)
    share.on_rejected(50, in_a_row=1, now=0)
    assert share.capacity(0) == 98
    share.on_rejected(50, in_a_row=2, now=0)
    assert share.capacity(0) == 92


def test_an_account_that_is_asked_little_keeps_a_third() -> None:
    """429s in a row while the window holds hardly any request of ours leave enough to go on."""
    share = AdaptiveLimit(100, per=10)
    share.on_rejected(1, in_a_row=3, now=0)
    assert share.capacity(0) == 35


def test_programs_that_share_a_window_come_to_equal_shares() -> None:
    """A larger share loses more, and all gain the same."""
    few, many, now = AdaptiveLimit(100, per=10), AdaptiveLimit(100, per=10), 0.0
    few.on_rejected(10, 3, now)
    for _ in range(60):
        now += 10
        if few.capacity(now) + many.capacity(now) > 100:
            few.on_rejected(few.capacity(now), 3, now)
            many.on_rejected(many.capacity(now), 3, now)
    assert abs(few.capacity(now) - many.capacity(now)) <= 10
