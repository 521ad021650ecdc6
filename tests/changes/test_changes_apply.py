"""Applying plans on the sandbox: outcomes, lost responses, runs that are taken up, undo, permissions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import (
    Action,
    AgentNumbers,
    ChangeOutcome,
    ChangeRequest,
    InvalidArgument,
    Leadping,
    NotPermitted,
    PhoneSystem,
    RateLimit,
    RunSuperseded,
    UnknownProvider,
    UsageError,
    Write,
)
from phonesys.changes import MemoryJournal
from phonesys.inventory import Inventory
from phonesys.sandbox import Sandbox, drop, drop_after, faults, status
from tests.changes.desk import FRESH, open_desk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phonesys import ChangeResult, Plan
    from phonesys.changes import RunState
    from phonesys.sandbox import Fault
    from tests.changes.desk import Desk

DONE, CONFLICT, REJECTED = ChangeOutcome.DONE, ChangeOutcome.CONFLICT, ChangeOutcome.REJECTED
UNCLEAR, NOT_REACHED = ChangeOutcome.UNCLEAR, ChangeOutcome.NOT_REACHED
OTHER = "+15005550007"


def every_change(desk: Desk) -> list[ChangeRequest]:
    """Every change that the three vendors document."""
    rows, numbers, agents = desk.assigned, desk.leadping, desk.agents
    rows[1].friendly_name = "Line"  # one without a label could not get it back
    sold = next(number for number in desk.sandbox.state.for_sale(100) if number.startswith("+1"))
    return [
        ChangeRequest(id=rows[0].id, fields={"assignee": agents[-1]}),
        ChangeRequest(id=rows[1].id, fields={"assignee": None, "label": "Free"}),
        ChangeRequest(id=rows[2].id, fields={"label": "Desk"}),
        ChangeRequest(
            id=rows[3].id, fields={"status": "active" if rows[3].status == "INACTIVE" else "inactive"}
        ),
        ChangeRequest(id=rows[4].id, action=Action.DELETE),
        ChangeRequest(
            backend="agents",
            number=FRESH,
            action=Action.CREATE,
            fields={"assignee": agents[0], "label": "New"},
        ),
        ChangeRequest(id=numbers[0].id, fields={"label": "Main"}),
        ChangeRequest(id=numbers[1].id, fields={"is_enabled": not numbers[1].enabled}),
        ChangeRequest(id=numbers[2].id, fields={"organization": "org_2"}),
        ChangeRequest(id=numbers[3].id, action=Action.DELETE),
        ChangeRequest(
            backend="leadping",
            number=FRESH,
            action=Action.CREATE,
            fields={"label": "New", "is_enabled": "false"},
        ),
        ChangeRequest(backend="leadping", number=OTHER, action=Action.BUY, fields={"label": "Bought"}),
        ChangeRequest(
            backend="leadconnector",
            account=desk.sandbox.location_ids[0],
            number=sold,
            action=Action.BUY,
            fields={"country": "US"},
        ),
    ]


def state_of(desk: Desk) -> tuple[dict[str, Any], ...]:
    """The fields that changes set, by number."""
    return (
        {row.number: (row.agent_id, row.friendly_name, row.status) for row in desk.assigned},
        {one.number: (one.name, one.enabled, one.organization_id) for one in desk.leadping},
    )


async def test_everything_documented_is_carried_out(desk: Desk) -> None:
    """Each change once. The vendors then hold what was planned, and planning it again finds nothing to do."""
    changes = every_change(desk)
    rows, numbers = desk.assigned, desk.leadping
    plan = await desk.phones.plan(changes)
    results = await desk.apply(plan)
    assert {result.outcome for result in results.values()} == {DONE}
    assert all(result.written for result in results.values())
    assigned, held = state_of(desk)
    assert assigned[rows[0].number][0] == desk.agents[-1]
    assert assigned[rows[1].number][:2] == (None, "Free")
    assert assigned[FRESH] == (desk.agents[0], "New", "ACTIVE")
    assert rows[4].number not in assigned
    assert held[numbers[0].number][0] == "Main"
    assert held[numbers[2].number][2] == "org_2"
    assert numbers[3].number not in held
    assert held[FRESH][:2] == ("New", False)
    location = desk.sandbox.state.location(desk.sandbox.location_ids[0])
    assert location is not None
    assert plan.changes[-1].number in location.numbers
    remaining = [change for change in changes if change.action is not Action.DELETE]
    again = await desk.phones.plan(remaining)
    assert (again.changes, again.unchanged) == ((), len(remaining))


async def test_the_same_plan_changes_nothing_the_second_time(desk: Desk) -> None:
    """Without a journal each number is found as planned. With one, nothing is even looked at."""
    journal = MemoryJournal()
    plan = await desk.phones.plan(every_change(desk))
    first = await desk.apply(plan, journal=journal)
    state, requests = state_of(desk), desk.sandbox.served.total()
    assert await desk.apply(plan, journal=journal) == first
    assert desk.sandbox.served.total() == requests
    unjournaled = await desk.apply(plan)
    assert {result.outcome for result in unjournaled.values()} == {DONE}
    assert not any(result.written for result in unjournaled.values())
    assert state_of(desk) == state


WRITES: dict[str, Callable[[Desk], ChangeRequest]] = {
    "agents.update": lambda desk: ChangeRequest(id=desk.assigned[0].id, fields={"assignee": desk.agents[-1]}),
    "agents.delete": lambda desk: ChangeRequest(id=desk.assigned[0].id, action=Action.DELETE),
    "agents.assign": lambda desk: ChangeRequest(
        backend="agents", number=FRESH, action=Action.CREATE, fields={"assignee": desk.agents[0]}
    ),
    "leadping.update": lambda desk: ChangeRequest(id=desk.leadping[0].id, fields={"label": "Main"}),
    "leadping.delete": lambda desk: ChangeRequest(id=desk.leadping[0].id, action=Action.DELETE),
    "leadping.create": lambda desk: ChangeRequest(
        backend="leadping", number=FRESH, action=Action.BUY, fields={"label": "Bought"}
    ),
    "leadconnector.purchase": lambda desk: ChangeRequest(
        backend="leadconnector",
        account=desk.sandbox.location_ids[0],
        number=next(number for number in desk.sandbox.state.for_sale(100) if number.startswith("+1")),
        action=Action.BUY,
        fields={"country": "US"},
    ),
}


async def planned(desk: Desk, route: str) -> Plan:
    return await desk.phones.plan([WRITES[route](desk)])


@pytest.mark.parametrize("route", WRITES)
async def test_a_response_that_was_lost_is_looked_up(desk: Desk, route: str) -> None:
    """The vendor carried it out: done, with a single request."""
    plan = await planned(desk, route)
    desk.sandbox.script(route, drop_after())
    (result,) = (await desk.apply(plan)).values()
    assert (result.outcome, result.written) == (DONE, True)
    assert desk.served(route) == 1


@pytest.mark.parametrize("route", WRITES)
async def test_a_request_that_was_lost_is_sent_again(desk: Desk, route: str) -> None:
    """Once it is known that the vendor never carried it out."""
    plan = await planned(desk, route)
    desk.sandbox.script(route, drop())
    (result,) = (await desk.apply(plan)).values()
    assert (result.outcome, result.written) == (DONE, True)
    assert desk.served(route) == 2


@pytest.mark.parametrize("route", WRITES)
async def test_a_refusal_has_the_vendors_reason(desk: Desk, route: str) -> None:
    """It is not sent again, also when the plan is applied again."""
    journal = MemoryJournal()
    plan = await planned(desk, route)
    desk.sandbox.script(route, status(422, {"message": "Not on a Sunday"}))
    (result,) = (await desk.apply(plan, journal=journal)).values()
    assert result.outcome is REJECTED
    assert "422" in result.reason
    assert await desk.apply(plan, journal=journal) == {1: result}
    assert desk.served(route) == 1


@pytest.mark.parametrize("route", WRITES)
async def test_a_passing_refusal_is_taken_up_again(desk: Desk, route: str) -> None:
    """A spent quota proves that nothing was changed: the change is not reached, and done the next time."""
    journal = MemoryJournal()
    plan = await planned(desk, route)
    desk.sandbox.script(route, status(429))
    (result,) = (await desk.apply(plan, journal=journal)).values()
    assert result.outcome is NOT_REACHED
    assert "429" in result.reason
    (result,) = (await desk.apply(plan, journal=journal)).values()
    assert (result.outcome, result.written) == (DONE, True)
    assert desk.served(route) == 2


CONFLICTS: dict[str, Any] = {
    "label": lambda row: setattr(row, "friendly_name", "Office"),
    "assignee": lambda row: setattr(row, "agent_id", None),
    "status": lambda row: setattr(row, "status", "INACTIVE" if row.status == "ACTIVE" else "ACTIVE"),
}


@pytest.mark.parametrize("field", CONFLICTS)
@pytest.mark.parametrize("action", [Action.UPDATE, Action.DELETE])
async def test_a_number_that_is_not_as_planned_stays_untouched(
    desk: Desk, field: str, action: Action
) -> None:
    """Whatever field changed since, also one that the plan does not set."""
    row = desk.assigned[0]
    fields = {"assignee": desk.agents[-1]} if action is Action.UPDATE else {}
    plan = await desk.phones.plan([ChangeRequest(id=row.id, action=action, fields=fields)])
    CONFLICTS[field](row)
    (result,) = (await desk.apply(plan)).values()
    assert result.outcome is CONFLICT
    assert result.reason.startswith(f"{field} is ")
    assert desk.served("agents.update") == desk.served("agents.delete") == 0


async def test_a_number_that_is_gone_or_was_taken_is_a_conflict(desk: Desk) -> None:
    """A number that was to be deleted and is gone is as planned."""
    rows = desk.assigned
    plan = await desk.phones.plan(
        [
            ChangeRequest(id=rows[0].id, fields={"label": "Desk"}),
            ChangeRequest(id=rows[1].id, action=Action.DELETE),
            WRITES["agents.assign"](desk),
            WRITES["leadping.create"](desk),
        ]
    )
    del desk.sandbox.state.assignments[rows[0].id], desk.sandbox.state.assignments[rows[1].id]
    desk.sandbox.state.assign(number=FRESH, agent_id=desk.agents[-1], friendly_name=None)
    desk.sandbox.state.create_leadping(
        name="Other", number=FRESH, organization_id=None, enabled=True, id_=None
    )
    results = await desk.apply(plan)
    assert [results[place].outcome for place in (1, 2, 3, 4)] == [CONFLICT, DONE, CONFLICT, CONFLICT]
    assert results[1].reason == "the number is not held any more"
    assert results[3].reason == "the number is held already"


async def test_what_only_a_person_can_decide_is_unclear(desk: Desk) -> None:
    """The candidates are named. Applying the plan again looks again, and never writes."""
    journal = MemoryJournal()
    plan = await planned(desk, "leadping.create")

    async def taken(exchange: Any) -> Any:
        desk.sandbox.state.create_leadping(
            name="Other", number=FRESH, organization_id=None, enabled=True, id_=None
        )
        return await drop()(exchange)

    desk.sandbox.script("leadping.create", taken)
    for _ in range(2):
        (result,) = (await desk.apply(plan, journal=journal)).values()
        assert result.outcome is UNCLEAR
        assert result.candidates == (desk.leadping[-1].id,)
    assert desk.served("leadping.create") == 1


async def test_a_vendor_that_ignores_a_field_is_found_out(desk: Desk) -> None:
    """Its success is no proof: the number is looked at again."""
    plan = await planned(desk, "agents.update")
    row = desk.assigned[0]
    raw = {"id": row.id, "phoneNumber": row.number, "agentId": row.agent_id, "status": row.status}
    desk.sandbox.script("agents.update", status(200, raw))
    (result,) = (await desk.apply(plan)).values()
    assert result.outcome is UNCLEAR
    assert result.reason == f"the vendor accepted the change, but the number has assignee {row.agent_id}"


class Killed(BaseException):
    """The end of the process."""


class Dying:
    """A journal whose process is killed at its n-th record."""

    def __init__(self, journal: MemoryJournal, after: int) -> None:
        self._journal, self._left = journal, after
        self.open_run, self.close_run = journal.open_run, journal.close_run

    async def record_intent(self, run: RunState, position: int, write: Write, /) -> None:
        self._die()
        await self._journal.record_intent(run, position, write)

    async def record_result(self, run: RunState, result: ChangeResult, /) -> None:
        self._die()
        await self._journal.record_result(run, result)

    def _die(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Killed


@pytest.mark.parametrize("lost", [drop(), drop_after()], ids=["request", "response"])
async def test_a_run_that_was_killed_is_taken_up(lost: Fault) -> None:
    """At every record: what is done is not repeated, what is unknown is looked up, what is left is done."""
    async with open_desk() as desk:
        rows, numbers = desk.assigned, desk.leadping
        apart = [
            ChangeRequest(id=rows[1].id, action=Action.DELETE),
            ChangeRequest(id=numbers[1].id, action=Action.DELETE),
        ]
        others = [make(desk) for route, make in WRITES.items() if not route.endswith("delete")]
        plan = await desk.phones.plan([*others, *apart])
        for route in WRITES:
            desk.sandbox.script(route, lost)
        journal, killed = MemoryJournal(), 0
        for _ in range(100):
            try:
                results = await desk.apply(plan, journal=Dying(journal, 2), concurrency=1)
                break
            except Killed:
                killed += 1
        assert killed >= len(WRITES) / 2
        assert [result for result in results.values() if result.outcome is not DONE] == []
        made = [(one.backend, one.number) for one in desk.sandbox.created]
        assert len(made) == len(set(made)) == 3


async def test_cancelling_leaves_a_true_journal(desk: Desk) -> None:
    """A write under way has an intent and no result, so that it is looked up, and not sent again."""
    journal = MemoryJournal()
    plan = await planned(desk, "agents.assign")
    desk.sandbox.faults.add(faults.Latency(seconds=30, route="agents.assign", when="after"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await desk.apply(plan, journal=journal)
    known = await journal.open_run(plan)
    assert (list(known.intents), known.results) == ([1], {})
    (result,) = (await desk.apply(plan, journal=journal)).values()
    assert (result.outcome, result.number) == (DONE, FRESH)
    assert desk.served("agents.assign") == 1
    assert [row.number for row in desk.assigned].count(FRESH) == 1


async def test_leaving_the_block_stops_the_run(desk: Desk) -> None:
    """Nothing is changed after it, and the rest is done by the next run."""
    journal = MemoryJournal()
    changes = [ChangeRequest(id=row.id, fields={"label": "Desk"}) for row in desk.assigned]
    plan = await desk.phones.plan(changes)
    async with desk.phones.apply(plan, journal=journal, concurrency=1) as run:
        async for _ in run:
            break
    sent = desk.served("agents.update")
    assert sent < len(changes)
    results = await desk.apply(plan, journal=journal)
    assert {result.outcome for result in results.values()} == {DONE}
    assert desk.served("agents.update") <= len(changes) + 1


async def test_a_run_stops_after_so_many_failures(desk: Desk) -> None:
    """The rest is not reached, and a later run does it."""
    journal = MemoryJournal()
    changes = [ChangeRequest(id=row.id, fields={"label": "Desk"}) for row in desk.assigned]
    plan = await desk.phones.plan(changes)
    desk.sandbox.script("agents.update", status(422), status(422))
    results = await desk.apply(plan, journal=journal, max_failures=2, concurrency=1)
    outcomes = [result.outcome for result in results.values()]
    assert outcomes == [REJECTED, REJECTED, *[NOT_REACHED] * (len(changes) - 2)]
    assert results[8].reason == "the run stopped after 2 failures"
    again = await desk.apply(plan, journal=journal)
    assert [again[place].outcome for place in sorted(again)] == [REJECTED, REJECTED, *[DONE] * 6]


async def test_the_changes_of_one_number_are_made_in_order(desk: Desk) -> None:
    """A number is deleted, then assigned anew; if the first fails, the second is not tried."""
    row = desk.assigned[0]
    changes = [
        ChangeRequest(id=row.id, action=Action.DELETE),
        ChangeRequest(
            backend="agents",
            number=row.number,
            action=Action.CREATE,
            fields={"assignee": desk.agents[-1]},
        ),
    ]
    plan = await desk.phones.plan(changes)
    desk.sandbox.script("agents.delete", status(422))
    results = await desk.apply(plan)
    assert [results[1].outcome, results[2].outcome] == [REJECTED, NOT_REACHED]
    assert results[2].reason == "change 1 of the same number was not carried out"
    plan = await desk.phones.plan(changes)
    results = await desk.apply(plan)
    assert [results[1].outcome, results[2].outcome] == [DONE, DONE]
    assert [one.agent_id for one in desk.assigned if one.number == row.number] == [desk.agents[-1]]


async def test_risks_need_a_permission(desk: Desk) -> None:
    """Before anything is sent. Each is named, with its word."""
    plan = await desk.phones.plan([ChangeRequest(id=desk.assigned[0].id, fields={"assignee": None})])
    with pytest.raises(NotPermitted, match=r"permission \(unroute\): no calls reach \+"):
        desk.phones.apply(plan)
    with pytest.raises(NotPermitted, match="1 of the 8 numbers of agents default are touched, more than 10%"):
        desk.phones.apply(plan, max_share=0.1, allow=["unroute"])
    with pytest.raises(InvalidArgument, match="allow: expected share or unroute, got 'all'"):
        desk.phones.apply(plan, allow=["all"])
    async with desk.phones.apply(plan, max_share=0.1, allow=["share", "unroute"]) as run:
        assert [result.outcome async for result in run] == [DONE]
    assert run.outcomes == {DONE: 1}


async def test_a_plan_that_was_edited_is_validated_again(desk: Desk) -> None:
    """A plan is a file: what the backend cannot do is refused before anything is sent."""
    plan = await desk.phones.plan([ChangeRequest(id=desk.assigned[0].id, fields={"label": "Desk"})])
    data = plan.to_jsonl()
    edited = type(plan).from_jsonl(data.replace(b'"new":{"label"', b'"new":{"country"'))
    with pytest.raises(InvalidArgument, match="cannot set country, as change 1 of the plan asks"):
        desk.phones.apply(edited)
    strange = type(plan).from_jsonl(data.replace(b'"backend":"agents"', b'"backend":"acme"'))
    with pytest.raises(UnknownProvider, match="the plan is about backend 'acme'; there are: 'agents'"):
        desk.phones.apply(strange)


async def test_a_plan_is_not_edited_once_its_run_has_begun(desk: Desk, tmp_path: Path) -> None:
    """The outcomes that the journal knows would be those of other changes."""
    plan = await desk.phones.plan([ChangeRequest(id=desk.assigned[0].id, fields={"label": "Desk"})])
    edited = type(plan).from_jsonl(plan.to_jsonl().replace(b'"Desk"', b'"Office"'))
    async with Inventory(tmp_path / "inventory.db") as inventory:
        for journal in (MemoryJournal(), inventory):
            await desk.apply(plan, journal=journal)
            with pytest.raises(InvalidArgument, match="was edited after its run had begun"):
                await desk.apply(edited, journal=journal)
    assert desk.assigned[0].friendly_name == "Desk"


async def test_a_plan_without_changes_is_done_at_once(desk: Desk) -> None:
    """And its undo is empty, too."""
    async with desk.phones.apply(await desk.phones.plan([])) as run:
        assert [result async for result in run] == []
    assert run.undo().changes == ()


async def test_two_processes_do_not_carry_out_one_plan(desk: Desk) -> None:
    """The one that takes the run up is the only one that writes."""
    journal = MemoryJournal()
    plan = await desk.phones.plan(
        [ChangeRequest(id=row.id, fields={"label": "Desk"}) for row in desk.assigned]
    )

    async def apply_twice() -> None:
        async with desk.phones.apply(plan, journal=journal, concurrency=1) as run:
            async for _ in run:
                await journal.open_run(plan)

    with pytest.raises(RunSuperseded, match="was taken up by another process"):
        await apply_twice()
    assert desk.served("agents.update") < len(plan.changes)


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"max_failures": 0}, {"max_share": 2}])
async def test_options_are_validated(desk: Desk, options: dict[str, Any]) -> None:
    """Before anything is sent."""
    plan = await desk.phones.plan([ChangeRequest(id=desk.assigned[0].id, fields={"label": "Desk"})])
    with pytest.raises(InvalidArgument):
        desk.phones.apply(plan, **options)


async def test_a_closed_phone_system_plans_nothing(desk: Desk) -> None:
    """The error says how it is opened."""
    plan = await desk.phones.plan([])
    closed = PhoneSystem(desk.phones["agents"])
    with pytest.raises(UsageError, match="use `async with`"):
        await closed.plan([])
    with pytest.raises(UsageError, match="use `async with`"):
        closed.apply(plan)


@pytest.mark.jumping
async def test_a_run_waits_for_the_vendors_windows() -> None:
    """Also for longer than a single call may: an hour's window is full after some changes, and free again."""
    loop = asyncio.get_running_loop()
    async with (
        Sandbox(locations=0, leadping=0, agents=12, enforce_limits=False) as sandbox,
        PhoneSystem(AgentNumbers.from_sandbox(sandbox, limit=RateLimit(10, per=3600))) as phones,
    ):
        rows = list(sandbox.state.assignments.values())
        plan = await phones.plan([ChangeRequest(id=row.id, fields={"label": "Desk"}) for row in rows])
        began = loop.time()
        async with phones.apply(plan) as run:
            assert {result.outcome async for result in run} == {DONE}
        assert loop.time() - began >= 2 * 3600
        assert {row.friendly_name for row in rows} == {"Desk"}


@pytest.mark.jumping
async def test_a_lost_request_is_sent_again_only_after_the_grace_period() -> None:
    """Until then it may still be on its way to the vendor."""
    loop = asyncio.get_running_loop()
    async with open_desk() as desk:
        plan = await planned(desk, "agents.update")
        desk.sandbox.script("agents.update", drop())
        began = loop.time()
        (result,) = (await desk.apply(plan, grace_period=45)).values()
        assert (result.outcome, desk.served("agents.update")) == (DONE, 2)
        assert 44 <= loop.time() - began < 60


@pytest.mark.jumping
async def test_a_full_window_of_one_account_delays_no_other() -> None:
    """Its changes wait, and give up their slots."""
    loop = asyncio.get_running_loop()
    async with (
        Sandbox(locations=0, leadping=4, agents=8, enforce_limits=False) as sandbox,
        PhoneSystem(
            AgentNumbers.from_sandbox(sandbox, limit=RateLimit(4, per=3600)),
            Leadping.from_sandbox(sandbox, limit=None),
        ) as phones,
    ):
        changes = [
            *(ChangeRequest(id=id_, fields={"label": "Desk"}) for id_ in sandbox.state.assignments),
            *(ChangeRequest(id=id_, fields={"label": "Desk"}) for id_ in sandbox.state.leadping),
        ]
        plan = await phones.plan(changes)
        began = loop.time()
        async with phones.apply(plan, concurrency=1) as run:
            times = {result.position: loop.time() - began async for result in run}
        assert max(times[place] for place in range(9, 13)) < 1
        assert max(times.values()) >= 3600


# Undo


async def test_undo_gives_back_the_first_state(desk: Desk) -> None:
    """As far as the vendors allow it; what they do not is named."""
    rows, numbers = desk.assigned, desk.leadping
    changes = every_change(desk)
    before = state_of(desk)
    plan = await desk.phones.plan(changes)
    async with desk.phones.apply(plan, allow=["unroute"], grace_period=0) as run:
        assert {result.outcome async for result in run} == {DONE}
    undo = run.undo()
    assert undo.undoes == plan.id
    assert type(undo).from_jsonl(undo.to_jsonl()) == undo
    reasons = {left.number: left.reason for left in undo.left_out}
    assert reasons.pop(numbers[3].number) == "Leadping releases the number, which may then belong to others"
    assert reasons.pop(plan.changes[-1].number) == "LeadConnector documents no way to release a number"
    if rows[4].status == "INACTIVE":
        assert reasons.pop(rows[4].number) == "status: it was inactive, which a new number is not given"
    assert reasons == {}
    results = await desk.apply(undo)
    assert {result.outcome for result in results.values()} == {DONE}
    assigned, held = state_of(desk)
    expected_assigned, expected_held = before
    del expected_held[numbers[3].number]
    for fields in (assigned, expected_assigned):
        fields[rows[4].number] = fields[rows[4].number][:2]
    assert (assigned, held) == (expected_assigned, expected_held)


async def test_undo_leaves_alone_what_was_changed_since(desk: Desk) -> None:
    """That is a conflict; and what the run did not change is no part of it."""
    rows = desk.assigned
    plan = await desk.phones.plan([ChangeRequest(id=row.id, fields={"label": "Desk"}) for row in rows[:3]])
    rows[2].friendly_name = "Desk"
    async with desk.phones.apply(plan) as run:
        assert [result.written async for result in run].count(True) == 2
    rows[0].friendly_name = "Office"
    undo = desk.phones.undo(plan, run.results.values())
    labelled = [row for row in rows[:2] if run.plan.changes[rows.index(row)].old["label"] is not None]
    results = await desk.apply(undo)
    assert {undo.changes[place - 1].id for place in results} == {row.id for row in labelled}
    assert rows[0].friendly_name == "Office"
    assert rows[2].friendly_name == "Desk"


async def test_what_a_vendor_cannot_clear_is_named(desk: Desk) -> None:
    """A label that was not there cannot be removed; the rest of the change is taken back."""
    row = desk.assigned[0]
    row.friendly_name = None
    agent = row.agent_id
    plan = await desk.phones.plan(
        [ChangeRequest(id=row.id, fields={"label": "Desk", "assignee": desk.agents[-1]})]
    )
    assert plan.changes[0].notes[0] == (
        "label cannot be undone: the vendor of agent numbers documents no way to clear it"
    )
    async with desk.phones.apply(plan) as run:
        assert [result.outcome async for result in run] == [DONE]
    undo = run.undo()
    assert [left.reason for left in undo.left_out] == [
        "label: the vendor of agent numbers documents no way to clear it"
    ]
    await desk.apply(undo)
    assert row.agent_id == agent
    assert state_of(desk)[0][row.number][1] == "Desk"
