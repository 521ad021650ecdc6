"""Windows: exact, used to the full, fair, small, and yielding where others use the same ones."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonesys import InvalidArgument, RateLimit
from phonesys.http.ratelimit import limiter
from phonesys.http.ratelimit.limiter import RateLimiter
from phonesys.http.ratelimit.window import UNLIMITED, SlidingWindow, WaitTooLong

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[Any], Any]


class Vendor:
    """Counts arrivals on an exact sliding window, as strictly as can be."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self.arrivals: deque[float] = deque()
        self.served = 0
        self.refused = 0

    def arrive(self, now: float) -> None:
        # Without latency all clocks are one: `now - per` would differ from this by a float's last bit.
        while self.arrivals and self.arrivals[0] + self.limit.per <= now:
            self.arrivals.popleft()
        if len(self.arrivals) >= self.limit.requests:
            self.refused += 1
        else:
            self.arrivals.append(now)
            self.served += 1


async def call(window: SlidingWindow, vendor: Vendor, there: float, back: float) -> None:
    loop = asyncio.get_running_loop()
    if not window.try_acquire(loop.time()):
        await window.acquire(loop.time(), float("inf"))
    try:
        await asyncio.sleep(there)
        vendor.arrive(loop.time())
        await asyncio.sleep(back)
    finally:
        window.complete(loop.time())


@settings(max_examples=60, deadline=None)
@given(
    requests=st.integers(1, 12),
    per=st.floats(0.05, 20),
    latencies=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5), st.floats(0, 3)), min_size=1, max_size=80),
)
def test_the_vendor_never_sees_too_many(
    requests: int, per: float, latencies: list[tuple[float, float, float]]
) -> None:
    """The vendor's own window never overflows, whatever the latency of each request."""
    from tests.conftest import JumpingLoop  # the fixture cannot be used by hypothesis

    limit = RateLimit(requests, per=per)
    vendor = Vendor(limit)

    async def main() -> None:
        window = SlidingWindow(limit, asyncio.get_running_loop())
        tasks = []
        for there, back, pause in latencies:
            tasks.append(asyncio.create_task(call(window, vendor, there, back)))
            await asyncio.sleep(pause)
        await asyncio.gather(*tasks)

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(main())
    assert vendor.refused == 0
    assert vendor.served == len(latencies)


@pytest.mark.parametrize(("requests", "per"), [(100, 10.0), (300, 60.0)])
def test_the_window_is_used_to_the_full(jumping: Run, requests: int, per: float) -> None:
    """Over many windows and with jitter, at least 97 % of what the vendor allows is used, and no more."""
    limit, draw = RateLimit(requests, per=per), random.Random(7)
    vendor = Vendor(limit)
    windows = 20

    async def main() -> float:
        loop = asyncio.get_running_loop()
        window, started = SlidingWindow(limit, loop), loop.time()
        jobs = [
            call(window, vendor, draw.uniform(0.01, 0.08), draw.uniform(0.01, 0.08))
            for _ in range(requests * windows)
        ]
        await asyncio.gather(*jobs)
        return loop.time() - started

    took = jumping(main())
    assert vendor.refused == 0
    # The last window's worth goes out at once at its beginning.
    assert (windows - 1) * per / took >= 0.97


def test_waiters_are_served_in_order(jumping: Run) -> None:
    """First come, first served."""
    order: list[int] = []

    async def one(window: SlidingWindow, index: int) -> None:
        loop = asyncio.get_running_loop()
        if not window.try_acquire(loop.time()):
            await window.acquire(loop.time(), float("inf"))
        order.append(index)
        window.complete(loop.time())

    async def main() -> None:
        window = SlidingWindow(RateLimit(2, per=1), asyncio.get_running_loop())
        await asyncio.gather(*(one(window, index) for index in range(9)))

    jumping(main())
    assert order == list(range(9))


def test_a_wait_beyond_the_deadline_is_refused_at_once(jumping: Run) -> None:
    """A wait that cannot end in time is not begun, and says how long it would be."""

    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        window = SlidingWindow(RateLimit(1, per=60), loop)
        assert window.try_acquire(loop.time())
        window.complete(loop.time())
        before = loop.time()
        with pytest.raises(WaitTooLong) as refusal:
            await window.acquire(before, before + 10)
        return loop.time() - before, refusal.value.delay

    waited, delay = jumping(main())
    assert waited == 0
    assert delay == 60


def test_the_wait_counts_those_that_wait_already(jumping: Run) -> None:
    """Behind 25 others, the tenth window of a limit of 3 is what a newcomer has to wait for."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        window = SlidingWindow(RateLimit(3, per=10), loop)
        for _ in range(3):
            assert window.try_acquire(loop.time())
            window.complete(loop.time())
        waiting = [asyncio.create_task(window.acquire(loop.time(), float("inf"))) for _ in range(25)]
        await asyncio.sleep(0)
        delay = window.ready_at(loop.time(), ahead=25) - loop.time()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return delay

    assert jumping(main()) == 90


def test_cancelled_waiters_leak_no_slot(jumping: Run) -> None:
    """Cancelling at any moment, the moment of the grant included, leaves the window as usable as before."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        draw = random.Random(3)
        window = SlidingWindow(RateLimit(2, per=1), loop)

        async def one() -> None:
            if not window.try_acquire(loop.time()):
                await window.acquire(loop.time(), float("inf"))
            try:
                await asyncio.sleep(0.1)
            finally:
                window.complete(loop.time())

        for _ in range(40):
            tasks = [asyncio.create_task(one()) for _ in range(6)]
            await asyncio.sleep(draw.choice([0, 0.1, 1.1, 1.2, draw.random() * 3]))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(2)
        assert window.completions(loop.time(), 2) == []
        assert window.try_acquire(loop.time())
        assert window.try_acquire(loop.time())
        assert not window.try_acquire(loop.time())

    jumping(main())


def test_a_block_holds_and_ends(jumping: Run) -> None:
    """The wait is as long as the vendor asked for, and no longer."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        window = SlidingWindow(UNLIMITED, loop)
        started = loop.time()
        window.block_until(started + 42)
        assert not window.try_acquire(started)
        await window.acquire(started, float("inf"))
        return loop.time() - started

    assert jumping(main()) == pytest.approx(42)


def test_foreign_requests_are_taken_off_what_is_left(jumping: Run) -> None:
    """When the vendor has counted more than was sent from here, the difference is not sent on top."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        window = SlidingWindow(RateLimit(100, per=10), loop)
        assert window.try_acquire(loop.time())
        window.complete(loop.time())
        window.sync(remaining=30, limit=100, now=loop.time())
        granted = 0
        while window.try_acquire(loop.time()):
            granted += 1
        return granted

    assert jumping(main()) == 30


@pytest.mark.parametrize(("remaining", "allowed"), [(-5, 100), (200, 100), (0, 0)])
def test_nonsense_in_headers_changes_nothing(jumping: Run, remaining: int, allowed: int) -> None:
    """A vendor's figures that cannot be are not believed."""

    async def main() -> bool:
        loop = asyncio.get_running_loop()
        window = SlidingWindow(RateLimit(2, per=10), loop)
        window.sync(remaining, allowed, loop.time())
        return window.try_acquire(loop.time()) and window.try_acquire(loop.time())

    assert jumping(main())


def test_a_smaller_allowance_is_obeyed(jumping: Run) -> None:
    """A vendor that allows less than was configured is believed."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        window = SlidingWindow(RateLimit(100, per=10), loop)
        window.sync(remaining=10, limit=10, now=loop.time())
        granted = 0
        while window.try_acquire(loop.time()):
            granted += 1
        return granted

    assert jumping(main()) == 10


def test_a_block_fails_waiters_that_cannot_wait_so_long(jumping: Run) -> None:
    """A block ends the waits that it makes hopeless, at once, and leaves the others in their order."""

    async def main() -> tuple[float, float, float]:
        loop = asyncio.get_running_loop()
        window, started = SlidingWindow(RateLimit(1, per=10), loop), loop.time()
        assert window.try_acquire(started)
        hopeless = asyncio.create_task(window.acquire(started, started + 300))
        patient = asyncio.create_task(window.acquire(started, float("inf")))
        await asyncio.sleep(1)
        window.complete(loop.time())
        window.on_rejected(loop.time(), 3600)
        with pytest.raises(WaitTooLong) as refusal:
            await hopeless
        told = loop.time() - started
        await patient
        return told, refusal.value.delay, loop.time() - started

    assert jumping(main()) == (1, 3600, 3601)


def test_failed_waiters_leave_at_once(jumping: Run) -> None:
    """When nothing more will be sent for an account, no call waits for its window."""

    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        window, started = SlidingWindow(RateLimit(1, per=10), loop), loop.time()
        assert window.try_acquire(started)
        waits = [asyncio.create_task(window.acquire(started, float("inf"))) for _ in range(3)]
        await asyncio.sleep(0)
        window.fail_waiters()
        told = await asyncio.gather(*waits, return_exceptions=True)
        assert loop.time() == started
        window.complete(started)
        await window.acquire(started, float("inf"))  # the window is as usable as before
        return told

    assert [type(each) for each in jumping(main())] == [WaitTooLong] * 3


def test_an_unused_slot_goes_to_the_next_waiter(jumping: Run) -> None:
    """A slot that was given back was never used, so the next waiter gets it."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        window, started = SlidingWindow(RateLimit(1, per=10), loop), loop.time()
        assert window.try_acquire(started)
        wait = asyncio.create_task(window.acquire(started, float("inf")))
        await asyncio.sleep(3)
        window.cancel(loop.time())
        await wait
        return loop.time() - started

    assert jumping(main()) == 3


def test_a_lower_limit_frees_its_slots_in_time(jumping: Run) -> None:
    """After 50 requests a limit that turns out to be 10 has room once 41 of them have expired."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        window, started = SlidingWindow(RateLimit(100, per=10), loop), loop.time()
        for index in range(50):
            assert window.try_acquire(started)
            window.complete(started + index / 100)
        window.sync(remaining=0, limit=10, now=started + 0.5)
        return window.ready_at(started + 0.5) - started

    assert jumping(main()) == pytest.approx(10.4)


def test_a_waiter_that_leaves_with_a_slot_hands_it_on_at_once(jumping: Run) -> None:
    """Cancelled in the moment of its grant: the next one has the slot then, not when another expires."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        window, started = SlidingWindow(RateLimit(2, per=10), loop), loop.time()
        for pause in (0, 4):
            await asyncio.sleep(pause)
            assert window.try_acquire(loop.time())
            window.complete(loop.time())
        leaving, staying = (asyncio.create_task(window.acquire(loop.time(), float("inf"))) for _ in range(2))
        loop.call_at(started + 10.1, leaving.cancel)  # granted at 10.0, and the loop is late
        await asyncio.sleep(0)
        loop.call_at(started + 9.9, setattr, loop, "now", started + 10.2)
        await asyncio.gather(leaving, return_exceptions=True)
        assert leaving.cancelled()
        await staying
        return loop.time() - started

    assert jumping(main()) < 11


# Others in the same window


def test_capacity_that_headers_give_back_is_used_at_once(jumping: Run) -> None:
    """When others hold fewer slots than it seemed, waiters do not wait for their requests to expire."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        window, started = SlidingWindow(RateLimit(10, per=10), loop), loop.time()
        assert window.try_acquire(started)
        assert window.try_acquire(started)
        window.complete(started)
        window.sync(remaining=0, limit=10, now=started)
        wait = asyncio.create_task(window.acquire(started, float("inf")))
        await asyncio.sleep(2)
        window.complete(loop.time())
        window.sync(remaining=5, limit=10, now=loop.time())
        await wait
        return loop.time() - started

    assert jumping(main()) == 2


def test_after_a_429_one_request_at_a_time_goes_out(jumping: Run) -> None:
    """All that wait do not run into the next 429: one tries, and each that is served lets one more try."""

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        window, now = SlidingWindow(RateLimit(100, per=10), loop), loop.time()
        assert window.try_acquire(now)
        window.complete(now)
        window.on_rejected(now, None)
        rounds = []
        for _ in range(4):
            granted = 0
            while window.try_acquire(now):
                granted += 1
            rounds.append(granted)
            for _ in range(granted):
                window.complete(now)
        return rounds

    assert jumping(main()) == [1, 2, 4, 8]


def test_a_429_leaves_less_of_the_window_and_time_brings_it_back(jumping: Run) -> None:
    """Another program gets room; once nothing is refused any more, the whole window is ours again."""

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        window, counts = SlidingWindow(RateLimit(100, per=10), loop), []

        async def fill() -> int:
            sent, begun = 0, loop.time()
            while loop.time() < begun + 9.9:
                if window.try_acquire(loop.time()):
                    window.complete(loop.time())
                    sent += 1
                else:
                    await asyncio.sleep(0.1)
            return sent

        counts.append(await fill())
        for _ in range(3):
            window.on_rejected(loop.time(), None)
        for _ in range(10):
            await asyncio.sleep(0.2)
            counts.append(await fill())
        return counts

    counts = jumping(main())
    assert counts[0] == 100
    assert 70 <= counts[1] <= 77
    assert counts == [100, *sorted(counts[1:])]
    assert counts[-1] == 100


@pytest.mark.parametrize("limit", [RateLimit(300, per=60), RateLimit(100, per=10)], ids=str)
def test_stray_429s_leave_most_of_a_window(jumping: Run, limit: RateLimit) -> None:
    """A vendor that refuses 5 % of all requests at random still gets half of what it allows, or more."""
    draw, windows = random.Random(5), 30

    async def main() -> int:
        loop = asyncio.get_running_loop()
        window, served, until = SlidingWindow(limit, loop), 0, loop.time() + windows * limit.per

        async def sending() -> None:
            nonlocal served
            while loop.time() < until:
                if not window.try_acquire(loop.time()):
                    await window.acquire(loop.time(), float("inf"))
                await asyncio.sleep(draw.uniform(0.02, 0.2))
                window.complete(loop.time())
                if draw.random() < 0.05:
                    window.on_rejected(loop.time(), None)
                else:
                    served += 1

        await asyncio.gather(*(sending() for _ in range(16)))
        return served

    assert jumping(main()) >= 0.5 * windows * limit.requests


@settings(max_examples=150, deadline=None)
@given(
    requests=st.integers(1, 12),
    per=st.floats(0.05, 20),
    seed=st.integers(0, 2**32),
    refused=st.sampled_from([0.0, 0.1, 0.5]),
    count=st.integers(1, 60),
)
def test_429s_and_headers_never_raise_the_limit(
    requests: int, per: float, seed: int, refused: float, count: int
) -> None:
    """No window ever holds more than the limit, for any 429s, headers and cancelled waiters."""
    from tests.conftest import JumpingLoop  # the fixture cannot be used by hypothesis

    draw, limit = random.Random(seed), RateLimit(requests, per=per)
    vendor = Vendor(limit)

    async def one(window: SlidingWindow) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not window.try_acquire(loop.time()):
                await window.acquire(loop.time(), float("inf"))
            if draw.random() < 0.1:
                window.cancel(loop.time())
                continue
            try:
                await asyncio.sleep(draw.uniform(0, per / 4))
                vendor.arrive(loop.time())
                await asyncio.sleep(draw.uniform(0, per / 4))
            finally:
                window.complete(loop.time())
            if draw.random() < 0.5:
                window.sync(draw.randint(-1, requests), draw.randint(0, requests + 2), loop.time())
            if draw.random() >= refused:
                return
            window.on_rejected(loop.time(), draw.choice([None, 0.0, draw.uniform(0, per)]))

    async def main() -> None:
        window = SlidingWindow(limit, asyncio.get_running_loop())
        tasks = []
        for _ in range(count):
            tasks.append(asyncio.create_task(one(window)))
            await asyncio.sleep(draw.choice([0, draw.uniform(0, per / 3)]))
            if draw.random() < 0.05:
                draw.choice(tasks).cancel()
        async with asyncio.timeout(per * 10_000):  # and no call waits for ever
            await asyncio.gather(*tasks, return_exceptions=True)

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(main())
    assert vendor.refused == 0


# Very many accounts


@settings(max_examples=150, deadline=None)
@given(
    requests=st.integers(1, 5),
    steps=st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from([0.0, 0.01, 0.3, 1.0, 2.5])), min_size=1, max_size=200
    ),
    live=st.integers(1, 4),
    few=st.integers(0, 5),
)
def test_retired_windows_decide_as_live_ones(
    requests: int, steps: list[tuple[int, float]], live: int, few: int
) -> None:
    """Windows that are put away decide about every request as those that are kept."""
    loop, limit = asyncio.new_event_loop(), RateLimit(requests, per=2.0)
    kept = defaultdict[str, SlidingWindow](lambda: SlidingWindow(limit, loop))
    windows, now, under_way = RateLimiter(limit, loop), 0.0, deque[str]()

    def drain() -> None:
        name = under_way.popleft()
        for each in (windows.window(name, now), kept[name]):
            each.complete(now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limiter, "_MIN_LIVE_WINDOWS", live)
        patch.setattr(limiter, "_MAX_STORED_COMPLETIONS", few)
        windows = RateLimiter(limit, loop)
        for account, pause in steps:
            name = f"acc_{account}"
            allowed = windows.window(name, now).try_acquire(now)
            assert allowed == kept[name].try_acquire(now)
            if allowed:
                under_way.append(name)
            now += pause
            while len(under_way) > 2:
                drain()
    loop.close()


def test_an_account_that_was_asked_once_costs_a_few_bytes(jumping: Run) -> None:
    """30 000 accounts leave neither an object nor a key each, and nothing once they have expired."""

    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        windows = RateLimiter(RateLimit(100, per=10), loop)
        begun = tracemalloc.get_traced_memory()[0]
        for index in range(30_000):
            window = windows.window(f"loc_{index:016}", loop.time())
            assert window.try_acquire(loop.time())
            window.complete(loop.time())
        held = tracemalloc.get_traced_memory()[0] - begun
        await asyncio.sleep(11)
        for index in range(600):
            windows.window(f"other_{index:016}", loop.time())
        return held / 30_000, (tracemalloc.get_traced_memory()[0] - begun) / 30_000

    tracemalloc.start()
    try:
        held, later = jumping(main())
    finally:
        tracemalloc.stop()
    assert held < 30
    assert later < 12


def test_a_window_with_more_state_is_kept(jumping: Run) -> None:
    """Blocked, with a lower limit or with a smaller share: so it stays, however many others are asked for."""

    async def main() -> tuple[bool, int, int]:
        loop = asyncio.get_running_loop()
        windows, now = RateLimiter(RateLimit(100, per=10), loop), loop.time()
        windows.window("blocked", now).block_until(now + 1000)
        low = windows.window("low", now)
        assert low.try_acquire(now)
        low.complete(now)
        low.sync(remaining=2, limit=3, now=now)
        crowded = windows.window("crowded", now)
        assert crowded.try_acquire(now)
        crowded.complete(now)
        for _ in range(3):
            crowded.on_rejected(now, None)
        for index in range(5000):
            windows.window(f"loc_{index}", now)
        granted = 0
        while windows.window("low", now).try_acquire(now):
            granted += 1
        assert len(windows) < 1000
        return (
            windows.window("blocked", now + 999).try_acquire(now + 999),
            granted,
            windows.window("crowded", now)._update_capacity(now),
        )

    assert jumping(main()) == (False, 2, 35)


@pytest.mark.parametrize(
    ("requests", "per"), [(0, 1), (-1, 1), (1, 0), (1, -2), (1, float("inf")), (1, float("nan"))]
)
def test_an_impossible_limit_is_refused(requests: int, per: float) -> None:
    """A limit must allow something, in a time that ends."""
    with pytest.raises(InvalidArgument, match="limit"):
        RateLimit(requests, per=per)
