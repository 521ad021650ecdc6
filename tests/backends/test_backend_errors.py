"""Responses instead of data: the documented errors, and what proxies put in their place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest
from multidict import CIMultiDict

from phonesys import (
    AgentNumbers,
    BadRequest,
    DecodeError,
    Forbidden,
    HttpOptions,
    LeadConnector,
    Leadping,
    NotFound,
    OutcomeUnknown,
    PhoneSystemMissing,
    RateLimited,
    ServerError,
    StatusError,
    Unauthorized,
)
from phonesys.backends.agents import calls as agents
from phonesys.backends.leadconnector import calls as leadconnector
from phonesys.backends.leadping import calls as leadping
from phonesys.errors import NotJson
from phonesys.http.response import error_from_response
from phonesys.sandbox import Sandbox, body, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from phonesys.http.call import Call

DATA = Path(__file__).parents[1] / "data"
PROBLEM = "application/problem+json"


class Case(NamedTuple):
    file: str
    status: int
    kind: type[StatusError]
    message: str
    content_type: str | None = "application/json"
    headers: dict[str, str] = {}  # noqa: RUF012 -- never changed
    retry_after: float | None = None


# fmt: off
CASES = [
    Case("leadconnector/error-400.json", 400, BadRequest,
         "Invalid locationId format or pagination parameters"),
    Case("leadconnector/error-400-pools.json", 400, BadRequest, "Invalid locationId format"),
    Case("leadconnector/error-400-list.json", 400, BadRequest,
         "pageSize must not be greater than 1000; page must be an integer number"),
    Case("leadconnector/error-401.json", 401, Unauthorized, "Invalid token: access token is invalid"),
    Case("leadconnector/error-401-empty", 401, Unauthorized, "", None),
    Case("leadconnector/error-403-empty", 403, Forbidden, "", None),
    Case("leadconnector/error-403.json", 403, Forbidden, "The token does not have access to this location."),
    Case("leadconnector/error-404-not-connected.json", 404, NotFound,
         "Phone system is not connected to this account"),
    Case("leadconnector/error-404-route.json", 404, NotFound, "Cannot GET /phone-system/numbers"),
    Case("leadconnector/error-422.json", 422, BadRequest, "Unprocessable Entity"),
    Case("leadconnector/error-429.json", 429, RateLimited, "Too Many Requests",
         headers={"X-RateLimit-Remaining": "0"}),
    Case("leadconnector/error-500.json", 500, ServerError, "Internal server error"),
    Case("leadping/error-400.json", 400, BadRequest, "One or more request fields are invalid."),
    Case("leadping/error-401.json", 401, Unauthorized, "The API key is missing or invalid."),
    Case("leadping/error-403.json", 403, Forbidden, "The API key may not do this.", PROBLEM),
    Case("leadping/error-404.json", 404, NotFound, "The phone number was not found.", "text/plain"),
    Case("leadping/error-429.json", 429, RateLimited, "The rate limit has been exceeded.", PROBLEM,
         {"Retry-After": "17"}, 17.0),
    Case("leadping/error-500.json", 500, ServerError, "An error occurred while processing your request.",
         "text/json"),
    Case("leadping/error-lying-status.json", 503, ServerError, "The body says 400."),
    Case("agents/error-message-inside.json", 401, Unauthorized, "Invalid API key"),
    Case("agents/error-details.json", 400, BadRequest, "Validation failed"),
    Case("agents/error-message.json", 404, NotFound, "Phone number not found"),
    Case("proxy/bad-gateway.html", 502, ServerError, "502 Bad Gateway", "text/html"),
    Case("proxy/bad-gateway.html", 404, NotFound, "502 Bad Gateway", "text/html"),
    Case("proxy/challenge.html", 403, Forbidden, "Just a moment... Checking your browser", "text/html"),
    Case("proxy/upstream.txt", 503, ServerError,
         "upstream connect error or disconnect/reset before headers", "text/plain",
         {"retry-after-ms": "250", "X-Request-Id": "req_1"}, 0.25),
]
# fmt: on


def name_of(case: Case) -> str:
    return f"{case.status}-{case.file}"


def test_no_documented_error_is_left_out() -> None:
    """Every error in the folders is in the table above."""
    there = {path.relative_to(DATA).as_posix() for path in DATA.glob("*/error-*")}
    there |= {path.relative_to(DATA).as_posix() for path in DATA.glob("proxy/*")}
    assert there == {case.file for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_documented_errors_say_what_they_say(case: Case) -> None:
    """The class by the HTTP status, the vendor's sentence, its whole object, and the wait it asks for."""
    raw = (DATA / case.file).read_bytes()
    error = error_from_response(case.status, CIMultiDict(case.headers), raw)
    assert type(error) is case.kind
    assert (error.status, error.message, error.body) == (case.status, case.message, raw)
    assert error.retry_after == case.retry_after
    assert error.request_id == case.headers.get("X-Request-Id")
    assert error.details == (msgspec.json.decode(raw) if case.file.endswith(".json") else {})


def test_what_the_vendor_says_beside_its_sentence_is_kept() -> None:
    """Details are there for programs: a suspended account, the fields that were wrong, a problem's type."""
    suspended = error_from_response(500, {}, (DATA / "leadconnector/error-500.json").read_bytes())
    assert suspended.details["accountStatus"] == "suspended"
    wrong = error_from_response(400, {}, (DATA / "agents/error-details.json").read_bytes())
    assert wrong.details["details"] == [{"path": "phoneNumber", "message": "Required"}]
    problem = error_from_response(400, {}, (DATA / "leadping/error-400.json").read_bytes())
    assert problem.details["type"] == "https://leadping.ai/docs/errors/validation"


# What is no data, whatever operation it answers, and whether it may be better a moment later.
NOT_DATA = [
    (b"", True),
    (b" \r\n", True),
    (b"<html><body>Welcome</body></html>", True),
    ((DATA / "proxy/bad-gateway.html").read_bytes(), True),
    ((DATA / "proxy/upstream.txt").read_bytes(), True),
    (b'{"numbers": [{"phoneNumber": "+1415', True),
    (b"\xff\xfe\x00", True),
    (b"[" * 100_000, True),
    (b"null", False),
    (b"{}", False),
    (b"7", False),
    (b'"ok"', False),
    (b'{"numbers": null}', False),
    (b'{"items": null}', False),
    (b'{"data": null}', False),
    (b'{"data": {}}', False),
    (b'{"success": true}', False),
    (b'{"total": [], "totalCount": {}}', False),
    ((DATA / "leadconnector/error-401.json").read_bytes(), False),
    ((DATA / "leadping/error-400.json").read_bytes(), False),
    ((DATA / "agents/error-message-inside.json").read_bytes(), False),
]
READS: list[Call[Any]] = [
    leadconnector.active_numbers("loc_1"),
    leadconnector.number_pools("loc_1"),
    leadping.list_numbers(),
    leadping.get_number("pn_1"),
    leadping.number_status("+14155552671"),
    leadping.number_warmup("pn_1"),
    leadping.create_number(name="Line"),
    leadping.update_number("pn_1", name="Line", number="+14155552671"),
    agents.list_numbers(),
    agents.list_agents(),
    agents.numbers_of_agent("agent_1"),
    agents.get_number("num_1"),
]


@pytest.mark.parametrize(("raw", "transient"), NOT_DATA, ids=[repr(raw[:24]) for raw, _ in NOT_DATA])
@pytest.mark.parametrize("call", READS, ids=[f"{call.method} {call.target}" for call in READS])
def test_what_is_no_data_is_an_error(call: Call[Any], raw: bytes, *, transient: bool) -> None:
    """The error shows the response and is transient if a proxy may have caused it."""
    with pytest.raises(DecodeError) as caught:
        call.decode(raw)
    assert caught.value.transient is transient
    assert isinstance(caught.value, NotJson) is transient
    assert caught.value.body == raw[:2048]
    assert not raw or repr(raw[:200].decode("utf-8", "replace")) in str(caught.value)


@pytest.mark.parametrize("call", [*READS[:4], *READS[5:8], *READS[11:]])
def test_an_array_is_data_for_lists_of_agent_numbers_only(call: Call[Any]) -> None:
    """No other operation returns a bare array, so `[]` is no empty page."""
    with pytest.raises(DecodeError):
        call.decode(b"[]")


@pytest.mark.parametrize(
    "raw", [b'{"success": false, "data": []}', b'{"success": false, "data": [], "message": "Oops"}']
)
@pytest.mark.parametrize("call", [leadconnector.number_pools("loc_1"), agents.list_numbers()])
def test_rows_under_a_failure_are_no_rows(call: Call[Any], raw: bytes) -> None:
    """A 200 that says it failed is an error even where an empty list stands beside it."""
    with pytest.raises(DecodeError, match="`success` is false"):
        call.decode(raw)


@pytest.mark.parametrize("call", [leadping.delete_number("pn_1"), agents.delete_number("num_1")])
def test_nothing_is_what_deleting_answers(call: Call[None]) -> None:
    """Any content but a proxy's page confirms a deletion."""
    for raw in (b"", b"{}", b'{"success": true}', b"OK", b"null"):
        call.decode(raw)
    with pytest.raises(DecodeError):
        call.decode((DATA / "proxy/challenge.html").read_bytes())


def test_updating_may_answer_nothing() -> None:
    """The agent numbers' vendor shows no answer to an update: none is fine, any other shape is not."""
    call = agents.update_number("num_1", status="ACTIVE")
    assert call.decode(b" ") is None
    with pytest.raises(DecodeError):
        call.decode(b'{"success": true}')


# The same over the wire.

ONCE = HttpOptions(retries=0)


@pytest.fixture
async def vendor() -> AsyncIterator[Sandbox]:
    async with Sandbox(
        locations=1, numbers=3, pools=1, leadping=3, agents=3, enforce_limits=False
    ) as sandbox:
        yield sandbox


async def test_errors_know_their_call(vendor: Sandbox) -> None:
    """Backend, operation, account, what the vendor said, its request id, attempts: as attributes and text."""
    raw = (DATA / "leadconnector/error-500.json").read_bytes()
    vendor.script("leadconnector.numbers", status(500, raw, {"X-Request-Id": "req_7"}), repeat=True)
    options = HttpOptions(retries=1, backoff=0)
    url, location = vendor.leadconnector_url, vendor.location_ids[0]
    async with LeadConnector("pit-x", base_url=url, name="agency", http=options) as lc:
        with pytest.raises(ServerError) as caught:
            await lc.page(location)
    error = caught.value
    assert (error.backend, error.operation, error.account) == ("agency", "active_numbers", location)
    assert (error.status, error.request_id, error.attempts) == (500, "req_7", 2)
    assert str(error).startswith(
        f"agency active_numbers {location}: 500 Internal server error [request req_7]"
    )


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.file.startswith(("leadconnector", "proxy")) and case.status != 401],
    ids=name_of,
)
async def test_leadconnector_raises_them(vendor: Sandbox, case: Case) -> None:
    """An empty body without a content type is enough; PhoneSystemMissing differs from other 404s."""
    raw = (DATA / case.file).read_bytes()
    fault = status(case.status, raw, case.headers, case.content_type or "")
    vendor.script("leadconnector.numbers", fault)
    async with LeadConnector("pit-x", base_url=vendor.leadconnector_url, http=ONCE) as lc:
        with pytest.raises(case.kind) as caught:
            await lc.page(vendor.location_ids[0])
    assert isinstance(caught.value, PhoneSystemMissing) is ("not-connected" in case.file)
    assert caught.value.message == case.message


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.file.startswith(("leadping", "proxy"))], ids=name_of
)
async def test_leadping_raises_them(vendor: Sandbox, case: Case) -> None:
    """Problem details under any content type: the HTTP status is trusted, never the one in the body."""
    raw = (DATA / case.file).read_bytes()
    vendor.script("leadping.list", status(case.status, raw, case.headers, case.content_type or ""))
    async with Leadping(vendor.leadping_key, base_url=vendor.leadping_url, http=ONCE) as lp:
        with pytest.raises(case.kind) as caught:
            await lp.page("default")
    assert (caught.value.status, caught.value.message) == (case.status, case.message)
    assert caught.value.retry_after == case.retry_after


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.file.startswith(("agents", "proxy"))], ids=name_of
)
async def test_agent_numbers_raises_them(vendor: Sandbox, case: Case) -> None:
    """The message is found in every shape that was observed."""
    raw = (DATA / case.file).read_bytes()
    vendor.script("agents.list", status(case.status, raw, case.headers, case.content_type or ""))
    async with AgentNumbers(vendor.agents_key, base_url=vendor.agents_url, http=ONCE) as an:
        with pytest.raises(case.kind) as caught:
            await an.page("default")
    assert (caught.value.status, caught.value.message) == (case.status, case.message)


async def test_a_page_that_is_no_data_is_an_error_over_the_wire(vendor: Sandbox) -> None:
    """HTML with status 200 is an error, also under the content type of JSON."""
    page = (DATA / "proxy/challenge.html").read_bytes()
    for content_type in ("text/html", "application/json"):
        vendor.script("agents.list", body(page, content_type))
        async with AgentNumbers(vendor.agents_key, base_url=vendor.agents_url, http=ONCE) as an:
            with pytest.raises(NotJson, match="Just a moment") as caught:
                await an.page("default")
        assert (caught.value.backend, caught.value.account) == ("agents", "default")


async def test_a_write_that_answers_no_data_is_of_unknown_outcome(vendor: Sandbox) -> None:
    """A lost write is not sent again, and the error says how to find out."""
    vendor.script("leadping.create", body("<html>", "text/html"), repeat=True)
    async with Leadping(vendor.leadping_key, base_url=vendor.leadping_url) as lp:
        with pytest.raises(OutcomeUnknown, match=r"find\('\+14155552671'\)") as caught:
            await lp.create(name="Line", number="+14155552671")
    assert isinstance(caught.value.__cause__, NotJson)
    assert vendor.served["leadping.create", 200] == 1
