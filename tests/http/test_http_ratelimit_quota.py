"""A spent day, and 429s: who is told, when, and what is still sent."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import QuotaExhausted, RateLimit, RateLimited
from phonesys.http.ratelimit import quota
from phonesys.http.ratelimit.quota import DailyQuotas
from tests.http.raw_vendor import OK, RawVendor, Thing, answer, client, read

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[Any], Any]

LAST = answer('{"a": 1}', X_RateLimit_Remaining="0", X_RateLimit_Daily_Remaining="0")


@pytest.mark.parametrize("wait", [{}, {"Retry_After": "40000"}, {"Retry_After": "5"}])
def test_a_429_on_a_spent_day_names_its_end(jumping: Run, wait: dict[str, str]) -> None:
    """The error is QuotaExhausted at once, with the reset time, whatever other wait the vendor asks for."""
    refusal = answer("", 429, X_RateLimit_Remaining="0", X_RateLimit_Daily_Remaining="0", **wait)

    async def main() -> tuple[float, int, datetime | None]:
        loop = asyncio.get_running_loop()
        async with RawVendor(refusal) as vendor, client(vendor) as http:
            started = loop.time()
            with pytest.raises(QuotaExhausted, match="resets at") as error:
                await http.send(read())
            return loop.time() - started, len(vendor.requests), error.value.resets_at

    waited, requests, resets_at = jumping(main())
    assert (waited, requests) == (0, 1)
    assert resets_at is not None
    assert timedelta() < resets_at - datetime.now(UTC) <= timedelta(days=1)


class At(datetime):
    """The class `datetime` at a moment of the test's choice."""

    moment: datetime

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return cls.moment.astimezone(tz)


NOON = datetime(2026, 3, 4, 12, 34, 56, 789, UTC)
MIDNIGHT = datetime(2026, 3, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("resets_in", "resets_at"),
    [
        (None, MIDNIGHT),
        (0.5, NOON + timedelta(seconds=0.5)),
        (90.0, NOON + timedelta(seconds=90)),
        (200_000.0, NOON + timedelta(seconds=200_000)),
    ],
)
def test_a_quota_is_spent_until_it_resets(
    monkeypatch: pytest.MonkeyPatch, resets_in: float | None, resets_at: datetime
) -> None:
    """After as many seconds as the vendor says, or else at midnight UTC; from that moment on it is not."""
    monkeypatch.setattr(quota, "datetime", At)
    quotas = DailyQuotas()
    At.moment = NOON
    assert not quotas.prune()
    quotas.exhaust("a", resets_in)
    quotas.check("b")
    for moment in (NOON, resets_at - timedelta(microseconds=1)):
        At.moment = moment
        with pytest.raises(QuotaExhausted, match=f"resets at {resets_at:%Y-%m-%d %H:%M} UTC") as error:
            quotas.check("a")
        assert error.value.resets_at == resets_at
        assert quotas.prune()
    At.moment = resets_at
    quotas.check("a")
    assert not quotas
    quotas.exhaust("a", 0.0)
    assert quotas
    assert not quotas.prune()


def test_a_clock_that_is_set_back_blocks_no_account_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many seconds later, the quota has reset by the clock that is never set."""
    seconds = 1000.0
    monkeypatch.setattr(quota, "datetime", At)
    monkeypatch.setattr(time, "monotonic", lambda: seconds)
    quotas, At.moment = DailyQuotas(), NOON
    quotas.exhaust("a", 60.0)
    At.moment = NOON - timedelta(days=1)
    seconds = 1059.9
    with pytest.raises(QuotaExhausted):
        quotas.check("a")
    seconds = 1060.0
    quotas.check("a")


@pytest.mark.parametrize("deadline", [300.0, None])
def test_waiters_fail_when_the_quota_is_spent(jumping: Run, deadline: float | None) -> None:
    """Calls that wait while the day's last request is answered fail at once, and none of them is sent."""

    async def main() -> tuple[float, int, set[type]]:
        loop = asyncio.get_running_loop()
        vendor = RawVendor(LAST)
        async with vendor, client(vendor, limit=RateLimit(1, per=60), deadline=deadline) as http:
            started = loop.time()
            calls = (http.send(read()) for _ in range(5))
            first, *others = await asyncio.gather(*calls, return_exceptions=True)
            assert first == Thing(1)
            return loop.time() - started, len(vendor.requests), {type(other) for other in others}

    assert jumping(main()) == (0, 1, {QuotaExhausted})


def test_a_slot_granted_on_a_spent_day_is_given_back(jumping: Run) -> None:
    """A call that gets its slot just as the quota is spent sends nothing, and holds no slot."""

    async def main() -> tuple[int, list[float] | None]:
        loop = asyncio.get_running_loop()
        vendor = RawVendor(OK)
        async with vendor, client(vendor, limit=RateLimit(2, per=10)) as http:
            await http.send(read())
            waiting = http._limiter.window("acc_1", loop.time())
            assert waiting.try_acquire(loop.time())
            call = asyncio.create_task(http.send(read()))
            await asyncio.sleep(0)
            waiting.cancel(loop.time())
            await asyncio.sleep(0)  # its turn has come, and it has not run yet
            http._limiter.quotas.exhaust("acc_1")
            (told,) = await asyncio.gather(call, return_exceptions=True)
            assert type(told) is QuotaExhausted
            return len(vendor.requests), waiting.completions(loop.time(), 2)

    requests, answered = jumping(main())
    assert requests == 1
    assert answered is not None
    assert len(answered) == 1


@pytest.mark.parametrize(("refusals", "served"), [(12, True), (13, False)])
def test_a_429_is_survived_more_often_than_a_fault(jumping: Run, refusals: int, served: bool) -> None:
    """In a window that others fill, a call may find no room several times: four times `retries` is enough."""

    async def main() -> int:
        vendor = RawVendor(*[answer("", 429, Retry_After="1")] * refusals, OK)
        async with vendor, client(vendor, retries=3) as http:
            if served:
                assert await http.send(read()) == Thing(1)
            else:
                with pytest.raises(RateLimited, match="13 attempts"):
                    await http.send(read())
            return len(vendor.requests)

    assert jumping(main()) == 13


def test_a_429_with_an_absurd_wait_still_backs_off(jumping: Run) -> None:
    """A wait of more than a day is not held to, but the 429 counts: one request at a time follows it."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        vendor = RawVendor(answer("", 429, Retry_After="999999"), OK)
        async with vendor, client(vendor, limit=RateLimit(10, per=10)) as http:
            with pytest.raises(RateLimited):
                await http.send(read())
            window, granted = http._limiter.window("acc_1", loop.time()), 0
            while window.try_acquire(loop.time()):
                granted += 1
            return granted

    assert jumping(main()) == 1
