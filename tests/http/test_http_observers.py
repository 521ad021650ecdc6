"""Events of calls: requests, waits, retries and failures, on both transports."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import (
    AttemptTimeout,
    HttpOptions,
    InvalidArgument,
    NotFound,
    QuotaExhausted,
    RateLimit,
    ServerError,
    TransportError,
)
from phonesys.telemetry import (
    CallFailed,
    Event,
    RequestEnded,
    RequestStarted,
    RetryScheduled,
    WaitEnded,
    WaitReason,
    WaitStarted,
)
from tests.http.raw_vendor import OK, TOKEN, RawVendor, answer, client, drop, read, stall, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonesys.http.client import HttpClient

    Run = Callable[[Any], Any]

pytestmark = pytest.mark.usefixtures("transport")


def kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


async def test_a_request_is_two_events() -> None:
    """They name the call, and the second tells the status, the bytes and the time."""
    events: list[Event] = []
    async with RawVendor(OK) as vendor, client(vendor, observers=[events.append]) as http:
        await http.send(write(target="/things/1?x=%2B1", url_template="/things/{id}"))
    started, ended = events
    assert isinstance(started, RequestStarted)
    assert isinstance(ended, RequestEnded)
    for event in (started, ended):
        assert (event.backend, event.account, event.operation) == ("test", "acc_1", "make_thing")
        assert (event.attempt, event.method, event.request_size) == (1, "POST", 2)
        assert event.url == f"{vendor.url}/things/1?x=%2B1"
        assert event.url_template == "/things/{id}"
    assert started.id == ended.id
    assert (ended.status, ended.response_size, ended.error) == (200, 8, None)
    assert ended.duration > 0


@pytest.mark.jumping
async def test_a_retry_is_told_with_its_reason_and_its_wait() -> None:
    """Each attempt has a number, and the pause between two of them is a wait."""
    events: list[Event] = []
    vendor = RawVendor(answer("{}", 503), OK)
    async with vendor, client(vendor, observers=[events.append], backoff=2.0) as http:
        await http.send(read())
    assert kinds(events) == [
        "RequestStarted", "RequestEnded", "RetryScheduled", "WaitStarted", "WaitEnded", "RequestStarted",
        "RequestEnded",
    ]  # fmt: skip
    retry, wait = events[2], events[4]
    assert isinstance(retry, RetryScheduled)
    assert isinstance(retry.error, ServerError)
    assert (retry.attempt, retry.delay) == (1, 2.0)
    assert isinstance(wait, WaitEnded)
    assert wait.reason is WaitReason.RETRY
    assert wait.duration == pytest.approx(2.0)
    assert [event.attempt for event in events if isinstance(event, RequestEnded)] == [1, 2]


async def test_a_call_that_fails_is_told_once() -> None:
    """With the error that its caller gets."""
    events: list[Event] = []
    async with RawVendor(answer("{}", 404)) as vendor, client(vendor, observers=[events.append]) as http:
        with pytest.raises(NotFound) as caught:
            await http.send(read())
    failed = events[-1]
    assert kinds(events) == ["RequestStarted", "RequestEnded", "CallFailed"]
    assert isinstance(failed, CallFailed)
    assert failed.error is caught.value
    assert failed.attempts == 1


@pytest.mark.jumping
@pytest.mark.parametrize(("step", "error"), [(drop, TransportError), (stall, AttemptTimeout)])
async def test_a_request_without_a_response_tells_its_error(step: Any, error: type[Exception]) -> None:
    """In place of a status."""
    events: list[Event] = []
    async with RawVendor(step) as vendor, client(vendor, observers=[events.append], retries=0) as http:
        with pytest.raises(error):
            await http.send(read())
    ended = events[1]
    assert isinstance(ended, RequestEnded)
    assert (ended.status, type(ended.error)) == (None, error)


async def test_a_cancelled_request_has_ended() -> None:
    """What was started always ends, so that an observer can count the requests under way."""
    events: list[Event] = []
    started = asyncio.Event()

    def observe(event: Event) -> None:
        events.append(event)
        started.set()

    async with RawVendor(stall) as vendor, client(vendor, observers=[observe]) as http:
        task = asyncio.create_task(http.send(read()))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert kinds(events) == ["RequestStarted", "RequestEnded"]
    ended = events[1]
    assert isinstance(ended, RequestEnded)
    assert isinstance(ended.error, asyncio.CancelledError)


async def waits_of(http: HttpClient, events: list[Event], calls: int) -> list[tuple[str, str]]:
    """Send calls at once, and return the kind and reason of the events about waits."""
    await asyncio.gather(*(http.send(read()) for _ in range(calls)))
    waits = [event for event in events if isinstance(event, WaitStarted | WaitEnded)]
    return [(type(event).__name__, event.reason) for event in waits]


@pytest.mark.jumping
async def test_a_full_rate_window_is_a_wait() -> None:
    """For the slot that becomes free one window later."""
    events: list[Event] = []
    options: dict[str, Any] = {"limit": RateLimit(1, per=5), "observers": [events.append]}
    async with RawVendor(OK) as vendor, client(vendor, **options) as http:
        waits = await waits_of(http, events, 2)
    assert waits == [("WaitStarted", "rate_limit"), ("WaitEnded", "rate_limit")]


async def test_a_busy_connection_is_a_wait() -> None:
    """For one of the connections that the options allow."""
    events: list[Event] = []
    async with RawVendor(OK) as vendor, client(vendor, connections=1, observers=[events.append]) as http:
        waits = await waits_of(http, events, 2)
    assert waits == [("WaitStarted", "connection"), ("WaitEnded", "connection")]


async def test_a_spent_quota_fails_a_call_before_any_request() -> None:
    """The second call sends nothing, and its failure names the quota."""
    events: list[Event] = []
    spent = answer('{"a": 1}', X_RateLimit_Daily_Remaining="0", X_RateLimit_Daily_Reset="60000")
    async with RawVendor(spent) as vendor, client(vendor, observers=[events.append]) as http:
        await http.send(read())
        with pytest.raises(QuotaExhausted):
            await http.send(read())
    failed = events[-1]
    assert kinds(events) == ["RequestStarted", "RequestEnded", "CallFailed"]
    assert isinstance(failed, CallFailed)
    assert isinstance(failed.error, QuotaExhausted)


async def test_an_observer_that_raises_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Its first error is logged, the others are not, and the other observers get every event."""
    events: list[Event] = []

    def broken(_event: Event) -> None:
        raise LookupError("a bug of the observer's")

    vendor = RawVendor(OK)
    async with vendor, client(vendor, observers=[broken, events.append]) as http:
        await http.send(read())
        await http.send(read())
    assert len(events) == 4
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "a bug of the observer's" in caplog.text


async def test_no_event_shows_a_credential() -> None:
    """Not even where a vendor echoes it, or a header of the response holds it."""
    events: list[Event] = []
    echo = answer(f'{{"message": "bad token {TOKEN}"}}', 403, X_Token=TOKEN)
    async with RawVendor(echo) as vendor, client(vendor, observers=[events.append]) as http:
        with pytest.raises(Exception, match="403"):
            await http.send(write(body=b'{"client_secret": "PLANTED"}'))
    assert len(events) == 3
    assert "PLANTED" not in repr(events)


@pytest.mark.parametrize(
    ("observers", "message"),
    [
        (print, "expected several in an iterable"),
        ([None], "expected functions that take an event, got None"),
        ([asyncio.sleep], "expected plain functions, got the coroutine function"),
    ],
)
def test_what_cannot_observe_is_refused(observers: Any, message: str) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidArgument, match=message):
        HttpOptions(observers=observers)


async def test_the_log_tells_requests_only_where_it_is_enabled(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG, without an observer of the program's own."""
    async with RawVendor(answer("{}", 404)) as vendor:
        for level in (logging.INFO, logging.DEBUG):
            caplog.set_level(level, "phonesys")
            async with client(vendor) as http:
                with pytest.raises(NotFound):
                    await http.send(read())
    requests = [record for record in caplog.records if hasattr(record, "event")]
    assert [record.event for record in requests] == ["RequestEnded", "CallFailed"]
