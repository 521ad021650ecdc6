from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from phonesys.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

FRESH = "+15005550006"


class Caller:
    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox, self._session = sandbox, session
        self.headers = {"X-API-Key": sandbox.agents_key}

    async def __call__(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        async with self._session.request(
            method, self.sandbox.agents_url + path, headers=self.headers, json=body
        ) as answer:
            return answer.status, await answer.json() if await answer.read() else None

    @property
    def agents(self) -> list[str]:
        return list(self.sandbox.state.agents)

    def some(self) -> str:
        return next(iter(self.sandbox.state.assignments))


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    async with Sandbox(locations=0, agents=120) as sandbox, aiohttp.ClientSession() as session:
        yield Caller(sandbox, session)


async def test_the_list_is_complete(call: Caller) -> None:
    """Pages count from one, hold fifty rows by default, and say whether there are more."""
    got: list[str] = []
    for number in (1, 2, 3):
        _, page = await call("GET", f"/numbers?page={number}")
        got += [row["phoneNumber"] for row in page["data"]]
        assert page["pagination"] == {
            "page": number, "limit": 50, "total": 120, "totalPages": 3, "hasMore": number < 3
        }  # fmt: skip
    assert len(got) == 120
    assert set(got) == call.sandbox.truth["agents", "default"]
    assert (await call("GET", "/numbers?page=4"))[1]["data"] == []


@pytest.mark.parametrize("query", ["page=0", "page=x", "limit=0", "limit=101", "limit="])
async def test_wrong_pages_are_refused(call: Caller, query: str) -> None:
    """The bounds are kept, and the error is where it was seen."""
    status, answer = await call("GET", f"/numbers?{query}")
    assert status == 400
    assert answer["error"]["message"]


async def test_status_narrows_the_list(call: Caller) -> None:
    """Every row is in the list of its status, and in no other."""
    sizes = [
        (await call("GET", f"/numbers?status={s}"))[1]["pagination"]["total"] for s in ("ACTIVE", "INACTIVE")
    ]
    assert sum(sizes) == 120
    assert min(sizes) > 0
    assert (await call("GET", "/numbers?status=NONE"))[1]["data"] == []


async def test_what_is_assigned_is_there(call: Caller) -> None:
    """An assignment can be read, is its agent's, and was counted."""
    agent = call.agents[2]
    status, made = await call("POST", "/numbers", {"phoneNumber": FRESH, "agentId": agent})
    row = made["data"]
    assert (status, row["phoneNumber"], row["agentId"], row["friendlyName"]) == (201, FRESH, agent, None)
    assert (await call("GET", f"/numbers/{row['id']}"))[1] == made
    assert row in (await call("GET", f"/agents/{agent}/numbers"))[1]["data"]
    assert [made.number for made in call.sandbox.created] == [FRESH]


async def test_assigning_twice_is_twice(call: Caller) -> None:
    """There is no idempotency: a repeated request makes a second record."""
    body = {"phoneNumber": FRESH, "agentId": call.agents[0]}
    ids = {(await call("POST", "/numbers", body))[1]["data"]["id"] for _ in range(2)}
    assert len(ids) == len(call.sandbox.created) == 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"agentId": "x"}, 400),
        ({"phoneNumber": FRESH}, 400),
        ({"phoneNumber": 5, "agentId": "x"}, 400),
        ({"phoneNumber": FRESH, "agentId": "nobody"}, 404),
    ],
)
async def test_invalid_assignments_are_refused(call: Caller, body: object, status: int) -> None:
    """Both fields are required, and the agent must exist."""
    assert (await call("POST", "/numbers", body))[0] == status
    assert not call.sandbox.created


async def test_updates_are_visible(call: Caller) -> None:
    """What is sent changes, null included, and what is not stays."""
    path = f"/numbers/{call.some()}"
    _, before = await call("GET", path)
    change = {"status": "PAUSED", "friendlyName": None, "agentId": call.agents[-1]}
    _, after = await call("PUT", path, change)
    assert after["data"] == before["data"] | change | {"updatedAt": after["data"]["updatedAt"]}
    _, again = await call("PUT", path, {})
    assert again["data"]["status"] == "PAUSED"
    assert (await call("PUT", path, {"agentId": "nobody"}))[0] == 400


async def test_deleting_answers_nothing(call: Caller) -> None:
    """200 without content, and then the id is unknown."""
    path = f"/numbers/{call.some()}"
    assert await call("DELETE", path) == (200, None)
    assert await call("DELETE", path) == (404, {"error": {"message": "Phone number not found"}})
    assert len(call.sandbox.truth["agents", "default"]) == 119


async def test_agents_can_be_listed(call: Caller) -> None:
    """By page, status and part of the name."""
    _, everyone = await call("GET", "/agents?limit=100")
    assert [agent["id"] for agent in everyone["data"]] == call.agents
    _, active = await call("GET", "/agents?status=ACTIVE&search=agent")
    assert active["pagination"]["total"] == 6
    _, one = await call("GET", "/agents?search=AGENT%203")
    assert [agent["name"] for agent in one["data"]] == ["Agent 3"]


async def test_every_number_is_some_agents(call: Caller) -> None:
    """The agents' lists together are the whole list; an unknown agent has none."""
    lists = [(await call("GET", f"/agents/{agent}/numbers"))[1]["data"] for agent in call.agents]
    assert sum(map(len, lists)) == 120
    assert (await call("GET", "/agents/nobody/numbers"))[0] == 404


async def test_strangers_are_refused(call: Caller) -> None:
    """A wrong key is as good as none."""
    call.headers["X-API-Key"] = "wrong"
    assert await call("GET", "/numbers") == (401, {"error": {"message": "Invalid API key"}})


async def test_a_body_of_another_type_is_none(call: Caller) -> None:
    """What is not sent as JSON is not read."""
    call.headers["Content-Type"] = "text/plain"
    body = {"phoneNumber": FRESH, "agentId": call.agents[0]}
    assert (await call("POST", "/numbers", body))[1] == {"error": {"message": "phoneNumber is required"}}


ROWS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "bare": (lambda page: page, lambda one: one),
    "data": (lambda page: page["data"], lambda one: one["data"]),
    "numbers": (lambda page: page["numbers"], lambda one: one["number"]),
    "items": (lambda page: page["items"], lambda one: one["data"]),
    "results": (lambda page: page["results"], lambda one: one["data"]),
    "nested": (lambda page: page["data"]["numbers"], lambda one: one["number"]),
}


@pytest.mark.parametrize("envelope", ROWS)
async def test_envelopes_wrap_pages_and_rows(envelope: Any) -> None:
    """Each envelope that was seen in use can be had."""
    async with (
        Sandbox(locations=0, agents=3, agents_envelope=envelope) as sandbox,
        aiohttp.ClientSession() as session,
    ):
        call = Caller(sandbox, session)
        of_page, of_one = ROWS[envelope]
        rows = of_page((await call("GET", "/numbers"))[1])
        assert {row["phoneNumber"] for row in rows} == sandbox.truth["agents", "default"]
        assert of_one((await call("GET", f"/numbers/{rows[0]['id']}"))[1]) == rows[0]


@pytest.mark.parametrize(
    ("paging", "expected"),
    [
        ("pagination", {"pagination": {"page": 1, "limit": 2, "total": 3, "totalPages": 2, "hasMore": True}}),
        ("meta", {"meta": {"page": 1, "limit": 2, "total": 3, "pages": 2}}),
        ("top", {"page": 1, "limit": 2, "total": 3, "totalPages": 2, "hasMore": True}),
        ("none", {}),
    ],
)
async def test_paging_is_where_it_was_asked_for(paging: Any, expected: dict[str, Any]) -> None:
    """Each place of paging that was seen in use can be had, in its own spelling."""
    async with (
        Sandbox(locations=0, agents=3, agents_paging=paging) as sandbox,
        aiohttp.ClientSession() as session,
    ):
        _, page = await Caller(sandbox, session)("GET", "/numbers?limit=2")
        assert len(page.pop("data")) == 2
        assert page == expected


async def test_a_limit_can_be_had() -> None:
    """None by default, since none is documented; else 429 with Retry-After."""
    async with (
        Sandbox(locations=0, agents_limit=(1, 30.0)) as sandbox,
        aiohttp.ClientSession(headers={"X-API-Key": sandbox.agents_key}) as session,
    ):
        for _ in range(2):
            async with session.get(f"{sandbox.agents_url}/numbers") as answer:
                last = answer
        assert last.status == 429
        assert 29 <= int(last.headers["Retry-After"]) <= 30


def test_unknown_envelopes_are_refused() -> None:
    """A misspelt envelope is an error where it was written."""
    with pytest.raises(ValueError, match="envelope"):
        Sandbox(agents_envelope="rows")  # type: ignore[arg-type]


async def test_an_agent_can_be_fetched(call: Caller) -> None:
    """Alone, by its id."""
    status, answer = await call("GET", f"/agents/{call.agents[1]}")
    assert (status, answer["data"]["id"]) == (200, call.agents[1])
    assert (await call("GET", "/agents/nobody"))[0] == 404


async def test_a_number_can_be_unassigned(call: Caller) -> None:
    """`agentId: null` unassigns it, and the filters of the guide tell both kinds apart."""
    id_ = call.some()
    status, answer = await call("PATCH", f"/numbers/{id_}", {"agentId": None})
    assert (status, answer["data"]["agentId"]) == (200, None)
    free = (await call("GET", "/numbers?status=unassigned"))[1]
    assert [row["id"] for row in free["data"]] == [id_]
    assert (await call("GET", "/numbers?status=assigned"))[1]["pagination"]["total"] == 119


async def test_the_list_can_be_narrowed_to_an_agent(call: Caller) -> None:
    """`agentId` keeps its numbers, and no others."""
    agent = call.agents[0]
    _, page = await call("GET", f"/numbers?agentId={agent}&limit=100")
    assert page["data"]
    assert {row["agentId"] for row in page["data"]} == {agent}


@pytest.mark.parametrize(("method", "other"), [("PUT", "PATCH"), ("PATCH", "PUT")])
async def test_one_method_updates(method: Any, other: str) -> None:
    """The other one is a 405 that names it, and changes nothing."""
    async with Sandbox(locations=0, agents_update=method) as sandbox, aiohttp.ClientSession() as session:
        call = Caller(sandbox, session)
        path = f"/numbers/{call.some()}"
        assert (await call(other, path, {"friendlyName": "Other"}))[0] == 405
        assert (await call("GET", path))[1]["data"]["friendlyName"] != "Other"
        assert (await call(method, path, {"friendlyName": "Other"}))[1]["data"]["friendlyName"] == "Other"


async def test_the_documented_envelope() -> None:
    """Lists are paged under `data`; single numbers and agents are bare."""
    async with (
        Sandbox(locations=0, agents_envelope="documented") as sandbox,
        aiohttp.ClientSession() as session,
    ):
        call = Caller(sandbox, session)
        _, page = await call("GET", "/numbers?limit=2")
        assert page.keys() == {"data", "pagination"}
        assert (await call("GET", f"/numbers/{call.some()}"))[1]["id"] == call.some()
        assert (await call("GET", f"/agents/{call.agents[0]}"))[1]["id"] == call.agents[0]


@pytest.mark.parametrize(
    ("paging", "said"),
    [
        ("count", {"count": 120}), ("totalCount", {"totalCount": 120}), ("total_pages", {"total_pages": 3}),
        ("last_page", {"last_page": 3}), ("has_more", {"has_more": True}), ("hasNext", {"hasNext": True}),
        ("hasNextPage", {"hasNextPage": True}), ("nextPage", {"nextPage": 2}), ("none", {}),
    ],
)  # fmt: skip
async def test_capped_pages_in_any_spelling(paging: Any, said: dict[str, Any]) -> None:
    """A page holds fifty rows instead of a hundred, and only this key tells that there are more."""
    async with (
        Sandbox(locations=0, agents=120, agents_paging=paging, page_cap=50) as sandbox,
        aiohttp.ClientSession() as session,
    ):
        _, page = await Caller(sandbox, session)("GET", "/numbers?limit=100")
    assert len(page.pop("data")) == 50
    assert page == said
