"""Writes of each backend: the one request that is sent, and what a lost response says of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest

from phonesys import (
    AgentNumbers,
    BadRequest,
    CallError,
    HttpOptions,
    InvalidArgument,
    LeadConnector,
    Leadping,
    NotFound,
    OutcomeUnknown,
)
from phonesys.http import RawResponse
from phonesys.sandbox import Sandbox
from phonesys.testing import MockTransport, json_response
from phonesys.writes import Write

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from phonesys.http import Call

FRESH = "+15005550006"


class Vendor:
    """Responds by method and path, by default with nothing, and records each request."""

    def __init__(self, **responses: Any) -> None:
        self.responses = responses
        self.requests: list[tuple[str, str, Any, str]] = []

    def __call__(self, call: Call[Any]) -> RawResponse:
        body = None if call.body is None else msgspec.json.decode(call.body)
        self.requests.append((call.method, call.target, body, call.account))
        response = self.responses.get(call.operation, {})
        if isinstance(response, Exception):
            raise response
        return json_response(response)


def backend(kind: str, vendor: Vendor) -> Any:
    make: Any = {"agents": AgentNumbers, "leadping": Leadping, "leadconnector": LeadConnector}[kind]
    return make("key", name="mine", transport=MockTransport(vendor), http=HttpOptions(retries=0))


class Sent(NamedTuple):
    """A write: the backend, the operation, what carries it out, the request, and what is known of it."""

    kind: str
    operation: str
    act: Callable[[Any], Awaitable[Any]]
    request: tuple[str, str, Any, str]
    write: Write


def lost(kind: Any, account: str = "b", **facts: Any) -> Write:
    return Write(kind=kind, account=account, **facts)


DESK = {"agent_id": "a1", "friendly_name": "Desk"}
FIELDS = {"friendly_name": "F", "agent_id": "a1", "status": "PAUSED"}
NEW = {
    "name": "N",
    "organization_id": "o",
    "business_id": "bz",
    "enabled": True,
    "number_health_enabled": False,
}
WHOLE = {
    "name": "N",
    "number": FRESH,
    "organization_id": "o",
    "enabled": True,
    "number_health_enabled": False,
}
LOCAL = {"country_code": "US", "number_type": "local"}
WRITES = {
    "assign": Sent(
        "agents",
        "assign_number",
        lambda an: an.assign(phone_number=FRESH, **DESK, account="b"),
        ("POST", "/numbers", {"phoneNumber": FRESH, "agentId": "a1", "friendlyName": "Desk"}, "b"),
        lost("assign", number=FRESH, wanted=DESK),
    ),
    "agents update": Sent(
        "agents",
        "update_number",
        lambda an: an.update("n1", **FIELDS, account="b"),
        ("PUT", "/numbers/n1", {"friendlyName": "F", "agentId": "a1", "status": "PAUSED"}, "b"),
        lost("update", number_id="n1", wanted=FIELDS),
    ),
    "unassign": Sent(
        "agents",
        "update_number",
        lambda an: an.unassign("n1", account="b"),
        ("PUT", "/numbers/n1", {"agentId": None}, "b"),
        lost("update", number_id="n1", wanted={"agent_id": None}),
    ),
    "agents delete": Sent(
        "agents",
        "delete_number",
        lambda an: an.delete("n1", account="b"),
        ("DELETE", "/numbers/n1", None, "b"),
        lost("delete", number_id="n1"),
    ),
    "create": Sent(
        "leadping",
        "create_number",
        lambda lp: lp.create(number=FRESH, number_id="id7", **NEW, account="b"),
        (
            "POST",
            "/phone-numbers",
            {
                "name": "N",
                "number": FRESH,
                "organizationId": "o",
                "businessId": "bz",
                "enabled": True,
                "numberHealthEnabled": False,
                "id": "id7",
            },
            "b",
        ),
        lost("create", number=FRESH, wanted=NEW),
    ),
    "leadping update": Sent(
        "leadping",
        "update_number",
        lambda lp: lp.update("n1", **WHOLE, account="b"),
        (
            "PUT",
            "/phone-numbers/n1",
            {
                "name": "N",
                "number": FRESH,
                "organizationId": "o",
                "enabled": True,
                "numberHealthEnabled": False,
                "id": "n1",
            },
            "b",
        ),
        lost("update", number_id="n1", wanted=WHOLE),
    ),
    "leadping delete": Sent(
        "leadping",
        "delete_number",
        lambda lp: lp.delete("n1", account="b"),
        ("DELETE", "/phone-numbers/n1", None, "b"),
        lost("delete", number_id="n1"),
    ),
    "purchase": Sent(
        "leadconnector",
        "purchase_number",
        lambda lc: lc.purchase("b", phone_number=FRESH, **LOCAL, fingerprint_id="fp", locality="X"),
        (
            "POST",
            "/phone-system/numbers/location/b/purchase",
            {
                "phoneNumber": FRESH,
                "countryCode": "US",
                "numberType": "local",
                "fingerprintId": "fp",
                "locality": "X",
            },
            "b",
        ),
        lost("purchase", number=FRESH, wanted=LOCAL),
    ),
}
FOR_SALE = {"numbers": [{"phoneNumber": FRESH}], "fingerprintId": "fp", "locality": "X"}


def same(one: Write, other: Write) -> bool:
    """Compare what is written, and not when."""
    return msgspec.structs.replace(one, started_at=other.started_at, ended_at=other.ended_at) == other


async def carried_out(sent: Sent, vendor: Vendor, *, by_plan: bool) -> OutcomeUnknown:
    vendor.responses |= {sent.operation: TimeoutError(), "available_numbers": FOR_SALE}
    async with backend(sent.kind, vendor) as provider:
        with pytest.raises(OutcomeUnknown) as caught:
            await (provider.carry_out(sent.write) if by_plan else sent.act(provider))
    return caught.value


@pytest.mark.parametrize("write", WRITES)
async def test_a_lost_response_says_what_was_sent(write: str) -> None:
    """The facts suffice to look the write up. One request was sent."""
    sent, vendor = WRITES[write], Vendor()
    began = datetime.now(UTC)
    error = await carried_out(sent, vendor, by_plan=False)
    assert vendor.requests == [sent.request]
    assert error.write is not None
    assert same(error.write, sent.write)
    assert began <= error.write.started_at <= error.write.ended_at <= datetime.now(UTC)
    assert (error.backend, error.operation, error.account) == ("mine", sent.operation, "b")


@pytest.mark.parametrize("write", WRITES)
async def test_a_plan_sends_the_same(write: str) -> None:
    """From the facts alone; a purchase asks for the number again, which the vendor wants."""
    sent, vendor = WRITES[write], Vendor()
    error = await carried_out(sent, vendor, by_plan=True)
    body = sent.request[2]
    if body is not None:
        body = {name: value for name, value in body.items() if name not in NOT_PLANNED[sent.operation]}
    assert vendor.requests[-1] == (*sent.request[:2], body, "b")
    assert len(vendor.requests) == (2 if sent.kind == "leadconnector" else 1)
    assert error.write is not None
    assert same(error.write, sent.write)


NOT_PLANNED = {operation: set[str]() for _, operation, *_ in WRITES.values()} | {
    "create_number": {"id"},
    "purchase_number": {"locality"},
}


async def test_plans_return_what_the_vendor_made() -> None:
    """Of an account; a number that was deleted or purchased is none."""
    row = {"id": "n1", "phoneNumber": FRESH, "number": FRESH, "name": "N"}
    vendor = Vendor(**{operation: row for _, operation, *_ in WRITES.values()})
    vendor.responses |= {"available_numbers": FOR_SALE, "delete_number": None}
    for sent in WRITES.values():
        async with backend(sent.kind, vendor) as provider:
            made = await provider.carry_out(sent.write)
        if sent.write.kind in {"delete", "purchase"}:
            assert made is None
        else:
            assert (made.number, made.account, made.backend) == (FRESH, "b", "mine")


async def test_an_update_keeps_the_fields_that_are_not_given() -> None:
    """They are read first, and the write bears the time of the version that was read."""
    current = {
        "id": "n1", "number": FRESH, "name": "old", "enabled": True, "numberHealthEnabled": False,
        "organization": {"id": "o"}, "createdAt": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    kept = {"number": FRESH, "enabled": True, "numberHealthEnabled": False, "organizationId": "o", "id": "n1"}
    first, second = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    for changed, version in (({}, first), ({"modifiedAt": "2026-01-02T03:04:05Z"}, second)):
        vendor = Vendor(get_number={**current, **changed}, update_number=TimeoutError())
        async with backend("leadping", vendor) as provider:
            with pytest.raises(OutcomeUnknown) as caught:
                await provider.update("n1", name="new", account="b")
        get, put = vendor.requests
        assert get == ("GET", "/phone-numbers/n1", None, "b")
        assert put == ("PUT", "/phone-numbers/n1", {"name": "new", **kept}, "b")
        assert caught.value.write is not None
        assert caught.value.write.wanted == {"name": "new"}
        assert caught.value.write.version == version


async def test_an_update_names_what_was_read_and_no_more() -> None:
    """A record without a name is called by its number, and the older generation has a business."""
    vendor = Vendor(get_number={"id": "n1", "number": FRESH, "business": {"id": "bz"}})
    vendor.responses["update_number"] = {"id": "n1", "number": FRESH}
    async with backend("leadping", vendor) as provider:
        await provider.update("n1", enabled=False)
    assert vendor.requests == [
        ("GET", "/phone-numbers/n1", None, "default"),
        (
            "PUT",
            "/phone-numbers/n1",
            {"id": "n1", "name": FRESH, "number": FRESH, "businessId": "bz", "enabled": False},
            "default",
        ),
    ]


async def test_an_update_sends_what_is_given_beside_what_was_read() -> None:
    """Also a number or a business that differ. A number that is none is refused before anything is read."""
    current = {"id": "n1", "number": FRESH, "name": "old", "enabled": True, "business": {"id": "bz"}}
    vendor = Vendor(get_number=current, update_number=TimeoutError())
    other = "+14155552671"
    async with backend("leadping", vendor) as provider:
        with pytest.raises(InvalidArgument, match="phone number"):
            await provider.update("n1", number="415")
        assert vendor.requests == []
        with pytest.raises(OutcomeUnknown) as caught:
            await provider.update("n1", number=other, business_id="bz2")
    body = {"id": "n1", "number": other, "name": "old", "enabled": True, "businessId": "bz2"}
    assert vendor.requests[1] == ("PUT", "/phone-numbers/n1", body, "default")
    assert caught.value.write is not None
    assert caught.value.write.wanted == {"number": other, "business_id": "bz2"}


async def test_a_number_that_cannot_be_read_is_not_changed() -> None:
    """The error says that the change was not sent."""
    failures: tuple[Any, ...] = (TimeoutError(), {})
    for failure in failures:
        vendor = Vendor(get_number=failure)
        async with backend("leadping", vendor) as provider:
            with pytest.raises(CallError) as caught:
                await provider.update("n1", name="new")
        assert caught.value.not_executed
        assert [method for method, *_ in vendor.requests] == ["GET"]


ROW = {"id": "n1", "phoneNumber": FRESH, "status": "PAUSED"}


class Strict(Vendor):
    """Accepts changes by some methods, and answers others with a status."""

    def __init__(self, statuses: dict[str, int], **responses: Any) -> None:
        super().__init__(**responses)
        self.statuses = statuses

    def __call__(self, call: Call[Any]) -> RawResponse:
        response = super().__call__(call)
        status = self.statuses.get(call.method, 200)
        return response if status == 200 else json_response({"message": "no"}, status=status)


async def test_a_vendor_that_refuses_a_method_is_asked_with_the_other() -> None:
    """The refusal proves that nothing was changed, and is remembered."""
    vendor = Strict({"PUT": 405}, update_number=ROW)
    async with backend("agents", vendor) as provider:
        for _ in range(2):
            number = await provider.update("n1", status="PAUSED", account="b")
            assert (number.number, number.account, number.backend) == (FRESH, "b", "mine")
    sent = [(method, "/numbers/n1", {"status": "PAUSED"}, "b") for method in ("PUT", "PATCH", "PATCH")]
    assert vendor.requests == sent


@pytest.mark.parametrize(
    ("statuses", "methods"),
    [
        ({"PUT": 400}, ["PUT"]),
        ({"PUT": 404}, ["PUT"]),
        ({"PUT": 405, "PATCH": 405}, ["PUT", "PATCH", "PUT", "PATCH"]),
    ],
)
async def test_any_other_refusal_is_final(statuses: dict[str, int], methods: list[str]) -> None:
    """A method that was refused as well is not remembered."""
    vendor = Strict(statuses)
    async with backend("agents", vendor) as provider:
        for _ in range(len(methods) // len(statuses)):
            with pytest.raises(BadRequest if statuses["PUT"] != 404 else NotFound):
                await provider.update("n1", status="PAUSED")
    assert [method for method, *_ in vendor.requests] == methods


async def test_a_refused_method_that_worked_before_is_an_error() -> None:
    """There is no third."""
    vendor = Strict({"PUT": 405}, update_number=ROW)
    async with backend("agents", vendor) as provider:
        await provider.update("n1", status="PAUSED")
        vendor.statuses["PATCH"] = 405
        with pytest.raises(BadRequest):
            await provider.update("n1", status="PAUSED")
    assert [method for method, *_ in vendor.requests] == ["PUT", "PATCH", "PATCH"]


class Empty(Vendor):
    """Accepts a write without a word."""

    def __call__(self, call: Call[Any]) -> RawResponse:
        response = super().__call__(call)
        return response if call.method == "GET" else RawResponse(204, response.headers, b"")


async def test_a_change_without_content_is_read_back() -> None:
    """In its account. If that fails, the outcome is known but for the number, and the error says so."""
    vendor = Empty(get_number=ROW)
    async with backend("agents", vendor) as provider:
        number = await provider.update("n1", status="PAUSED", account="b")
        assert (number.state, number.account) == ("PAUSED", "b")
        vendor.responses["get_number"] = TimeoutError()
        with pytest.raises(OutcomeUnknown) as caught:
            await provider.update("n1", status="PAUSED", account="b")
        vendor.responses["get_number"] = ROW
        assert (await caught.value.reconcile(grace_period=0.0)).outcome == "done"
    error = caught.value
    assert error.message == "the change was accepted, but the number could not be read back"
    assert (error.backend, error.operation, error.account) == ("mine", "update_number", "b")
    assert "attempt" in str(error.cause) or "time" in str(error.cause).lower()
    assert error.recovery_hint
    assert error.write is not None
    assert same(error.write, lost("update", number_id="n1", wanted={"status": "PAUSED"}))
    assert [method for method, *_ in vendor.requests][:4] == ["PUT", "GET"] * 2


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        (
            [{"id": "n7", "phoneNumber": "+1 (500) 555-0006", "agentId": "a1", "friendlyName": "Theirs"}],
            ("n7", "Theirs"),
        ),
        ([{"id": "n8", "phoneNumber": "+14155552671", "agentId": "a1"}], (FRESH, "Desk")),
        (TimeoutError(), (FRESH, "Desk")),
    ],
    ids=["listed", "another", "failing"],
)
async def test_an_assignment_without_content_is_looked_up_in_its_account(
    listed: Any, found: tuple[str, str]
) -> None:
    """Among the agent's numbers; otherwise it is as it was requested."""
    vendor = Empty(numbers_of_agent=listed)
    async with backend("agents", vendor) as provider:
        made = await provider.assign(phone_number=FRESH, **DESK, account="b")
    assert (made.id, made.label, made.agent_id, made.account) == (*found, "a1", "b")
    assert vendor.requests[1:] == [("GET", "/agents/a1/numbers", None, "b")]


async def test_an_agent_that_is_not_there_is_a_sentence() -> None:
    """Before a plan is carried out; any other failure is an error."""
    vendor = Strict({}, get_agent={"id": 7, "name": "Agent"})
    async with backend("agents", vendor) as provider:
        assert await provider.check_field("b", "agent_id", 7) is None
        vendor.statuses["GET"] = 404
        assert await provider.check_field("b", "agent_id", 7) == "agent_id: there is no agent 7"
        vendor.statuses["GET"] = 400
        with pytest.raises(BadRequest):
            await provider.check_field("b", "agent_id", 7)
    assert vendor.requests == [("GET", "/agents/7", None, "b")] * 3


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        (None, None),
        ({"price": None, "price_unit": "USD"}, None),
        ({"price": 1.5, "price_unit": "USD"}, "1.50 USD a month"),
        ({"price": 1.5}, "1.50 a month"),
    ],
)
async def test_a_purchase_is_offered_at_its_price(price: Any, expected: str | None) -> None:
    """If the search for its digits finds the number itself."""
    other = {"phoneNumber": "+14155550006", "price": {"price": 9.0}}
    vendor = Vendor(available_numbers={"numbers": [other, {"phoneNumber": FRESH, "price": price}]})
    async with backend("leadconnector", vendor) as provider:
        offer = await provider.offer("b", FRESH, {"country": "US", "kind": "local"})
        assert (offer.available, offer.price) == (True, expected)
        vendor.responses["available_numbers"] = {"numbers": [other]}
        offer = await provider.offer("b", FRESH, {"country": "US"})
        assert (offer.available, offer.price) == (False, None)
    path = "/phone-system/numbers/location/b/available?countryCode=US"
    assert [target for _, target, _, account in vendor.requests if account == "b"] == [
        f"{path}&numberTypes=local&anywhere=5550006", f"{path}&anywhere=5550006",
    ]  # fmt: skip


async def test_a_number_that_is_sold_meanwhile_is_not_purchased() -> None:
    """The error says that nothing was sent, and so does one of the search."""
    vendor = Vendor(available_numbers={"numbers": [{"phoneNumber": "+14155550006"}]})
    write = WRITES["purchase"].write
    async with backend("leadconnector", vendor) as provider:
        with pytest.raises(CallError) as caught:
            await provider.carry_out(write)
        assert caught.value.message == f"{FRESH} is not for sale any more"
        assert caught.value.not_executed
        facts = caught.value.backend, caught.value.operation, caught.value.account
        assert facts == ("mine", "purchase_number", "b")
        vendor.responses["available_numbers"] = TimeoutError()
        with pytest.raises(CallError) as failed:
            await provider.carry_out(write)
        assert failed.value.not_executed
    assert {method for method, *_ in vendor.requests} == {"GET"}


async def test_a_leadping_number_is_offered_at_its_price() -> None:
    """With the currency, if the vendor names one."""
    vendor = Vendor()
    async with backend("leadping", vendor) as provider:
        for response, expected in (
            ({"isAvailable": True, "price": 1.5, "currency": "USD"}, (True, "1.50 USD")),
            ({"isAvailable": True, "price": 2}, (True, "2.00")),
            ({"isAvailable": False}, (False, None)),
        ):
            vendor.responses["is_available_for_purchase"] = response
            offer = await provider.offer("b", FRESH, {})
            assert (offer.available, offer.price) == expected
    assert {account for *_, account in vendor.requests} == {"b"}


@pytest.mark.parametrize("make", [LeadConnector, Leadping, AgentNumbers], ids=lambda make: make.__name__)
async def test_a_backend_can_be_made_for_the_sandbox(make: Any) -> None:
    """With the sandbox's address and credential, and further options."""
    async with Sandbox(locations=2, not_connected=0, numbers=(1, 3), leadping=3, agents=3) as sandbox:
        async with make.from_sandbox(sandbox, name="mine", page_size=7) as provider:
            assert (provider.name, provider.page_size) == ("mine", 7)
            account = await anext(provider.accounts())
            page = await provider.page(account)
        assert {number.number for number in page.numbers} == sandbox.truth[
            {LeadConnector: "leadconnector", Leadping: "leadping", AgentNumbers: "agents"}[make], account
        ]


@pytest.mark.parametrize("write", WRITES)
async def test_a_lost_write_is_looked_up_in_its_account(write: str) -> None:
    """Every request is for the account of the write, and the number that is found is of it."""
    sent = WRITES[write]
    row = {"id": "n1", "phoneNumber": FRESH, "number": FRESH, "name": "N", "agentId": "a1"}
    vendor = Vendor(
        get_number=row, numbers_of_agent=[row], list_numbers={"data": [row], "items": [row]},
        active_numbers={"numbers": [row]},
    )  # fmt: skip
    vendor.responses[sent.operation] = TimeoutError()
    async with backend(sent.kind, vendor) as provider:
        with pytest.raises(OutcomeUnknown) as caught:
            await sent.act(provider)
        vendor.requests.clear()
        found = await caught.value.reconcile(grace_period=0.0)
    assert vendor.requests
    assert {(method, account) for method, _, _, account in vendor.requests} <= {("GET", "b"), ("POST", "b")}
    for number in filter(None, (found.number, *found.candidates)):
        assert (number.account, number.backend) == ("b", "mine")


@pytest.mark.parametrize("write", [write for write in WRITES if write != "create"])
async def test_a_write_that_names_no_number_is_refused(write: str) -> None:
    """Before any request that changes something; a new number may be the vendor's choice."""
    sent, vendor = WRITES[write], Vendor()
    bare = msgspec.structs.replace(sent.write, number=None, number_id=None)
    async with backend(sent.kind, vendor) as provider:
        with pytest.raises((InvalidArgument, CallError)):
            await provider.carry_out(bare)
    assert {method for method, *_ in vendor.requests} <= {"GET"}


async def test_a_change_that_is_lost_in_the_second_method_says_what_it_was() -> None:
    """As in the first."""

    class Losing(Strict):
        def __call__(self, call: Call[Any]) -> RawResponse:
            response = super().__call__(call)
            if call.method == "PATCH":
                raise TimeoutError
            return response

    vendor = Losing({"PUT": 405})
    async with backend("agents", vendor) as provider:
        with pytest.raises(OutcomeUnknown) as caught:
            await provider.update("n1", status="PAUSED", account="b")
    assert caught.value.write is not None
    assert same(caught.value.write, lost("update", number_id="n1", wanted={"status": "PAUSED"}))


async def test_numbers_that_were_created_under_one_name_are_not_told_apart() -> None:
    """A number that the vendor chose is found by its name, as long as one was created under it."""
    outcomes: list[str] = []
    vendor = Vendor(create_number=TimeoutError())
    async with backend("leadping", vendor) as provider:
        for _ in range(2):
            with pytest.raises(OutcomeUnknown) as caught:
                await provider.create(name="N", account="b")
            row = {"id": "n1", "number": FRESH, "name": "N"}
            vendor.responses["list_numbers"] = {"items": [row]}
            vendor.responses["get_number"] = {**row, "createdAt": datetime.now(UTC).isoformat()}
            outcomes.append((await caught.value.reconcile(grace_period=0.0)).outcome)
    assert outcomes == ["done", "unclear"]
