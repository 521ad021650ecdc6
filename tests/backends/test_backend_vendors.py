"""Habits of single vendors: pools that fail, sentences of a 404, records sent back whole, changed verbs."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from phonesys import (
    Agent,
    AgentNumbers,
    BadRequest,
    Capabilities,
    DecodeError,
    Forbidden,
    InvalidArgument,
    LeadConnector,
    Leadping,
    NotFound,
    OutcomeUnknown,
    PhoneSystem,
    PhoneSystemMissing,
    RateLimit,
    ServerError,
    Unauthorized,
)
from phonesys.sandbox import Sandbox, drop_after

if TYPE_CHECKING:
    from phonesys.http.call import Call

NUMBER = "+14155552671"


class Scripted:
    """Answers each operation with a body, or raises an error; remembers the calls."""

    def script(self, **responses: Any) -> Any:
        self.responses = responses
        self.calls: list[Call[Any]] = []
        return self

    async def send(self, call: Call[Any]) -> Any:
        self.calls.append(call)
        response = self.responses[call.operation]
        if callable(response):
            response = response(call)
        if isinstance(response, Exception):
            raise response
        return call.decode(response if isinstance(response, bytes) else msgspec.json.encode(response))

    @property
    def bodies(self) -> list[Any]:
        return [msgspec.json.decode(call.body) for call in self.calls if call.body]


class Locations(Scripted, LeadConnector):
    pass


class Organization(Scripted, Leadping):
    pass


class Agents(Scripted, AgentNumbers):
    pass


# LeadConnector

PAGE = {"numbers": [{"phoneNumber": NUMBER}, {"phoneNumber": "+14155552672"}]}


@pytest.mark.parametrize(
    "failure",
    [
        Unauthorized("The token is not authorized for this scope.", status=401),
        Forbidden("no", status=403),
        NotFound("Cannot GET /phone-system/number-pools", status=404),
        ServerError("down", status=500),
        DecodeError("odd"),
        {"data": [{"name": "without an id"}]},
        {"data": None},
    ],
)
async def test_pools_that_fail_never_cost_the_numbers(failure: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The pools are unknown, with one warning for all locations of the backend."""
    backend = Locations("pit-1", locations=("l1", "l2"), with_pools=True).script(
        active_numbers=PAGE, number_pools=failure
    )
    with caplog.at_level(logging.WARNING, logger="phonesys"):
        async with PhoneSystem(backend) as phones:
            found: list[Any] = await phones.numbers()
    assert [(number.number, number.pool) for number in found] == [(NUMBER, None), ("+14155552672", None)] * 2
    assert [record.message[:17] for record in caplog.records] == ["pools are unknown"]


async def test_pools_are_not_fetched_unless_wanted() -> None:
    """Without `with_pools` there is one request for the numbers."""
    backend = Locations("pit-1").script(active_numbers=PAGE)
    await backend.page("l1")
    assert [call.operation for call in backend.calls] == ["active_numbers"]


def not_found(message: str, details: dict[str, Any]) -> NotFound:
    return NotFound(message, status=404, body=msgspec.json.encode(details) if details else b"")


@pytest.mark.parametrize(
    "message",
    ["Phone system is not connected to this account", "No Twilio account found", "LC Phone is not enabled"],
)
async def test_a_404_in_any_words_means_no_phone_system(message: str) -> None:
    """The vendor's sentences vary, and a location without a phone system is no failure."""
    error = not_found(message, {"message": message, "statusCode": 404})
    backend = Locations("pit-1", locations=("l1",)).script(active_numbers=error)
    with pytest.raises(PhoneSystemMissing, match=message):
        await backend.page("l1")
    async with PhoneSystem(backend) as phones, phones.sweep() as sweep:
        assert [page async for page in sweep] == []
    assert sweep.report.complete


@pytest.mark.parametrize(
    ("message", "details"),
    [
        ("Cannot GET /phone-system/numbers/location/l1", {"message": "Cannot GET /", "statusCode": 404}),
        ("cannot post /x", {"message": "cannot post /x"}),
        ("404 page not found", {}),
        ("", {"statusCode": 404}),
    ],
)
async def test_a_404_of_the_route_is_a_failure(message: str, details: dict[str, Any]) -> None:
    """A wrong base URL, or a proxy, must not look like a location without a phone system."""
    backend = Locations("pit-1").script(active_numbers=not_found(message, details))
    with pytest.raises(NotFound) as caught:
        await backend.page("l1")
    assert not isinstance(caught.value, PhoneSystemMissing)


# Leadping

HELD: dict[str, Any] = {"id": "pn_1", "name": "x" * 300, "number": "(415) 555-2671", "enabled": True}


@pytest.mark.parametrize("number", ["(415) 555-2671", "72671", "PHONESYS", None])
async def test_an_update_checks_only_the_given_fields(number: str | None) -> None:
    """The vendor's own values are sent back as they are, in a spelling that no caller may use."""
    held = HELD | {"number": number}
    backend = Organization("sk_1").script(get_number=held, update_number=lambda call: call.body)
    await backend.update("pn_1", enabled=False)
    expected = {"name": "x" * 300, "number": number, "enabled": False, "id": "pn_1"}
    assert backend.bodies == [{key: value for key, value in expected.items() if value is not None}]


@pytest.mark.parametrize("fields", [{"number": "(415) 555-2671"}, {"name": "x" * 256}, {"name": ""}])
async def test_an_update_checks_the_given_fields(fields: dict[str, Any]) -> None:
    """The error is raised before any request."""
    backend = Organization("sk_1").script()
    with pytest.raises(InvalidArgument):
        await backend.update("pn_1", **fields)
    assert backend.calls == []


# Agent numbers

ASSIGNED = {"id": "num_1", "phoneNumber": NUMBER, "agentId": None}


def only_patch(call: Call[Any]) -> Any:
    return ASSIGNED if call.method == "PATCH" else BadRequest("Method Not Allowed", status=405)


async def test_a_405_is_followed_by_patch_which_is_remembered() -> None:
    """The seed documents PUT, the vendor's site PATCH; each further update is one request."""
    backend = Agents("key_1").script(update_number=only_patch)
    await backend.update("num_1", status="INACTIVE")
    await backend.update("num_1", friendly_name="Desk")
    number = await backend.unassign("num_1")
    assert [call.method for call in backend.calls] == ["PUT", "PATCH", "PATCH", "PATCH"]
    assert [call.idempotent for call in backend.calls] == [False] * 4
    assert backend.bodies[-1] == {"agentId": None}
    assert (number.assignee, number.account) == (None, "default")


@pytest.mark.parametrize("status", [400, 405])
async def test_any_other_refusal_is_the_vendors_word(status: int) -> None:
    """An error but 405 is not followed by PATCH, and a second 405 is final."""
    backend = Agents("key_1").script(update_number=BadRequest("no", status=status))
    with pytest.raises(BadRequest):
        await backend.update("num_1", status="INACTIVE")
    assert [call.method for call in backend.calls] == (["PUT"] if status == 400 else ["PUT", "PATCH"])


@pytest.mark.parametrize("body", [{"id": 7, "name": "Bot"}, {"data": {"id": 7, "name": "Bot"}}])
async def test_one_agent(body: Any) -> None:
    """An agent comes bare or under `data`."""
    backend = Agents("key_1").script(get_agent=body)
    assert await backend.agent("a/7") == Agent(id=7, name="Bot")
    assert backend.calls[0].target == "/agents/a%2F7"


async def test_listings_are_filtered_by_agent_and_status() -> None:
    """Both filters are sent with every page."""
    backend = Agents("key_1", agent_id="agent_9", status="assigned").script(list_numbers=[])
    await backend.page("default")
    assert backend.calls[0].target == "/numbers?page=1&limit=100&status=assigned&agentId=agent_9"


def test_the_default_limit_is_the_documented_one() -> None:
    """1 000 requests per hour and key."""
    default = inspect.signature(AgentNumbers).parameters["limit"].default
    assert default == RateLimit(1000, per=3600)


# Numbers for sale

OFFER = {
    "fingerprintId": 1773314252953,
    "numbers": [
        {
            "phoneNumber": "+18705871861",
            "friendlyName": "(870) 587-1861",
            "isoCountry": "US",
            "lata": None,
            "capabilities": {"MMS": True, "SMS": True, "voice": True},
            "price": {"number_type": "local", "price": 1.15, "price_unit": "USD"},
        }
    ],
}


@pytest.mark.parametrize("body", [OFFER, {"status": "success", "data": OFFER}])
async def test_numbers_for_sale_at_leadconnector(body: Any) -> None:
    """Bare, or in the envelope of v3; filters travel under the vendor's names."""
    backend = Locations("pit-1").script(available_numbers=body)
    found = await backend.available(
        "l1", country_code="US", number_types=("local", "tollFree"), first_part="870", sms_enabled=True
    )
    (number,) = found.numbers
    assert (found.fingerprint_id, number.number, number.country) == ("1773314252953", "+18705871861", "US")
    assert number.capabilities == Capabilities(voice=True, sms=True, mms=True)
    assert (number.price.price, number.price.price_unit) == (1.15, "USD") if number.price else False
    assert backend.calls[0].target == (
        "/phone-system/numbers/location/l1/available"
        "?countryCode=US&numberTypes=local%2CtollFree&firstPart=870&smsEnabled=true"
    )


@pytest.mark.parametrize("body", [{}, {"data": {}}, {"numbers": [{"isoCountry": "US"}]}, []])
async def test_an_offer_of_another_shape_is_an_error(body: Any) -> None:
    """An unreadable offer is not an empty one."""
    with pytest.raises(DecodeError):
        await Locations("pit-1").script(available_numbers=body).available("l1", country_code="US")


@pytest.mark.parametrize(
    "body",
    [
        {"id": "acc_1", "numbers": {NUMBER: "conversation"}, "location_id": "l1"},
        {"status": "success", "data": {"id": "acc_1", "number": NUMBER, "locationId": "l1"}},
    ],
)
async def test_a_purchase_is_sent_once(body: Any) -> None:
    """The call is not idempotent, carries the id of the search, and is decoded in both versions."""
    backend = Locations("pit-1").script(purchase_number=body)
    bought = await backend.purchase("l1", phone_number=NUMBER, fingerprint_id="177", addressSid="AD1")
    assert (bought.number, bought.location_id, bought.account_id) == (NUMBER, "l1", "acc_1")
    assert not backend.calls[0].idempotent
    assert backend.bodies == [{"phoneNumber": NUMBER, "fingerprintId": "177", "addressSid": "AD1"}]
    with pytest.raises(InvalidArgument, match=r"E\.164"):
        await backend.purchase("l1", phone_number="4155552671")


async def test_a_number_is_found_and_bought_on_the_sandbox() -> None:
    """The location lists it from then on; a lost response is an unknown outcome, and is not sent again."""
    async with Sandbox(locations=1, numbers=3, not_connected=0, leadping=3, agents=0) as sandbox:
        (location,) = sandbox.location_ids
        async with LeadConnector.from_sandbox(sandbox) as lc:
            offer = await lc.available(location, country_code="US")
            wanted = offer.numbers[0].number
            await lc.purchase(location, phone_number=wanted, fingerprint_id=offer.fingerprint_id)
            assert wanted in {number.number for number in (await lc.page(location)).numbers}
            sandbox.script("leadconnector.purchase", drop_after())
            with pytest.raises(OutcomeUnknown, match="find"):
                await lc.purchase(location, phone_number=offer.numbers[1].number)
        async with Leadping.from_sandbox(sandbox) as leadping:
            (found, *_) = await leadping.search_purchasable("+1")
            assert (await leadping.is_available_for_purchase(found.number)).is_available
            held = next(iter(sandbox.truth["leadping", "default"]))
            assert not (await leadping.is_available_for_purchase(held)).is_available
    assert [served.route for served in sandbox.requests].count("leadconnector.purchase") == 2


async def test_leadping_searches_by_place() -> None:
    """Only the given fields are sent."""
    backend = Organization("sk_1").script(search_purchasable={"numbers": [{"number": NUMBER, "location": 5}]})
    (found,) = await backend.search_purchasable(state="CA", country_code="US")
    assert (found.number, found.location) == (NUMBER, None)
    assert backend.bodies == [{"location": {"state": "CA", "countryCode": "US"}}]
    assert backend.calls[0].idempotent


@pytest.mark.parametrize("said", [True, False, None])
async def test_the_paid_add_on_stays_as_it_is(said: bool | None) -> None:
    """An update that does not mention the add-on sends back what the vendor holds; creating may opt out."""
    held = {"id": "pn_1", "name": "Desk", "number": NUMBER, "enabled": True, "numberHealthEnabled": said}
    backend = Organization("sk_1").script(
        get_number=held, update_number=lambda call: call.body, create_number=held
    )
    await backend.update("pn_1", name="Hall", number=NUMBER, enabled=True, organization_id="o")
    await backend.create(name="Desk", number=NUMBER, number_health_enabled=False)
    updated, created = backend.bodies
    assert updated.get("numberHealthEnabled") is said
    assert created["numberHealthEnabled"] is False
