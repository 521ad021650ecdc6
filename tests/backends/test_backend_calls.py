"""Operations as data: what would be sent, without sending it."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from phonesys import InvalidArgument, ListOptions
from phonesys.backends.agents import calls as agents
from phonesys.backends.leadconnector import calls as leadconnector
from phonesys.backends.leadping import ExactMatch, OrderBy, Range
from phonesys.backends.leadping import calls as leadping

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonesys.http.call import Call

NUMBER = "+14155552671"


def sent(call: Call[Any]) -> tuple[str, str, Any]:
    return call.method, call.target, None if call.body is None else msgspec.json.decode(call.body)


# fmt: off
SENT: list[tuple[Call[Any], str, bool, tuple[str, str, Any]]] = [
    # LeadConnector
    (leadconnector.active_numbers("loc_1"), "active_numbers", True,
     ("GET", "/phone-system/numbers/location/loc_1?pageSize=1000&page=0&skipNumberPool=false", None)),
    (leadconnector.active_numbers("loc_1", page=3, page_size=50, search_filter="+91", skip_number_pool=True,
                                  include_rcs_sender_ids=True), "active_numbers", True,
     ("GET", ("/phone-system/numbers/location/loc_1?pageSize=50&page=3&searchFilter=%2B91"
              "&skipNumberPool=true&includeRcsSenderIds=true"), None)),
    (leadconnector.number_pools("loc_1"), "number_pools", True,
     ("GET", "/phone-system/number-pools?locationId=loc_1", None)),
    # Leadping
    (leadping.list_numbers(), "list_numbers", True,
     ("POST", "/phone-numbers/all/organization", {"pageSize": 100})),
    (leadping.list_numbers(page_size=7, continuation_token="a+b/c=", options=ListOptions(
        search="+91", search_fields=("number", "name"), filters=(ExactMatch("enabled", value=True),),
        range_filters=(Range(field="warmup.healthScore", greater_than=10, less_than_or_equal=90),),
        order_by=(OrderBy("name"), OrderBy("number", "desc")), include_count=True)), "list_numbers", True,
     ("POST", "/phone-numbers/all/organization", {
         "pageSize": 7, "continuationToken": "a+b/c=", "search": "+91", "searchFields": ["number", "name"],
         "filters": [{"field": "enabled", "value": True}],
         "rangeFilters": [{"field": "warmup.healthScore", "greaterThan": 10, "lessThanOrEqual": 90}],
         "orderBy": [{"field": "name", "direction": "asc"}, {"field": "number", "direction": "desc"}],
         "includeCount": True})),
    (leadping.list_numbers(options=ListOptions(filters=(ExactMatch("organizationId", None),))),
     "list_numbers", True, ("POST", "/phone-numbers/all/organization",
            {"pageSize": 100, "filters": [{"field": "organizationId", "value": None}]})),
    (leadping.create_number(name="Line"), "create_number", False,
     ("POST", "/phone-numbers", {"name": "Line"})),
    (leadping.create_number(name="x" * 255, number=NUMBER, organization_id="org_1", business_id="biz_1",
                            enabled=False, number_id="pn_1"), "create_number", False,
     ("POST", "/phone-numbers", {"name": "x" * 255, "number": NUMBER, "organizationId": "org_1",
                                 "businessId": "biz_1", "enabled": False, "id": "pn_1"})),
    (leadping.get_number("pn_1"), "get_number", True, ("GET", "/phone-numbers/pn_1", None)),
    (leadping.update_number("pn_1", name="Line", number=NUMBER, enabled=True), "update_number", False,
     ("PUT", "/phone-numbers/pn_1", {"name": "Line", "number": NUMBER, "enabled": True, "id": "pn_1"})),
    (leadping.delete_number("pn_1"), "delete_number", False, ("DELETE", "/phone-numbers/pn_1", None)),
    (leadping.number_status(NUMBER), "number_status", True,
     ("GET", "/phone-numbers/%2B14155552671/status", None)),
    (leadping.number_status(NUMBER, window_days=7, start_date=date(2026, 1, 2), end_date=date(2026, 1, 9)),
     "number_status", True,
     ("GET", ("/phone-numbers/%2B14155552671/status"
              "?windowDays=7&startDate=2026-01-02&endDate=2026-01-09"), None)),
    (leadping.number_warmup("pn_1", window_days=90), "number_warmup", True,
     ("GET", "/phone-numbers/pn_1/warmup?windowDays=90", None)),
    # Agent numbers
    (agents.list_numbers(), "list_numbers", True, ("GET", "/numbers?page=1&limit=50", None)),
    (agents.list_numbers(page=2, limit=100, status="A&B c"), "list_numbers", True,
     ("GET", "/numbers?page=2&limit=100&status=A%26B%20c", None)),
    (agents.list_agents(page=2, limit=9, status="ACTIVE", search="+91"), "list_agents", True,
     ("GET", "/agents?page=2&limit=9&status=ACTIVE&search=%2B91", None)),
    (agents.numbers_of_agent("agent_1"), "numbers_of_agent", True, ("GET", "/agents/agent_1/numbers", None)),
    (agents.get_number("num_1"), "get_number", True, ("GET", "/numbers/num_1", None)),
    (agents.assign_number(phone_number=NUMBER, agent_id="agent_1"), "assign_number", False,
     ("POST", "/numbers", {"phoneNumber": NUMBER, "agentId": "agent_1"})),
    (agents.assign_number(phone_number=NUMBER, agent_id="agent_1", friendly_name="Désk"),
     "assign_number", False,
     ("POST", "/numbers", {"phoneNumber": NUMBER, "agentId": "agent_1", "friendlyName": "Désk"})),
    (agents.update_number("num_1", friendly_name="Desk", agent_id="agent_1", status="INACTIVE"),
     "update_number", False,
     ("PUT", "/numbers/num_1", {"friendlyName": "Desk", "agentId": "agent_1", "status": "INACTIVE"})),
    (agents.update_number("num_1", friendly_name=""), "update_number", False,
     ("PUT", "/numbers/num_1", {"friendlyName": ""})),
    (agents.delete_number("num_1"), "delete_number", False, ("DELETE", "/numbers/num_1", None)),
]
# fmt: on


@pytest.mark.parametrize(
    ("call", "operation", "safe", "expected"), SENT, ids=[f"{c.method} {c.target[:60]}" for c, *_ in SENT]
)
def test_what_is_sent(call: Call[Any], operation: str, *, safe: bool, expected: tuple[str, str, Any]) -> None:
    """Method, path, query, body, name, and whether it may be repeated: a list that is a POST may."""
    assert sent(call) == expected
    assert (call.operation, call.idempotent) == (operation, safe)
    assert bool(call.recovery_hint) is not safe


def test_calls_are_charged_to_their_account() -> None:
    """Calls are charged to the location for LeadConnector, and to the backend's account for the others."""
    assert leadconnector.active_numbers("loc_1").account == "loc_1"
    assert leadconnector.number_pools("loc_1").account == "loc_1"
    assert leadping.list_numbers(account="org_1").account == "org_1"
    assert agents.delete_number("num_1", account="acc_1").account == "acc_1"


def test_writes_say_how_to_find_out() -> None:
    """The recovery hint of each write names a method that exists."""
    assert leadping.create_number(name="Line", number=NUMBER).recovery_hint == f"find('{NUMBER}')"
    assert "Line" in leadping.create_number(name="Line").recovery_hint
    assert leadping.update_number("pn_1", name="Line", number=NUMBER).recovery_hint == "get('pn_1')"
    assert leadping.delete_number("pn_1").recovery_hint.startswith("get('pn_1')")
    assert agents.assign_number(phone_number=NUMBER, agent_id="agent_1").recovery_hint == f"find('{NUMBER}')"


WRONG: list[tuple[str, Callable[[], object]]] = [
    ("E.164", lambda: leadping.create_number(name="Line", number="4155552671")),
    ("E.164", lambda: leadping.number_status("415-555-2671")),
    ("E.164", lambda: agents.assign_number(phone_number="+1 415 555 2671", agent_id="agent_1")),
    ("1 to 255 characters", lambda: leadping.create_number(name="")),
    ("1 to 255 characters", lambda: leadping.create_number(name="  ")),
    ("1 to 255 characters", lambda: leadping.create_number(name="x" * 256)),
    ("1 to 255 characters", lambda: leadping.create_number(name=7)),  # type: ignore[arg-type]
    ("at least one of", lambda: agents.update_number("num_1")),
    # Half of a surrogate pair is no text, and would not survive the way to the vendor.
    ("surrogates", lambda: leadping.create_number(name="\ud800")),
    ("surrogates", lambda: leadping.list_numbers(continuation_token="\ud800")),
    ("surrogates", lambda: leadping.list_numbers(options=ListOptions(search="\ud800"))),
    ("surrogates", lambda: leadconnector.active_numbers("loc_1", search_filter="\ud800")),
    ("surrogates", lambda: agents.list_numbers(status="\ud800")),
    ("surrogates", lambda: agents.update_number("num_1", friendly_name="\ud800")),
    ("unsupported", lambda: leadping.list_numbers(options=ListOptions(filters=(ExactMatch("a", object()),)))),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("expected", "build"), WRONG)
def test_what_no_vendor_could_take_is_refused(expected: str, build: Callable[[], object]) -> None:
    """The error is raised before anything is sent, and states the expected form."""
    with pytest.raises(InvalidArgument, match=expected):
        build()
