"""Our share of a window: falls when the vendor refuses, grows back, and believes what headers say."""

from __future__ import annotations

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
    for refused, count, under_way, pause in events:
        if refused:
            share.on_rejected(abs(count), now)
        else:
            share.on_foreign_usage(count, under_way, now)
        assert 1 <= share.capacity(now) <= most
        assert share.grows_at(now) > now
        now += pause * per
    assert share.capacity(now + 17 * per) == most


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


def test_foreign_usage_expires_after_a_window() -> None:
    """Requests of others that were counted then have expired by then."""
    share = AdaptiveLimit(100, per=10)
    share.on_foreign_usage(40, 0, now=0)
    assert share.grows_at(5) == 10
    assert share.capacity(9.9) == 60
    assert share.capacity(10) == 100


def test_requests_refused_together_are_one_sign() -> None:
    """A burst of 429s costs as much as one, and the next window's 429 costs again."""
    share = AdaptiveLimit(100, per=10)
    for tenth in range(50):
        share.on_rejected(100, now=tenth / 10)
    assert share.capacity(5) == 73
    share.on_rejected(76, now=10)
    assert share.capacity(10) == 53


def test_one_429_out_of_nowhere_leaves_a_third() -> None:
    """An account that is asked little is not brought to a stop by a fault of the vendor's."""
    share = AdaptiveLimit(100, per=10)
    share.on_rejected(1, now=0)
    assert share.capacity(0) == 35


def test_programs_that_share_a_window_come_to_equal_shares() -> None:
    """A larger share loses more, and all gain the same."""
    few, many, now = AdaptiveLimit(100, per=10), AdaptiveLimit(100, per=10), 0.0
    few.on_rejected(10, now)
    for _ in range(60):
        now += 10
        if few.capacity(now) + many.capacity(now) > 100:
            few.on_rejected(few.capacity(now), now)
            many.on_rejected(many.capacity(now), now)
    assert abs(few.capacity(now) - many.capacity(now)) <= 10
