"""Reads of each backend that are no pages: the one request that each of them sends."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from phonesys import DecodeError, UsageError
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
