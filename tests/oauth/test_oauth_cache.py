"""The cache of one token: who fetches it, for whom, and what is remembered of a failure."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import BadRequest, ConfigError, _slot
from phonesys.errors import BackendFault, ConnectError, PhonesysError, ServerError
from phonesys.oauth import Token
from phonesys.oauth.cache import TokenCache
from phonesys.secret import Secret
from tests.oauth.agencies import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

LIFETIME = 3600.0
RENEWED = LIFETIME - 60.0
"""Seconds after which a token is renewed."""


class Vendor:
    """Hands out tokens named by their number, or fails, and notes the tokens that it was told to replace."""

    def __init__(self, clock: Clock, *failures: BaseException) -> None:
        self.clock = clock
        self.failures = list(failures)
        self.rejected: list[str | None] = []
        self.may_respond = asyncio.Event()
        self.may_respond.set()
        self.cancelled = 0

    @property
    def requests(self) -> int:
        return len(self.rejected)

    async def __call__(self, rejected: Token | None) -> Token:
        self.rejected.append(None if rejected is None else rejected.access.reveal())
        name = f"t{self.requests}"
        try:
            await self.may_respond.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failures:
            raise self.failures.pop(0)
        return named(name, self.clock)


def named(name: str, clock: Clock) -> Token:
    return Token(access=Secret(name), obtained_at=clock.now, expires_at=clock.now + LIFETIME)


def caching(*failures: BaseException, uninterruptible: bool = False) -> tuple[TokenCache, Vendor, Clock]:
    clock = Clock()
    vendor = Vendor(clock, *failures)
    return TokenCache("company c", vendor, uninterruptible=uninterruptible, clock=clock), vendor, clock


async def turns(count: int = 5) -> None:
    """Let other tasks run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_token_is_cached_until_it_is_about_to_expire() -> None:
    """A minute before that, there are no headers, and the next caller fetches another token."""
    cache, vendor, clock = caching()
    assert cache.headers() is None
    for _ in range(2):
        await cache.ensure_valid()
        assert cache.headers() == {"Authorization": "Bearer t1"}
    clock.now += RENEWED - 0.1
    await cache.ensure_valid()
    assert cache.headers() == {"Authorization": "Bearer t1"}
    clock.now += 0.1
    assert cache.headers() is None
    await cache.ensure_valid()
    assert cache.headers() == {"Authorization": "Bearer t2"}
    assert vendor.rejected == [None, None]


async def test_callers_share_a_fetch() -> None:
    """All wait for the one that runs, whose task is named after the token."""
    cache, vendor, _ = caching()
    vendor.may_respond.clear()
    callers = [asyncio.create_task(cache.ensure_valid()) for _ in range(10)]
    await turns()
    assert vendor.requests == 1
    assert "phonesys: token of company c" in {task.get_name() for task in asyncio.all_tasks()}
    vendor.may_respond.set()
    await asyncio.gather(*callers)
    assert vendor.requests == 1


PERMANENT = [BadRequest("no", status=400), BadRequest("gone", status=404)]
PASSING: list[Callable[[], PhonesysError]] = [
    lambda: ServerError("down", status=503),
    lambda: ConnectError("refused"),
    lambda: ConfigError("no refresh token"),
]


@pytest.mark.parametrize("failure", PERMANENT, ids=str)
async def test_a_final_error_is_remembered_for_five_seconds(failure: PhonesysError) -> None:
    """However often it came, the vendor is asked again after the same pause."""
    cache, vendor, clock = caching(*[failure] * 4)
    for requests in (1, 2, 3):
        for wait in (0.0, 2.5, 2.4):
            clock.now += wait
            with pytest.raises(BadRequest, match=failure.message):  # type: ignore[attr-defined]
                await cache.ensure_valid()
            assert vendor.requests == requests
        clock.now += 0.1


@pytest.mark.parametrize("make", PASSING, ids=["server error", "no connection", "configuration"])
async def test_pauses_after_passing_errors_grow_up_to_thirty_seconds(
    make: Callable[[], PhonesysError],
) -> None:
    """They double from a second, and begin there again after a success."""
    cache, vendor, clock = caching(*[make() for _ in range(7)])
    for requests, pause in enumerate((1, 2, 4, 8, 16, 30, 30), start=1):
        for wait in (0.0, pause - 0.25):
            clock.now += wait
            with pytest.raises(type(make())):
                await cache.ensure_valid()
            assert vendor.requests == requests
        clock.now += 0.25
    await cache.ensure_valid()
    assert cache.headers() is not None
    vendor.failures = [make(), make()]
    clock.now += LIFETIME
    for requests in (9, 9, 10):
        with pytest.raises(type(make())):
            await cache.ensure_valid()
        assert vendor.requests == requests
        clock.now += 0.5


async def test_very_many_failures_do_not_overflow() -> None:
    """The pause stays what it is, however long an outage lasts."""
    cache, vendor, clock = caching(*[ConnectError("refused") for _ in range(1100)])
    for requests in range(1, 1101):
        with pytest.raises(ConnectError, match="refused"):
            await cache.ensure_valid()
        assert vendor.requests == requests
        clock.now += 30


async def test_an_error_in_the_future_is_not_recent() -> None:
    """A clock that was set back holds no caller up."""
    cache, vendor, clock = caching(BadRequest("no", status=400))
    with pytest.raises(BadRequest):
        await cache.ensure_valid()
    clock.now -= 0.5
    await cache.ensure_valid()
    assert vendor.requests == 2


async def test_a_callers_error_is_its_own() -> None:
    """It names the token, says that the call was not sent, and keeps the cause but no frame of the fetch."""
    cause = OSError("network down")
    failure = ConnectError("refused")
    failure.__cause__ = cause
    cache, vendor, _ = caching(failure)
    found: list[ConnectError] = []
    for _ in range(3):
        with pytest.raises(ConnectError) as caught:
            await cache.ensure_valid()
        found.append(caught.value)
    assert vendor.requests == 1
    assert len({id(error) for error in found}) == 3
    for error in found:
        assert error.message == "no token of company c: refused"
        assert error.not_executed
        assert error.__cause__ is cause
        assert error.__suppress_context__
    assert failure.message == "refused"
    assert failure.__traceback__ is None


async def test_an_error_without_words_is_named_by_its_kind() -> None:
    """And an error of another kind keeps its own."""
    cache, _, clock = caching(ServerError("", status=500), ConfigError("no refresh token"))
    with pytest.raises(ServerError) as caught:
        await cache.ensure_valid()
    assert caught.value.message == "no token of company c: ServerError"
    clock.now += 100
    with pytest.raises(ConfigError) as other:
        await cache.ensure_valid()
    assert str(other.value) == "no refresh token"


async def test_a_store_may_raise_anything() -> None:
    """It becomes an error of phonesys, with the cause, and is remembered like others."""
    cause = KeyError("x")
    cache, vendor, clock = caching(cause)
    for _ in range(2):
        with pytest.raises(BackendFault, match="KeyError: 'x'") as caught:
            await cache.ensure_valid()
        assert caught.value.__cause__ is cause
    assert vendor.requests == 1
    clock.now += 1
    await cache.ensure_valid()


async def test_a_rejected_token_is_replaced_once_a_minute() -> None:
    """The fetch is told which. Headers of an earlier token reject nothing."""
    cache, vendor, clock = caching()
    await cache.ensure_valid()
    first = cache.headers()
    assert first is not None
    assert cache.invalidate({"Authorization": "Bearer t0"}) is True
    assert cache.headers() is first
    assert cache.invalidate(first) is True
    assert cache.headers() is None
    assert cache.invalidate(first) is True  # again, by another call that had it
    await cache.ensure_valid()
    assert vendor.rejected == [None, "t1"]
    second = cache.headers()
    assert second is not None
    clock.now += 59.9
    assert cache.invalidate(second) is False
    assert cache.headers() is second
    clock.now += 0.1
    assert cache.invalidate(second) is True
    await cache.ensure_valid()
    assert vendor.rejected == [None, "t1", "t2"]
    clock.now += LIFETIME
    await cache.ensure_valid()
    assert vendor.rejected == [None, "t1", "t2", None]


async def test_a_failed_fetch_is_still_told_what_was_rejected() -> None:
    """Until a token has replaced it."""
    cache, vendor, clock = caching()
    await cache.ensure_valid()
    headers = cache.headers()
    assert headers is not None
    assert cache.invalidate(headers)
    vendor.failures = [ConnectError("refused")]
    with pytest.raises(ConnectError):
        await cache.ensure_valid()
    clock.now += 1
    await cache.ensure_valid()
    assert vendor.rejected == [None, "t1", "t1"]


async def test_a_token_from_elsewhere_replaces_the_cached_one() -> None:
    """And ends what was remembered: an error, and a rejection."""
    cache, vendor, clock = caching(ConnectError("refused"))
    with pytest.raises(ConnectError):
        await cache.ensure_valid()
    cache.replace(named("other", clock))
    await cache.ensure_valid()
    headers = cache.headers()
    assert headers == {"Authorization": "Bearer other"}
    assert cache.invalidate(headers) is True
    cache.replace(named("third", clock))
    clock.now += LIFETIME
    await cache.ensure_valid()
    assert vendor.rejected == [None, None]


async def test_a_fetch_ends_with_its_last_waiter() -> None:
    """One waiter is enough for it to go on. The next caller starts another, also while it ends."""
    cache, vendor, _ = caching()
    vendor.may_respond.clear()
    one, two = (asyncio.create_task(cache.ensure_valid()) for _ in range(2))
    await turns()
    one.cancel()
    await turns()
    assert (one.cancelled(), vendor.cancelled) == (True, 0)
    two.cancel()
    await asyncio.sleep(0)
    three = asyncio.create_task(cache.ensure_valid())
    await turns()
    assert (two.cancelled(), vendor.cancelled, vendor.requests) == (True, 1, 2)
    three.cancel()
    await asyncio.gather(three, return_exceptions=True)
    await cache.wait_finished()
    vendor.may_respond.set()
    await cache.ensure_valid()
    assert cache.headers() == {"Authorization": "Bearer t3"}


async def test_a_fetch_that_must_not_be_interrupted_goes_on_without_waiters() -> None:
    """`wait_finished` waits for it, and its token is used."""
    cache, vendor, _ = caching(uninterruptible=True)
    await cache.wait_finished()
    vendor.may_respond.clear()
    caller = asyncio.create_task(cache.ensure_valid())
    await turns()
    caller.cancel()
    await turns()
    assert (caller.cancelled(), vendor.cancelled) == (True, 0)
    closing = asyncio.create_task(cache.wait_finished())
    await turns()
    assert not closing.done()
    vendor.may_respond.set()
    await closing
    assert cache.headers() == {"Authorization": "Bearer t1"}
    await cache.ensure_valid()
    assert vendor.requests == 1


async def test_a_fetch_does_not_use_the_slot_of_the_call_that_began_it() -> None:
    """A sweep's slots are for its own requests."""
    seen: list[Any] = []

    async def fetch(_rejected: Token | None) -> Token:
        seen.append(_slot.current.get())
        return named("t1", clock)

    clock = Clock()
    cache = TokenCache("x", fetch, uninterruptible=False, clock=clock)
    slot: Any = object()
    reset = _slot.current.set(slot)
    try:
        await cache.ensure_valid()
        assert _slot.current.get() is slot
    finally:
        _slot.current.reset(reset)
    assert seen == [None]


async def test_the_log_names_the_token_and_never_shows_it(caplog: pytest.LogCaptureFixture) -> None:
    """What was fetched, what was rejected, and what failed, on the level for details."""
    cache, vendor, clock = caching(ConnectError("refused"))
    caplog.set_level(logging.DEBUG, "phonesys")
    with pytest.raises(ConnectError):
        await cache.ensure_valid()
    clock.now += 1
    await cache.ensure_valid()
    headers = cache.headers()
    assert headers is not None
    cache.invalidate(headers)
    assert [record.getMessage() for record in caplog.records] == [
        "no token of company c: refused",
        "got a token of company c",
        "the token of company c was rejected and dropped",
    ]
    assert vendor.requests == 2
