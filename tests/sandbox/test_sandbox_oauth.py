from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from yarl import URL

from phonesys.sandbox import Sandbox
from phonesys.sandbox.oauth import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Caller:
    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession, clock: Clock) -> None:
        self.sandbox, self._session, self.clock = sandbox, session, clock
        self.app = {"client_id": sandbox.oauth.client_id, "client_secret": sandbox.oauth.client_secret}

    async def __call__(
        self, method: str, path: str, token: str = "", data: Any = None, **query: Any
    ) -> tuple[int, Any, dict[str, str]]:
        headers = {"Version": "2021-07-28"} | ({"Authorization": f"Bearer {token}"} if token else {})
        url = self.sandbox.leadconnector_url + path
        async with self._session.request(
            method, url, data=data, params=query, headers=headers, allow_redirects=False
        ) as answer:
            body = await answer.json() if answer.content_type == "application/json" else None
            return answer.status, body, dict(answer.headers)

    async def token(self, **form: str) -> tuple[int, Any]:
        status, body, _ = await self("POST", "/oauth/token", data={**self.app, **form})
        return status, body

    async def refresh(self, token: str) -> tuple[int, Any]:
        return await self.token(grant_type="refresh_token", refresh_token=token)

    async def exchange(self, token: str, location: str) -> tuple[int, Any]:
        form = {"companyId": self.sandbox.oauth.company_id, "locationId": location}
        status, body, _ = await self("POST", "/oauth/locationToken", token, data=form)
        return status, body

    async def numbers(self, token: str, location: str) -> int:
        status, _, _ = await self("GET", f"/phone-system/numbers/location/{location}", token)
        return status


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    clock = Clock()
    async with (
        Sandbox(locations=30, numbers=(1, 2), clock=clock, leadconnector_limit=(10, 10.0)) as sandbox,
        aiohttp.ClientSession() as session,
    ):
        yield Caller(sandbox, session, clock)


async def test_a_code_comes_back_with_its_state_and_is_good_once(call: Caller) -> None:
    """Consent redirects at once; the code is exchanged for a token of the company."""
    back = "http://localhost:1/cb?x=1"
    query = {"client_id": call.app["client_id"], "redirect_uri": back, "state": "s&1", "scope": "oauth.write"}
    status, _, headers = await call("GET", "/oauth/chooselocation", **query)
    where = URL(headers["Location"])
    assert (status, where.query["state"], where.query["x"]) == (302, "s&1", "1")
    form = {"grant_type": "authorization_code", "code": where.query["code"], "redirect_uri": back}
    status, token = await call.token(**form)
    assert (status, token["userType"], token["scope"]) == (200, "Company", "oauth.write")
    assert (await call.token(**form))[0] == 400


async def test_a_stranger_gets_no_code(call: Caller) -> None:
    """An unknown client or a missing address is no consent."""
    assert (await call("GET", "/oauth/chooselocation", client_id="x", redirect_uri="http://a/"))[0] == 400
    assert (await call("GET", "/oauth/chooselocation", client_id=call.app["client_id"]))[0] == 400


async def test_refresh_tokens_rotate_and_die_when_used(call: Caller) -> None:
    """The old one is refused with the vendor's body, the new one works."""
    first = call.sandbox.oauth.grant_company()
    status, second = await call.refresh(first["refresh_token"])
    assert (status, second["refresh_token"] != first["refresh_token"]) == (200, True)
    assert await call.refresh(first["refresh_token"]) == (
        400,
        {"error": "invalid_grant", "error_description": "This refresh token is invalid"},
    )
    assert (await call.refresh(second["refresh_token"]))[0] == 200
    assert (call.sandbox.oauth.refreshes.total(), call.sandbox.oauth.refused) == (2, 1)


async def test_a_grace_answers_the_same_again(call: Caller) -> None:
    """For as long as it lasts, a spent refresh token buys what it bought before."""
    call.sandbox.oauth.grace = 30.0
    first = call.sandbox.oauth.grant_company()["refresh_token"]
    bought = await call.refresh(first)
    call.clock.now += 29
    assert await call.refresh(first) == bought
    call.clock.now += 2
    assert (await call.refresh(first))[0] == 400
    assert call.sandbox.oauth.refreshes.total() == 1


async def test_a_client_has_to_know_its_secret(call: Caller) -> None:
    """And grants that nobody offers are unprocessable."""
    call.app["client_secret"] = "wrong"
    assert (await call.refresh(call.sandbox.oauth.grant_company()["refresh_token"]))[0] == 401
    call.app["client_secret"] = call.sandbox.oauth.client_secret
    assert (await call.token(grant_type="password"))[0] == 422


async def test_tokens_end_and_can_be_revoked(call: Caller) -> None:
    """Access ends by the clock; throwing the app out ends refresh tokens too."""
    here = call.sandbox.location_ids[0]
    token = call.sandbox.oauth.grant_location(here, expires_in=60)
    assert await call.numbers(token["access_token"], here) == 200
    call.clock.now += 60
    assert await call.numbers(token["access_token"], here) == 401
    assert (await call.refresh(token["refresh_token"]))[0] == 200
    company = call.sandbox.oauth.grant_company()
    call.sandbox.oauth.revoke(call.sandbox.oauth.company_id)
    assert (await call.exchange(company["access_token"], here))[0] == 401
    assert (await call.refresh(company["refresh_token"]))[0] == 400


async def test_a_token_opens_what_it_is_for(call: Caller) -> None:
    """A location's token opens that location, and a company's token none of them."""
    here, there = call.sandbox.location_ids[:2]
    company = call.sandbox.oauth.grant_company()["access_token"]
    status, mine = await call.exchange(company, here)
    assert (status, mine["locationId"], "refresh_token" in mine) == (200, here, False)
    assert await call.numbers(mine["access_token"], here) == 200
    assert await call.numbers(mine["access_token"], there) == 403
    assert await call.numbers(company, here) == 403
    assert (await call.exchange(mine["access_token"], there))[0] == 403
    assert (await call("GET", "/oauth/installedLocations", mine["access_token"]))[0] == 403


async def test_a_missing_scope_is_a_401(call: Caller) -> None:
    """Of the company's operations, and of the location's."""
    here, state = call.sandbox.location_ids[0], call.sandbox.oauth
    narrow = state.grant_location(here, scopes=["numberpools.read"])["access_token"]
    assert await call.numbers(narrow, here) == 401
    assert (await call("GET", "/phone-system/number-pools", narrow, locationId=here))[0] == 200
    assert (await call.exchange(state.grant_company(scopes=["oauth.readonly"])["access_token"], here))[
        0
    ] == 403


async def test_buying_takes_a_scope_that_listing_does_not(call: Caller) -> None:
    """`phonenumbers.write`, which tokens have unless they are made without it."""
    here, state = call.sandbox.location_ids[0], call.sandbox.oauth
    number = call.sandbox.state.for_sale(1)[0]
    for scopes, status in ((["phonenumbers.read"], 401), (EVERYTHING, 201)):
        token = state.grant_location(here, scopes=scopes)["access_token"]
        path = f"/phone-system/numbers/location/{here}/purchase"
        assert (await call("POST", path, token, data=json.dumps({"phoneNumber": number})))[0] == status
        assert (number in call.sandbox.truth["leadconnector", here]) is (status == 201)
    assert state.grant_location(here)["scope"].split() == sorted(EVERYTHING)


async def test_only_known_locations_with_the_app_have_tokens(call: Caller) -> None:
    """Anything else is refused: unknown, uninstalled, another company's, or not named at all."""
    token = call.sandbox.oauth.grant_company()["access_token"]
    out = call.sandbox.location_ids[3]
    call.sandbox.oauth.uninstalled.add(out)
    assert (await call.exchange(token, out))[0] == 400
    assert (await call.exchange(token, "nowhere"))[0] == 400
    assert (await call("POST", "/oauth/locationToken", token, data={"companyId": "c"}))[0] == 422
    form = {"companyId": "other", "locationId": out}
    assert (await call("POST", "/oauth/locationToken", token, data=form))[0] == 403


async def test_the_company_has_a_window_of_its_own(call: Caller) -> None:
    """Exchanges and lists are paid from it; asking for tokens, and the locations, are not."""
    state, ids = call.sandbox.oauth, call.sandbox.location_ids
    token = state.grant_company()["access_token"]
    for n in range(10):
        assert (await call.exchange(token, ids[n]))[0] == 200
    assert (await call.exchange(token, ids[10]))[0] == 429
    status, _, headers = await call("GET", "/locations/search", token)
    assert (status, headers["X-RateLimit-Remaining"]) == (429, "0")
    assert (await call.refresh(state.grant_company()["refresh_token"]))[0] == 200
    assert await call.numbers(state.grant_location(ids[0])["access_token"], ids[0]) == 200
    call.clock.now += 10
    assert (await call.exchange(token, ids[10]))[0] == 200


async def test_lists_are_paged(call: Caller) -> None:
    """Installed locations with their count, 20 at a time; a search without, 10 at a time."""
    state, ids = call.sandbox.oauth, call.sandbox.location_ids
    token, app = state.grant_company()["access_token"], state.client_id.partition("-")[0]
    state.uninstalled |= set(ids[:5])
    base = {"companyId": state.company_id, "appId": app}
    _, page, _ = await call("GET", "/oauth/installedLocations", token, **base)
    assert (len(page["locations"]), page["count"]) == (20, 30)
    _, page, _ = await call(
        "GET", "/oauth/installedLocations", token, **base, isInstalled="true", skip=20, limit=9
    )
    assert ([row["_id"] for row in page["locations"]], page["count"]) == (list(ids[25:]), 25)
    _, page, _ = await call("GET", "/locations/search", token, companyId=state.company_id, skip=25)
    assert ([row["id"] for row in page["locations"]], "count" in page) == (list(ids[25:]), False)
    assert (await call("GET", "/locations/search", token, skip="x"))[0] == 422
    assert (await call("GET", "/oauth/installedLocations", token, **{**base, "appId": "x"}))[0] == 400


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/oauth/installedLocations", {}, 422), ("/oauth/installedLocations", {"companyId": "mine"}, 422),
        ("/oauth/installedLocations", {"companyId": "other", "appId": "a"}, 403),
        ("/locations/search", {}, 422),
        ("/locations/search", {"companyId": "other"}, 403),
    ],
)  # fmt: skip
async def test_discovery_is_strict(call: Caller, path: str, query: dict[str, str], status: int) -> None:
    """A missing parameter is a 422 that names it, and another company a 403."""
    token = call.sandbox.oauth.grant_company()["access_token"]
    assert (await call("GET", path, token, **query))[0] == status


async def test_installed_locations_can_be_filtered(call: Caller) -> None:
    """By id, and by a part of the name."""
    state, here = call.sandbox.oauth, call.sandbox.location_ids[3]
    token, app = state.grant_company()["access_token"], state.client_id.partition("-")[0]
    base = {"companyId": state.company_id, "appId": app}
    for narrow in ({"locationId": here}, {"query": here}):
        _, page, _ = await call("GET", "/oauth/installedLocations", token, **base, **narrow)
        assert [row["_id"] for row in page["locations"]] == [here]


async def test_a_location_can_be_fetched(call: Caller) -> None:
    """With the company's token, by its id; an unknown one is a 400."""
    token, here = call.sandbox.oauth.grant_company()["access_token"], call.sandbox.location_ids[0]
    status, answer, _ = await call("GET", f"/locations/{here}", token)
    assert (status, answer["location"]["id"]) == (200, here)
    assert (await call("GET", "/locations/nowhere", token))[0] == 400
