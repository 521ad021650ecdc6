from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import isfinite
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from phonesys import (
    AttemptTimeout,
    BadRequest,
    CallError,
    Conflict,
    ConnectError,
    DeadlineExceeded,
    DecodeError,
    Forbidden,
    HttpOptions,
    NotFound,
    QuotaExhausted,
    RateLimited,
    RepeatedPage,
    ResponseTooLarge,
    ServerError,
    TransportError,
    Unauthorized,
    UnexpectedRedirect,
)
from phonesys.errors import NotJson, PermanentServerError, RequestTimeout
from phonesys.http.retry import RetryBudget, backoff, is_retryable, retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OPTIONS = HttpOptions(backoff=0.5, backoff_cap=8.0)


# fmt: off
REPEATS: list[tuple[type[CallError], bool, bool]] = [
    (ConnectError, True, True),
    (RateLimited, True, True),
    (TransportError, True, False),
    (AttemptTimeout, True, False),
    (RequestTimeout, True, False),
    (ServerError, True, False),
    (NotJson, True, False),
    (DecodeError, False, False),
    (ResponseTooLarge, False, False),
    (PermanentServerError, False, False),
    (DeadlineExceeded, False, False),
    (QuotaExhausted, False, False),
    (UnexpectedRedirect, False, False),
    (BadRequest, False, False),
    (Unauthorized, False, False),
    (Forbidden, False, False),
    (NotFound, False, False),
    (Conflict, False, False),
    (RepeatedPage, False, False),
]
# fmt: on


@pytest.mark.parametrize(("error", "safe", "unsafe"), REPEATS)
def test_retryable_errors(error: type[CallError], *, safe: bool, unsafe: bool) -> None:
    """Only what may pass; a write only where it provably did not happen."""
    assert is_retryable(error("no"), idempotent=True) is safe
    assert is_retryable(error("no"), idempotent=False) is unsafe


def test_not_executed_is_a_fact_of_the_error() -> None:
    """An error that knows more than its class says so."""
    error = TransportError("the connection was lost before anything was sent")
    error.not_executed = True
    assert is_retryable(error, idempotent=False)


@pytest.mark.parametrize(
    ("attempt", "draw", "delay"),
    [
        (1, 1.0, 0.5), (2, 1.0, 1.0), (3, 1.0, 2.0), (4, 1.0, 4.0), (5, 1.0, 8.0), (6, 1.0, 8.0),
        (1, 0.0, 0.0), (3, 0.5, 1.0), (6, 0.25, 2.0),
        (2000, 1.0, 8.0), (10**9, 1.0, 8.0),
    ],
)  # fmt: skip
def test_waits_double_up_to_the_cap(attempt: int, draw: float, delay: float) -> None:
    """With full jitter, and for any number of attempts."""
    assert backoff(TransportError("no"), attempt, OPTIONS, draw) == delay


@pytest.mark.parametrize("wait", [0.0, 0.2, 3.0, 100_000.0])
def test_the_vendors_wait_wins(wait: float) -> None:
    """Over the cap too: whether it is worth it is the deadline's to say."""
    assert backoff(RateLimited("no", status=429, retry_after=wait), 1, OPTIONS, 1.0) == wait
    assert backoff(ServerError("no", status=503, retry_after=wait), 3, OPTIONS, 0.0) == wait
    assert backoff(ServerError("no", status=503), 1, OPTIONS, 1.0) == 0.5


@settings(deadline=None)
@given(
    st.integers(1, 10**6),
    st.floats(0, 1),
    st.floats(0, 1e6, allow_nan=False),
    st.floats(0, 1e6, allow_nan=False),
)
def test_waits_stay_between_nothing_and_the_cap(attempt: int, draw: float, base: float, cap: float) -> None:
    """For any options."""
    options = HttpOptions(backoff=base, backoff_cap=cap)
    assert 0 <= backoff(TransportError("no"), attempt, options, draw) <= cap


def date(delta: timedelta) -> str:
    return format_datetime(NOW + delta, usegmt=True)


# fmt: off
WAITS: list[tuple[dict[str, str], float | None]] = [
    ({}, None),
    ({"Retry-After": "17"}, 17.0),
    ({"Retry-After": "0"}, 0.0),
    ({"Retry-After": " 17 "}, 17.0),
    ({"Retry-After": "1.5"}, 1.5),
    ({"Retry-After": "1857905136"}, 1857905136.0),
    ({"retry-after-ms": "250"}, 0.25),
    ({"retry-after-ms": "250", "Retry-After": "17"}, 0.25),
    ({"retry-after-ms": "soon", "Retry-After": "17"}, 17.0),
    ({"retry-after-ms": "-5", "Retry-After": "17"}, 17.0),
    ({"retry-after-ms": "nan"}, None),
    ({"Retry-After": ""}, None),
    ({"Retry-After": "-1"}, None),
    ({"Retry-After": "nan"}, None),
    ({"Retry-After": "inf"}, None),
    ({"Retry-After": "-inf"}, None),
    ({"Retry-After": "1e999"}, None),
    ({"Retry-After": "soon"}, None),
    ({"Retry-After": "0x10"}, None),
    ({"Retry-After": "17, 18"}, None),
    ({"Retry-After": date(timedelta(seconds=90))}, 90.0),
    ({"Retry-After": date(timedelta(seconds=-90))}, 0.0),
    ({"Retry-After": date(timedelta(days=365 * 50))}, 365 * 50 * 86400.0),
    ({"Retry-After": "Fri, 02 Jan 2026 03:04:35 -0000"}, 30.0),
    ({"Retry-After": "Fri, 02 Jan 2026 04:04:35 +0100"}, 30.0),
    ({"Retry-After": "Friday, 02-Jan-26 03:04:35 GMT"}, 30.0),
    ({"Retry-After": "Fri, 32 Jan 2026 03:04:05 GMT"}, None),
    ({"Retry-After": "Fri, 02 Jan 99999 03:04:05 GMT"}, None),
    ({"Retry-After": "Fri, 02 Jan 2026 03:04:05 +99999999999999999999"}, None),
    ({"Retry-After": "Fri, 02 Jan"}, None),
]
# fmt: on


@pytest.mark.parametrize(("headers", "seconds"), WAITS)
def test_retry_after_is_parsed(headers: Mapping[str, str], seconds: float | None) -> None:
    """Seconds, milliseconds or a date; None for what is malformed, negative or endless."""
    assert retry_after(CIMultiDict(headers), NOW) == seconds


def test_dates_count_from_now() -> None:
    """Unless another now is given."""
    soon = retry_after({"Retry-After": format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)})
    assert soon is not None
    assert 3590 < soon <= 3600


header_texts = st.text() | st.from_regex(
    r"(Mon|Fri), \d{1,3} (Jan|Dec|Foo) \d{1,6} \d{1,3}:\d\d:\d\d( [+-]?\d{1,12}| GMT)?", fullmatch=True
) | st.floats().map(str) | st.integers().map(str)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(header_texts, header_texts)
def test_any_header_is_a_wait_or_none(after: str, milliseconds: str) -> None:
    """It never raises, and never returns a wait that is negative or endless."""
    for headers in ({"Retry-After": after}, {"retry-after-ms": milliseconds, "Retry-After": after}):
        wait = retry_after(headers, NOW)
        assert wait is None or (wait >= 0 and isfinite(wait))


def test_the_budget_is_spent_and_earned() -> None:
    """So many retries are free; two successes earn one more; there is never more than at the start."""
    budget, error = RetryBudget(capacity=3, earned=0.5), TransportError("no")
    assert [budget.try_withdraw(error) for _ in range(5)] == [True, True, True, False, False]
    budget.deposit()
    assert not budget.try_withdraw(error)
    budget.deposit()
    assert budget.try_withdraw(error)
    assert not budget.try_withdraw(error)
    for _ in range(100):
        budget.deposit()
    assert [budget.try_withdraw(error) for _ in range(4)] == [True, True, True, False]
    budget.deposit()
    assert not budget.try_withdraw(error)


def test_a_success_earns_half_a_retry() -> None:
    """Of 128 that a client has at first."""
    budget, error = RetryBudget(), TransportError("no")
    assert sum(budget.try_withdraw(error) for _ in range(200)) == 128
    for _ in range(100):
        budget.deposit()
    assert sum(budget.try_withdraw(error) for _ in range(200)) == 50


def test_waits_that_the_vendor_asked_for_cost_nothing() -> None:
    """A 429 is no failure to be multiplied."""
    budget = RetryBudget(capacity=0)
    assert not budget.try_withdraw(ServerError("no", status=503))
    assert all(budget.try_withdraw(RateLimited("no", status=429)) for _ in range(100))
