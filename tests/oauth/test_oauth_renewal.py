"""Renewal of tokens before they expire: which are renewed, with what, and what uses them afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from phonesys import HttpOptions, NotOpen
from phonesys.backends.leadconnector.oauth import OAuthToken
from phonesys.errors import BadRequest
from phonesys.http import Call
from phonesys.oauth import MemoryTokenStore
from phonesys.sandbox import status
from phonesys.telemetry import TokenRenewed
from tests.oauth.agencies import (
    HASTY,
    Clock,
    agency,
    backend,
    company_key,
    exchanges,
    refreshes,
    store_of,
)

if TYPE_CHECKING:
    from phonesys.sandbox import Sandbox

LIFETIME = 86_399.0
"""Seconds, by the vendor's responses."""


def location_key(sandbox: Sandbox, location: str) -> str:
    return f"leadconnector/{sandbox.oauth.client_id}/location/{location}"


def connected(sandbox: Sandbox) -> list[str]:
    return [id_ for id_ in sandbox.location_ids if id_ not in sandbox.not_connected]


def own_token(sandbox: Sandbox, location: str, store: Any, clock: Clock) -> OAuthToken:
    return OAuthToken(
        sandbox.oauth.client_id,
        sandbox.oauth.client_secret,
        location_id=location,
        store=store,
        refresh_token=sandbox.oauth.grant_location(location)["refresh_token"],
        clock=clock,
    )


async def test_a_token_that_lasts_is_not_renewed(sandbox: Sandbox) -> None:
    """A token counts as expired a minute before it is. The vendor is asked for longer ones only."""
    clock, here = Clock(), connected(sandbox)[0]
    auth = agency(sandbox, await store_of(sandbox), clock=clock)
    async with backend(sandbox, auth):
        company = sandbox.oauth.company_id
        clock.now += 100
        assert await auth.renew(company, valid_for=LIFETIME - 161) is False
        assert refreshes(sandbox) == 0
        assert await auth.renew(company, valid_for=LIFETIME - 160) is True
        assert refreshes(sandbox) == 1
        assert await auth.renew(here, valid_for=0) is True
        clock.now += 100
        assert await auth.renew(here, valid_for=LIFETIME - 161) is False
        assert await auth.renew(here, valid_for=LIFETIME - 160) is True
        assert (refreshes(sandbox), exchanges(sandbox)) == (1, 2)


async def test_calls_use_the_renewed_token(sandbox: Sandbox) -> None:
    """A location's renewed token is used at once, and saved for the next process."""
    store, clock, here = await store_of(sandbox), Clock(), connected(sandbox)[0]
    auth = agency(sandbox, store, clock=clock)
    async with backend(sandbox, auth) as lc:
        await lc.page(here)
        sandbox.oauth.expire()  # at the vendor only: the client does not know
        clock.now += 1
        assert await auth.renew(sandbox.oauth.company_id, valid_for=LIFETIME)
        assert await auth.renew(here, valid_for=LIFETIME)
        await lc.page(here)
        assert sandbox.served["leadconnector.numbers", 401] == 0
    async with backend(sandbox, agency(sandbox, store, clock=clock)) as lc:
        await lc.page(here)
    assert (refreshes(sandbox), exchanges(sandbox)) == (1, 2)


async def test_a_location_with_a_token_of_its_own_is_renewed(sandbox: Sandbox) -> None:
    """It is refreshed, and the calls that follow need no other token. No other account granted it."""
    store, clock, here = MemoryTokenStore(), Clock(), connected(sandbox)[0]
    auth = own_token(sandbox, here, store, clock)
    assert auth.grantors == ()
    with pytest.raises(NotOpen, match=rf"credentials of '{here}' are not open; use `async with`"):
        await auth.renew(here, valid_for=0)
    async with backend(sandbox, auth) as lc:
        assert await auth.renew(here, valid_for=0) is True
        assert (
            await auth.renew(here, valid_for=LIFETIME - 61) is True
        )  # by the clock, it was renewed just now
        clock.now += 1
        assert await auth.renew(here, valid_for=0) is False
        await lc.page(here)
    assert refreshes(sandbox) == 1


async def test_the_company_grants_the_tokens_of_its_locations(sandbox: Sandbox) -> None:
    """It is no account to sweep, and its own calls are signed with its own token."""
    store = await store_of(sandbox)
    auth = agency(sandbox, store)
    company = sandbox.oauth.company_id
    assert (auth.grantors, auth.accounts()) == ((company,), ())
    call: Call[Any] = Call(operation="o", method="GET", target="/", decode=bytes, account=company)
    assert auth.sign(call) is None
    async with backend(sandbox, auth):
        await auth.ensure_valid(call)
        headers = auth.sign(call)
        saved = await store.load(company_key(sandbox))
        assert saved is not None
        assert headers == {"Authorization": f"Bearer {saved.access.reveal()}"}
        assert auth.on_unauthorized(call, headers) is True
        await auth.ensure_valid(call)
        assert auth.sign(call) != headers
    assert (refreshes(sandbox), exchanges(sandbox)) == (1, 0)


def test_a_credential_names_its_account_and_no_secret(sandbox: Sandbox) -> None:
    """The kind and the account, quoted."""
    location = connected(sandbox)[0]
    own = own_token(sandbox, location, MemoryTokenStore(), Clock())
    assert repr(own) == f"<OAuthToken of location {location!r}>"
    of_agency = agency(sandbox, MemoryTokenStore())
    assert repr(of_agency) == f"<AgencyTokens of company {sandbox.oauth.company_id!r}>"


async def test_a_refresh_token_without_a_successor_stays(sandbox: Sandbox) -> None:
    """A location's token that is refreshed without a new refresh token keeps the old one."""
    sandbox.oauth.location_refresh = True
    store, clock, here = await store_of(sandbox), Clock(), connected(sandbox)[0]
    auth = agency(sandbox, store, clock=clock)
    fields = {"access_token": "access-1", "expires_in": LIFETIME, "locationId": here, "scope": "a"}
    async with backend(sandbox, auth):
        await auth.renew(here, valid_for=0)
        first = await store.load(location_key(sandbox, here))
        sandbox.script("leadconnector.token", status(200, fields))
        clock.now += 1
        await auth.renew(here, valid_for=LIFETIME)
    second = await store.load(location_key(sandbox, here))
    assert first is not None
    assert second is not None
    assert (second.access.reveal(), second.refresh) == ("access-1", first.refresh)
    assert (second.obtained_at, second.expires_at) == (clock.now, clock.now + LIFETIME)


async def test_observers_see_each_token_request(sandbox: Sandbox) -> None:
    """With its backend, account, duration and error, of which a success has none."""
    events: list[Any] = []
    options = HttpOptions(backoff=0.0, observers=[events.append])
    auth = agency(sandbox, await store_of(sandbox))
    one, two = connected(sandbox)[:2]
    sandbox.script("leadconnector.location_token", status(400))
    async with backend(sandbox, auth, http=options, name="lc_2"):
        with pytest.raises(BadRequest):
            await auth.renew(one, valid_for=0)
        assert await auth.renew(two, valid_for=0)
    failed, renewed = [event for event in events if isinstance(event, TokenRenewed)]
    assert [(event.backend, event.account) for event in (failed, renewed)] == [("lc_2", one), ("lc_2", two)]
    assert isinstance(failed.error, BadRequest)
    assert renewed.error is None
    assert 0 <= renewed.duration < 3600


async def test_a_token_saved_by_a_location_is_found_by_it_alone(sandbox: Sandbox) -> None:
    """Its key names the app and the location, so that two of them do not share a token."""
    store, clock = MemoryTokenStore(), Clock()
    one, two = connected(sandbox)[:2]
    async with backend(sandbox, own_token(sandbox, one, store, clock), http=HASTY) as lc:
        await lc.page(one)
    saved = await store.load(location_key(sandbox, one))
    assert saved is not None
    assert await store.load(location_key(sandbox, two)) is None
    assert (saved.obtained_at, saved.expires_at) == (clock.now, clock.now + LIFETIME)
