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
    DecodeError,
    Forbidden,
    InvalidArgument,
    LeadConnector,
    Leadping,
    NotFound,
    PhoneSystem,
    PhoneSystemMissing,
    RateLimit,
    ServerError,
    Unauthorized,
)

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
    """What the vendor holds is sent back as it is, in a spelling that no caller may use."""
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
    backend = Agents("key_1").script(update_number=only_patch, unassign_number=only_patch)
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
