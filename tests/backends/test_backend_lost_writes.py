"""Lost writes against the sandbox and scripted vendors: what the error knows, and how it is cleared up."""

from __future__ import annotations

import asyncio
import pickle
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from phonesys import (
    AgentNumbers,
    AttemptTimeout,
    CallError,
    DecodeError,
    HttpOptions,
    InvalidArgument,
    LeadConnector,
    Leadping,
    NotFound,
    OutcomeUnknown,
    Reconciled,
    RepeatedPage,
    UnexpectedRedirect,
    UsageError,
    Write,
    WriteOutcome,
)
from phonesys.backends.reconcile import poll_until_done
from phonesys.provider import ReconcilesWrites, require
from phonesys.sandbox import Sandbox, drop, drop_after, faults, status
from phonesys.sandbox.leadping_wire import Schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from phonesys.sandbox import Fault

    Run = Callable[[Coroutine[Any, Any, Any]], Any]

FRESH = "+15005550006"
DONE, NOT_DONE, UNCLEAR = WriteOutcome.DONE, WriteOutcome.NOT_DONE, WriteOutcome.UNCLEAR
WRITES = ["create", "assign", "update number", "update assignment", "delete number", "delete assignment"]


class Vendors:
    """The two vendors that can be written to."""

    def __init__(self, sandbox: Sandbox, leadping: Leadping, agents: AgentNumbers) -> None:
        self.sandbox, self.leadping, self.agents = sandbox, leadping, agents
        self.held = next(iter(sandbox.state.leadping))
        self.assigned = next(iter(sandbox.state.assignments))
        self.agent = next(iter(sandbox.state.agents))

    async def lose(self, write: str, fault: Fault) -> OutcomeUnknown:
        """Make one write, whose request meets the fault."""
        calls: dict[str, tuple[str, Callable[[], Awaitable[Any]]]] = {
            "create": ("leadping.create", lambda: self.leadping.create(name="Desk", number=FRESH)),
            "assign": (
                "agents.assign",
                lambda: self.agents.assign(phone_number=FRESH, agent_id=self.agent, friendly_name="Desk"),
            ),
            "update number": ("leadping.update", lambda: self.leadping.update(self.held, name="Desk")),
            "update assignment": (
                "agents.update",
                lambda: self.agents.update(self.assigned, friendly_name="Desk"),
            ),
            "delete number": ("leadping.delete", lambda: self.leadping.delete(self.held)),
            "delete assignment": ("agents.delete", lambda: self.agents.delete(self.assigned)),
        }
        route, call = calls[write]
        self.sandbox.script(route, fault)
        with pytest.raises(OutcomeUnknown) as caught:
            await call()
        return caught.value


@asynccontextmanager
async def vendors(**options: Any) -> AsyncIterator[Vendors]:
    async with Sandbox(locations=0, leadping=20, agents=20, enforce_limits=False) as sandbox:
        http = HttpOptions(**options)
        leadping = Leadping(sandbox.leadping_key, base_url=sandbox.leadping_url, http=http)
        agents = AgentNumbers(sandbox.agents_key, base_url=sandbox.agents_url, http=http)
        async with leadping, agents:
            yield Vendors(sandbox, leadping, agents)


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("carried_out", [True, False])
async def test_a_lost_answer_is_cleared_up(write: str, carried_out: bool) -> None:
    """The error itself looks it up: done, with the current number, or not done."""
    async with vendors() as there:
        lost = await there.lose(write, drop_after() if carried_out else drop())
        found = await lost.reconcile(grace_period=0)
    assert found.outcome is (DONE if carried_out else NOT_DONE)
    if carried_out and not write.startswith("delete"):
        assert found.number is not None
        assert (found.number.label, found.number.account) == ("Desk", "default")
        assert found.number.id in {made.id for made in there.sandbox.created} | {there.held, there.assigned}
    else:
        assert found.number is None


@pytest.mark.parametrize("write", WRITES)
async def test_an_error_that_crossed_a_process_is_cleared_up_by_a_backend(write: str) -> None:
    """The facts survive pickling, the backend does not, and no credential is among them."""
    async with vendors() as there:
        lost = await there.lose(write, drop_after())
        raw = pickle.dumps(lost)
        assert not [k for k in (there.sandbox.leadping_key, there.sandbox.agents_key) if k.encode() in raw]
        here = pickle.loads(raw)  # noqa: S301 -- our own
        assert here.write == lost.write
        with pytest.raises(UsageError, match=r"backend\.reconcile\(error\), of an open '(leadping|agents)'"):
            await here.reconcile()
        able = require(there.leadping if here.backend == "leadping" else there.agents, ReconcilesWrites)
        assert (await able.reconcile(here)).outcome is DONE


async def test_facts_alone_are_enough() -> None:
    """A caller that cancelled the write has no error, but can describe the write."""
    async with vendors() as there:
        facts = Write(kind="create", account="default", number=FRESH, wanted={"name": "Desk"})
        there.sandbox.faults.add(faults.Latency(seconds=5, route="leadping.create"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await there.leadping.create(name="Desk", number=FRESH)
        assert (await there.leadping.reconcile(facts)).outcome is DONE


async def test_what_a_backend_has_not_written_it_does_not_look_up() -> None:
    """Errors of another backend, operations without facts and unsupported writes are refused."""
    async with vendors() as there:
        lost = await there.lose("create", drop())
        with pytest.raises(UsageError, match="'leadping' lost this response, not 'agents'"):
            await there.agents.reconcile(lost)
        assert lost.write is not None
        with pytest.raises(UsageError, match="'agents' has no 'create'; it has assign, update, delete"):
            await there.agents.reconcile(lost.write)
        bare = OutcomeUnknown("refresh_token may have been", recovery_hint="log in again").with_call(
            backend="leadping", operation="refresh_token", account=""
        )
        for ask in (bare.reconcile(), there.leadping.reconcile(bare)):
            with pytest.raises(UsageError, match="log in again"):
                await ask
    with pytest.raises(UsageError, match="'leadconnector' has no 'create'; it has purchase"):
        await LeadConnector("pit-1").reconcile(lost.write)


@pytest.mark.parametrize(
    "facts",
    [
        Write(kind="create", account="default", wanted={"enabled": True}),
        Write(kind="update", account="default", wanted={"name": "Desk"}),
        Write(kind="delete", account="default", number=FRESH),
        Write(kind="create", account="default", number=FRESH, started_at=datetime(2026, 1, 1)),  # noqa: DTZ001
    ],
)
async def test_facts_that_nothing_can_be_found_by_are_refused(facts: Write) -> None:
    """A write made by hand is validated before any request."""
    async with vendors() as there:
        with pytest.raises(InvalidArgument, match="write: "):
            await there.leadping.reconcile(facts)
        with pytest.raises(InvalidArgument, match="to look for"):
            await there.agents.reconcile(Write(kind="assign", account="default", number=FRESH))
        assert not there.sandbox.requests


def test_a_slow_vendor_is_waited_for(jumping: Run) -> None:
    """A write executed after the client gave up is seen within the grace period."""

    async def main() -> tuple[Reconciled[Any], Reconciled[Any], float]:
        async with vendors(timeout=2) as there:
            late = faults.Latency(seconds=20, when="regardless", route="agents.assign")
            there.sandbox.faults.add(late)
            with pytest.raises(OutcomeUnknown) as caught:
                await there.agents.assign(phone_number=FRESH, agent_id=there.agent)
            hasty = await caught.value.reconcile(grace_period=5)
            clock = asyncio.get_running_loop().time
            started = clock()
            return hasty, await caught.value.reconcile(), clock() - started

    hasty, found, waited = jumping(main())
    assert (hasty.outcome, found.outcome) == (NOT_DONE, DONE)
    assert 10 < waited < 20


def test_looks_are_spread_over_the_time_that_is_allowed(jumping: Run) -> None:
    """Pauses double, the last lookup is marked so, and the first success ends the polling."""
    write = Write(kind="create", account="default")

    async def main(done_at: int) -> list[tuple[float, bool]]:
        clock = asyncio.get_running_loop().time
        started, looks = clock(), list[tuple[float, bool]]()

        async def look(last: bool) -> Reconciled[Any]:
            looks.append((clock() - started, last))
            return Reconciled(outcome=DONE if len(looks) == done_at else UNCLEAR)

        await poll_until_done(look, write, 10.0)
        return looks

    assert [round(at) for at, _ in jumping(main(99))] == [0, 1, 3, 7, 10]
    assert [last for _, last in jumping(main(99))] == [False] * 4 + [True]
    assert len(jumping(main(2))) == 2


async def test_what_only_was_read_before_a_change_is_harmless() -> None:
    """An update that fails while it fetches the number has changed nothing, and says so."""
    async with vendors(timeout=0.1, retries=0) as there:
        there.sandbox.faults.add(faults.Latency(seconds=5, route="leadping.get", times=1))
        with pytest.raises(AttemptTimeout) as caught:
            await there.leadping.update(there.held, name="Desk")
        assert caught.value.not_executed
        with pytest.raises(NotFound):
            await there.leadping.update("unknown", name="Desk")


async def test_a_change_that_cannot_be_read_back_is_not_taken_for_one_that_failed() -> None:
    """Where the vendor answers without content, the number's own request may fail after the change."""

    def answer(request: web.Request) -> web.Response:
        return web.Response(status=500 if request.method == "GET" else 200)

    async with vendor(answer) as agents:
        with pytest.raises(OutcomeUnknown, match="accepted, but the number could not be read back") as caught:
            await agents.update("num_1", status="PAUSED")
    assert caught.value.write is not None
    assert (caught.value.write.kind, caught.value.write.wanted) == ("update", {"status": "PAUSED"})
    assert (caught.value.backend, caught.value.operation) == ("agents", "update_number")


@pytest.mark.parametrize(
    ("code", "proven"), [(301, True), (302, False), (303, False), (307, True), (308, True)]
)
async def test_a_redirect_proves_only_what_it_says(code: int, proven: bool) -> None:
    """301, 307 and 308 prove that nothing happened; 302 and 303 may lead to the result of a write."""
    async with vendors() as there:
        there.sandbox.script("leadping.create", status(code, headers={"Location": "/phone-numbers/pn_1"}))
        with pytest.raises(UnexpectedRedirect if proven else OutcomeUnknown) as caught:
            await there.leadping.create(name="Desk", number=FRESH)
        assert isinstance(caught.value, CallError)
        assert caught.value.not_executed is proven
        there.sandbox.script("leadping.get", status(code, headers={"Location": "/"}))
        with pytest.raises(UnexpectedRedirect):
            await there.leadping.get(there.held)


async def test_siblings_without_a_number_are_not_mistaken_for_each_other() -> None:
    """If one of two numbers of one name is lost, the other one is not mistaken for it."""
    async with Sandbox(locations=0, leadping=2, agents=0, leadping_schema="2025") as sandbox:
        async with Leadping(sandbox.leadping_key, base_url=sandbox.leadping_url) as leadping:
            sandbox.script("leadping.create", drop())
            with pytest.raises(OutcomeUnknown) as caught:
                await leadping.create(name="Line")
            assert (await caught.value.reconcile(grace_period=0)).outcome is NOT_DONE
            made = await leadping.create(name="Line")
            found = await caught.value.reconcile(grace_period=0)
            assert (found.outcome, [number.id for number in found.candidates]) == (UNCLEAR, [made.id])


async def test_both_generations_of_answers_are_compared() -> None:
    """The organization is the business in the older one, and the switch is compared too."""
    for schema in get_args(Schema):
        async with Sandbox(locations=0, leadping=2, agents=0, leadping_schema=schema) as sandbox:
            async with Leadping(sandbox.leadping_key, base_url=sandbox.leadping_url) as leadping:
                sandbox.script("leadping.create", drop_after())
                with pytest.raises(OutcomeUnknown) as caught:
                    await leadping.create(name="Line", number=FRESH, organization_id="org_9", enabled=False)
                assert caught.value.write is not None
                assert (await caught.value.reconcile(grace_period=0)).outcome is DONE
                for wanted in ({"organization_id": "org_1"}, {"enabled": True}, {"business_id": "b"}):
                    other = Write(
                        kind="create",
                        account="default",
                        number=FRESH,
                        wanted=caught.value.write.wanted | wanted,
                        started_at=caught.value.write.started_at,
                    )
                    assert (await leadping.reconcile(other, grace_period=0)).outcome is UNCLEAR


# Where something cannot be read.

LOST = Write(kind="create", account="default", number=FRESH, wanted={"name": "Desk"})


@pytest.mark.parametrize(
    "listing",
    [
        {"items": [{"id": "pn_1", "name": "Desk"}]},
        {"items": [{"number": FRESH, "name": "Desk"}]},
        {"items": [], "continuationToken": "round"},
    ],
)
async def test_what_cannot_be_read_may_be_it(listing: Any) -> None:
    """A row without number or id, or an endless list, makes the outcome unclear."""
    async with _leadping(lambda _: web.json_response(listing)) as leadping:
        assert (await leadping.reconcile(LOST, grace_period=0)).outcome is UNCLEAR


async def test_an_empty_token_ends_the_list() -> None:
    """An empty token ends the list, as it does for a sweep."""
    listing = {"items": [], "continuationToken": ""}
    async with _leadping(lambda _: web.json_response(listing)) as leadping:
        assert (await leadping.reconcile(LOST, grace_period=0)).outcome is NOT_DONE


async def test_a_number_that_is_deleted_while_it_is_looked_at_is_not_there() -> None:
    """A number that was listed and is not found any more does not exist."""

    def answer(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.Response(status=404)
        return web.json_response({"items": [{"id": "pn_1", "number": FRESH, "name": "Desk"}]})

    async with _leadping(answer) as leadping:
        assert (await leadping.reconcile(LOST, grace_period=0)).outcome is NOT_DONE
        gone = Write(kind="update", account="default", number_id="pn_1", wanted={"name": "Desk"})
        assert (await leadping.reconcile(gone, grace_period=0)).outcome is UNCLEAR


ASSIGNED = Write(kind="assign", account="default", number=FRESH, wanted={"agent_id": "agent_1"})


async def test_an_assignment_that_cannot_be_read_may_be_it() -> None:
    """An unreadable row of the agent or of the whole list makes the outcome unclear."""

    def answer(request: web.Request) -> web.Response:
        if request.path == "/numbers":
            return web.json_response([{"id": "num_1", "phoneNumber": {"e164": FRESH}}])
        return web.Response(status=404)

    async with vendor(answer) as agents:
        assert (await agents.reconcile(ASSIGNED, grace_period=0)).outcome is UNCLEAR
        gone = Write(kind="update", account="default", number_id="num_1", wanted={"status": "ACTIVE"})
        assert (await agents.reconcile(gone, grace_period=0)).outcome is UNCLEAR


async def test_a_list_that_never_stands_still_proves_nothing() -> None:
    """Rows that move from page to page may hide the one that is looked for."""
    first = 0

    def answer(request: web.Request) -> web.Response:
        nonlocal first
        if request.path.startswith("/agents"):
            return web.json_response([])
        first += 1
        start = first + 2 * int(request.query["page"])
        rows = [{"id": f"num_{n}", "phoneNumber": "+14155552671"} for n in (start, start + 1)]
        return web.json_response(rows if request.query["page"] in "123" else [])

    async with vendor(answer) as agents:
        assert (await agents.reconcile(ASSIGNED, grace_period=0)).outcome is UNCLEAR


# Lists of agents and of their numbers.


async def test_an_agent_that_cannot_be_read_is_not_left_out() -> None:
    """The error shows the row: nothing is lost without a word."""
    answer = {"agents": [{"id": "a"}, {"name": "no id"}], "hasMore": False}
    async with vendor(lambda _: web.json_response(answer)) as agents:
        with pytest.raises(DecodeError, match="a row cannot be read") as caught:
            await agents.agents()
    assert caught.value.body == b'{"name": "no id"}'
    assert (caught.value.backend, caught.value.operation) == ("agents", "list_agents")


@pytest.mark.parametrize("says", ["hasMore", "totalPages", "total"])
async def test_an_agents_numbers_are_read_on_where_the_answer_says_more(says: str) -> None:
    """The vendor documents no pages; one that has them after all is not cut short."""
    asked: list[str] = []

    def answer(request: web.Request) -> web.Response:
        asked.append(request.query_string)
        page = int(request.query.get("page", "1"))
        rows = [{"id": f"num_{page}{n}", "phoneNumber": FRESH} for n in range(2)]
        truth = {"hasMore": page < 3, "totalPages": 3, "total": 6}
        return web.json_response({"data": rows, "pagination": {says: truth[says]}})

    async with vendor(answer) as agents:
        assert [number.id for number in await agents.of_agent("a")] == [
            "num_10", "num_11", "num_20", "num_21", "num_30", "num_31",
        ]  # fmt: skip
    assert asked == ["", "page=2", "page=3"]


async def test_more_that_never_comes_is_an_error() -> None:
    """A response that always announces more and repeats itself is an error."""
    rows = {"data": [{"id": "num_1", "phoneNumber": FRESH}], "total": 7}
    async with vendor(lambda _: web.json_response(rows)) as agents:
        with pytest.raises(RepeatedPage, match="page 2 has no new row") as caught:
            await agents.of_agent("a")
    assert (caught.value.backend, caught.value.operation) == ("agents", "numbers_of_agent")


@asynccontextmanager
async def vendor(answer: Callable[[web.Request], web.Response]) -> AsyncIterator[AgentNumbers]:
    async with _server(answer) as url:
        async with AgentNumbers("key_1", base_url=url, page_size=2, http=HttpOptions(retries=0)) as agents:
            yield agents


@asynccontextmanager
async def _leadping(answer: Callable[[web.Request], web.Response]) -> AsyncIterator[Leadping]:
    async with _server(answer) as url, Leadping("sk_1", base_url=url) as leadping:
        yield leadping


@asynccontextmanager
async def _server(answer: Callable[[web.Request], web.Response]) -> AsyncIterator[str]:
    async def handle(request: web.Request) -> web.Response:
        return answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))
