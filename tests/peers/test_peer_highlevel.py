"""HighLevel's own Python SDK, pointed at the sandbox, completes a day's work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonesys.sandbox import Sandbox

# Its models use pydantic's old ways; we do not look into that.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

PURCHASE = {
    "addressSid": "AD0", "bundleSid": "BU0", "countryCode": "US", "numberType": "local",
    "paymentIntentId": "pi_0", "stripeAccountId": "acct_0", "paymentMethodId": "pm_0", "locality": "Austin",
    "region": "TX", "fingerprintId": "1", "skipLocationKYC": True,
}  # fmt: skip


@pytest.fixture
def highlevel(peer: Callable[[str], Any], vendors: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The SDK, which has no argument for its base URL."""
    sdk = peer("highlevel")
    monkeypatch.setattr(sdk.HighLevel, "BASE_URL", vendors.leadconnector_url)
    return sdk


@pytest.fixture
def here(vendors: Sandbox) -> str:
    return next(id_ for id_ in vendors.location_ids if id_ not in vendors.not_connected)


async def numbers(client: Any, here: str, **query: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await client.phone_system.active_numbers(here, "v3", **query)
    return answer


async def test_it_lists_and_pages_through(highlevel: Any, vendors: Sandbox, here: str) -> None:
    """Every number of a location, pooled ones included, in pages of ten."""
    client = highlevel.HighLevel(private_integration_token=vendors.leadconnector_token)
    found, page = [], 0
    while True:
        data = (await numbers(client, here, page_size=10, page=page, skip_number_pool=False))["data"]
        found += [row["phoneNumber"] for row in data["numbers"]]
        page += 1
        if len(data["numbers"]) < 10:
            break
    assert len(found) == data["total"]
    assert set(found) == vendors.truth["leadconnector", here]
    pools = (await client.phone_system.get_number_pool_list(here))["data"]
    pooled = {row["phoneNumber"] for pool in pools for row in pool["numbers"]}
    listed = (await numbers(client, here, page_size=1000, page=0))["data"]["numbers"]
    assert {row["phoneNumber"] for row in listed} == set(found) - pooled
    await client.close()


async def test_it_buys_a_number(highlevel: Any, vendors: Sandbox, here: str) -> None:
    """An offered number can be bought once, and is listed from then on."""
    client = highlevel.HighLevel(private_integration_token=vendors.leadconnector_token)
    offered = await client.phone_system.list_available_numbers_for_a_country(
        location_id=here,
        first_part="",
        last_part="",
        anywhere="",
        number_types="local",
        sms_enabled=True,
        mms_enabled=False,
        voice_enabled=True,
        country_code="US",
    )
    number = offered["numbers"][0]["phoneNumber"]
    body = {**PURCHASE, "phoneNumber": number}
    bought = await client.phone_system.purchase_number_for_location(here, "v3", body)
    assert bought["data"]["number"] == number
    listed = (await numbers(client, here, search_filter=number))["data"]["numbers"]
    assert [row["phoneNumber"] for row in listed] == [number]
    with pytest.raises(highlevel.GHLError, match="not available"):
        await client.phone_system.purchase_number_for_location(here, "v3", body)
    await client.close()


async def test_it_sees_the_vendors_errors(highlevel: Any, vendors: Sandbox) -> None:
    """A location without a phone system, an unknown one, and a token for another one."""
    client = highlevel.HighLevel(private_integration_token=vendors.leadconnector_token)
    (missing,) = vendors.not_connected
    for location, status in ((missing, 404), ("nowhere", 400)):
        with pytest.raises(highlevel.GHLError) as caught:
            await numbers(client, location)
        assert caught.value.status_code == status
    await client.close()


async def test_it_refreshes_its_token(highlevel: Any, vendors: Sandbox, here: str) -> None:
    """An expired token is renewed with the refresh token, which is then spent; the next one is used then."""
    oauth = vendors.oauth
    oauth.spelling = "snake"  # after a response in camelCase, the SDK goes on with the expired access token
    client = highlevel.HighLevel(client_id=oauth.client_id, client_secret=oauth.client_secret)
    session = {**oauth.grant_location(here), "userType": "Location"}
    await client.session_storage.set_session(here, session)
    assert (await numbers(client, here))["data"]["numbers"]
    for turn in (1, 2):
        oauth.expire()
        assert (await numbers(client, here))["data"]["numbers"]
        assert oauth.refreshes[here] == turn
    assert oauth.refused == 0
    assert not oauth.is_live(session["refresh_token"])
    await client.close()


async def test_it_searches_locations(highlevel: Any, vendors: Sandbox) -> None:
    """With a company's token, in pages."""
    oauth = vendors.oauth
    client = highlevel.HighLevel(
        client_id=oauth.client_id,
        client_secret=oauth.client_secret,
        agency_access_token=oauth.grant_company()["access_token"],
    )
    found: list[str] = []
    for skip in ("0", "3"):
        answer = await client.locations.search_locations(oauth.company_id, skip=skip, limit="3")
        found += [location["id"] for location in answer["locations"]]
    assert found == list(vendors.location_ids)
    await client.close()


async def test_it_gets_a_location_token(highlevel: Any, vendors: Sandbox, here: str) -> None:
    """From the company's, and lists with it."""
    oauth = vendors.oauth
    agency = highlevel.HighLevel(
        client_id=oauth.client_id,
        client_secret=oauth.client_secret,
        agency_access_token=oauth.grant_company()["access_token"],
    )
    answer = await agency.oauth.get_location_access_token({"companyId": oauth.company_id, "locationId": here})
    client = highlevel.HighLevel(
        client_id=oauth.client_id,
        client_secret=oauth.client_secret,
        location_access_token=answer["accessToken"],
    )
    assert (await numbers(client, here))["data"]["numbers"]
    await agency.close()
    await client.close()
