"""The headers in which a vendor states its limits, by the names and units that its backend gives."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import AgentNumbers, DeadlineExceeded, LeadConnector, QuotaExhausted, RateLimited
from phonesys.http import RateLimit, RateLimitHeaders
from phonesys.http.ratelimit.headers import parse_reset
from phonesys.testing import MockTransport, json_response
from tests.http.raw_vendor import OK, RawVendor, Thing, answer, client, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonesys.http import Call, RawResponse
    from phonesys.http.ratelimit.headers import ResetUnit

    Run = Callable[[Any], Any]


@pytest.mark.parametrize(
    ("text", "unit", "seconds"),
    [
        ("30", "seconds", 30), ("30000", "milliseconds", 30), ("0", "seconds", 0), ("1.5", "seconds", 1.5),
        (None, "seconds", None), ("", "seconds", None), ("soon", "seconds", None), ("-1", "seconds", None),
        ("86400", "seconds", 86_400), ("0.5", "milliseconds", 0.0005), ("86400000", "milliseconds", 86_400),
        ("nan", "seconds", None), ("inf", "seconds", None), ("86401", "seconds", None),
        ("1857905136", "seconds", None), ("0", "unix_seconds", None),
    ],
)  # fmt: skip
def test_only_a_plausible_reset_is_believed(text: str | None, unit: ResetUnit, seconds: float | None) -> None:
    """A reset that is malformed, in the past or more than a day away is ignored."""
    assert parse_reset(text, unit) == seconds


def test_unix_time_is_compared_with_the_clock() -> None:
    """A moment becomes the seconds until then."""
    reset = parse_reset(str(time.time() + 600), "unix_seconds")
    assert reset == pytest.approx(600, abs=60)


def test_a_429_waits_for_the_reset_that_a_header_states(jumping: Run) -> None:
    """Without Retry-After, the window's reset is the wait."""

    async def main() -> float:
        loop, resets_at = asyncio.get_running_loop(), int(time.time()) + 100
        refusal = answer("", 429, X_RateLimit_Reset=str(resets_at))
        async with RawVendor(refusal, OK) as vendor, client(vendor) as http:
            started = loop.time()
            assert await http.send(read()) == Thing(1)
            return loop.time() - started

    assert 30 < jumping(main()) <= 100


def test_an_empty_window_waits_for_its_reset(jumping: Run) -> None:
    """With nothing left, the next call waits for the reset, and fails at once if its deadline is earlier."""

    async def main() -> None:
        resets_at = int(time.time()) + 200
        last = answer(
            '{"a": 1}', X_RateLimit_Max="9", X_RateLimit_Remaining="0", X_RateLimit_Reset=str(resets_at)
        )
        async with RawVendor(last) as vendor, client(vendor, deadline=20.0) as http:
            await http.send(read())
            with pytest.raises(DeadlineExceeded, match="the rate window is full") as error:
                await http.send(read())
            assert error.value.retry_after is not None
            assert 100 < error.value.retry_after <= 200
            assert len(vendor.requests) == 1

    jumping(main())


async def test_the_day_ends_when_its_header_says() -> None:
    """The quota resets in as many milliseconds as the vendor states, rather than at midnight UTC."""
    last = answer(
        '{"a": 1}', X_RateLimit_Remaining="5", X_RateLimit_Daily_Remaining="0",
        X_RateLimit_Daily_Reset="1800000",
    )  # fmt: skip
    async with RawVendor(last) as vendor, client(vendor) as http:
        await http.send(read())
        with pytest.raises(QuotaExhausted) as error:
            await http.send(read())
    resets_at = error.value.resets_at
    assert resets_at is not None
    assert timedelta(minutes=29) < resets_at - datetime.now(UTC) <= timedelta(minutes=30)


async def test_headers_of_other_names_are_ignored() -> None:
    """A backend that names no headers is not blocked by any."""
    response = json_response({"a": 1}, headers={"X-RateLimit-Daily-Remaining": "0"})
    transport = MockTransport(lambda _call: response)
    async with client("https://vendor.example", limit_headers=None, transport=transport) as http:
        for _ in range(2):
            assert await http.send(read()) == Thing(1)


async def test_a_backend_may_name_them_in_its_own_way() -> None:
    """The names and the units are the backend's."""
    names = RateLimitHeaders(daily_remaining="Left", daily_reset="Until", daily_reset_unit="seconds")
    response = json_response({"a": 1}, headers={"left": "0", "until": "60"})
    transport = MockTransport(lambda _call: response)
    async with client("https://vendor.example", limit_headers=names, transport=transport) as http:
        await http.send(read())
        with pytest.raises(QuotaExhausted) as error:
            await http.send(read())
    assert error.value.resets_at is not None
    assert error.value.resets_at - datetime.now(UTC) <= timedelta(seconds=60)


async def test_leadconnector_names_its_own() -> None:
    """Its daily reset is in milliseconds."""
    headers = {"X-RateLimit-Daily-Remaining": "0", "X-RateLimit-Daily-Reset": "60000"}
    page = json_response({"numbers": []}, headers=headers)
    async with LeadConnector("pit-0000", transport=MockTransport(lambda _call: page)) as backend:
        await backend.page("loc_1")
        with pytest.raises(QuotaExhausted) as error:
            await backend.page("loc_1")
        await backend.page("loc_2")  # another location has a quota of its own
    assert error.value.resets_at is not None
    assert error.value.resets_at - datetime.now(UTC) <= timedelta(seconds=60)


def test_agents_reset_at_a_unix_time(jumping: Run) -> None:
    """A 429 of the agents' API is retried after `X-RateLimit-Reset`, which is Unix time."""

    async def main() -> float:
        loop, resets_at = asyncio.get_running_loop(), int(time.time()) + 100
        responses = [
            json_response({}, status=429, headers={"X-RateLimit-Reset": str(resets_at)}),
            json_response({"data": [], "pagination": {"page": 1, "limit": 100, "total": 0}}),
        ]

        def respond(_call: Call[Any]) -> RawResponse:
            return responses.pop(0)

        async with AgentNumbers("key", transport=MockTransport(respond)) as backend:
            started = loop.time()
            await backend.page("default")
            return loop.time() - started

    assert 30 < jumping(main()) <= 100


def test_headers_of_a_day_do_not_change_a_window_without_a_limit(jumping: Run) -> None:
    """Where no limit is configured, the vendor's count has no window that it could correct."""

    async def main() -> tuple[float, int]:
        loop = asyncio.get_running_loop()
        full = answer('{"a": 1}', X_RateLimit_Max="2", X_RateLimit_Remaining="1")
        async with RawVendor(full) as vendor, client(vendor) as http:
            started = loop.time()
            for _ in range(20):
                await http.send(read())
            return loop.time() - started, len(vendor.requests)

    assert jumping(main()) == (0, 20)


def test_a_limit_that_the_vendor_lowers_is_obeyed(jumping: Run) -> None:
    """The stated limit wins over a configured one that is higher."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        full = answer('{"a": 1}', X_RateLimit_Max="2", X_RateLimit_Remaining="1")
        async with RawVendor(full) as vendor, client(vendor, limit=RateLimit(100, per=10)) as http:
            started = loop.time()
            for _ in range(6):
                await http.send(read())
            return loop.time() - started

    assert jumping(main()) >= 20


async def test_a_429_without_any_header_is_an_error_that_says_so() -> None:
    """`retry_after` is None if the vendor states none."""
    transport = MockTransport(lambda _call: json_response({}, status=429))
    async with client("https://vendor.example", retries=0, transport=transport) as http:
        with pytest.raises(RateLimited) as error:
            await http.send(read())
    assert error.value.retry_after is None
