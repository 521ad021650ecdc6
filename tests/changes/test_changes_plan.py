"""Planning against the sandbox: what would change, what cannot, and what could not be read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import (
    Action,
    AgentNumber,
    AgentNumbers,
    ChangeRequest,
    InvalidArgument,
    Plan,
    PlanError,
    PlannedChange,
)
from phonesys.changes import Reading
from phonesys.changes.values import values_of
from phonesys.inventory import to_record
from phonesys.sandbox import status
from tests.changes.desk import FRESH, open_desk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from phonesys.inventory import NumberRecord
    from tests.changes.desk import Desk


async def errors_of(desk: Desk, *changes: ChangeRequest) -> list[str]:
    with pytest.raises(PlanError) as caught:
        await desk.phones.plan(changes)
    assert str(caught.value) == "\n".join(map(str, caught.value.errors))
    return [str(error) for error in caught.value.errors]


def exported(numbers: Iterable[Any], backend: str) -> list[dict[str, Any]]:
    """The rows of an export as a spreadsheet holds them: texts, and empty cells."""
    records = [to_record(number, backend) for number in numbers]
    return [{name: _cell(getattr(one, name)) for name in one.__struct_fields__} for one in records]


def _cell(value: Any) -> str | None:
    return None if value is None else str(value)


def row_change(row: dict[str, Any], **edited: Any) -> ChangeRequest:
    identity = {name: row[name] for name in ("number", "id", "backend", "account")}
    fields = {name: value for name, value in row.items() if name not in identity}
    return ChangeRequest(**identity, fields={**fields, **edited})


async def test_a_plan_says_what_would_change(desk: Desk) -> None:
    """Old and new values, the label, and the route of live calls. Nothing is sent."""
    row, other = desk.assigned[0], desk.agents[-1]
    plan = await desk.phones.plan([ChangeRequest(number=row.number, fields={"assignee": other})])
    (change,) = plan.changes
    assert (change.action, change.id, change.label) == (Action.UPDATE, row.id, row.friendly_name)
    assert change.old == {"label": row.friendly_name, "assignee": row.agent_id, "status": "active"}
    assert change.new == {"assignee": other}
    names = {id_: desk.sandbox.state.agents[id_].name for id_ in (row.agent_id or "", other)}
    assert change.names == names
    old, new = (f"{id_} ({name})" for id_, name in names.items())
    assert change.notes == (f"reroutes live calls: from {old} to {new}",)
    assert plan.reading.source == "live"
    assert plan.reading.complete
    assert desk.served("agents.update") == 0


async def test_agents_are_named_by_one_request(desk: Desk) -> None:
    """However many are assigned; by none if no change assigns one. What takes it back knows the names too."""
    rows, agents = desk.assigned[:3], desk.agents
    await desk.phones.plan([ChangeRequest(id=rows[0].id, fields={"label": "New"})])
    await desk.phones.plan([ChangeRequest(id=rows[0].id, fields={"assignee": None})])
    assert desk.served("agents.agents") == 0
    moves = [
        ChangeRequest(id=row.id, fields={"assignee": next(one for one in agents if one != row.agent_id)})
        for row in rows
    ]
    created = ChangeRequest(
        backend="agents",
        number=FRESH,
        action=Action.CREATE,
        fields={"assignee": agents[0], "label": agents[1]},
    )
    plan = await desk.phones.plan(
        [*moves, created, ChangeRequest(id=desk.assigned[4].id, fields={"label": "X"})]
    )
    assert desk.served("agents.agents") == 1
    assert [len(one.names) for one in plan.changes] == [2, 2, 2, 1, 0]
    assert Plan.from_jsonl(plan.to_jsonl()) == plan
    results = await desk.apply(plan)
    assert desk.phones.undo(plan, results.values()).changes[-1].names == plan.changes[0].names
    assert desk.served("agents.agents") == 1


async def test_a_plan_whose_agents_cannot_be_listed_has_no_names(desk: Desk) -> None:
    """It is as good without them."""
    desk.sandbox.script("agents.agents", status(403), repeat=True)
    other = desk.agents[-1]
    plan = await desk.phones.plan([ChangeRequest(id=desk.assigned[0].id, fields={"assignee": other})])
    assert plan.changes[0].new == {"assignee": other}
    assert plan.changes[0].names == {}
    assert plan.reading.complete


@pytest.mark.parametrize("spelling", ["{}", "{} ", "00{digits}", "{digits}", "tel:{}"])
async def test_a_number_is_found_in_any_spelling(desk: Desk, spelling: str) -> None:
    """Also without the `+` that a spreadsheet drops."""
    number = desk.assigned[0].number
    text = spelling.format(number, digits=number[1:])
    plan = await desk.phones.plan([ChangeRequest(number=text, fields={"label": "Desk"})])
    assert [change.number for change in plan.changes] == [number]


async def test_an_export_is_a_plan_without_changes(desk: Desk) -> None:
    """Every column of every backend may be there, in the spelling of a spreadsheet."""
    rows: list[dict[str, Any]] = []
    async with desk.phones.sweep() as sweep:
        async for page in sweep:
            rows += exported(page.numbers, page.provider)
    plan = await desk.phones.plan([row_change(row) for row in rows])
    assert (plan.changes, plan.unchanged) == ((), len(rows))


async def test_an_edited_export_changes_what_was_edited(desk: Desk) -> None:
    """Applied and planned again, the same rows change nothing, though columns that follow differ by then."""
    page = await desk.phones["agents"].page("default")
    row = exported(page.numbers, "agents")[0]
    edited = row_change(row, assignee=desk.agents[-1], status="inactive")
    plan = await desk.phones.plan([edited])
    assert [change.new for change in plan.changes] == [{"assignee": desk.agents[-1], "status": "inactive"}]
    await desk.apply(plan)
    again = await desk.phones.plan([edited])
    assert (again.changes, again.unchanged) == ((), 1)
    assert again.ignored == ("inbound", "vendor_status")


@pytest.mark.parametrize(
    ("backend", "fields", "text"),
    [
        ("agents", {"country": "DE"}, "the vendor of agent numbers documents no way to change country"),
        ("agents", {"forwarding_number": "+15005550001"}, "calls go to the agent, which is the assignee"),
        ("agents", {"number": FRESH}, "number identifies a number, and is not changed"),
        ("agents", {"inbound": "agent:x"}, "inbound follows from assignee: set assignee"),
        ("agents", {"status": "paused"}, "status: expected active or inactive, got 'paused'"),
        ("agents", {"label": ""}, "label cannot be cleared"),
        ("agents", {"assignee": "agent_0"}, "assignee: there is no agent 'agent_0'"),
        ("leadping", {"warmup_state": "Ready!"}, "Leadping keeps warmup_state by itself"),
        ("leadping", {"assignee": "user_1"}, "Leadping documents no way to change assignee"),
        ("leadping", {"is_enabled": "perhaps"}, "is_enabled: expected true or false, got 'perhaps'"),
        ("leadping", {"label": "x" * 256}, "label: expected at most 255 characters, got 256"),
        ("leadping", {"label": "a\nb"}, "label: expected one line of printable text"),
        ("leadconnector", {"label": "Desk"}, "LeadConnector documents no way to change label"),
        ("leadconnector", {"forwarding_number": "+15005550001"}, "change it in the location's settings"),
        ("leadconnector", {"sms": "false"}, "LeadConnector documents no way to change sms"),
    ],
)
async def test_what_a_vendor_cannot_change_is_refused(
    desk: Desk, backend: str, fields: dict[str, Any], text: str
) -> None:
    """With the sentence that says so, before anything is sent."""
    async with desk.phones.sweep(only=backend) as sweep:
        number = next(number for page in [page async for page in sweep] for number in page.numbers)
    change = ChangeRequest(id=number.id, backend=backend, account=number.account, fields=fields, line=7)
    (error,) = await errors_of(desk, change)
    assert error.startswith(f"line 7: {number.number}: ")
    assert text in error


async def test_all_errors_come_at_once(desk: Desk) -> None:
    """In the order of the lines, those of columns and those of the vendors' states."""
    rows = desk.assigned
    errors = await errors_of(
        desk,
        ChangeRequest(number=rows[0].number, fields={"assignee": "agent_0"}, line=9),
        ChangeRequest(number="+15005559999", fields={"label": "x"}, line=2),
        ChangeRequest(number=rows[1].number, fields={"lable": "x"}, line=3),
        ChangeRequest(number=rows[1].number, backend="acme", line=4),
        ChangeRequest(fields={"label": "x"}, line=5),
        ChangeRequest(backend="leadping", action=Action.BUY, fields={"country": "US"}, line=6),
        ChangeRequest(backend="agents", action=Action.BUY, number=FRESH, line=7),
    )
    assert [error.partition(":")[0] for error in errors] == [f"line {n}" for n in (2, 3, 4, 5, 6, 6, 7, 9)]
    assert "+15005559999 is not held" in errors[0]
    assert "no column is named 'lable'; did you mean 'label'?" in errors[1]
    assert "no backend is named 'acme'; there are: 'agents', 'leadping', 'leadconnector'" in errors[2]
    assert "expected a number or an id" in errors[3]
    assert "Leadping documents no way to buy a number with its country set" in errors[4]
    assert "expected number" in errors[5]
    assert "documents no way to buy a number" in errors[6]


async def test_a_number_with_an_id_of_another_is_an_error(desk: Desk) -> None:
    """Rows whose columns were sorted apart are not guessed at."""
    one, other = desk.assigned[:2]
    (error,) = await errors_of(desk, ChangeRequest(number=one.number, id=other.id, fields={"label": "x"}))
    assert error == f"id {other.id} is {other.number}, and not {one.number}"


async def test_a_number_that_is_held_twice_must_be_named(desk: Desk) -> None:
    """The places are listed; the account, the backend or the id decides."""
    number = desk.sandbox.state.add(desk.sandbox.location_ids[0], desk.assigned[0].number)
    (error,) = await errors_of(desk, ChangeRequest(number=number, fields={"label": "Desk"}))
    assert (
        f"{number} is held more than once: agents default (id {desk.assigned[0].id}); leadconnector" in error
    )
    plan = await desk.phones.plan([ChangeRequest(number=number, backend="agents", fields={"label": "Desk"})])
    assert len(plan.changes) == 1


async def test_what_could_not_be_read_is_never_not_held(desk: Desk) -> None:
    """The error says that the number may be there, and a plan for other accounts says what is missing."""
    desk.sandbox.script("agents.list", status(503), repeat=True)
    (error,) = await errors_of(desk, ChangeRequest(number=FRESH, fields={"label": "x"}))
    assert "was not found, but not everything could be read: agents default: agents list_numbers" in error
    plan = await desk.phones.plan([ChangeRequest(number=desk.leadping[0].number, fields={"label": "Desk"})])
    assert len(plan.changes) == 1
    assert not plan.reading.complete
    assert plan.reading.missing[0].startswith("agents default: ")
    change = ChangeRequest(
        backend="agents", number=FRESH, action=Action.CREATE, fields={"assignee": desk.agents[0]}
    )
    (error,) = await errors_of(desk, change)
    assert error.startswith(f"{FRESH} may be held already, since not everything could be read: ")


async def test_lines_about_one_number_become_one_change(desk: Desk) -> None:
    """Unless they contradict each other."""
    row = desk.assigned[0]
    label = ChangeRequest(number=row.number, fields={"label": "Desk"}, line=2)
    move = ChangeRequest(id=row.id, fields={"assignee": desk.agents[-1]}, line=3)
    plan = await desk.phones.plan([label, move])
    assert [change.new for change in plan.changes] == [{"label": "Desk", "assignee": desk.agents[-1]}]
    other = ChangeRequest(id=row.id, fields={"label": "Office"}, line=4)
    (error,) = await errors_of(desk, label, other)
    assert error == f"line 4: {row.number}: label is set to another value by line 2"
    gone = ChangeRequest(id=row.id, action=Action.DELETE, line=5)
    (error,) = await errors_of(desk, label, gone)
    assert error == f"line 5: {row.number} is changed by line 2, and cannot be deleted as well"
    (error,) = await errors_of(desk, gone, label)
    assert error == f"line 2: {row.number} is deleted by line 5"


async def test_a_number_that_is_held_is_moved_and_not_assigned(desk: Desk) -> None:
    """Assigning it again would make a second assignment at this vendor."""
    row = desk.assigned[0]
    assign = ChangeRequest(
        backend="agents", number=row.number, action=Action.CREATE, fields={"assignee": desk.agents[-1]}
    )
    (error,) = await errors_of(desk, assign)
    assert error == (
        f"{row.number} is held already (id {row.id}), with assignee {row.agent_id}; "
        "to change that, set assignee with an update"
    )
    same = ChangeRequest(
        backend="agents", number=row.number, action=Action.CREATE, fields={"assignee": row.agent_id}
    )
    assert (await desk.phones.plan([same])).unchanged == 1


async def test_buying_shows_the_price(desk: Desk) -> None:
    """Or that the number is not for sale; what a purchase entails is said."""
    location, number = desk.sandbox.location_ids[0], next(iter(desk.sandbox.state.for_sale(1)))
    bought = ChangeRequest(
        backend="leadconnector",
        account=location,
        number=number,
        action=Action.BUY,
        fields={"country": "US" if number.startswith("+1") else "IN"},
    )
    taken = ChangeRequest(backend="leadping", number=FRESH, action=Action.BUY, fields={"label": "Desk"})
    plan = await desk.phones.plan([bought, taken])
    assert plan.changes[0].cost == "1.15 USD a month; LeadConnector charges the location for the number"
    assert plan.changes[0].irreversible == {"number": "LeadConnector documents no way to release a number"}
    assert (plan.changes[1].cost or "").startswith("1.15 USD; Leadping may charge")
    gone = ChangeRequest(**{**_as_dict(bought), "number": FRESH})
    (error,) = await errors_of(desk, gone)
    assert error == f"{FRESH} is not for sale at leadconnector"


def _as_dict(change: ChangeRequest) -> dict[str, Any]:
    return {name: getattr(change, name) for name in change.__struct_fields__}


async def test_new_numbers_without_a_number_need_labels_of_their_own(desk: Desk) -> None:
    """Otherwise a lost response could not be told from the other one's."""
    buy = ChangeRequest(backend="leadping", action=Action.CREATE, fields={"label": "Desk"}, line=1)
    (error,) = await errors_of(desk, buy, ChangeRequest(**{**_as_dict(buy), "line": 2}))
    assert error == "line 2: a number labelled Desk is asked for by line 1, too"
    label = desk.leadping[0].name
    known = ChangeRequest(backend="leadping", action=Action.CREATE, fields={"label": label})
    assert (await desk.phones.plan([known])).unchanged == 1


async def test_an_update_may_cost_money(desk: Desk) -> None:
    """Switching a paid add-on on does, and switching it off does not."""
    first, second = desk.leadping[:2]
    plan = await desk.phones.plan(
        [
            ChangeRequest(id=first.id, fields={"number_health_enabled": "true"}),
            ChangeRequest(id=second.id, fields={"number_health_enabled": "false"}),
        ]
    )
    assert [change.cost for change in plan.changes] == ["the number-health add-on is paid for", None]


@pytest.mark.parametrize(
    "change",
    [
        {"number": 14155552671, "fields": {"label": "x"}},
        {"id": 7, "fields": {"label": "x"}},
        {"number": FRESH, "fields": {"label": ["x"]}},
        {"number": FRESH, "backend": b"agents"},
    ],
    ids=["number", "id", "fields", "backend"],
)
async def test_values_of_another_type_are_a_clear_error(desk: Desk, change: Any) -> None:
    """As with any other mistake, the line is named."""
    (error,) = await errors_of(desk, ChangeRequest(**change, line=3))
    assert error.startswith("line 3: ")
    assert "expected text" in error


async def test_an_account_alone_is_not_taken_for_that_of_every_backend(desk: Desk) -> None:
    """A single key reads its numbers under any name of the account."""
    number = desk.assigned[0].number
    change = ChangeRequest(number=number, account=desk.sandbox.location_ids[0], fields={"label": "x"})
    (error,) = await errors_of(desk, change)
    assert error == f"{number} is not held by {desk.sandbox.location_ids[0]}"


def test_a_label_that_was_cut_too_early_can_be_written() -> None:
    """Half a surrogate pair of a backend of others is shown as a question mark, in plans as in exports."""
    number = AgentNumber(number=FRESH, label="A\ud83d")
    assert values_of(number, "agents", AgentNumbers.change_rules)["label"] == "A?"


async def test_a_plan_counts_the_share_of_each_account(desk: Desk) -> None:
    """And the numbers that take no calls afterwards."""
    rows = desk.assigned
    plan = await desk.phones.plan(
        [
            ChangeRequest(id=rows[0].id, backend="agents", fields={"assignee": ""}),
            ChangeRequest(id=rows[1].id, backend="agents", action=Action.DELETE),
            ChangeRequest(id=rows[2].id, backend="agents", fields={"label": "Desk"}),
        ]
    )
    assert [(one.account, one.held, one.touched) for one in plan.shares] == [("default", 8, 3)]
    assert [change.unroutes for change in plan.changes] == [True, True, False]
    assert [concern.risk.value for concern in plan.concerns(0.3)] == ["share", "unroute"]
    assert [concern.risk.value for concern in plan.concerns(0.5)] == ["unroute"]
    with pytest.raises(InvalidArgument, match="from 0 to 1, got 30"):
        plan.concerns(30)


class Stored:
    """A snapshot as an inventory has it."""

    id = 4
    started_at = datetime(2026, 11, 1, tzinfo=UTC)

    def __init__(self, records: list[NumberRecord], problem: str | None = None) -> None:
        self._records, self._problem = records, problem

    async def records(self) -> AsyncIterator[NumberRecord]:
        for record in self._records:
            yield record

    async def accounts(self) -> AsyncIterator[Any]:
        yield StoredAccount(self._problem)


class StoredAccount:
    backend, account, name = "agents", "default", "Desk"

    def __init__(self, problem: str | None) -> None:
        self.problem = problem


async def test_a_snapshot_is_read_instead_of_the_vendors(desk: Desk) -> None:
    """The plan says how old it is, and which account it lacks."""
    page = await desk.phones["agents"].page("default")
    records = [to_record(number, "agents") for number in page.numbers]
    requests = desk.served("agents.list")
    change = ChangeRequest(id=records[0].id, backend="agents", fields={"label": "Desk"})
    plan = await desk.phones.plan([change], snapshot=Stored(records))
    assert plan.reading == Reading(source="snapshot", snapshot=4, read_at=Stored.started_at)
    assert [(one.old["label"], one.account_name) for one in plan.changes] == [(records[0].label, "Desk")]
    assert desk.served("agents.list") == requests
    lacking = await desk.phones.plan([change], snapshot=Stored(records, "timed out"))
    assert lacking.reading.missing == ("agents default: timed out",)
    with pytest.raises(PlanError, match="leadping: snapshot 4 does not contain it"):
        await desk.phones.plan(
            [ChangeRequest(number=FRESH, backend="leadping", fields={"label": "x"})], snapshot=Stored(records)
        )


async def test_a_plan_survives_its_file(desk: Desk) -> None:
    """Line by line, without a secret; a file that was cut short or edited is refused."""
    plan = await desk.phones.plan(
        [
            ChangeRequest(id=desk.assigned[0].id, fields={"assignee": None, "label": "Café"}, line=2),
            ChangeRequest(id=desk.leadping[0].id, action=Action.DELETE),
        ]
    )
    data = plan.to_jsonl()
    assert Plan.from_jsonl(data) == Plan.from_jsonl(data.decode()) == plan
    assert data.count(b"\n") == 3
    assert desk.sandbox.agents_key.encode() not in data
    lines = data.splitlines(keepends=True)
    for broken, text in (
        (b"".join(lines[:2]), "is not whole: expected 2 changes, got 1"),
        (b"", "expected a plan of phonesys"),
        (lines[1], "expected a plan of phonesys"),
        (data.replace(b'"phonesys_plan":1', b'"phonesys_plan":2'), "has version 2"),
        (data.replace(b'"action":"delete"', b'"action":"burn"'), "line 3: Invalid enum value 'burn'"),
        (data.replace(b'"reading"', b'"rading"'), "line 1: Object missing required field `reading`"),
    ):
        with pytest.raises(InvalidArgument, match=text):
            Plan.from_jsonl(broken)


def test_a_plan_of_the_first_version_can_still_be_read() -> None:
    """Plans are kept in files."""
    data = (
        b'{"phonesys_plan":1,"count":1,"id":"p1","created_at":"2026-11-25T00:00:00Z",'
        b'"reading":{"source":"live","read_at":"2026-11-25T00:00:00Z"},"unchanged":3}\n'
        b'{"position":1,"action":"update","backend":"agents","account":"default","id":"num_1",'
        b'"number":"+14155552671","old":{"label":null},"new":{"label":"Desk"}}\n'
    )
    plan = Plan.from_jsonl(data)
    assert (plan.id, plan.unchanged) == ("p1", 3)
    assert plan.changes == (
        PlannedChange(
            position=1,
            action=Action.UPDATE,
            backend="agents",
            account="default",
            id="num_1",
            number="+14155552671",
            old={"label": None},
            new={"label": "Desk"},
        ),
    )


async def test_planning_scales_with_accounts_that_are_named() -> None:
    """Only the accounts that the changes name are read."""
    async with open_desk(locations=5) as desk:
        location = desk.sandbox.location_ids[0]
        change = ChangeRequest(
            backend="leadconnector",
            account=location,
            number=next(iter(desk.sandbox.state.for_sale(1))),
            action=Action.BUY,
            fields={"country": "US"},
        )
        await desk.phones.plan([change])
        assert {one.account for one in desk.sandbox.requests if one.route == "leadconnector.numbers"} == {
            location
        }
