"""The client: what is sent, what is retried, what is raised, and what is never shown."""

from __future__ import annotations

import asyncio
import gzip
import logging
import pickle
import tracemalloc
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from traceback import TracebackException
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from phonesys import (
    AttemptTimeout,
    BadRequest,
    CallError,
    ConnectError,
    DeadlineExceeded,
    DecodeError,
    Forbidden,
    InvalidArgument,
    NotOpen,
    OutcomeUnknown,
    PhonesysError,
    QuotaExhausted,
    RateLimit,
    RateLimited,
    ResponseTooLarge,
    ServerError,
    TransportError,
    Unauthorized,
    UnexpectedRedirect,
)
from phonesys.http.validation import validate_base_url
from tests.http.raw_vendor import OK, TOKEN, RawVendor, Thing, answer, client, drop, read, stall, write

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from phonesys.http.client import HttpClient

    Run = Callable[[Any], Any]

pytestmark = pytest.mark.usefixtures("transport")


# What is sent


async def test_a_call_arrives_as_it_was_described() -> None:
    """Method, target, credential and both kinds of JSON are on the wire, byte for byte."""
    async with RawVendor(OK) as vendor, client(vendor) as http:
        await http.send(read(target="/numbers/%2B1%2F..%2F?q=%2B91&on=true"))
    head = vendor.requests[0][0]
    assert head.startswith("GET /numbers/%2B1%2F..%2F?q=%2B91&on=true HTTP/1.1\r\n")
    assert f"Authorization: Bearer {TOKEN}\r\n" in head
    assert "Accept: application/json, application/problem+json\r\n" in head
    assert "Content-Type" not in head


async def test_a_body_is_sent_as_json() -> None:
    """A call with a body says what it is."""
    async with RawVendor(OK) as vendor, client(vendor) as http:
        await http.send(write(body=b'{"name": "x"}'))
    head, body = vendor.requests[0]
    assert "Content-Type: application/json\r\n" in head
    assert body == b'{"name": "x"}'


async def test_cookies_are_not_kept() -> None:
    """One account's cookie never travels with another's call."""
    async with RawVendor(answer('{"a": 1}', Set_Cookie="sid=1; Path=/")) as vendor, client(vendor) as http:
        await http.send(read())
        await http.send(read())
    assert "cookie" not in vendor.requests[1][0].lower()


@pytest.mark.parametrize(
    "url",
    [
        "http://services.example.com", "ftp://127.0.0.1", "services.example.com", "", "https://", "https://u:p@host",
        "https://host/?q=1", "https://host/#x", "http://127.0.0.1.evil.example", "http://localhost.evil.example",
    ],
)  # fmt: skip
def test_credentials_never_travel_in_the_clear(url: str) -> None:
    """Anything but https is refused, except plain http to loopback."""
    with pytest.raises(InvalidArgument, match="base_url"):
        validate_base_url(url)


@pytest.mark.parametrize(
    "url", ["https://api.example.com/v1", "http://127.0.0.1:8", "http://[::1]:1", "http://localhost"]
)
def test_https_and_loopback_are_taken(url: str) -> None:
    """A base URL keeps its path and loses its last slash."""
    assert validate_base_url(url + "/") == url


async def test_redirects_are_not_followed() -> None:
    """The credential stays here, whatever the vendor's answer points to."""
    async with RawVendor(OK) as other, RawVendor(answer("", 307, Location=other.url)) as vendor:
        async with client(vendor) as http:
            with pytest.raises(UnexpectedRedirect):
                await http.send(read())
            with pytest.raises(UnexpectedRedirect):
                await http.send(write())
    assert (len(vendor.requests), len(other.requests)) == (2, 0)


# What is retried

TRANSIENT = [
    answer("", 408), answer("", 429), answer("", 500), answer("", 502), answer("", 503),
    answer("", 504), drop,
    answer("<html>down</html>", content_type="text/html"), answer(""), answer('{"a": '),
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", b"not http at all\r\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("trouble", TRANSIENT)
def test_an_idempotent_call_survives_transient_errors(jumping: Run, trouble: Any) -> None:
    """Every transient failure is retried, and one success ends it."""

    async def main() -> tuple[Thing, int]:
        closing = _and_close(trouble)
        async with RawVendor(closing, closing, OK) as vendor, client(vendor) as http:
            return await http.send(read()), len(vendor.requests)

    assert jumping(main()) == (Thing(1), 3)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 422, 501, 505])
async def test_permanent_errors_are_not_retried(status: int) -> None:
    """A refusal is final at once."""
    async with RawVendor(answer("{}", status)) as vendor, client(vendor) as http:
        with pytest.raises(PhonesysError):
            await http.send(read())
    assert len(vendor.requests) == 1


async def test_json_of_the_wrong_shape_is_an_error_at_once() -> None:
    """A retry would bring the same data."""
    async with RawVendor(answer('{"b": [1, 2]}')) as vendor, client(vendor) as http:
        with pytest.raises(DecodeError, match=r"it begins '\{\"b\": \[1, 2\]\}'"):
            await http.send(read())
    assert len(vendor.requests) == 1


LOST = [answer("", 500), answer("", 502), answer("", 503), answer("", 504), answer("", 408), drop,
        answer("<html>", content_type="text/html"), answer(""), answer('{"b": 1}')]  # fmt: skip


@pytest.mark.parametrize("trouble", LOST)
async def test_a_write_whose_answer_is_lost_is_not_sent_again(trouble: Any) -> None:
    """It may have happened: the error says so, says how to find out, and keeps its cause."""
    async with RawVendor(_and_close(trouble)) as vendor, client(vendor) as http:
        with pytest.raises(OutcomeUnknown, match="look it up") as unknown:
            await http.send(write())
    assert len(vendor.requests) == 1
    assert isinstance(unknown.value.__cause__, PhonesysError)
    assert unknown.value.operation == "make_thing"


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_aiohttp_does_not_repeat_a_write_on_a_kept_connection(method: str) -> None:
    """A connection that closes during a write loses its response, and the write is not sent again."""
    async with RawVendor(OK, drop, OK) as vendor, client(vendor) as http:
        await http.send(read())
        with pytest.raises(OutcomeUnknown):
            await http.send(write(method=method))
    assert len(vendor.requests) == 2


async def test_a_read_on_a_closed_connection_counts_as_two_requests() -> None:
    """Nothing repeats a request behind the rate window's back."""
    async with RawVendor(OK, drop, OK) as vendor, client(vendor, retries=0) as http:
        await http.send(read())
        with pytest.raises(TransportError):
            await http.send(read())
    assert len(vendor.requests) == 2


def test_a_write_that_never_reached_the_vendor_is_repeated(jumping: Run, unused_port: int) -> None:
    """A refused connection proves that nothing happened."""

    async def main() -> ConnectError:
        async with client(f"http://127.0.0.1:{unused_port}") as http:
            with pytest.raises(ConnectError) as failed:
                await http.send(write())
            return failed.value

    assert jumping(main()).attempts == 4


def test_a_write_that_was_refused_for_its_rate_is_repeated(jumping: Run) -> None:
    """A 429 proves that nothing happened."""

    async def main() -> int:
        limited = answer("", 429, Retry_After="7")
        async with RawVendor(limited, OK) as vendor, client(vendor) as http:
            assert await http.send(write()) == Thing(1)
            return len(vendor.requests)

    assert jumping(main()) == 2


async def test_a_rejected_write_is_rejected() -> None:
    """A 4xx says that nothing happened, with the vendor's words."""
    async with RawVendor(answer('{"message": ["name is required"]}', 422)) as vendor, client(vendor) as http:
        with pytest.raises(BadRequest, match="422 name is required"):
            await http.send(write())


def test_backoff_doubles_up_to_its_cap(jumping: Run) -> None:
    """The ceilings of the waits are 0.5, 1, 2, 4 and then 5 s."""

    async def main() -> float:
        async with RawVendor(answer("", 503)) as vendor:
            async with client(vendor, retries=6, backoff=0.5, backoff_cap=5) as http:
                with pytest.raises(ServerError) as failed:
                    await http.send(read())
                return failed.value.elapsed

    assert jumping(main()) == pytest.approx(0.5 + 1 + 2 + 4 + 5 + 5)


RETRY_AFTER: list[tuple[dict[str, str], float]] = [
    ({"Retry_After": "7"}, 7), ({"Retry_After": "0"}, 0), ({"Retry_After": "1.5"}, 1.5),
    ({"retry_after_ms": "250", "Retry_After": "9"}, 0.25), ({"Retry_After": "-3"}, 0.5),
    ({"Retry_After": "soon"}, 0.5), ({"Retry_After": "nan"}, 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "wait"), RETRY_AFTER)
def test_the_vendors_wait_wins(jumping: Run, headers: dict[str, str], wait: float) -> None:
    """The vendor's wait is obeyed, nonsense is ignored."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with RawVendor(answer("", 503, **headers), OK) as vendor, client(vendor) as http:
            started = loop.time()
            await http.send(read())
            return loop.time() - started

    assert jumping(main()) == pytest.approx(wait)


@pytest.mark.parametrize(
    "value",
    ["1857905136", "86400", format_datetime(datetime.now(UTC) + timedelta(days=9))],
    ids=["a moment", "a day", "a date"],
)
def test_an_absurd_wait_is_an_error_now(jumping: Run, value: str) -> None:
    """A wait beyond the deadline is not begun; the error says how long it would have been."""

    async def main() -> tuple[float, float | None, int]:
        loop = asyncio.get_running_loop()
        async with RawVendor(answer("", 429, Retry_After=value)) as vendor, client(vendor) as http:
            started = loop.time()
            with pytest.raises(RateLimited) as limited:
                await http.send(read())
            return loop.time() - started, limited.value.retry_after, len(vendor.requests)

    waited, retry_after, requests = jumping(main())
    assert (waited, requests) == (0, 1)
    assert retry_after is not None
    assert retry_after > 86_000


def test_a_429_holds_up_its_own_account_only(jumping: Run) -> None:
    """While one account waits, another is served at once."""

    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        async with RawVendor(answer("", 429, Retry_After="60"), OK) as vendor, client(vendor) as http:
            started = loop.time()
            blocked = asyncio.create_task(http.send(read(account="blocked")))
            await asyncio.sleep(1)
            second = asyncio.create_task(http.send(read(account="blocked")))
            await http.send(read(account="free"))
            free = loop.time() - started
            await asyncio.gather(blocked, second)
            return free, loop.time() - started

    free, blocked = jumping(main())
    assert free == pytest.approx(1)
    assert blocked == pytest.approx(60)


def test_an_outage_is_not_multiplied(jumping: Run) -> None:
    """Against a vendor that is down, a thousand calls cost hardly more than a thousand requests."""

    async def main() -> int:
        async with RawVendor(answer("", 503)) as vendor, client(vendor, backoff=0) as http:
            for _ in range(1000):
                with pytest.raises(ServerError):
                    await http.send(read())
            return len(vendor.requests)

    assert jumping(main()) <= 1128


def test_an_error_says_that_the_budget_ended_it(jumping: Run) -> None:
    """A note explains a single attempt where retries were allowed."""

    async def main() -> list[CallError]:
        async with RawVendor(answer("", 503)) as vendor, client(vendor, backoff=0) as http:
            results = await asyncio.gather(*(http.send(read()) for _ in range(60)), return_exceptions=True)
        return [result for result in results if isinstance(result, CallError)]

    errors = jumping(main())
    told = [error for error in errors if hasattr(error, "__notes__")]
    assert 0 < len(told) < len(errors) == 60
    assert {note for error in told for note in error.__notes__} == {
        "not retried: the client has spent its retry budget"
    }
    assert all(error.attempts == 4 for error in errors if error not in told)


# Times


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
def test_a_stalled_answer_times_out(jumping: Run, head: bytes) -> None:
    """The time-out ends a missing response and a body that stops half-way."""

    async def stalling(sink: asyncio.StreamWriter) -> bool:
        sink.write(head)
        return await stall(sink)

    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with RawVendor(stalling) as vendor:
            async with client(vendor, retries=0, timeout=5, read_timeout=None) as http:
                started = loop.time()
                with pytest.raises(AttemptTimeout):
                    await http.send(read())
                return loop.time() - started

    assert jumping(main()) == pytest.approx(5, abs=0.05)


def test_the_deadline_covers_everything(jumping: Run) -> None:
    """A byte a second, retries and waits: the call as a whole ends at its deadline."""

    async def dripping(sink: asyncio.StreamWriter) -> bool:
        sink.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not sink.is_closing():
            sink.write(b" ")
            await asyncio.sleep(1)
        return False

    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with RawVendor(answer("", 503), dripping) as vendor:
            async with client(vendor, timeout=30, deadline=47.3) as http:
                started = loop.time()
                with pytest.raises((DeadlineExceeded, AttemptTimeout)):
                    await http.send(read())
                return loop.time() - started

    assert jumping(main()) == pytest.approx(47.3, abs=0.1)


def test_a_full_rate_window_is_waited_for_within_the_deadline(jumping: Run) -> None:
    """Calls beyond the window wait; those that cannot be sent in time are refused at once, unsent."""

    async def main() -> tuple[int, int, float]:
        loop = asyncio.get_running_loop()
        async with RawVendor(OK) as vendor:
            async with client(vendor, limit=RateLimit(10, per=10), deadline=25) as http:
                started = loop.time()
                results = await asyncio.gather(
                    *(http.send(write()) for _ in range(45)), return_exceptions=True
                )
                return (
                    sum(isinstance(result, Thing) for result in results),
                    sum(isinstance(result, DeadlineExceeded) for result in results),
                    loop.time() - started,
                )

    assert jumping(main()) == (30, 15, pytest.approx(20, abs=0.1))


async def test_more_calls_than_connections_wait_without_timing_out() -> None:
    """Four hundred calls at once through eight connections all succeed."""
    async with RawVendor(OK) as vendor, client(vendor, connections=8) as http:
        results = await asyncio.gather(*(http.send(read()) for _ in range(400)))
        assert len(vendor.writers) <= 8
    assert results == [Thing(1)] * 400


# What the vendor says of its limits


def test_foreign_use_of_the_window_slows_us_down(jumping: Run) -> None:
    """The vendor's headers are believed: what others used is not sent on top."""
    busy = [
        answer('{"a": 1}', X_RateLimit_Max="10", X_RateLimit_Remaining=str(left)) for left in (4, 3, 2, 1, 0)
    ]

    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with RawVendor(*busy) as vendor, client(vendor, limit=RateLimit(10, per=10)) as http:
            started = loop.time()
            await http.send(read())
            for _ in range(5):
                await http.send(read())
            return loop.time() - started

    assert jumping(main()) >= 10


async def test_a_spent_daily_quota_is_an_error_that_names_its_end() -> None:
    """After the day's last request nothing more is sent for that account, and the others go on."""
    spent = answer(
        '{"a": 1}', X_RateLimit_Max="9", X_RateLimit_Remaining="5", X_RateLimit_Daily_Remaining="0"
    )
    async with RawVendor(spent, OK) as vendor, client(vendor) as http:
        await http.send(read())
        with pytest.raises(QuotaExhausted, match=r"resets at .* 00:00 UTC") as error:
            await http.send(read())
        await http.send(read(account="another"))
    assert len(vendor.requests) == 2
    assert error.value.resets_at is not None
    assert timedelta() < error.value.resets_at - datetime.now(UTC) <= timedelta(days=1)


@pytest.mark.parametrize("value", ["", "-1", "many", "1e9", "٣", "9" * 5000])
async def test_malformed_rate_headers_are_ignored(value: str) -> None:
    """Headers that are nonsense change nothing."""
    odd = answer(
        '{"a": 1}', X_RateLimit_Max=value, X_RateLimit_Remaining=value, X_RateLimit_Daily_Remaining=value
    )
    async with RawVendor(odd) as vendor, client(vendor, limit=RateLimit(3, per=60)) as http:
        for _ in range(3):
            assert await http.send(read()) == Thing(1)


@pytest.mark.parametrize(
    "said", [b"\0" * 50_000, b"HTTP/1.1 200 " + b"x" * 200_000 + b"\r\n\r\n", b"\xff\r\n" * 9999]
)
async def test_a_response_that_is_not_http_makes_a_small_error(said: bytes) -> None:
    """The error stays small however much the server sends."""
    async with RawVendor(said) as vendor, client(vendor, retries=0) as http:
        with pytest.raises(TransportError) as caught:
            await http.send(read())
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


# Size


async def test_a_body_beyond_the_cap_is_refused() -> None:
    """The cap holds whether the length is announced or not, and the connection is not used again."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b" " * 1024 + b"\r\n"
    for big in (answer(" " * 5000), chunked * 1 + b"400\r\n" + b" " * 1024 + b"\r\n0\r\n\r\n"):
        async with RawVendor(big) as vendor, client(vendor, max_body=1500) as http:
            with pytest.raises(ResponseTooLarge):
                await http.send(read())
            assert len(vendor.requests) == 1


async def test_a_gzip_bomb_is_defused() -> None:
    """The cap counts decompressed bytes, and what is held in memory stays near it."""
    bomb = gzip.compress(b" " * 100_000_000)
    async with RawVendor(answer(bomb, Content_Encoding="gzip")) as vendor:
        async with client(vendor, max_body=1_000_000) as http:
            tracemalloc.start()
            try:
                with pytest.raises(ResponseTooLarge):
                    await http.send(read())
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
    assert peak < 30_000_000


async def test_gzip_is_read() -> None:
    """A compressed response is decompressed."""
    async with RawVendor(answer(gzip.compress(b'{"a": 5}'), Content_Encoding="gzip")) as vendor:
        async with client(vendor) as http:
            assert await http.send(read()) == Thing(5)


# What is never shown


async def _failures() -> list[PhonesysError]:
    """One error of every way to fail."""
    echo = answer(f'{{"message": "bad token {TOKEN}"}}', 403)
    garbage = b"HTTP/1.1 \r\n\x00\r\n\r\n"
    errors: list[PhonesysError] = []
    for step in (
        echo,
        answer("", 500),
        answer("<html>"),
        answer('{"b": 1}'),
        garbage,
        drop,
        answer(" " * 5000),
    ):
        async with RawVendor(step) as vendor:
            async with client(vendor, retries=1, backoff=0, max_body=4000) as http:
                for call in (read(), write()):
                    try:
                        await http.send(call)
                    except PhonesysError as error:
                        assert error.__traceback__ is not None  # noqa: PT017 -- narrowing a type
                        error.__traceback__ = error.__traceback__.tb_next  # this frame knows the secret
                        errors.append(error)
    return errors


async def test_no_error_shows_the_credential(caplog: pytest.LogCaptureFixture) -> None:
    """Not in its text, attributes, pickle, causes or tracebacks with locals, nor in any log record."""
    caplog.set_level(logging.DEBUG)
    errors = await _failures()
    assert len(errors) == 14
    for error in errors:
        shown = "".join(TracebackException.from_exception(error, capture_locals=True).format())
        for text in (shown, repr(error), str(error), repr(vars(error)), repr(pickle.dumps(error))):
            assert "PLANTED" not in text
    assert "PLANTED" not in caplog.text


async def test_a_cancelled_call_does_not_show_it_either() -> None:
    """The traceback of a cancellation passes through frames that hold the signed request."""
    async with RawVendor(stall) as vendor, client(vendor) as http:
        with pytest.raises(TimeoutError) as cut:
            async with asyncio.timeout(0.05):
                await http.send(read())
    shown = "".join(TracebackException.from_exception(cut.value, capture_locals=True).format())
    assert "PLANTED" not in shown


async def test_an_error_says_what_happened() -> None:
    """Backend, operation, account, status, the vendor's words, request id and attempts are attributes."""
    refusal = answer('{"error": {"message": "no scope"}}', 403, X_Request_Id="req_7")
    async with RawVendor(refusal) as vendor, client(vendor) as http:
        with pytest.raises(Forbidden) as caught:
            await http.send(read())
    error = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 -- our own bytes
    assert (error.backend, error.operation, error.account) == ("test", "read_thing", "acc_1")
    assert (error.status, error.message, error.request_id, error.attempts) == (403, "no scope", "req_7", 1)
    assert str(error) == "test read_thing acc_1: 403 no scope [request req_7]"
    assert error.details == {"error": {"message": "no scope"}}


# Sessions


async def test_a_session_that_is_handed_in_is_used_and_not_closed() -> None:
    """It stays its owner's, and retries work on it as on our own."""
    async with RawVendor(answer("", 503), OK) as vendor, aiohttp.ClientSession() as session:
        async with client(vendor, session=session, backoff=0) as http:
            assert await http.send(read()) == Thing(1)
        assert not session.closed


async def test_the_middlewares_of_a_session_that_is_handed_in_run() -> None:
    """A tracing middleware of the session still sees every request."""
    seen: list[str] = []

    async def trace(
        request: aiohttp.ClientRequest,
        handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
    ) -> aiohttp.ClientResponse:
        seen.append(str(request.url.path))
        return await handler(request)

    async with RawVendor(OK) as vendor, aiohttp.ClientSession(middlewares=(trace,)) as session:
        async with client(vendor, session=session) as http:
            await http.send(read())
    assert seen == ["/things"]


async def test_a_closed_session_is_named() -> None:
    """A session that its owner closed is a clear error."""
    session = aiohttp.ClientSession()
    await session.close()
    async with RawVendor(OK) as vendor, client(vendor, session=session) as http:
        with pytest.raises(NotOpen, match="closed"):
            await http.send(read())


async def test_use_outside_of_its_block_is_named() -> None:
    """Before and after `async with`, a call says what is missing."""
    async with RawVendor(OK) as vendor:
        http = client(vendor)
        with pytest.raises(NotOpen, match="async with"):
            await http.send(read())
        async with http:
            async with http:
                await http.send(read())
            await http.send(read())
        with pytest.raises(NotOpen):
            await http.send(read())


def test_one_client_can_serve_several_loops() -> None:
    """A client made at import time works in one `asyncio.run` after another."""
    http: list[HttpClient] = []

    async def main() -> Thing:
        async with RawVendor(OK) as vendor:
            http.append(client(vendor))
            async with http[-1]:
                return await http[-1].send(read())

    async def again() -> Thing:
        async with RawVendor(OK) as vendor:
            http[0]._base = vendor.url
            async with http[0]:
                return await http[0].send(read())

    assert asyncio.run(main()) == asyncio.run(again()) == Thing(1)


async def test_cancellation_leaves_nothing_behind() -> None:
    """A call cancelled at any of its steps gives back its connection, its place and its slot."""
    async with RawVendor(stall) as vendor:
        async with client(vendor, limit=RateLimit(3, per=60), connections=2) as http:
            tasks = [asyncio.create_task(http.send(read())) for _ in range(6)]
            while len(vendor.requests) < 2:  # noqa: ASYNC110 -- the vendor's steps, not ours
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert http._connections.try_acquire()
            window = http._limiter.window("acc_1", http._loop.time())
            assert (window._in_flight, len(window._waiters or ())) == (0, 0)


def _and_close(step: Any) -> Any:
    """Answer, then close: garbage and short bodies must not run into the next answer."""
    if callable(step):
        return step

    async def say(sink: asyncio.StreamWriter) -> bool:
        sink.write(step)
        await sink.drain()
        sink.close()
        return False

    return say


@pytest.mark.parametrize(
    "field",
    [{"timeout": 0}, {"timeout": -1}, {"deadline": float("nan")}, {"retries": -1}, {"retries": 1.5},
     {"max_body": 0}, {"connections": 0}, {"backoff": -1}, {"connect_timeout": float("inf")}],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(field: dict[str, Any]) -> None:
    """The error names the option and what was expected."""
    with pytest.raises(InvalidArgument, match=f"HttpOptions.{next(iter(field))}"):
        client("http://127.0.0.1", **field)


async def test_unauthorized_is_not_repeated_with_the_same_credential() -> None:
    """A static token that was refused is refused for good."""
    async with RawVendor(answer('{"message": "Invalid token"}', 401)) as vendor, client(vendor) as http:
        with pytest.raises(Unauthorized, match="Invalid token"):
            await http.send(read())
    assert len(vendor.requests) == 1


def test_connections_that_are_refused_cost_no_budget(jumping: Run, unused_port: int) -> None:
    """Nothing reached the vendor, so nothing is multiplied: every call has all of its attempts."""

    async def main() -> set[int]:
        async with client(f"http://127.0.0.1:{unused_port}") as http:
            results = await asyncio.gather(*(http.send(read()) for _ in range(100)), return_exceptions=True)
        return {result.attempts for result in results if isinstance(result, ConnectError)}

    assert jumping(main()) == {4}
