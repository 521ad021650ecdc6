"""Windows: exact, used to the full, fair, and forgotten when they idle."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonesys import InvalidArgument, RateLimit
from phonesys.http.limits import UNLIMITED, TooLong, Window, Windows

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
        while self.arrivals and self.arrivals[0] <= now - self.limit.per:
            self.arrivals.popleft()
        if len(self.arrivals) >= self.limit.requests:
            self.refused += 1
        else:
            self.arrivals.append(now)
            self.served += 1


async def call(window: Window, vendor: Vendor, there: float, back: float) -> None:
    loop = asyncio.get_running_loop()
    if not window.take(loop.time()):
        await window.turn(loop.time(), float("inf"))
    try:
        await asyncio.sleep(there)
        vendor.arrive(loop.time())
        await asyncio.sleep(back)
    finally:
        window.settle(loop.time())


@settings(max_examples=60, deadline=None)
@given(
    requests=st.integers(1, 12),
    per=st.floats(0.05, 20),
    latencies=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5), st.floats(0, 3)), min_size=1, max_size=80),
)
def test_no_jitter_makes_the_vendor_see_too_many(
    requests: int, per: float, latencies: list[tuple[float, float, float]]
) -> None:
    """Whatever the network does to each request, the vendor's own window never overflows."""
    from tests.conftest import JumpingLoop  # the fixture cannot be used by hypothesis

    limit = RateLimit(requests, per=per)
    vendor = Vendor(limit)

    async def main() -> None:
        window = Window(limit, asyncio.get_running_loop())
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
        window, started = Window(limit, loop), loop.time()
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

    async def one(window: Window, index: int) -> None:
        loop = asyncio.get_running_loop()
        if not window.take(loop.time()):
            await window.turn(loop.time(), float("inf"))
        order.append(index)
        window.settle(loop.time())

    async def main() -> None:
        window = Window(RateLimit(2, per=1), asyncio.get_running_loop())
        await asyncio.gather(*(one(window, index) for index in range(9)))

    jumping(main())
    assert order == list(range(9))


def test_a_wait_beyond_the_deadline_is_refused_at_once(jumping: Run) -> None:
    """A wait that cannot end in time is not begun, and says how long it would be."""

    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        window = Window(RateLimit(1, per=60), loop)
        assert window.take(loop.time())
        window.settle(loop.time())
        before = loop.time()
        with pytest.raises(TooLong) as refusal:
            await window.turn(before, before + 10)
        return loop.time() - before, refusal.value.delay

    waited, delay = jumping(main())
    assert waited == 0
    assert delay == 60


def test_the_wait_counts_those_that_wait_already(jumping: Run) -> None:
    """Behind 25 others, the tenth window of a limit of 3 is what a newcomer has to wait for."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        window = Window(RateLimit(3, per=10), loop)
        for _ in range(3):
            assert window.take(loop.time())
            window.settle(loop.time())
        waiting = [asyncio.create_task(window.turn(loop.time(), float("inf"))) for _ in range(25)]
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
        window = Window(RateLimit(2, per=1), loop)

        async def one() -> None:
            if not window.take(loop.time()):
                await window.turn(loop.time(), float("inf"))
            try:
                await asyncio.sleep(0.1)
            finally:
                window.settle(loop.time())

        for _ in range(40):
            tasks = [asyncio.create_task(one()) for _ in range(6)]
            await asyncio.sleep(draw.choice([0, 0.1, 1.1, 1.2, draw.random() * 3]))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(2)
        assert window.idle(loop.time())
        assert window.take(loop.time())
        assert window.take(loop.time())
        assert not window.take(loop.time())

    jumping(main())


def test_a_block_holds_and_ends(jumping: Run) -> None:
    """What the vendor asked to wait is waited, and not longer."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        window = Window(UNLIMITED, loop)
        started = loop.time()
        window.block(started + 42)
        assert not window.take(started)
        await window.turn(started, float("inf"))
        return loop.time() - started

    assert jumping(main()) == pytest.approx(42)


def test_foreign_requests_are_taken_off_what_is_left(jumping: Run) -> None:
    """When the vendor has counted more than was sent from here, the difference is not sent on top."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        window = Window(RateLimit(100, per=10), loop)
        assert window.take(loop.time())
        window.settle(loop.time())
        window.observe(remaining=30, allowed=100, now=loop.time())
        granted = 0
        while window.take(loop.time()):
            granted += 1
        return granted

    assert jumping(main()) == 30


@pytest.mark.parametrize(("remaining", "allowed"), [(-5, 100), (200, 100), (0, 0)])
def test_nonsense_in_headers_changes_nothing(jumping: Run, remaining: int, allowed: int) -> None:
    """A vendor's figures that cannot be are not believed."""

    async def main() -> bool:
        loop = asyncio.get_running_loop()
        window = Window(RateLimit(2, per=10), loop)
        window.observe(remaining, allowed, loop.time())
        return window.take(loop.time()) and window.take(loop.time())

    assert jumping(main())


def test_a_smaller_allowance_is_obeyed(jumping: Run) -> None:
    """A vendor that allows less than was configured is believed."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        window = Window(RateLimit(100, per=10), loop)
        window.observe(remaining=10, allowed=10, now=loop.time())
        granted = 0
        while window.take(loop.time()):
            granted += 1
        return granted

    assert jumping(main()) == 10


def test_idle_windows_are_forgotten_and_busy_ones_kept(jumping: Run) -> None:
    """A hundred thousand accounts leave no trace after two windows; a blocked one stays blocked."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        windows = Windows(RateLimit(100, per=10), loop)
        blocked = windows.of("blocked", loop.time())
        blocked.block(loop.time() + 1000)
        for index in range(100_000):
            window = windows.of(f"loc_{index}", loop.time())
            assert window.take(loop.time())
            window.settle(loop.time())
            if not index % 1000:
                await asyncio.sleep(1)
        assert windows.of("blocked", loop.time()) is blocked
        return len(windows)

    assert jumping(main()) <= 30_001


@pytest.mark.parametrize(
    ("requests", "per"), [(0, 1), (-1, 1), (1, 0), (1, -2), (1, float("inf")), (1, float("nan"))]
)
def test_a_limit_that_cannot_be_is_refused(requests: int, per: float) -> None:
    """A limit must allow something, in a time that ends."""
    with pytest.raises(InvalidArgument, match="limit"):
        RateLimit(requests, per=per)
