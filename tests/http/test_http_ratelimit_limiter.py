"""The windows of all accounts together: what headers change, who is told of it, and what is kept of them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import DeadlineExceeded, QuotaExhausted, RateLimit, _slot
from phonesys.http import RateLimitHeaders
from phonesys.http.ratelimit.limiter import RateLimiter
from phonesys.http.ratelimit.window import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from phonesys.http.ratelimit.window import SlidingWindow

    Run = Callable[[Any], Any]

LIMIT = RateLimit(3, per=10)
HEADERS = RateLimitHeaders(
    limit="Max",
    remaining="Left",
    reset="Reset",
    reset_unit="milliseconds",
    daily_remaining="Day",
    daily_reset="Dawn",
    daily_reset_unit="milliseconds",
)


def limiter(limit: RateLimit = LIMIT, headers: RateLimitHeaders | None = HEADERS) -> RateLimiter:
    return RateLimiter(limit, asyncio.get_running_loop(), headers)


def now() -> float:
    return asyncio.get_running_loop().time()


def use(window: SlidingWindow, times: int = 1) -> None:
    """Send so many requests, whose responses arrive at once."""
    for _ in range(times):
        assert window.try_acquire(now())
        window.complete(now())


def free(window: SlidingWindow) -> int:
    """Return how many requests can be sent now."""
    slots = 0
    while window.try_acquire(now()):
        slots += 1
    for _ in range(slots):
        window.cancel(now())
    return slots


def test_a_wait_beyond_the_deadline_fails_at_once(jumping: Run) -> None:
    """The error says how long the wait would be, and that the call was not sent."""

    async def main() -> None:
        limits = limiter()
        window = limits.window("acc", now())
        use(window, 3)
        await asyncio.sleep(2.5)
        with pytest.raises(DeadlineExceeded) as caught:
            await limits.wait_for_slot("acc", window, now(), now() + 7)
        assert caught.value.message == "the rate window is full for 7.5 s, beyond the deadline"
        assert (caught.value.not_executed, caught.value.retry_after) == (True, 7.5)
        assert now() == 1002.5
        await limits.wait_for_slot("acc", window, now(), now() + 8)
        assert now() == 1010.0
        assert free(window) == 2

    jumping(main())


@pytest.mark.parametrize("deadline", [inf, 3.0])
def test_the_day_may_end_while_a_call_waits(jumping: Run, deadline: float) -> None:
    """The error is that of the quota, also where the wait would be too long, and no slot is lost."""

    async def main() -> None:
        limits = limiter()
        window = limits.window("acc", now())
        use(window, 3)
        waiting = asyncio.create_task(limits.wait_for_slot("acc", window, now(), now() + 20))
        await asyncio.sleep(0)
        limits.quotas.exhaust("acc", 600.0)
        with pytest.raises(QuotaExhausted):
            await waiting
        assert free(window) == 3
        use(window, 3)
        with pytest.raises(QuotaExhausted):
            await limits.wait_for_slot("acc", window, now(), now() + deadline)
        await asyncio.sleep(10)
        assert free(window) == 3

    jumping(main())


def test_the_end_of_a_day_reaches_all_who_wait(jumping: Run) -> None:
    """One after the other, as they get the slot that the one before gave back."""

    async def main() -> None:
        limits = limiter(RateLimit(1, per=10))
        window = limits.window("acc", now())
        use(window)
        waiting = [asyncio.create_task(limits.wait_for_slot("acc", window, now(), inf)) for _ in range(3)]
        await asyncio.sleep(0)
        limits.quotas.exhaust("acc", 600.0)
        errors = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(error) for error in errors] == [QuotaExhausted] * 3
        assert now() == 1010.0
        assert free(window) == 1

    jumping(main())


def test_a_call_that_is_cancelled_while_it_waits_gives_nothing_back(jumping: Run) -> None:
    """It has no slot."""

    async def main() -> None:
        limits = limiter()
        window = limits.window("acc", now())
        use(window, 3)
        waiting = asyncio.create_task(limits.wait_for_slot("acc", window, now(), inf))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert free(window) == 0
        await asyncio.sleep(9)
        assert free(window) == 3

    jumping(main())


def test_a_call_that_is_cancelled_after_its_wait_gives_its_slot_back(jumping: Run) -> None:
    """It had waited, and then waits for its place in a sweep again."""

    class Sweep:
        def on_request(self) -> None: ...

        def on_retry(self) -> None: ...

        async def wait_for_capacity(self) -> None: ...

        @asynccontextmanager
        async def waiting(self) -> AsyncGenerator[None]:
            yield
            waited.append(now())
            await asyncio.Event().wait()

    waited: list[float] = []

    async def main() -> None:
        limits = limiter(RateLimit(1, per=10))
        window = limits.window("acc", now())
        use(window)
        reset = _slot.current.set(Sweep())
        task = asyncio.create_task(limits.wait_for_slot("acc", window, now(), inf))
        _slot.current.reset(reset)
        await asyncio.sleep(0)
        other = asyncio.create_task(limits.wait_for_slot("acc", window, now(), inf))
        await asyncio.sleep(11)
        assert waited == [1010.0]
        assert not other.done()
        task.cancel()
        await asyncio.gather(task, other, return_exceptions=True)
        assert (task.cancelled(), other.exception()) == (True, None)
        assert now() == 1011.0

    jumping(main())


@pytest.mark.parametrize(
    ("headers", "slots"),
    [
        ({}, 3),
        ({"Left": "2", "Max": "3"}, 2),
        ({"left": "2", "max": "3"}, 3),  # a plain mapping: names of real headers have no case
        ({"Left": "2"}, 3),
        ({"Left": "two", "Max": "3"}, 3),
        ({"Left": "2", "Max": "three"}, 3),
        ({"Left": "-1", "Max": "3"}, 3),
        ({"Left": "5", "Max": "3"}, 3),
        ({"Left": "1", "Max": "1"}, 1),
        ({"Left": "0", "Reset": "5000"}, 0),
        ({"Left": "0", "Reset": "-5000"}, 3),
        ({"Left": "1", "Reset": "5000"}, 3),
        ({"Max": "1"}, 3),
    ],
)
def test_headers_correct_the_window(jumping: Run, headers: dict[str, str], slots: int) -> None:
    """By the vendor's count, if it can be. Nonsense changes nothing."""

    async def main() -> int:
        limits = limiter()
        window = limits.window("acc", now())
        limits.update("acc", window, headers)
        found = free(window)
        if slots == 0:
            await asyncio.sleep(4.9)
            assert free(window) == 0
            await asyncio.sleep(0.1)
            assert free(window) == 3
        return found

    assert jumping(main()) == slots


def test_a_window_without_a_limit_is_blocked_but_not_counted(jumping: Run) -> None:
    """Where no limit is configured, the vendor's wait is obeyed all the same."""

    async def main() -> None:
        limits = limiter(UNLIMITED)
        window = limits.window("acc", now())
        limits.update("acc", window, {"Left": "1", "Max": "2"})
        use(window, 50)
        limits.update("acc", window, {"Left": "0", "Max": "2", "Reset": "5000"})
        assert not window.try_acquire(now())
        await asyncio.sleep(5)
        use(window, 50)

    jumping(main())


@pytest.mark.parametrize(("left", "spent"), [("0", True), ("1", False), ("00", False), ("", False)])
def test_a_spent_day_fails_those_who_wait(jumping: Run, left: str, spent: bool) -> None:
    """At once, whatever their deadline. Other accounts have days of their own."""

    async def main() -> None:
        limits = limiter()
        window = limits.window("acc", now())
        use(window, 3)
        waiting = asyncio.create_task(limits.wait_for_slot("acc", window, now(), inf))
        await asyncio.sleep(1)
        limits.update("acc", window, {"Day": left, "Dawn": "60000"})
        limits.quotas.check("other")
        if spent:
            with pytest.raises(QuotaExhausted) as caught:
                await waiting
            assert now() == 1001.0
            assert caught.value.resets_at is not None
            assert timedelta(0) <= caught.value.resets_at - datetime.now(UTC) <= timedelta(seconds=60)
        else:
            await waiting
            assert now() == 1010.0

    jumping(main())


@pytest.mark.parametrize(
    ("retry_after", "headers", "wait"),
    [
        (5.0, {}, 5.0),
        (5.0, {"Reset": "7000"}, 5.0),
        (None, {"Reset": "7000"}, 7.0),
        (86_400.0, {"Reset": "7000"}, 86_400.0),
        (86_401.0, {"Reset": "7000"}, 7.0),
        (86_401.0, {}, 0.0),
        (None, {}, 0.0),
        (0.0, {"Reset": "7000"}, 0.0),
    ],
)
def test_a_429_blocks_for_as_long_as_the_vendor_says(
    jumping: Run, retry_after: float | None, headers: dict[str, str], wait: float
) -> None:
    """`Retry-After` wins over the reset of the window. A wait of more than a day is a mistake."""

    async def main() -> float:
        limits = limiter()
        window = limits.window("acc", now())
        assert window.try_acquire(now())
        limits.on_rejected("acc", window, headers, retry_after)
        window.complete(now())
        return window.ready_at(now()) - now()

    assert jumping(main()) == wait


async def test_a_429_after_the_last_request_of_the_day_is_the_quotas() -> None:
    """And does not block the window, which is not full."""
    limits = limiter()
    window = limits.window("acc", now())
    limits.quotas.exhaust("acc", 60.0)
    with pytest.raises(QuotaExhausted):
        limits.on_rejected("acc", window, {}, 5.0)
    assert window.try_acquire(now())


async def test_a_limiter_without_headers_ignores_them() -> None:
    """Also one without a name."""
    limits = limiter(headers=None)
    window = limits.window("acc", now())
    limits.update("acc", window, {"": "0", "Left": "0", "Reset": "60000", "Day": "0", "Max": "1"})
    assert free(window) == 3
    limits.quotas.check("acc")


def test_windows_that_are_not_used_are_dropped_and_remembered(jumping: Run) -> None:
    """When there are more than 256. What was sent counts as before, however much it was."""

    async def main() -> None:
        limits = limiter(RateLimit(20, per=10))
        busy, full, some = (limits.window(key, now()) for key in ("busy", "full", "some"))
        assert busy.try_acquire(now())
        use(full, 17)
        use(some, 16)
        for number in range(253):
            limits.window(f"acc {number}", now())
        assert len(limits) == 256
        limits.window("one more", now())
        assert len(limits) == 3
        assert limits.window("busy", now()) is busy
        assert limits.window("full", now()) is full
        assert limits.window("some", now()) is not some
        assert free(limits.window("some", now())) == 4
        await asyncio.sleep(10)
        assert free(limits.window("some", now())) == 20

    jumping(main())


@pytest.mark.parametrize("busy", [10, 128, 200, 500])
async def test_at_most_half_of_the_windows_are_idle(busy: int) -> None:
    """Of more than 256."""
    limits, most = limiter(), 0
    for number in range(busy):
        assert limits.window(f"busy {number}", now()).try_acquire(now())
    for number in range(2 * busy + 600):
        limits.window(f"idle {number}", now())
        most = max(most, len(limits))
    assert most == max(256, 2 * busy)


def test_a_limiter_is_idle_once_nothing_counts_any_more(jumping: Run) -> None:
    """No request in flight, none in the last window, no block, and no spent day."""

    async def main() -> None:
        limits = limiter()
        assert limits.is_idle(now())
        window = limits.window("acc", now())
        assert limits.is_idle(now())
        window = limits.window("acc", now())
        assert window.try_acquire(now())
        assert not limits.is_idle(now())
        window.complete(now())
        assert not limits.is_idle(now())
        assert not limits.is_idle(now() + 9.9)
        await asyncio.sleep(10)
        assert limits.is_idle(now())
        limits.window("acc", now()).block_until(now() + 5)
        assert not limits.is_idle(now())
        await asyncio.sleep(5)
        assert limits.is_idle(now())
        limits.quotas.exhaust("acc", 0.0)
        assert limits.is_idle(now())
        limits.quotas.exhaust("acc", 600.0)
        assert not limits.is_idle(now())

    jumping(main())


def test_all_windows_continue_in_another_event_loop() -> None:
    """With what was sent, and without those who waited in the first."""
    one, two = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        limits = RateLimiter(RateLimit(2, per=600), one)
        for key in ("a", "b"):
            window = limits.window(key, one.time())
            assert window.try_acquire(one.time())
        limits.rebind(two)
        for key in ("a", "b"):
            window = limits.window(key, two.time())
            assert window.try_acquire(two.time())
            assert not window.try_acquire(two.time())
            window.complete(two.time())
        limits.on_rejected("a", limits.window("a", two.time()), {}, None)
        window = limits.window("c", two.time())
        assert window.try_acquire(two.time())
        limits.on_rejected("c", window, {}, None)
        window.complete(two.time())
    finally:
        one.close()
        two.close()
