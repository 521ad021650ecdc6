from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import (
    BadRequest,
    ConfigError,
    HttpOptions,
    NotOpen,
    OutcomeUnknown,
    PerAccount,
    Unauthorized,
)
from phonesys.backends.leadconnector.oauth import AgencyTokens, OAuthToken
from phonesys.errors import ServerError
from phonesys.oauth import FileTokenStore, MemoryTokenStore
from phonesys.sandbox import body, delay, drop_after, status
from tests.oauth.agencies import (
    HASTY,
    PATIENT,
    Clock,
    agency,
    backend,
    company_key,
    exchanges,
    refreshes,
    store_of,
    token,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from phonesys.sandbox import Sandbox


async def first_page(sandbox: Sandbox, auth: Any, index: int = 0) -> int:
    async with backend(sandbox, auth) as lc:
        return len((await lc.page(connected(sandbox)[index])).numbers)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 -- the sandbox has no event to wait for
        await asyncio.sleep(0)


def connected(sandbox: Sandbox) -> list[str]:
    return [id_ for id_ in sandbox.location_ids if id_ not in sandbox.not_connected]


async def test_a_thousand_calls_on_an_expired_token_refresh_once(sandbox: Sandbox) -> None:
    """A thousand concurrent callers that find the company's token expired share one refresh."""
    store = await store_of(sandbox, expired=True)
    async with backend(sandbox, agency(sandbox, store), http=PATIENT) as lc:
        locations = connected(sandbox)
        pages = await asyncio.gather(*(lc.page(locations[n % len(locations)]) for n in range(1000)))
    assert len(pages) == 1000
    assert refreshes(sandbox) == 1
    assert exchanges(sandbox) == len(locations)
    assert sandbox.served["leadconnector.numbers", 200] == 1000


async def test_a_thousand_calls_of_one_location_refresh_once(sandbox: Sandbox) -> None:
    """The same holds for a location that installed the app by itself."""
    here = connected(sandbox)[0]
    store = MemoryTokenStore()
    key = f"leadconnector/{sandbox.oauth.client_id}/location/{here}"
    await store.save(key, token(sandbox.oauth.grant_location(here), expired=True))
    auth = OAuthToken(
        sandbox.oauth.client_id,
        sandbox.oauth.client_secret,
        location_id=here,
        store=store,
        clock=Clock(),
    )
    async with backend(sandbox, auth, http=PATIENT) as lc:
        pages = await asyncio.gather(*(lc.page(here) for _ in range(1000)))
        assert [account async for account in lc.accounts()] == [here]
    assert len(pages) == 1000
    assert refreshes(sandbox) == 1
    saved = await store.load(key)
    assert saved is not None
    assert saved.refresh is not None
    assert sandbox.oauth.is_live(saved.refresh.reveal())


async def test_locations_with_tokens_of_their_own_share_a_backend(sandbox: Sandbox) -> None:
    """`PerAccount` opens and closes the credentials that it holds."""
    store = MemoryTokenStore()
    auths: dict[str, Any] = {}
    for here in connected(sandbox)[:3]:
        auths[here] = OAuthToken(
            sandbox.oauth.client_id,
            sandbox.oauth.client_secret,
            location_id=here,
            store=store,
            refresh_token=sandbox.oauth.grant_location(here)["refresh_token"],
            clock=Clock(),
        )
    async with backend(sandbox, PerAccount(auths)) as lc:
        await asyncio.gather(*(lc.page(here) for here in auths))
    assert refreshes(sandbox) == 3
    with pytest.raises(NotOpen):
        await lc.page(next(iter(auths)))


async def test_a_revoked_token_is_replaced_once_for_all_who_meet_the_401(sandbox: Sandbox) -> None:
    """A rejected token is dropped by the first caller that sees the 401, and every call is repeated once."""
    store = await store_of(sandbox)
    async with backend(sandbox, agency(sandbox, store)) as lc:
        await lc.page(here := connected(sandbox)[0])
        sandbox.oauth.expire()  # at the vendor only: the client does not know
        await asyncio.gather(*(lc.page(here) for _ in range(50)))
    assert refreshes(sandbox) == 1
    assert sandbox.oauth.exchanges[here] == 2
    assert sandbox.served["leadconnector.numbers", 401] <= 50
    assert sandbox.served["leadconnector.numbers", 200] == 51


async def test_a_token_that_is_rejected_again_is_not_replaced_again(sandbox: Sandbox) -> None:
    """A location whose tokens are all rejected costs two requests a call, and one exchange a minute."""
    store, clock = await store_of(sandbox), Clock()
    here = connected(sandbox)[0]
    sandbox.script("leadconnector.numbers", status(401, {"message": "Invalid JWT"}), repeat=True)
    async with backend(sandbox, agency(sandbox, store, clock=clock)) as lc:
        with pytest.raises(Unauthorized, match="Invalid JWT") as first:
            await lc.page(here)
        assert (first.value.attempts, exchanges(sandbox)) == (2, 2)
        for _ in range(5):
            with pytest.raises(Unauthorized):
                await lc.page(here)
        assert exchanges(sandbox) == 2
        clock.now += 61
        with pytest.raises(Unauthorized):
            await lc.page(here)
        assert exchanges(sandbox) == 3


async def test_a_missing_scope_costs_no_second_exchange(sandbox: Sandbox) -> None:
    """A 401 that speaks of scope is final: another token of the same consent lacks the scope too."""
    store = await store_of(sandbox)
    missing = status(401, {"message": "The token is not authorized for this scope."})
    sandbox.script("leadconnector.numbers", missing, repeat=True)
    async with backend(sandbox, agency(sandbox, store)) as lc:
        for here in connected(sandbox)[:5] * 2:
            with pytest.raises(Unauthorized, match="not authorized for this scope") as failure:
                await lc.page(here)
            assert failure.value.attempts == 1
    assert exchanges(sandbox) == 5


async def test_a_spent_refresh_token_fails_every_waiter_with_the_vendors_reason(sandbox: Sandbox) -> None:
    """One request is sent, every caller gets the vendor's reason, and that token is not used again."""
    store, clock = await store_of(sandbox, expired=True), Clock()
    stored = await store.load(company_key(sandbox))
    assert stored is not None
    assert stored.refresh is not None
    sandbox.oauth.refresh(stored.refresh.reveal())  # by another program, which kept the new token
    async with backend(sandbox, agency(sandbox, store, clock=clock)) as lc:
        calls = (lc.page(connected(sandbox)[n % 5]) for n in range(100))
        failures = await asyncio.gather(*calls, return_exceptions=True)
        for failure in failures:
            assert isinstance(failure, Unauthorized)
            assert "This refresh token is invalid" in str(failure)
            assert (failure.status, failure.details["error"]) == (400, "invalid_grant")
            assert failure.not_executed
        assert len({id(failure) for failure in failures}) == 100
        for _ in range(10):
            clock.now += 60
            with pytest.raises(Unauthorized, match="This refresh token is invalid"):
                await lc.page(connected(sandbox)[0])
        assert sandbox.served["leadconnector.token", 400] == 1
        await store.save(company_key(sandbox), token(sandbox.oauth.grant_company()))  # another login
        clock.now += 60
        assert (await lc.page(connected(sandbox)[0])).numbers


async def test_an_outage_of_the_token_endpoint_is_not_hammered(sandbox: Sandbox) -> None:
    """A failed refresh is remembered for a moment. Then it is tried again, and the sweep goes on."""
    store, clock = await store_of(sandbox, expired=True), Clock()
    sandbox.script("leadconnector.token", *[status(503, b"<html>down</html>")] * 2)
    async with backend(sandbox, agency(sandbox, store, clock=clock)) as lc:
        with pytest.raises(OutcomeUnknown, match="503"):
            await lc.page(here := connected(sandbox)[0])
        for _ in range(20):
            with pytest.raises(OutcomeUnknown):
                await lc.page(here)
        assert sandbox.served["leadconnector.token", 503] == 2
        clock.now += 31
        assert (await lc.page(here)).numbers


async def test_a_lost_response_is_requested_once_more(sandbox: Sandbox) -> None:
    """A lost response costs nothing if the vendor repeats its last response."""
    sandbox.oauth.grace = 30.0
    store = await store_of(sandbox, expired=True)
    sandbox.script("leadconnector.token", drop_after())
    assert await first_page(sandbox, agency(sandbox, store))
    saved = await store.load(company_key(sandbox))
    assert saved is not None
    assert saved.refresh is not None
    assert sandbox.oauth.is_live(saved.refresh.reveal())


async def test_the_error_names_what_a_lost_response_cost(sandbox: Sandbox) -> None:
    """If the vendor does not repeat it, the error says that a response and its token were lost."""
    store = await store_of(sandbox, expired=True)
    sandbox.script("leadconnector.token", drop_after())
    with pytest.raises(Unauthorized, match="This refresh token is invalid; an earlier response was lost"):
        await first_page(sandbox, agency(sandbox, store))
    assert sandbox.served["leadconnector.token", 400] == 1


async def test_an_unreadable_token_response_is_never_shown(sandbox: Sandbox) -> None:
    """A response without the token may hold other secrets, so the error does not quote it."""
    store = await store_of(sandbox, expired=True)
    sandbox.script("leadconnector.token", body(b'{"token": "PLANTED"}'), body(b"PLANTED"))
    with pytest.raises(OutcomeUnknown) as failure:
        await first_page(sandbox, agency(sandbox, store))
    assert "PLANTED" not in str(failure.value) + repr(vars(failure.value))


async def test_cancelling_every_caller_during_a_refresh_loses_nothing(sandbox: Sandbox) -> None:
    """The refresh goes on without them, and the next caller finds its token."""
    store = await store_of(sandbox, expired=True)
    sandbox.script("leadconnector.token", delay(0.05))
    async with backend(sandbox, agency(sandbox, store)) as lc:
        calls = [asyncio.ensure_future(lc.page(connected(sandbox)[0])) for _ in range(100)]
        await until(lambda: refreshes(sandbox) > 0)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert all(call.cancelled() for call in calls)
        assert (await lc.page(connected(sandbox)[0])).numbers
    assert refreshes(sandbox) == 1


async def test_closing_waits_for_a_refresh(sandbox: Sandbox) -> None:
    """Leaving the block in the middle of a refresh, even while cancelled, saves the new token."""
    store = await store_of(sandbox, expired=True)
    sandbox.script("leadconnector.token", delay(0.05))

    async def use() -> None:
        async with backend(sandbox, agency(sandbox, store)) as lc:
            await lc.page(connected(sandbox)[0])

    task = asyncio.ensure_future(use())
    await until(lambda: refreshes(sandbox) > 0)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    saved = await store.load(company_key(sandbox))
    assert saved is not None
    assert saved.refresh is not None
    assert sandbox.oauth.is_live(saved.refresh.reveal())


async def test_closing_waits_for_a_refresh_that_waits(sandbox: Sandbox) -> None:
    """A refresh that is still waiting for the lock is carried to its end too."""
    store = SlowStore()
    await store_of(sandbox, store, expired=True)

    async def use() -> None:
        async with backend(sandbox, agency(sandbox, store)) as lc:
            await lc.page(connected(sandbox)[0])

    task = asyncio.ensure_future(use())
    await store.asked.wait()
    task.cancel()
    await asyncio.sleep(0)
    store.free.set()
    await asyncio.wait([task])
    assert task.cancelled()
    saved = await store.load(company_key(sandbox))
    assert saved is not None
    assert saved.refresh is not None
    assert (refreshes(sandbox), sandbox.oauth.is_live(saved.refresh.reveal())) == (1, True)


class SlowStore(MemoryTokenStore):
    def __init__(self) -> None:
        super().__init__()
        self.asked, self.free = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncGenerator[None]:
        self.asked.set()
        await self.free.wait()
        yield


async def test_an_exchange_without_waiters_is_cancelled(sandbox: Sandbox) -> None:
    """An exchange is cancelled with the last call that waits for it, since it can be repeated."""
    store = await store_of(sandbox)
    sandbox.script("leadconnector.location_token", delay(30))
    async with backend(sandbox, agency(sandbox, store)) as lc:
        before = asyncio.all_tasks()
        call = asyncio.ensure_future(lc.page(connected(sandbox)[0]))
        await until(lambda: exchanges(sandbox) > 0)
        call.cancel()
        await asyncio.wait([call])
        ours = {task for task in asyncio.all_tasks() - before if "phonesys" in task.get_name()}
        assert not ours
        assert (await lc.page(connected(sandbox)[0])).numbers


async def test_a_call_waits_for_its_token_no_longer_than_its_deadline(sandbox: Sandbox) -> None:
    """The deadline of a call covers the fetch of its token. The fetch goes on for others."""
    store = await store_of(sandbox, expired=True)
    sandbox.script("leadconnector.token", delay(0.3))
    impatient = HttpOptions(deadline=0.1, timeout=5)
    auth = agency(sandbox, store)
    async with backend(sandbox, auth, http=impatient) as lc:
        failure = await asyncio.gather(lc.page(connected(sandbox)[0]), return_exceptions=True)
    assert "deadline" in str(failure[0])


async def test_a_location_without_the_app_fails_alone(sandbox: Sandbox) -> None:
    """The failure carries the vendor's reason and names its location. Other locations are read."""
    store = await store_of(sandbox)
    out, here = connected(sandbox)[:2]
    sandbox.oauth.uninstalled.add(out)
    async with backend(sandbox, agency(sandbox, store)) as lc:
        with pytest.raises(BadRequest, match=r"no token of location .* not installed") as failure:
            await lc.page(out)
        assert (failure.value.account, failure.value.status) == (out, 400)
        assert (await lc.page(here)).numbers


async def test_a_missing_scope_is_the_vendors_error(sandbox: Sandbox) -> None:
    """The vendor's refusal is raised unchanged."""
    store = MemoryTokenStore()
    response = sandbox.oauth.grant_company(scopes=["oauth.write", "phonenumbers.read"])
    await store.save(company_key(sandbox), token(response))
    async with backend(sandbox, agency(sandbox, store)) as lc:
        here = connected(sandbox)[0]
        assert (await lc.page(here)).numbers
        with pytest.raises(Unauthorized, match="not authorized for this scope") as failure:
            await lc.pools(here)
        assert (failure.value.status, failure.value.attempts) == (401, 1)


async def test_tokens_are_renewed_a_minute_before_they_end(sandbox: Sandbox) -> None:
    """Expiry is an absolute time. A restart does not move it, and no 401 is needed to discover it."""
    store, clock = await store_of(sandbox), Clock()
    here = connected(sandbox)[0]
    for moment, expected in ((0, 1), (86_300, 1), (86_345, 2)):
        clock.now = Clock().now + moment
        await lc_page(sandbox, store, clock, here)  # a new AgencyTokens, as after a restart
        assert sandbox.oauth.exchanges[here] == expected
    assert refreshes(sandbox) == 1
    assert sandbox.served["leadconnector.numbers", 401] == 0


@pytest.mark.parametrize("version", ["2021-07-28", "v3"])
async def test_both_versions_of_the_api_serve_an_agency(sandbox: Sandbox, version: str) -> None:
    """Refresh, exchange and discovery work in either version, whichever version the numbers are read in."""
    store = await store_of(sandbox, expired=True)
    auth = agency(sandbox, store, version=version)
    async with backend(sandbox, auth) as lc:
        assert [account async for account in lc.accounts()] == list(sandbox.location_ids)
        names = [account.name async for account in lc.accounts_with_names()]
        assert names == [f"Location {id_}" for id_ in sandbox.location_ids]
        assert (await lc.page(connected(sandbox)[0])).numbers
    assert (refreshes(sandbox), exchanges(sandbox)) == (1, 1)


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "file"])
async def test_a_second_day_costs_no_exchange(sandbox: Sandbox, tmp_path: Path, shared: bool) -> None:
    """A location's token that came with a refresh token is refreshed, which has no quota."""
    sandbox.oauth.location_refresh = True
    clock = Clock()
    given = FileTokenStore(tmp_path / "tokens.json", clock=clock) if shared else None
    store = await store_of(sandbox, given)
    for day in range(3):
        clock.now = Clock().now + day * 86_400
        for here in connected(sandbox):
            await lc_page(sandbox, store, clock, here)
    assert exchanges(sandbox) == len(connected(sandbox))
    assert {sandbox.oauth.refreshes[here] for here in connected(sandbox)} == {2}


@pytest.mark.parametrize(
    "fault", [status(400, {"error": "invalid_grant"}), status(503), drop_after(), body(b"{}")]
)
async def test_a_location_that_cannot_be_refreshed_is_exchanged(sandbox: Sandbox, fault: Any) -> None:
    """A rejected refresh token, an outage and a lost response cost one exchange, and no account."""
    sandbox.oauth.location_refresh = True
    store, clock, here = await store_of(sandbox), Clock(), connected(sandbox)[0]
    await lc_page(sandbox, store, clock, here)
    clock.now += 80_000
    await store.save(company_key(sandbox), token(sandbox.oauth.grant_company(), clock=clock))
    clock.now += 10_000
    sandbox.script("leadconnector.token", fault)
    await lc_page(sandbox, store, clock, here)
    assert (sandbox.oauth.exchanges[here], sandbox.served["leadconnector.numbers", 200]) == (2, 2)


async def lc_page(sandbox: Sandbox, store: Any, clock: Clock, here: str) -> None:
    async with backend(sandbox, agency(sandbox, store, clock=clock)) as lc:
        await lc.page(here)


@pytest.mark.parametrize("spelling", ["snake", "camel"])
async def test_both_spellings_of_token_responses_are_decoded(sandbox: Sandbox, spelling: Any) -> None:
    """Five refreshes in a row succeed in either spelling of the response."""
    store, clock = await store_of(sandbox, expired=True), Clock()
    sandbox.oauth.spelling = spelling
    async with backend(sandbox, agency(sandbox, store, clock=clock)) as lc:
        for round_ in range(1, 6):
            await lc.page(connected(sandbox)[0])
            assert (refreshes(sandbox), sandbox.oauth.refused) == (round_, 0)
            clock.now += 90_000


async def test_a_rejected_client_secret_is_an_error(sandbox: Sandbox) -> None:
    """A wrong client secret raises the vendor's 401 once, without an endless refresh."""
    store = await store_of(sandbox, expired=True)
    auth = AgencyTokens(
        sandbox.oauth.client_id, "wrong", company_id=sandbox.oauth.company_id, store=store, clock=Clock()
    )
    with pytest.raises(Unauthorized, match="Client authentication failed"):
        await first_page(sandbox, auth)
    assert sandbox.served["leadconnector.token", 401] == 1


async def test_an_empty_store_names_the_login_command(sandbox: Sandbox) -> None:
    """Without an initial token, no request is sent."""
    with pytest.raises(ConfigError, match="phonesys auth login"):
        await first_page(sandbox, agency(sandbox, MemoryTokenStore()))
    assert not sandbox.served["leadconnector.token", 200]


async def test_a_token_that_could_not_be_saved_is_saved_later(sandbox: Sandbox) -> None:
    """If saving fails after the refresh, the callers fail, and the next caller saves the token."""
    store = await store_of(sandbox, FailingStore(), expired=True)
    assert isinstance(store, FailingStore)
    store.broken, clock = 1, Clock()
    async with backend(sandbox, agency(sandbox, store, clock=clock)) as lc:
        with pytest.raises(Exception, match="disk on fire"):
            await lc.page(here := connected(sandbox)[0])
        clock.now += 60
        assert (await lc.page(here)).numbers
    assert refreshes(sandbox) == 1
    saved = await store.load(company_key(sandbox))
    assert saved is not None
    assert saved.refresh is not None
    assert sandbox.oauth.is_live(saved.refresh.reveal())


class FailingStore(MemoryTokenStore):
    broken = 0

    async def save(self, key: str, token: Any) -> None:
        if self.broken:
            self.broken -= 1
            raise RuntimeError("disk on fire")
        await super().save(key, token)


def test_tokens_outlive_the_event_loop(unused_port: int) -> None:
    """The same AgencyTokens work in one `asyncio.run` after the other."""
    from phonesys.sandbox import Sandbox

    sandbox = Sandbox(locations=3, port=unused_port)
    store = MemoryTokenStore()
    auth = agency(sandbox, store, refresh_token=sandbox.oauth.grant_company()["refresh_token"])

    async def use() -> None:
        async with sandbox:
            await first_page(sandbox, auth)

    asyncio.run(use())
    asyncio.run(use())
    assert (refreshes(sandbox), exchanges(sandbox)) == (1, 1)


async def test_two_backends_share_an_agency(sandbox: Sandbox) -> None:
    """Closing one backend leaves the other with its tokens."""
    auth = agency(sandbox, await store_of(sandbox, expired=True))
    here = connected(sandbox)[0]
    async with backend(sandbox, auth, version="v3") as other:
        async with backend(sandbox, auth) as one:
            await asyncio.gather(one.page(here), other.page(here))
        sandbox.oauth.expire()
        assert (await other.page(here)).numbers


async def test_server_errors_of_exchanges_are_retried(sandbox: Sandbox) -> None:
    """An exchange spends nothing, so it is retried like a read."""
    store = await store_of(sandbox)
    sandbox.script("leadconnector.location_token", status(500), status(502), drop_after())
    assert await first_page(sandbox, agency(sandbox, store))
    sandbox.script("leadconnector.location_token", status(500), repeat=True)
    with pytest.raises(ServerError, match="no token of location"):
        await first_page(sandbox, agency(sandbox, store), 1)
    assert HASTY.retries == 3
