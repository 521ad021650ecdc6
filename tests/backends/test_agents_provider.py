from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, get_args

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given, settings
from hypothesis import strategies as st

from phonesys import (
    AgentNumber,
    AgentNumbers,
    BadRequest,
    InvalidArgument,
    NotFound,
    OutcomeUnknown,
    PerAccount,
    PhoneSystem,
    RepeatedPage,
)
from phonesys.backends.agents.provider import _next_pages, _page_size
from phonesys.backends.agents.wire import Rows
from phonesys.backends.paging import Paging, Position
from phonesys.model import UnreadableRow as RejectedRow
from phonesys.sandbox import Sandbox, drop_after
from phonesys.sandbox.agents import Envelope
from phonesys.sandbox.agents import Paging as Spelling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from phonesys import Cursor

FRESH = "+15005550006"
ROW = AgentNumber(number="+14155552671")
BAD = RejectedRow(raw=b"{}", reason="no number")


# Where next, without a network.


def rows(count: int, bad: int = 0, **paging: Any) -> Rows[AgentNumber]:
    return Rows(rows=(ROW,) * count, rejected=(BAD,) * bad, paging=Paging(**paging))


def following_of(number: int, page_size: int, answer: Rows[AgentNumber]) -> tuple[int, ...]:
    position = Position(number, page_size)
    following = _next_pages(position, _page_size(position, answer), answer)
    return tuple(one.number for one in following)


@pytest.mark.parametrize(
    ("number", "answer", "following"),
    [
        # Nothing is said: a page that is not full is the last.
        (1, rows(0), ()),
        (1, rows(9), ()),
        (1, rows(10), (2,)),
        (1, rows(4, bad=6), (2,)),
        (7, rows(10), (8,)),
        (7, rows(3), ()),
        # A count of pages: each names the next, since the page size behind the count is not sure.
        (1, rows(10, pages=4), (2,)),
        (1, rows(3, pages=4), (2,)),
        (2, rows(10, pages=4), (3,)),
        (2, rows(3, pages=4), (3,)),
        (4, rows(10, pages=4), (5,)),
        (4, rows(3, pages=4, has_more=True), (5,)),
        (4, rows(3, pages=4), ()),
        (1, rows(0, pages=0), ()),
        # How many numbers there are is said; the vendor's own page size counts.
        (1, rows(10, total=31), (2, 3, 4)),
        (1, rows(10, total=30), (2, 3)),
        (1, rows(10, total=10), ()),
        (1, rows(5, total=12, limit=5), (2, 3)),
        (1, rows(10, total=30, limit=0), (2, 3)),
        (1, rows(0, total=0), ()),
        # Whether there are more is said.
        (1, rows(3, has_more=True), (2,)),
        (5, rows(3, has_more=True), (6,)),
        (1, rows(10, has_more=False), ()),
        # Counts that cannot be, or that the page itself belies, are as good as none.
        (1, rows(10, total=3), (2,)),
        (1, rows(10, total=0), (2,)),
        (1, rows(3, pages=0), ()),
        (2, rows(10, pages=1), (3,)),
        (1, rows(3, pages=1, has_more=True), (2,)),
        (2, rows(3, pages=1, has_more=True), (3,)),
        (3, rows(3, pages=1, has_more=False), ()),
        (1, rows(10, pages=1_000_000), (2,)),
        (1, rows(9, pages=1_000_000), ()),
        (1, rows(9, pages=-1), ()),
        (1, rows(10, total=10**6), tuple(range(2, 100_001))),
        (1, rows(10, total=10**6 + 1), (2,)),
        (1, rows(10, total=10**7), (2,)),
        (1, rows(3, total=-4, has_more=True), (2,)),
    ],
)
def test_where_next(number: int, answer: Rows[AgentNumber], following: tuple[int, ...]) -> None:
    """All pages are named at once if the vendor counts rows, else each page names the next."""
    assert following_of(number, 10, answer) == following


@settings(deadline=None)
@given(
    numbers=st.integers(0, 90),
    page_size=st.integers(1, 12),
    cap=st.integers(1, 12),
    says=st.sets(st.sampled_from(["total", "limit", "pages", "has_more"])),
)
def test_every_number_is_read_once(numbers: int, page_size: int, cap: int, says: set[str]) -> None:
    """Any true statement of the vendor about its paging leads to every number once."""
    theirs = min(page_size, cap) if says & {"pages", "has_more"} or {"total", "limit"} <= says else page_size
    if "pages" not in says and "limit" not in says and theirs < page_size:
        says = says - {"total"}  # a total alone says nothing if the page size is not the one asked for
    work, named, read = [1], {1}, 0
    while work:
        number = work.pop()
        count = max(0, min(theirs, numbers - (number - 1) * theirs))
        read += count
        truth = {
            "total": numbers,
            "limit": theirs,
            "pages": -(-numbers // theirs),
            "has_more": number * theirs < numbers,
        }
        answer = rows(count, **{name: truth[name] for name in says})
        for cursor in following_of(number, page_size, answer):
            assert cursor not in named
            named.add(cursor)
            work.append(cursor)
    assert read == numbers


# On the sandbox.


@pytest.fixture
async def vendor() -> AsyncIterator[Sandbox]:
    async with Sandbox(locations=0, leadping=0, agents=60, agent_count=7, enforce_limits=False) as sandbox:
        yield sandbox


@asynccontextmanager
async def opened(vendor: Sandbox, **options: Any) -> AsyncIterator[AgentNumbers]:
    async with AgentNumbers(vendor.agents_key, base_url=vendor.agents_url, **options) as provider:
        yield provider


async def whole(provider: AgentNumbers, account: str = "default") -> list[AgentNumber]:
    work: list[Cursor | None] = [None]
    found: list[AgentNumber] = []
    while work:
        page = await provider.page(account, work.pop())
        assert page.account == account
        found.extend(page.numbers)
        work.extend(page.next)
    return found


SHAPES = [
    (envelope, paging)
    for envelope in get_args(Envelope)
    for paging in get_args(Spelling)
    if envelope != "bare" or paging == "none"  # an array has no room for paging
]


@pytest.mark.parametrize(("envelope", "paging"), SHAPES)
async def test_every_envelope_is_read_to_its_end(envelope: Envelope, paging: Spelling) -> None:
    """All operations, in each envelope and with each spelling of the paging."""
    async with Sandbox(
        locations=0,
        leadping=0,
        agents=60,
        agent_count=7,
        enforce_limits=False,
        agents_envelope=envelope,
        agents_paging=paging,
    ) as vendor:
        async with opened(vendor, page_size=7) as an:
            numbers = await whole(an)
            agents = await an.agents()
            mine = await an.of_agent(str(agents[0].id))
            one = await an.get(mine[0].id)
        assert sorted(n.number for n in numbers) == sorted(vendor.truth["agents", "default"])
        assert [agent.id for agent in agents] == list(vendor.state.agents)
        assert {n.number for n in numbers if n.assignee == agents[0].id} == {n.number for n in mine}
        assert (one.number, one.created_at) == (mine[0].number, mine[0].created_at)
        assert one.created_at is not None


@pytest.mark.parametrize("envelope", ["bare", "data", "numbers"])
async def test_the_life_of_an_assignment(envelope: Envelope) -> None:
    """Assigned, read, changed and deleted, whatever single numbers are wrapped in."""
    async with Sandbox(
        locations=0, leadping=0, agents=3, enforce_limits=False, agents_envelope=envelope
    ) as vendor:
        first, second = list(vendor.state.agents)[:2]
        async with opened(vendor, account="acme") as an:
            made = await an.assign(phone_number=FRESH, agent_id=first, friendly_name="Desk")
            assert (made.number, made.agent_id, made.label) == (FRESH, first, "Desk")
            assert (made.account, made.state) == ("acme", "ACTIVE")
            assert [(c.id, c.number) for c in vendor.created] == [(made.id, FRESH)]
            moved = await an.update(made.id, agent_id=second)
            assert (moved.agent_id, moved.label, moved.state) == (second, "Desk", "ACTIVE")
            paused = await an.update(made.id, status="PAUSED", friendly_name="Back door")
            assert (paused.agent_id, paused.label, paused.state) == (second, "Back door", "PAUSED")
            assert {n.number for n in await an.of_agent(second)} >= {FRESH}
            await an.delete(made.id)
            for ask in (an.get(made.id), an.delete(made.id), an.update(made.id, status="ACTIVE")):
                with pytest.raises(NotFound):
                    await ask
            with pytest.raises(NotFound):
                await an.of_agent("unknown")


async def test_status_narrows_the_list(vendor: Sandbox) -> None:
    """The filter is the vendor's word and is sent with every page."""
    async with opened(vendor, status="INACTIVE", page_size=2) as an:
        found = await whole(an)
    assert found
    assert {number.state for number in found} == {"INACTIVE"}


async def test_agents_can_be_narrowed(vendor: Sandbox) -> None:
    """Agents are filtered by status and by words in their names."""
    async with opened(vendor, page_size=2) as an:
        assert [agent.name for agent in await an.agents(search="agent 3")] == ["Agent 3"]
        assert {agent.status for agent in await an.agents(status="ACTIVE")} == {"ACTIVE"}


async def test_one_key_is_one_account(vendor: Sandbox) -> None:
    """The account is `default` unless named; `PerAccount` opens several accounts with several keys."""
    async with opened(vendor) as an:
        assert [account async for account in an.accounts()] == ["default"]
    async with opened(vendor, account="acme") as an:
        assert [account async for account in an.accounts()] == ["acme"]
        assert {number.account for number in await whole(an, "acme")} == {"acme"}


async def test_the_key_travels_in_its_own_header() -> None:
    """Each call carries the `X-API-Key` of its account."""
    from phonesys import ApiKey

    keys: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        keys.append(request.headers.get("X-API-Key"))
        assert "Authorization" not in request.headers
        return web.json_response([])

    app = web.Application()
    app.router.add_get("/numbers", answer)
    async with TestServer(app) as server:
        auth = PerAccount({"a": ApiKey("key_a"), "b": ApiKey("key_b")})
        async with AgentNumbers(auth=auth, base_url=str(server.make_url("/"))) as an:
            assert [account async for account in an.accounts()] == ["a", "b"]
            for account in ("b", "a"):
                assert (await an.page(account)).numbers == ()
    assert keys == ["key_b", "key_a"]


async def test_find_goes_through_all_pages(vendor: Sandbox) -> None:
    """The vendor has no search, so the facade reads the list."""
    wanted = max(vendor.truth["agents", "default"])
    provider = AgentNumbers(vendor.agents_key, base_url=vendor.agents_url, page_size=9)
    async with PhoneSystem(provider) as phones:
        assert [number.number for number in await phones.find(wanted)] == [wanted]


@pytest.mark.parametrize("cursor", [0, -1, "2", 1.5])
async def test_cursors_are_its_own(vendor: Sandbox, cursor: Any) -> None:
    """Anything else is refused before any request."""
    async with opened(vendor) as an:
        with pytest.raises(InvalidArgument, match="number of a page, from 1"):
            await an.page("default", cursor)
    assert not vendor.requests


async def test_what_no_vendor_could_take_is_refused_before_any_request(vendor: Sandbox) -> None:
    """Numbers that are not E.164, empty updates and empty ids are refused before any request."""
    async with opened(vendor) as an:
        for attempt in (
            an.assign(phone_number="4155552671", agent_id="agent_1"),
            an.assign(phone_number=FRESH, agent_id=""),
            an.update("num_1"),
            an.get("a\nb"),
            an.of_agent("."),
        ):
            with pytest.raises(InvalidArgument):
                await attempt
    assert not vendor.requests


async def test_the_vendors_refusals_are_its_own(vendor: Sandbox) -> None:
    """An unknown agent is an error in the vendor's words."""
    number = next(iter(vendor.state.assignments))
    async with opened(vendor) as an:
        with pytest.raises(BadRequest, match="Agent not found"):
            await an.update(number, agent_id="unknown")
        with pytest.raises(NotFound, match="Agent not found"):
            await an.assign(phone_number=FRESH, agent_id="unknown")


async def test_a_lost_assignment_is_not_repeated(vendor: Sandbox) -> None:
    """An assignment routes live calls: it is not sent twice, and the error says how to find out."""
    vendor.script("agents.assign", drop_after(), repeat=True)
    async with opened(vendor) as an:
        with pytest.raises(OutcomeUnknown, match="to find out: find"):
            await an.assign(phone_number=FRESH, agent_id=next(iter(vendor.state.agents)))
    assert len(vendor.created) == 1


# On servers that answer what the sandbox does not.


@asynccontextmanager
async def server(answer: Any) -> AsyncIterator[AgentNumbers]:
    async def handle(request: web.Request) -> web.Response:
        found = answer(request)
        return web.Response() if found is None else web.json_response(found)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as running:
        async with AgentNumbers("key_1", base_url=str(running.make_url("/")), page_size=2) as provider:
            yield provider


async def test_an_update_without_an_answer_is_read_back() -> None:
    """The caller gets the number as it is now either way."""
    row = {"id": "num_1", "phoneNumber": FRESH, "status": "PAUSED"}
    async with server(lambda request: row if request.method == "GET" else None) as an:
        number = await an.update("num_1", status="PAUSED")
    assert (number.number, number.state, number.account) == (FRESH, "PAUSED", "default")


async def test_agents_in_a_circle() -> None:
    """A vendor that ignores the page number is an error, and no endless loop."""

    def answer(request: web.Request) -> object:
        return {"agents": [{"id": 1}, {"id": 2}]} if int(request.query["page"]) < 9 else {"agents": []}

    async with server(answer) as an:
        with pytest.raises(RepeatedPage, match="no new row") as caught:
            await an.agents()
    assert (caught.value.backend, caught.value.operation) == ("agents", "list_agents")


async def test_agents_behind_a_flag() -> None:
    """`hasMore` alone leads on, page by page."""

    def answer(request: web.Request) -> object:
        page = int(request.query["page"])
        return {"results": [{"id": page}], "meta": {"hasMore": page < 3}}

    async with server(answer) as an:
        assert [agent.id for agent in await an.agents()] == [1, 2, 3]


async def test_bad_rows_reach_the_page() -> None:
    """Unreadable rows are kept beside the good ones, and count towards a full page."""
    async with server(lambda request: [{"phoneNumber": FRESH}, {"status": "odd"}]) as an:
        page = await an.page("default")
    assert [number.number for number in page.numbers] == [FRESH]
    assert [rejected.raw for rejected in page.rejected] == [b'{"status": "odd"}']
    assert page.next == (2,)


@pytest.mark.parametrize("listed", [True, False])
async def test_an_assignment_without_content_is_looked_up(listed: bool) -> None:
    """Without content, the assignment is found among the agent's numbers, or reported as requested."""

    async def made(request: web.Request) -> web.Response:
        return web.Response(status=201)

    async def of_agent(request: web.Request) -> web.Response:
        rows = [{"id": "num_7", "phoneNumber": "+14155552671", "agentId": "agent_1"}] if listed else []
        return web.json_response({"data": rows})

    app = web.Application()
    app.add_routes([web.post("/numbers", made), web.get("/agents/agent_1/numbers", of_agent)])
    async with TestServer(app) as server, AgentNumbers("k", base_url=str(server.make_url("/"))) as backend:
        given = await backend.assign(phone_number="+14155552671", agent_id="agent_1")
    assert (given.number, given.assignee) == ("+14155552671", "agent_1")
    assert given.id == ("num_7" if listed else "+14155552671")
