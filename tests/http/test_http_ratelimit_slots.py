"""The slots of one window, counted one by one: which are free, when the next one is, and what is kept."""

from __future__ import annotations

import asyncio
import heapq
from math import inf
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesys import InvalidArgument, RateLimit
from phonesys.http.ratelimit.window import UNLIMITED, SlidingWindow, WaitTooLong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = Callable[[Any], Any]

LIMIT = RateLimit(4, per=10.0)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def free(window: SlidingWindow, now: float) -> int:
    """Return how many slots can be taken at that time, and give them back."""
    slots = 0
    while window.try_acquire(now):
        slots += 1
    for _ in range(slots):
        window.cancel(now)
    return slots


def used(loop: Any, *completed: float, in_flight: int = 0, limit: RateLimit = LIMIT) -> SlidingWindow:
    """Return a window of which requests were completed at those times, and others have not been."""
    window = SlidingWindow(limit, loop)
    for at in completed:
        assert window.try_acquire(at)
        window.complete(at)
    for _ in range(in_flight):
        assert window.try_acquire(completed[-1] if completed else 0.0)
    return window


@given(
    limit=st.integers(1, 6),
    ages=st.lists(st.integers(0, 120), max_size=6),
    in_flight=st.integers(0, 6),
    ahead=st.integers(0, 20),
)
def test_the_next_slot_is_free_when_it_says(limit: int, ages: list[int], in_flight: int, ahead: int) -> None:
    """As if each waiter took the slot that becomes free first, and got its response at once."""
    ages = ages[:limit]
    in_flight = min(in_flight, limit - len(ages))
    now, per = 1000.0, 100.0
    times = sorted(now - age for age in ages)
    window = used(None, *times, in_flight=in_flight, limit=RateLimit(limit, per=per))
    slots = [max(now, at + per) for at in times] + [now + per] * in_flight
    slots += [now] * (limit - len(slots))
    heapq.heapify(slots)
    at = now
    for _ in range(ahead + 1):
        at = heapq.heappop(slots)
        heapq.heappush(slots, at + per)
    assert window.ready_at(now, ahead) == at
    assert (window.ready_at(now) == now) == window.try_acquire(now)


def test_a_slot_is_free_exactly_one_window_after_its_response(loop: asyncio.AbstractEventLoop) -> None:
    """Not before; and one that is in flight is not free."""
    window = used(loop, 0.0, 1.0, 2.0, in_flight=1)
    assert [free(window, at) for at in (2.0, 9.9, 10.0, 11.0, 12.0, 99.0)] == [0, 0, 1, 2, 3, 3]
    window.complete(99.0)
    assert [free(window, at) for at in (99.0, 108.9, 109.0)] == [3, 3, 4]


def test_a_block_is_the_latest_of_all(loop: asyncio.AbstractEventLoop) -> None:
    """It never ends earlier than was said before."""
    window = used(loop)
    window.block_until(50.0)
    window.block_until(20.0)
    assert [free(window, at) for at in (0.0, 49.9, 50.0)] == [0, 0, 4]
    assert window.ready_at(0.0) == 50.0
    assert window.ready_at(0.0, ahead=5) == 50.0
    assert window.ready_at(60.0) == 60.0


def test_a_lower_limit_of_the_vendor_is_obeyed(loop: asyncio.AbstractEventLoop) -> None:
    """One that is higher, or none, is not."""
    window = used(loop, 0.0)
    for stated in (5, 4, 0, -1):
        window.sync(stated - 1, stated, 0.0)
        assert free(window, 0.0) == 3
    window.sync(1, 2, 0.0)
    assert free(window, 0.0) == 1
    assert window.ready_at(0.0, ahead=1) == 10.0
    window.sync(2, 3, 0.0)
    assert free(window, 0.0) == 1
    window.sync(0, 1, 0.0)
    assert free(window, 0.0) == 0
    assert free(window, 10.0) == 1


@pytest.mark.parametrize(
    ("remaining", "stated", "slots"),
    [(3, 4, 3), (4, 4, 3), (1, 4, 1), (0, 4, 0), (-1, 4, 3), (5, 4, 3), (2, 4, 2)],
)
def test_what_others_used_is_taken_off(
    loop: asyncio.AbstractEventLoop, remaining: int, stated: int, slots: int
) -> None:
    """For one window, by the vendor's own count of what is left."""
    window = used(loop, 0.0)
    window.sync(remaining, stated, 0.0)
    assert [free(window, 0.0), free(window, 9.9)] == [max(slots, 0)] * 2
    assert free(window, 10.0) == 4


def test_a_count_that_is_older_than_requests_in_flight_is_no_news(loop: asyncio.AbstractEventLoop) -> None:
    """The vendor may not have counted them yet: what others used may be what it was before."""
    window = used(loop, in_flight=1)
    window.sync(1, 4, 0.0)  # two of others, and one of this program
    assert free(window, 0.0) == 1
    window.sync(2, 4, 0.0)  # one of others and one of this program, or two of others
    assert free(window, 0.0) == 1
    window.complete(0.0)
    window.sync(2, 4, 0.0)
    assert free(window, 0.0) == 2


def test_a_window_that_others_have_left_is_whole_again(loop: asyncio.AbstractEventLoop) -> None:
    """The vendor says that nothing of it is used."""
    window = used(loop)
    window.sync(1, 4, 0.0)
    assert free(window, 0.0) == 1
    window.sync(4, 4, 0.0)
    assert free(window, 0.0) == 4


def test_429s_slow_the_window_down(loop: asyncio.AbstractEventLoop) -> None:
    """One request at a time, and one more with each response, until the whole window is in use again."""
    limit = RateLimit(100, per=10.0)
    window = used(loop, in_flight=3, limit=limit)
    window.on_rejected(0.0, 5.0)
    window.complete(0.0)
    assert free(window, 4.9) == 0
    assert free(window, 5.0) == 0  # two are in flight, which is as many as may be
    window.complete(5.0)
    assert free(window, 5.0) == 2
    for expected in (3, 4, 5):
        assert window.try_acquire(5.0)
        window.complete(5.0)
        assert free(window, 5.0) == expected


@pytest.mark.parametrize(
    ("served", "capacity"), [([], 98), ([0], 92), ([1], 97), ([2], 97), ([0, 0], 35), ([1, 0], 91)]
)
def test_429s_in_a_row_cost_more_than_stray_ones(
    loop: asyncio.AbstractEventLoop, served: list[int], capacity: int
) -> None:
    """The next one counts as such unless another was served between the two. Time gives slots back."""
    window, sent = used(loop, limit=RateLimit(100, per=10.0)), 0
    for requests in (0, *served):
        for _ in range(requests):
            assert window.try_acquire(0.0)
            window.complete(0.0)
        assert window.try_acquire(0.0)
        window.on_rejected(0.0, None)
        window.complete(0.0)
        sent += requests + 1
    while window.try_acquire(0.0):
        window.complete(0.0)
        sent += 1
    assert sent == capacity
    assert not window.try_acquire(0.0)
    assert window.try_acquire(2.0)


def test_a_window_is_put_away_as_its_completions(loop: asyncio.AbstractEventLoop) -> None:
    """Those that still count. A window with more state than those is not put away."""
    window = used(loop, 0.0, 1.0, 2.0)
    assert window.completions(2.0, 4) == [0.0, 1.0, 2.0]
    assert window.completions(10.0, 4) == [1.0, 2.0]
    assert window.completions(12.0, 4) == []
    assert used(loop, in_flight=1).completions(0.0, 4) is None
    blocked = used(loop)
    blocked.block_until(5.0)
    assert blocked.completions(4.9, 4) is None
    assert blocked.completions(5.0, 4) == []
    lowered = used(loop, 0.0)
    lowered.sync(2, 3, 0.0)
    assert lowered.completions(0.0, 4) is None
    assert lowered.completions(10.0, 4) == []
    shared = used(loop, 0.0)
    shared.sync(1, 4, 0.0)
    assert shared.completions(9.9, 4) is None
    assert shared.completions(10.0, 4) == []
    restored = SlidingWindow(LIMIT, loop, [1.0, 2.0, 3.0])
    assert free(restored, 3.0) == 1
    assert free(restored, 11.0) == 2


def test_completions_without_a_limit_are_not_kept(loop: asyncio.AbstractEventLoop) -> None:
    """A window that never fills costs nothing."""
    window = used(loop, *[0.0] * 1000, limit=UNLIMITED)
    assert window.completions(0.0, UNLIMITED.requests) == []
    for _ in range(3):
        window.on_rejected(0.0, 5.0)
    assert [window.try_acquire(at) for at in (4.9, 5.0, 5.0)] == [False, True, False]
    window.complete(5.0)
    assert window.completions(5.0, UNLIMITED.requests) == []


def test_a_window_continues_in_another_event_loop(jumping: Run) -> None:
    """What was in flight counts from then on, as if its response had just arrived."""

    async def main() -> None:
        now = asyncio.get_running_loop().time()
        before = asyncio.new_event_loop()
        window = used(before, now - 5.0, in_flight=2)
        before.close()
        window.rebind(asyncio.get_running_loop())
        assert window.try_acquire(now)
        await window.acquire(now, inf)
        assert asyncio.get_running_loop().time() == now + 5.0
        for _ in range(2):
            window.complete(now + 5.0)
        assert [free(window, now + after) for after in (9.9, 10.0, 14.9, 15.0)] == [0, 2, 2, 4]

    jumping(main())


def test_a_waiter_whose_time_is_up_says_how_long_it_would_take(jumping: Run) -> None:
    """Another one was served before it, against what was expected when it began to wait."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        window = used(loop, loop.time(), limit=RateLimit(1, per=10.0))
        waiting = asyncio.create_task(window.acquire(loop.time(), loop.time() + 12.0))
        await asyncio.sleep(9.0)
        window.sync(0, 1, loop.time())
        window.block_until(loop.time() + 3.0)
        with pytest.raises(WaitTooLong) as caught:
            await waiting
        assert loop.time() == 1012.0
        assert 0.0 <= caught.value.delay <= 10.0
        assert str(caught.value) == str(caught.value.delay)

    jumping(main())


@pytest.mark.parametrize("limit", [(0, 1.0), (1, 0.0), ("9", 1.0), (1, None), (1, -1.0)])
def test_a_limit_that_is_none_is_shown(limit: Any) -> None:
    """With what was expected."""
    with pytest.raises(InvalidArgument) as caught:
        RateLimit(*limit)
    requests, per = limit
    assert str(caught.value) == (
        "limit: expected at least 1 request per a positive number of seconds, got "
        f"RateLimit(requests={requests!r}, per={per!r})"
    )


def test_a_wait_up_to_the_deadline_is_not_begun(jumping: Run) -> None:
    """It would end with the deadline. Behind another waiter, a wait takes another window."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        window = used(loop, loop.time(), limit=RateLimit(1, per=10.0))
        with pytest.raises(WaitTooLong) as caught:
            await window.acquire(loop.time(), loop.time() + 10.0)
        assert (caught.value.delay, loop.time()) == (10.0, 1000.0)
        first = asyncio.create_task(window.acquire(loop.time(), loop.time() + 10.1))
        await asyncio.sleep(0)
        with pytest.raises(WaitTooLong) as caught:
            await window.acquire(loop.time(), loop.time() + 20.0)
        assert (caught.value.delay, loop.time()) == (20.0, 1000.0)
        await first
        assert loop.time() == 1010.0

    jumping(main())


def test_a_waiter_that_is_cancelled_as_it_is_woken_leaves_its_slot(jumping: Run) -> None:
    """The next call gets it at once."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        window = used(loop, in_flight=1, limit=RateLimit(1, per=10.0))
        waiting = asyncio.create_task(window.acquire(loop.time(), inf))
        await asyncio.sleep(0)
        window.cancel(loop.time())
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # it has been woken, and has not run yet
        assert not window.try_acquire(loop.time())
        assert waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()
        assert window.try_acquire(loop.time())

    jumping(main())
