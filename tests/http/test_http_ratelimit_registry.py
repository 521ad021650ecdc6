"""Rate windows outlive their clients: each knows what was sent with its credential before."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import DeadlineExceeded, QuotaExhausted, RateLimit
from phonesys.http import ApiKey, Bearer, PerAccount, StaticAuth
from phonesys.http.ratelimit.registry import LimiterRegistry, credential_key
from phonesys.http.ratelimit.window import UNLIMITED
from phonesys.testing import MockTransport, json_response
from tests.http.raw_vendor import OK, RawVendor, answer, client, read
from tests.mocked import Mocked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from phonesys.http import Auth, Call

LIMIT = RateLimit(2, per=600)
FULL = pytest.raises(DeadlineExceeded, match="the rate window is full")


async def test_a_client_that_is_opened_again_knows_what_it_sent() -> None:
    """Two requests before, so the third waits."""
    async with RawVendor(OK) as vendor:
        http = client(vendor, limit=LIMIT)
        async with http:
            await http.send(read())
            await http.send(read())
        async with http:
            with FULL:
                await http.send(read())
        assert len(vendor.requests) == 2


async def test_another_client_with_the_same_credential_knows_it() -> None:
    """Closed before, or open at the same time."""
    async with RawVendor(OK) as vendor:
        async with client(vendor, limit=LIMIT) as first:
            await first.send(read())
        async with client(vendor, limit=LIMIT) as second, client(vendor, limit=LIMIT) as third:
            await second.send(read())
            with FULL:
                await third.send(read())
            await third.send(read(account="acc_2"))


def test_so_does_one_in_the_next_event_loop() -> None:
    """`asyncio.run` twice in one program is no new start for the vendor."""

    async def main(url: str) -> int:
        sent = 0
        async with client(url, limit=LIMIT) as http:
            for _ in range(2):
                try:
                    await http.send(read())
                except DeadlineExceeded:
                    return sent
                sent += 1
        return sent

    async def cancelled(url: str) -> None:
        async with client(url, limit=LIMIT) as http:
            task = asyncio.create_task(http.send(read()))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])

    with serving() as url:
        asyncio.run(cancelled(url))
        assert asyncio.run(main(url)) == 1
        gc.collect()
        assert asyncio.run(main(url)) == 0


def serving() -> Any:
    """Serve OK from a thread of its own."""
    from contextlib import contextmanager
    from threading import Thread

    @contextmanager
    def served() -> Iterator[str]:
        loop, vendor = asyncio.new_event_loop(), RawVendor(OK)
        thread = Thread(target=loop.run_forever)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(vendor.__aenter__(), loop).result()
            yield vendor.url
            asyncio.run_coroutine_threadsafe(vendor.__aexit__(), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    return served()


@pytest.mark.parametrize(
    "changes", [{"auth": Bearer("another")}, {"limit": RateLimit(2, per=601)}, {"limit_headers": None}]
)
async def test_what_differs_is_apart(changes: dict[str, Any]) -> None:
    """Another credential, or another limit, has windows of its own."""
    async with RawVendor(OK) as vendor, client(vendor, limit=LIMIT) as http:
        await http.send(read())
        await http.send(read())
        async with client(vendor, **{"limit": LIMIT, **changes}) as other:
            await other.send(read())


async def test_a_spent_day_is_remembered() -> None:
    """The quota belongs to the credential as well."""
    last = answer('{"a": 1}', X_RateLimit_Daily_Remaining="0")
    async with RawVendor(last) as vendor:
        async with client(vendor) as http:
            await http.send(read())
        async with client(vendor) as http:
            with pytest.raises(QuotaExhausted):
                await http.send(read())


async def test_a_mock_shares_nothing() -> None:
    """Tests with a transport of their own do not fill each other's windows."""
    for _ in range(3):
        transport = MockTransport(lambda _call: json_response({"a": 1}))
        async with client("https://vendor.example", limit=LIMIT, transport=transport) as http:
            await http.send(read())
            await http.send(read())


async def test_neither_does_a_patched_session() -> None:
    """As with `aioresponses`."""
    for _ in range(3):
        with Mocked() as mocked:
            mocked.get("https://vendor.example/things", payload={"a": 1}, repeat=True)
            async with client("https://vendor.example", limit=LIMIT) as http:
                await http.send(read())
                await http.send(read())


class Slotted:
    """An Auth that cannot be referenced weakly."""

    __slots__ = ()

    def sign(self, call: Call[Any]) -> Mapping[str, str]:
        return {}

    async def ensure_valid(self, call: Call[Any]) -> None: ...

    def on_unauthorized(self, call: Call[Any], headers: Mapping[str, str]) -> bool:
        return False

    def accounts(self) -> tuple[str, ...]:
        return ()


async def test_a_credential_that_may_change_is_known_by_its_object() -> None:
    """The same object shares windows; another one does not, nor one that cannot be recognized."""
    refreshing, other = PerAccount({"x": Slotted()}), PerAccount({"x": Slotted()})
    assert credential_key(refreshing) == credential_key(refreshing)
    assert credential_key(refreshing) != credential_key(other)
    assert credential_key(Slotted()) != credential_key(Slotted())


@pytest.mark.parametrize(
    ("one", "another"),
    [
        (Bearer("a"), Bearer("a")),
        (PerAccount({"x": "a", "y": "b"}), PerAccount({"y": Bearer("b"), "x": "a"})),
    ],
)
def test_equal_credentials_are_one(one: Auth, another: Auth) -> None:
    """In whatever order, and without the credential in the key."""
    assert credential_key(one) == credential_key(another)


def test_different_credentials_are_not() -> None:
    """Header, value, account and number of accounts all count."""
    auths: list[Auth] = [
        Bearer("a"), Bearer("b"), ApiKey("a"), ApiKey("a", header="X-Other"), PerAccount({"x": "a"}),
        PerAccount({"y": "a"}), PerAccount({"x": "a", "y": "a"}), PerAccount({}),
    ]  # fmt: skip
    assert len({credential_key(auth) for auth in auths}) == len(auths)
    assert "PLANTED" not in repr(credential_key(Bearer("PLANTED")))


async def test_limiters_in_which_nothing_counts_are_dropped() -> None:
    """A program that uses very many credentials does not keep a limiter for each."""
    loop, own_registry = asyncio.get_running_loop(), LimiterRegistry()

    def acquire(index: int) -> Any:
        auth: StaticAuth = Bearer(f"token{index}")
        return own_registry.acquire("https://vendor.example", auth, UNLIMITED, None, loop)

    busy, blocked = acquire(-1), acquire(-2)
    blocked.window("acc", loop.time()).block_until(loop.time() + 600)
    own_registry.release(blocked)
    for index in range(5000):
        own_registry.release(acquire(index))
    assert len(own_registry) < 200
    assert acquire(-1) is busy
    assert acquire(-2) is blocked


URL = "https://vendor.example"


@pytest.fixture
def loops() -> Iterator[tuple[asyncio.AbstractEventLoop, asyncio.AbstractEventLoop]]:
    """Two event loops on the clock of the machine."""
    one, two = asyncio.new_event_loop(), asyncio.new_event_loop()
    yield one, two
    one.close()
    two.close()


def test_a_limiter_belongs_to_one_event_loop_at_a_time(
    loops: tuple[asyncio.AbstractEventLoop, asyncio.AbstractEventLoop],
) -> None:
    """Another one gets it once no client uses it, and what was sent still counts there."""
    one, two = loops
    registry = LimiterRegistry()

    def acquire(loop: asyncio.AbstractEventLoop, limit: RateLimit = LIMIT) -> Any:
        return registry.acquire(URL, Bearer("a"), limit, None, loop)

    first = acquire(one)
    assert acquire(one) is first
    other = acquire(two)
    assert other is not first
    assert acquire(two) is other
    registry.release(other)
    assert acquire(one) is not other
    registry = LimiterRegistry()
    first = acquire(one)
    for _ in range(2):
        window = first.window("acc", one.time())
        assert window.try_acquire(one.time())
        window.complete(one.time())
    registry.release(first)
    registry.release(other)  # which is of another registry
    first.on_rejected("blocked", first.window("blocked", one.time()), {}, 60.0)
    assert acquire(two) is first
    assert not first.window("acc", two.time()).try_acquire(two.time())
    assert not first.window("blocked", two.time()).try_acquire(two.time())
    assert acquire(two) is first
    assert acquire(one) is not first


def test_a_clock_of_its_own_shares_no_limiter(
    loops: tuple[asyncio.AbstractEventLoop, asyncio.AbstractEventLoop],
) -> None:
    """Times of one event loop mean nothing in another one whose clock differs."""
    from tests.conftest import JumpingLoop

    own = JumpingLoop()
    own.now += 1e9
    try:
        for before, after in ((own, loops[0]), (loops[0], own)):
            registry = LimiterRegistry()
            first = registry.acquire(URL, Bearer("a"), LIMIT, None, before)
            assert registry.acquire(URL, Bearer("a"), LIMIT, None, before) is first
            registry.release(first)
            registry.release(first)
            assert registry.acquire(URL, Bearer("a"), LIMIT, None, after) is not first
    finally:
        own.close()


@pytest.mark.parametrize("busy", [0, 31, 64, 70, 200])
async def test_at_most_half_of_the_limiters_are_idle(busy: int) -> None:
    """Of more than 64. Those in use stay."""
    loop, registry = asyncio.get_running_loop(), LimiterRegistry()

    def acquire(index: int) -> Any:
        return registry.acquire(URL, Bearer(f"token{index}"), UNLIMITED, None, loop)

    used = [acquire(index) for index in range(busy)]
    most = 0
    for index in range(busy, 3 * busy + 200):
        registry.release(acquire(index))
        most = max(most, len(registry))
    assert most == max(64, 2 * busy)
    assert [acquire(index) for index in range(busy)] == used
