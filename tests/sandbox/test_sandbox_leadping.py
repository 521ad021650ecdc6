from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from phonesys.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FRESH = "+15005550006"


class Caller:
    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox, self._session = sandbox, session
        self.headers = {"Authorization": f"Bearer {sandbox.leadping_key}"}
        self.type = ""

    async def __call__(self, method: str, path: str = "", body: object = None) -> tuple[int, Any]:
        url = f"{self.sandbox.leadping_url}/phone-numbers{path}"
        async with self._session.request(method, url, headers=self.headers, json=body) as answer:
            self.type = answer.content_type
            raw = await answer.read()
            return answer.status, await answer.json(content_type=None) if raw else None

    async def list(self, **options: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        while True:
            status, page = await self("POST", "/all/organization", options)
            assert status == 200
            rows += page["items"]
            options["continuationToken"] = page["continuationToken"]
            if options["continuationToken"] is None:
                return rows

    def some(self) -> str:
        return next(iter(self.sandbox.state.leadping))

    @property
    def truth(self) -> frozenset[str]:
        return self.sandbox.truth["leadping", "default"]


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    async with Sandbox(locations=0, leadping=130) as sandbox, aiohttp.ClientSession() as session:
        yield Caller(sandbox, session)


async def test_the_list_is_complete(call: Caller) -> None:
    """One page leads to the next, until every number was there once."""
    for size in (7, 100):
        got = [row["number"] for row in await call.list(pageSize=size)]
        assert len(got) == 130
        assert set(got) == call.truth


async def test_a_page_says_what_it_is(call: Caller) -> None:
    """25 rows unless told otherwise, never more than 100, and a total only for those who ask."""
    _, page = await call("POST", "/all/organization", {})
    assert (len(page["items"]), page["pageSize"], page["totalCount"]) == (25, 25, None)
    _, page = await call("POST", "/all/organization", {"pageSize": 5000, "includeCount": True})
    assert (len(page["items"]), page["pageSize"], page["totalCount"]) == (100, 100, 130)
    assert set(page["items"][0]) - {"isDemo"} == {
        "id", "name", "number", "type", "organization", "organizationId", "enabled", "warmup", "ownership",
        "routingSummary", "smsReady", "voiceReady", "tenDlcCampaignStatus",
    }  # fmt: skip


async def test_some_numbers_are_demos(call: Caller) -> None:
    """They are numbers like the others, and the only ones that say what they are."""
    marked = [row["isDemo"] for row in await call.list(pageSize=100) if "isDemo" in row]
    assert marked
    assert all(marked)


async def test_the_list_can_be_narrowed_and_ordered(call: Caller) -> None:
    """Search, exact filters, ranges and order work together, across pages."""
    rows = await call.list(
        pageSize=3,
        search="LINE 1",
        filters=[{"field": "enabled", "value": True}],
        rangeFilters=[{"field": "warmup.healthScore", "greaterThanOrEqual": 20}],
        orderBy=[{"field": "warmup.healthScore", "direction": "desc"}, {"field": "name"}],
    )
    scores = [row["warmup"]["healthScore"] for row in rows]
    assert len(rows) > 3
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= 20
    assert all(row["enabled"] and row["name"].startswith("Line 1") for row in rows)


@pytest.mark.parametrize(
    "options",
    [
        {"pageSize": 0},
        {"pageSize": "many"},
        {"continuationToken": "!"},
        {"continuationToken": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
        {"filters": [{"field": "nothing", "value": 1}]},
        {"search": "x", "searchFields": ["nothing"]},
        {"orderBy": [{"field": "warmup"}]},
        {"rangeFilters": [{"field": "name", "greaterThan": 1}]},
    ],
)
async def test_senseless_lists_are_refused(call: Caller, options: dict[str, Any]) -> None:
    """What cannot be answered is a 400 with problem details, sent as plain JSON."""
    status, problem = await call("POST", "/all/organization", options)
    assert (status, call.type) == (400, "application/json")
    assert set(problem) == {"type", "title", "status", "detail", "instance"}
    assert problem["instance"] == "/phone-numbers/all/organization"


async def test_a_token_belongs_to_its_query(call: Caller) -> None:
    """A token may not be carried over to another question."""
    _, page = await call("POST", "/all/organization", {"pageSize": 10})
    options = {"continuationToken": page["continuationToken"], "search": "Line"}
    assert (await call("POST", "/all/organization", options))[0] == 400


async def test_deleting_while_paging_loses_nobody(call: Caller) -> None:
    """Rows that remain are each seen once, though rows before them went away in between."""
    _, page = await call("POST", "/all/organization", {"pageSize": 10})
    for row in page["items"][:4] + page["items"][-1:]:
        await call("DELETE", f"/{row['id']}")
    rest = await call.list(pageSize=10, continuationToken=page["continuationToken"])
    assert len({row["id"] for row in rest} | {row["id"] for row in page["items"]}) == 130


async def test_an_ordered_list_goes_on_where_its_last_row_was(call: Caller) -> None:
    """Whether that row is still there or not."""
    options: dict[str, Any] = {"pageSize": 10, "orderBy": [{"field": "number", "direction": "asc"}]}
    _, page = await call("POST", "/all/organization", options)
    options["continuationToken"] = page["continuationToken"]
    _, before = await call("POST", "/all/organization", options)
    await call("DELETE", f"/{page['items'][-1]['id']}")
    _, after = await call("POST", "/all/organization", options)
    assert before["items"] == after["items"]


async def test_what_is_created_is_there(call: Caller) -> None:
    """A created number can be read, is listed last, is part of the truth and was counted."""
    status, created = await call("POST", "", {"name": "New", "number": FRESH, "businessId": "biz"})
    assert (status, created["number"], created["organization"]["id"]) == (200, FRESH, "biz")
    assert (await call("GET", f"/{created['id']}"))[1] == created
    assert (await call.list(pageSize=100))[-1]["id"] == created["id"]
    assert FRESH in call.truth
    assert [(made.backend, made.id, made.number) for made in call.sandbox.created] == [
        ("leadping", created["id"], FRESH)
    ]


async def test_a_number_cannot_be_held_twice(call: Caller) -> None:
    """A second create of the same number or id is refused and not carried out."""
    body = {"name": "New", "number": FRESH, "id": "mine"}
    assert (await call("POST", "", body))[0] == 200
    assert (await call("POST", "", body))[0] == 400
    assert (await call("POST", "", {**body, "number": "+15005550007"}))[0] == 400
    assert len(call.sandbox.created) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"number": FRESH},
        {"name": "", "number": FRESH},
        {"name": "n" * 256, "number": FRESH},
        {"name": "New"},
        {"name": "New", "number": "5005550006"},
        {"name": "New", "number": FRESH, "enabled": "yes"},
        [],
    ],
)
async def test_invalid_numbers_are_refused(call: Caller, body: object) -> None:
    """The name and the number are required and checked; nothing is created otherwise."""
    status, problem = await call("POST", "", body)
    assert (status, problem["title"]) == (400, "Request validation failed")
    assert not call.sandbox.created


async def test_updates_are_visible(call: Caller) -> None:
    """An update replaces what it names, and keeps `enabled` if it does not."""
    _, before = await call("GET", f"/{call.some()}")
    status, after = await call("PUT", f"/{before['id']}", {"name": "Renamed", "number": FRESH})
    assert (status, after["name"], after["number"]) == (200, "Renamed", FRESH)
    assert after["enabled"] == before["enabled"]
    assert after["modifiedAt"] is not None
    assert FRESH in call.truth
    assert before["number"] not in call.truth


async def test_deleting_is_final(call: Caller) -> None:
    """204 without a body; after that the id is unknown, which DELETE says as text."""
    gone = call.some()
    assert await call("DELETE", f"/{gone}") == (204, None)
    assert (await call("GET", f"/{gone}"))[0] == 404
    assert len(call.truth) == 129
    status, problem = await call("DELETE", f"/{gone}")
    assert (status, call.type, problem["status"]) == (404, "text/plain", 404)


async def test_status_and_warmup_agree(call: Caller) -> None:
    """One asks by number, the other by id."""
    record = call.sandbox.state.leadping[call.some()]
    _, by_number = await call("GET", f"/%2B{record.number[1:]}/status?windowDays=7")
    _, by_id = await call("GET", f"/{record.id}/warmup?startDate=2026-01-01&endDate=2026-01-07")
    assert by_number["number"] == record.number
    assert by_number["smsWarmup"] == by_id["smsWarmup"]
    assert by_number["optOutMetrics"]["windowDays"] == by_id["trafficMetrics"]["windowDays"] == 7


@pytest.mark.parametrize("query", ["windowDays=0", "windowDays=x", "startDate=soon", "windowDays=366"])
async def test_senseless_windows_are_refused(call: Caller, query: str) -> None:
    """A report covers some days, up to a year."""
    assert (await call("GET", f"/{call.some()}/warmup?{query}"))[0] == 400


async def test_unknown_numbers_have_no_status(call: Caller) -> None:
    """No 404 is declared for these two, so there is none."""
    assert (await call("GET", f"/{FRESH}/status"))[0] == 400
    assert (await call("GET", "/nothing/warmup"))[0] == 400


async def test_numbers_can_be_looked_for(call: Caller) -> None:
    """What is offered is available until the organization holds it."""
    _, found = await call("POST", "/search", {"phoneNumber": "+1"})
    offer = found["numbers"][0]["number"]
    assert offer.startswith("+1")
    _, before = await call("POST", "/is-available-for-purchase", {"phoneNumber": offer})
    await call("POST", "", {"name": "Bought", "number": offer})
    _, after = await call("POST", "/is-available-for-purchase", {"phoneNumber": offer})
    assert (before["isAvailable"], after["isAvailable"]) == (True, False)


async def test_strangers_are_refused(call: Caller) -> None:
    """401 comes as plain JSON."""
    call.headers = {}
    assert (await call("GET", f"/{call.some()}"))[0] == 401
    assert call.type == "application/json"


async def test_bodies_must_be_json(call: Caller) -> None:
    """Another content type is refused as such, and one that ends in +json is taken."""
    call.headers["Content-Type"] = "text/plain"
    assert (await call("POST", "/search", {}))[0] == 415
    call.headers["Content-Type"] = "application/merge-patch+json"
    assert (await call("POST", "/search", {}))[0] == 200


async def test_the_limit_is_told_in_seconds() -> None:
    """429 comes as problem+json with Retry-After, and without quota headers."""
    async with (
        Sandbox(locations=0, leadping_limit=(1, 60.0)) as sandbox,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {sandbox.leadping_key}"}) as session,
    ):
        for _ in range(2):
            async with session.get(f"{sandbox.leadping_url}/phone-numbers/x") as answer:
                last = answer
        assert (last.status, last.content_type) == (429, "application/problem+json")
        assert 59 <= int(last.headers["Retry-After"]) <= 60
        assert not [name for name in last.headers if "ratelimit" in name.lower()]


async def test_the_older_schema_is_another_one() -> None:
    """`business` for `organization`, flat warm-up fields, integers in strings, and an optional number."""
    async with Sandbox(locations=0, leadping_schema="2025") as sandbox, aiohttp.ClientSession() as session:
        call = Caller(sandbox, session)
        status, made = await call("POST", "", {"name": "Any"})
        assert (status, made["number"] in call.truth) == (200, True)
        assert isinstance(made["warmupHealthScore"], str)
        assert {"business", "tenDlc", "billing", "events", "inventoryState"} <= set(made)
        assert not {"organization", "phoneIdentityId", "warmup"} & set(made)


def test_unknown_schemas_are_refused() -> None:
    """A misspelt generation is an error where it was written."""
    with pytest.raises(ValueError, match="schema"):
        Sandbox(leadping_schema="2024")  # type: ignore[arg-type]
