"""Reads of each backend that are no pages: the one request that each of them sends."""

from __future__ import annotations

import logging
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest

from phonesys import (
    AgentNumbers,
    CallError,
    DecodeError,
    LeadConnector,
    Leadping,
    PhoneSystemMissing,
    UsageError,
)
from phonesys.errors import StatusError
from phonesys.sandbox import Sandbox
from phonesys.testing import MockTransport, json_response
from tests.backends.test_backend_writes import FRESH, ROW, Vendor, backend

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from phonesys.http import Call, RawResponse


class Read(NamedTuple):
    """A read: the backend, what sends it, the response, and the request."""

    kind: str
    act: Callable[[Any], Awaitable[Any]]
    response: Any
    request: tuple[str, str, Any, str]


DAYS = {"window_days": 7, "start_date": date(2026, 1, 2), "end_date": date(2026, 1, 3)}
QUERY = "?windowDays=7&startDate=2026-01-02&endDate=2026-01-03"
NUMBER = {"id": "n1", "number": FRESH}
PARTS = "&firstPart=1&lastPart=2&anywhere=3&smsEnabled=true&mmsEnabled=false&voiceEnabled=true"
LIST = "/phone-system/numbers/location/b"
READS = {
    "agent": Read(
        "agents", lambda an: an.agent("a1", account="b"), {"id": "a1"}, ("GET", "/agents/a1", None, "b")
    ),
    "agents": Read(
        "agents",
        lambda an: an.agents(status="S", search="x y", account="b"),
        [{"id": "a1"}],
        ("GET", "/agents?page=1&limit=100&status=S&search=x%20y", None, "b"),
    ),
    "agent numbers": Read(
        "agents", lambda an: an.of_agent("a1", account="b"), [ROW], ("GET", "/agents/a1/numbers", None, "b")
    ),
    "number": Read("agents", lambda an: an.get("n1", account="b"), ROW, ("GET", "/numbers/n1", None, "b")),
    "leadping number": Read(
        "leadping", lambda lp: lp.get("n1", account="b"), NUMBER, ("GET", "/phone-numbers/n1", None, "b")
    ),
    "search": Read(
        "leadping",
        lambda lp: lp.search("b", "5550006", "tok"),
        {"items": [NUMBER]},
        (
            "POST",
            "/phone-numbers/all/organization",
            {"pageSize": 100, "continuationToken": "tok", "search": "5550006", "searchFields": ["number"]},
            "b",
        ),
    ),
    "search by place": Read(
        "leadping",
        lambda lp: lp.search_purchasable("500", location="L", state="CA", country_code="US", account="b"),
        {"numbers": []},
        (
            "POST",
            "/phone-numbers/search",
            {"phoneNumber": "500", "location": {"location": "L", "state": "CA", "countryCode": "US"}},
            "b",
        ),
    ),
    "leadping for sale": Read(
        "leadping",
        lambda lp: lp.for_sale(account="b", country="US", digits="500"),
        {"numbers": [{"number": FRESH}]},
        ("POST", "/phone-numbers/search", {"phoneNumber": "500", "location": {"countryCode": "US"}}, "b"),
    ),
    "is available": Read(
        "leadping",
        lambda lp: lp.is_available_for_purchase(FRESH, account="b"),
        {"isAvailable": True},
        ("POST", "/phone-numbers/is-available-for-purchase", {"phoneNumber": FRESH}, "b"),
    ),
    "status": Read(
        "leadping",
        lambda lp: lp.status(FRESH, **DAYS, account="b"),
        {"number": FRESH},
        ("GET", f"/phone-numbers/%2B15005550006/status{QUERY}", None, "b"),
    ),
    "warm-up": Read(
        "leadping",
        lambda lp: lp.warmup("n1", **DAYS, account="b"),
        {"number": FRESH},
        ("GET", f"/phone-numbers/n1/warmup{QUERY}", None, "b"),
    ),
    "available": Read(
        "leadconnector",
        lambda lc: lc.available(
            "b", country_code="US", number_types=("local", "mobile"), first_part="1", last_part="2",
            anywhere="3", sms_enabled=True, mms_enabled=False, voice_enabled=True,
        ),
        {"numbers": []},
        (
            "GET",
            f"{LIST}/available?countryCode=US&numberTypes=local%2Cmobile{PARTS}",
            None,
            "b",
        ),
    ),
    "for sale": Read(
        "leadconnector",
        lambda lc: lc.for_sale(account="b", digits="500"),
        {"numbers": [{"phoneNumber": FRESH}]},
        ("GET", f"{LIST}/available?countryCode=US&anywhere=500", None, "b"),
    ),
    "for sale elsewhere": Read(
        "leadconnector",
        lambda lc: lc.for_sale(account="b", country="CA"),
        {"numbers": []},
        ("GET", f"{LIST}/available?countryCode=CA", None, "b"),
    ),
    "pools": Read(
        "leadconnector",
        lambda lc: lc.pools("b"),
        {"data": []},
        ("GET", "/phone-system/number-pools?locationId=b", None, "b"),
    ),
    "leadconnector search": Read(
        "leadconnector",
        lambda lc: lc.search("b", FRESH),
        {"numbers": [{"phoneNumber": FRESH}]},
        ("GET", f"{LIST}?pageSize=1000&page=0&searchFilter=%2B15005550006&skipNumberPool=false", None, "b"),
    ),
}  # fmt: skip


class Always(Vendor):
    """Gives the same response to everything."""

    def __init__(self, response: Any) -> None:
        super().__init__()
        self.response = response

    def __call__(self, call: Call[Any]) -> RawResponse:
        self.responses[call.operation] = self.response
        return super().__call__(call)


@pytest.mark.parametrize("read", READS)
async def test_a_read_is_one_request_for_its_account(read: str) -> None:
    """With all that was given, and rows that bear the account."""
    kind, act, response, request = READS[read]
    vendor = Always(response)
    async with backend(kind, vendor) as provider:
        found = await act(provider)
    assert vendor.requests == [request]
    numbers = found if isinstance(found, tuple) else getattr(found, "numbers", (found,))
    assert {getattr(number, "account", "b") for number in numbers} <= {"b"}


async def test_numbers_for_sale_are_of_a_location() -> None:
    """The vendor asks for one, so a search without it is an error before any request."""
    vendor = Vendor()
    async with backend("leadconnector", vendor) as provider:
        with pytest.raises(UsageError, match="backend 'mine' sells numbers to a location; expected account="):
            await provider.for_sale()
    assert vendor.requests == []


async def test_the_account_of_a_single_credential_is_the_default() -> None:
    """Where none is named."""
    vendor = Always([{"id": "a1"}])
    async with backend("agents", vendor) as provider:
        await provider.agents()
        await provider.of_agent("a1")
    assert {account for *_, account in vendor.requests} == {"default"}


async def test_an_agent_or_a_number_that_cannot_be_read_is_an_error() -> None:
    """It names the account and the operation, and shows the row."""
    vendor = Always([{"name": "no id"}])
    async with backend("agents", vendor) as provider:
        for act, operation in (
            (provider.agents(account="b"), "list_agents"),
            (provider.of_agent("a1", account="b"), "numbers_of_agent"),
        ):
            with pytest.raises(DecodeError, match="a row cannot be read: ") as caught:
                await act
            facts = caught.value.backend, caught.value.operation, caught.value.account
            assert facts == ("mine", operation, "b")
            assert caught.value.body == b'{"name":"no id"}'


def leadconnector(respond: Callable[[Call[Any]], RawResponse], **options: Any) -> LeadConnector:
    return LeadConnector("pit-0", name="mine", transport=MockTransport(respond), **options)


@pytest.mark.parametrize(
    ("body", "missing"),
    [
        ({"message": "Phone system is not connected to this account"}, True),
        ({"message": "No Twilio account found"}, True),
        ({"message": "x"}, True),
        ({"message": "x" * 499}, True),
        ({"message": "x" * 500}, False),
        ({"message": "Cannot GET /phone-system/numbers"}, False),
        ({"message": "cannot post /x"}, False),
        ({"message": "They cannot get / see this"}, True),
        ({}, False),
        ({"code": 7}, False),
        ("<html>not found</html>", False),
    ],
    ids=["seen", "too", "short", "long", "too long", "no route", "none", "words", "empty", "code", "HTML"],
)  # fmt: skip
async def test_a_404_of_the_vendor_is_a_missing_phone_system(body: Any, missing: bool) -> None:
    """Unless it is that of a route or of a proxy. The error keeps its facts."""
    response = json_response(body, status=404, headers={"x-request-id": "r1"})
    for read in ("page", "overlapping_page"):
        async with leadconnector(lambda _call: response) as provider:
            with pytest.raises(CallError) as caught:
                await getattr(provider, read)("b")
        assert isinstance(caught.value, PhoneSystemMissing) is missing
        assert isinstance(caught.value, StatusError)
        facts = caught.value.backend, caught.value.account, caught.value.operation, caught.value.status
        assert facts == ("mine", "b", "active_numbers", 404)
        if missing:
            assert caught.value.message == body["message"]
            assert caught.value.body == response.body


async def test_pools_that_cannot_be_fetched_are_unknown(caplog: pytest.LogCaptureFixture) -> None:
    """They cost no number, and one warning, since all locations lack the same scope."""

    def respond(call: Call[Any]) -> RawResponse:
        if call.operation == "number_pools":
            return json_response({"message": "no scope"}, status=403)
        return json_response({"numbers": [{"phoneNumber": FRESH}]})

    caplog.set_level(logging.DEBUG, "phonesys")
    async with leadconnector(respond, with_pools=True) as provider:
        for account in ("a", "b", "c"):
            (number,) = (await provider.page(account)).numbers
            assert number.pool is None
    lines = [(record.levelname, record.getMessage()) for record in caplog.records if "pools" in record.msg]
    assert [level for level, _ in lines] == ["WARNING", "DEBUG", "DEBUG"]
    for _, line in lines:
        assert line.startswith("pools are unknown where they cannot be fetched: ")
        assert "no scope" in line


async def test_pools_are_fetched_with_the_first_page_of_a_location() -> None:
    """Its other pages use them, and the next reading of the location fetches them again."""
    requests: list[tuple[str, str]] = []

    def respond(call: Call[Any]) -> RawResponse:
        requests.append((call.operation, call.account))
        if call.operation == "number_pools":
            pool = {"id": "p1", "name": "Pool", "numbers": [FRESH], "locationId": call.account}
            return json_response({"data": [pool]})
        rows = [{"phoneNumber": FRESH}, {"phoneNumber": "+14155550000"}]
        return json_response({"numbers": rows if "page=9" not in call.target else []})

    async with leadconnector(respond, with_pools=True, page_size=2) as provider:
        for read in (provider.page, provider.overlapping_page):
            requests.clear()
            cursors = (None, 1, None, 9) if read == provider.page else (None, "1/2", None, "9/2")
            for cursor in cursors:
                page = await read("b", cursor)
                assert [number.pool is not None for number in page.numbers] == [True, False][
                    : len(page.numbers)
                ]
            operations = [operation for operation, _ in requests]
            assert operations.count("number_pools") == 2
            assert {account for _, account in requests} == {"b"}


async def test_a_backend_without_locations_says_how_to_give_them() -> None:
    """By its own name."""
    async with leadconnector(lambda _call: json_response({})) as provider:
        with pytest.raises(UsageError) as caught:
            await anext(provider.accounts())
    assert str(caught.value) == (
        "backend 'mine' does not know its locations; pass them to the sweep, as in sweep(mine=[…]), or to "
        "LeadConnector(locations=[…]), or let AgencyTokens list them"
    )


async def test_the_locations_of_a_company_are_searched_for() -> None:
    """A hundred at a time, with their names. One without an id is an error after the last."""
    requests: list[tuple[str, dict[str, str]]] = []

    def respond(call: Call[Any]) -> RawResponse:
        parts = urlsplit(call.target)
        query = dict(parse_qsl(parts.query))
        requests.append((parts.path, query))
        skip = int(query["skip"])
        rows: list[dict[str, Any]] = [{"id": f"loc_{n}", "name": f"Name {n}"} for n in range(120)]
        rows[5] = {"name": "no id"}
        return json_response({"locations": rows[skip : skip + int(query["limit"])]})

    found: list[tuple[str, str | None]] = []

    async def read_all() -> None:
        async for account in provider.accounts_with_names():
            found.append((account.id, account.name))  # noqa: PERF401 -- what came before an error counts

    async with leadconnector(respond, company_id="c1") as provider:
        assert provider.company == "c1"
        with pytest.raises(DecodeError, match="1 of the locations have no id"):
            await read_all()
    assert found == [(f"loc_{n}", f"Name {n}") for n in range(120) if n != 5]
    assert {query["limit"] for _, query in requests} == {"100"}
    assert {query["companyId"] for _, query in requests} == {"c1"}


async def test_what_is_said_of_an_account_is_said_of_each_number() -> None:
    """If it is not active. The page says it too."""

    def respond(call: Call[Any]) -> RawResponse:
        said = {"accountStatus": status, "isUnderGhl": True, "rcsSenderIds": [{"number": "rcs_1"}]}
        return json_response({"numbers": [{"phoneNumber": FRESH}], **said})

    async with leadconnector(respond) as provider:
        for status, expected in (("suspended", "suspended"), ("active", None)):
            for read in (provider.page, provider.overlapping_page):
                page = await read("b")
                assert (page.account_status, page.is_under_ghl) == (status, True)
                assert [sender.number for sender in page.rcs_senders] == ["rcs_1"]
                assert [number.account_status for number in page.numbers] == [expected]


@pytest.mark.parametrize(
    ("options", "query"),
    [
        ({}, "skipNumberPool=false"),
        ({"include_pooled": False}, "skipNumberPool=true"),
        ({"include_rcs_senders": True}, "skipNumberPool=false&includeRcsSenderIds=true"),
    ],
)
async def test_every_listing_asks_for_what_the_options_say(options: dict[str, Any], query: str) -> None:
    """Pages, overlapping pages, searches and second looks."""
    targets: list[str] = []

    def respond(call: Call[Any]) -> RawResponse:
        targets.append(call.target)
        return json_response({"numbers": []})

    async with leadconnector(respond, **options) as provider:
        await provider.page("b", 2)
        await provider.overlapping_page("b")
        await provider.search("b", FRESH)
        await provider.has_row_at("b", 7, FRESH)
    start = "/phone-system/numbers/location/b?"
    for target in targets:
        assert target.startswith(start)
        assert [part for part in query.split("&") if part not in target] == []
    assert ("includeRcsSenderIds" in targets[0]) == ("includeRcsSenderIds" in query)


@pytest.mark.parametrize("make", [LeadConnector, Leadping, AgentNumbers], ids=lambda make: make.__name__)
async def test_a_session_of_the_callers_sends_the_requests(make: Any) -> None:
    """It is left open, and its traces see them."""
    seen: list[str] = []
    trace = aiohttp.TraceConfig()

    async def on_start(_session: Any, _context: Any, request: aiohttp.TraceRequestStartParams) -> None:
        seen.append(request.url.path)

    trace.on_request_start.append(on_start)
    async with Sandbox(locations=1, not_connected=0, numbers=(1, 3), leadping=3, agents=3) as sandbox:
        async with aiohttp.ClientSession(trace_configs=[trace]) as session:
            async with make.from_sandbox(sandbox, session=session) as provider:
                assert (await provider.page(await anext(provider.accounts()))).numbers
            assert not session.closed
    assert seen
