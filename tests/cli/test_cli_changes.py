"""`plan`, `apply`, `changes`, `undo` and `buy`, against a sandbox."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import Action, ChangeOutcome, ChangeResult, PlannedChange
from phonesys.cli.plans import result_row, results_table
from phonesys.cli.terminal import render_text
from phonesys.sandbox import faults
from phonesys.sandbox.number_plan import describe
from tests.cli.vendors import call, end, serving, start, toml, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phonesys.sandbox import Sandbox
    from phonesys.sandbox.state import Assignment


@pytest.fixture
def vendors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Serve a few numbers, in a folder with a configuration."""
    monkeypatch.chdir(tmp_path)
    with serving(locations=3, leadping=8, agents=8, enforce_limits=False) as sandbox:
        write(tmp_path / "phonesys.toml", toml(sandbox))
        yield sandbox


def active(vendors: Sandbox) -> list[Assignment]:
    """Return the agents' numbers that take calls."""
    return [row for row in vendors.state.assignments.values() if row.status == "ACTIVE" and row.agent_id]


def other_agent(vendors: Sandbox, row: Assignment) -> str:
    return next(id_ for id_ in vendors.state.agents if id_ != row.agent_id)


def sheet(path: Path, *rows: dict[str, Any]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, rows[0].keys())
    table.writeheader()
    table.writerows(rows)
    path.write_text(text.getvalue())
    return str(path)


def moving(vendors: Sandbox, path: Path, count: int = 2) -> str:
    """Write a file that moves numbers to another agent."""
    return sheet(
        path,
        *(
            {"backend": "agents", "number": row.number, "assignee": other_agent(vendors, row)}
            for row in active(vendors)[:count]
        ),
    )


def planned(vendors: Sandbox, folder: Path, count: int = 2) -> str:
    done = call("plan", moving(vendors, folder / "c.csv", count), "--output", "plan.jsonl")
    assert done.status == 0, done
    return "plan.jsonl"


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def writes(vendors: Sandbox) -> int:
    """Count the requests that would change something."""
    changing = ("create", "update", "assign", "delete", "purchase")
    return sum(count for (route, _), count in vendors.served.items() if route.endswith(changing))


# plan


def test_a_plan_says_what_changes(vendors: Sandbox, tmp_path: Path) -> None:
    """Old and new values by account, with the number's label and what becomes of its calls."""
    row = active(vendors)[0]
    row.friendly_name = "Support"
    done = call("plan", moving(vendors, tmp_path / "c.csv", 1))
    assert done.status == 0, done
    old, new = (
        f"{id_} ({vendors.state.agents[id_].name})" for id_ in (row.agent_id or "", other_agent(vendors, row))
    )
    assert done.out.splitlines() == [
        "agents default",
        f"  ~ {row.number}  Support",
        f"      assignee  {old} → {new}",
        f"      reroutes live calls: from {old} to {new}",
    ]
    assert "plan: 1 to update" in done.err
    assert writes(vendors) == 0


def test_an_export_is_a_plan_of_no_changes(vendors: Sandbox) -> None:
    """As it is, and with one cell edited, it is a plan of one."""
    assert call("export", "all.csv", "--backend", "agents", "--backend", "leadping").status == 0
    done = call("plan", "all.csv", "--detailed-exitcode")
    assert (done.status, done.out) == (0, "")
    assert "nothing to change: 16 numbers already as wanted" in done.err
    with open("all.csv", encoding="utf-8") as file:  # noqa: PTH123
        rows = list(csv.DictReader(file))
    rows[0]["label"] = "Edited"
    with open("edited.csv", "w", encoding="utf-16", newline="") as file:  # noqa: PTH123
        table = csv.DictWriter(file, rows[0].keys(), delimiter=";")
        table.writeheader()
        table.writerows(rows)
    done = call("plan", "edited.csv", "--detailed-exitcode")
    assert done.status == 3, done
    assert "plan: 1 to update; 15 numbers already as wanted" in done.err


def test_every_mistake_is_named_with_its_line(vendors: Sandbox, tmp_path: Path) -> None:
    """Status 2, and no file is written."""
    row = active(vendors)[0]
    same = {"backend": "agents", "number": row.number, "assignee": row.agent_id, "kind": "unknown"}
    path = sheet(
        tmp_path / "c.csv",
        {**same, "assignee": "agent_unknown"},
        {**same, "number": "+14155550000"},
        {**same, "kind": "mobile"},
        {**same, "backend": "nowhere"},
    )
    done = call("plan", path, "--output", "plan.jsonl")
    assert (done.status, done.out) == (2, "")
    assert [int(line) for line in re.findall(r"c\.csv, line (\d):", done.err)] == [2, 3, 4, 5]
    assert "there is no agent 'agent_unknown'" in done.err
    assert "documents no way to change kind" in done.err
    assert "4 errors; nothing was planned" in done.err
    assert not (tmp_path / "plan.jsonl").exists()
    text = "number,asignee\n+14155552671,x\n"
    done = call("plan", "-", stdin=text)
    assert (done.status, done.err.splitlines()[0]) == (
        2,
        "phonesys: stdin, line 1: unknown column 'asignee'; did you mean assignee?",
    )


def test_configured_accounts_are_read(vendors: Sandbox) -> None:
    """A number that the file names alone is found in any of them."""
    number = next(iter(vendors.truth["leadconnector", vendors.location_ids[0]]))
    done = call("plan", "-", "--set", "label=x", stdin=f"number\n{number}\n")
    assert (done.status, f"{number}: LeadConnector documents no way to change label" in done.err) == (
        2,
        True,
    ), done


def test_a_field_is_set_for_every_number_of_a_list(vendors: Sandbox) -> None:
    """The findings of an audit, or the rows of another command, are such a list."""
    listed = call("numbers", "leadping", "--format", "csv").out
    done = call("plan", "-", "--set", "is_enabled=no", "--set", "label=Off", "-f", "json", stdin=listed)
    changes = json.loads(done.out)["changes"]
    assert {one["number"] for one in changes} == vendors.truth["leadping", "default"]
    assert {one["new"]["label"] for one in changes} == {"Off"}
    found = call("audit", "--backend", "leadping", "--select", "warmup-blocked", "-f", "csv").out
    done = call("plan", "-", "--backend", "leadping", "--set", "action=delete", "-f", "json", stdin=found)
    blocked = {row["number"] for row in csv.DictReader(io.StringIO(found))}
    assert {(one["number"], one["action"]) for one in json.loads(done.out)["changes"]} == {
        (number, "delete") for number in blocked
    }
    for text, mistake in (
        ("is_enabled", "expected FIELD=VALUE"),
        ("asignee=x", "no field is named 'asignee'"),
    ):
        done = call("plan", "-", "--set", text, stdin=listed)
        assert (done.status, mistake in done.err) == (2, True), done
    done = call("audit", "--backend", "leadping", "--select", "no-such-rule")
    assert (done.status, "--select: unknown rule 'no-such-rule'" in done.err) == (2, True), done


def test_formats_of_a_plan(vendors: Sandbox, tmp_path: Path) -> None:
    """The plan itself goes to a pipe, and json is one document with counts and risks."""
    row = active(vendors)[0]
    path = sheet(tmp_path / "c.csv", {"backend": "agents", "number": row.number, "assignee": ""})
    piped = call("plan", path, "--format", "jsonl").out
    done = call("apply", "-", "--store", "i.db", "--yes", "--allow", "unroute", stdin=piped)
    assert (done.status, row.agent_id) == (0, None), done
    row.agent_id = next(iter(vendors.state.agents))
    document = json.loads(call("plan", path, "--format", "json").out)
    assert document["counts"] == {"update": 1, "delete": 0, "create": 0, "buy": 0}
    assert [concern["risk"] for concern in document["concerns"]] == ["unroute"]
    assert document["changes"][0]["number"] == row.number


def test_the_newest_snapshot_is_planned_with(
    vendors: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configured store is read instead of the vendors, unless --live asks them."""
    path = moving(vendors, tmp_path / "c.csv")
    assert call("sweep", "--store", "i.db", "--backend", "agents").status == 0
    monkeypatch.setenv("PHONESYS_STORE", "i.db")
    lists = vendors.served["agents.list", 200]
    done = call("plan", path, "--format", "json")
    assert vendors.served["agents.list", 200] == lists
    assert json.loads(done.out)["reading"]["source"] == "snapshot"
    assert "reading snapshot 1 of i.db, 0 min old" in done.err
    assert json.loads(call("plan", path, "--live", "-f", "json").out)["reading"]["source"] == "live"
    done = call("plan", path, "--live", "--store", "i.db")
    assert (done.status, done.err) == (
        2,
        "phonesys: --live: cannot be combined with --store, which holds a sweep\n",
    )


def test_the_sandbox_can_be_planned_and_applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a configuration, a store or an account anywhere."""
    monkeypatch.chdir(tmp_path)
    text = "backend,number,label\nleadping,{},Tried\n"
    listed = call("plan", "-", "--sandbox", "--backend", "leadping", stdin=text.format("+14155550000"))
    assert "+14155550000 is not held by leadping" in listed.err
    assert not list(tmp_path.iterdir())


# apply


def test_a_plan_is_applied_once(vendors: Sandbox, tmp_path: Path) -> None:
    """The same command a second time sends nothing, and so does the same plan made again."""
    rows = active(vendors)[:2]
    expected = [other_agent(vendors, row) for row in rows]
    plan = planned(vendors, tmp_path)
    done = call("apply", plan, "--store", "i.db", "--yes")
    assert (done.status, done.out) == (0, ""), done
    assert "2 done" in done.err
    assert [row.agent_id for row in rows] == expected
    sent = writes(vendors)
    again = call("apply", plan, "--store", "i.db")
    assert (again.status, writes(vendors)) == (0, sent), again
    assert "nothing is left to do" in again.err
    assert "nothing to change: 2 numbers already as wanted" in call("plan", "c.csv").err


def test_apply_needs_a_store_and_a_yes(vendors: Sandbox, tmp_path: Path) -> None:
    """Status 2, and nothing is sent."""
    plan = planned(vendors, tmp_path)
    for options, reason in (
        (("--yes",), "--store: expected a file or a URL"),
        (("--store", "i.db"), "there is no terminal to ask on; expected --yes"),
        (("--store", "i.db", "--yes", "--max-share", "10%"), "expected --allow share: 2 of the 8 numbers"),
        (("--store", "i.db", "--yes", "--max-share", "7"), "expected a part such as 50% or 0.5"),
    ):
        done = call("apply", plan, *options)
        assert (done.status, reason in done.err) == (2, True), done
    assert writes(vendors) == 0
    assert (
        call("apply", plan, "--store", "i.db", "--yes", "--max-share", "0.1", "--allow", "share").status == 0
    )


def test_a_file_of_desired_states_is_no_plan(vendors: Sandbox, tmp_path: Path) -> None:
    """Nor the other way round."""
    plan = planned(vendors, tmp_path)
    done = call("apply", "c.csv", "--store", "i.db", "--yes")
    assert (done.status, done.err.count("\n")) == (2, 1), done
    done = call("plan", plan)
    assert (done.status, "this is a plan already" in done.err) == (2, True), done
    assert call("apply", "missing.jsonl", "--store", "i.db").status == 2
    assert call("plan", "missing.csv").status == 2


def test_apply_asks_with_the_counts(vendors: Sandbox, tmp_path: Path) -> None:
    """Anything but yes changes nothing."""
    plan = planned(vendors, tmp_path)
    done = on_a_terminal(tmp_path, b"\n", "apply", plan, "--store", "i.db")
    assert done.status == 1, done
    assert "Apply 2 changes in 1 account (2 to update)? (y/N)" in done.err
    assert writes(vendors) == 0


@pytest.mark.parametrize(("answers", "status"), [(b"unroute\ny\n", 0), (b"y\n", 1)])
def test_a_lost_route_needs_a_word_more(
    vendors: Sandbox, tmp_path: Path, answers: bytes, status: int
) -> None:
    """A yes is not enough."""
    row = active(vendors)[0]
    path = sheet(tmp_path / "c.csv", {"backend": "agents", "number": row.number, "assignee": ""})
    shown = call("plan", path, "--output", "plan.jsonl")
    assert "needs --allow unroute: no calls reach" in shown.err
    done = on_a_terminal(tmp_path, answers, "apply", "plan.jsonl", "--store", "i.db")
    assert done.status == status, done
    assert "Type unroute to permit this" in done.err
    assert (row.agent_id is None) == (status == 0)


def on_a_terminal(folder: Path, answers: bytes, *arguments: str) -> Any:
    leader, follower = pty.openpty()
    process = start(*arguments, cwd=folder, stdin=follower)
    os.close(follower)
    os.write(leader, answers)
    done = end(process)
    os.close(leader)
    return done


def test_what_is_not_done_is_listed_with_its_reason(vendors: Sandbox, tmp_path: Path) -> None:
    """Status 1; a number that was changed meanwhile is left alone."""
    rows = active(vendors)[:2]
    plan = planned(vendors, tmp_path)
    rows[0].agent_id = None
    done = call("apply", plan, "--store", "i.db", "--yes")
    assert done.status == 1, done
    assert re.search(rf"conflict +{re.escape(rows[0].number)}.*assignee is None, and not agent_", done.out)
    assert rows[1].number not in done.out
    assert "1 done, 1 conflict" in done.err
    assert rows[0].agent_id is None
    found = lines(call("changes", "--store", "i.db", "--format", "jsonl").out)
    assert (found[0]["done"], found[0]["conflict"]) == (1, 1)


def test_results_are_lines_too(vendors: Sandbox, tmp_path: Path) -> None:
    """In jsonl and csv, every change."""
    plan = planned(vendors, tmp_path)
    found = lines(call("apply", plan, "--store", "i.db", "--yes", "--format", "jsonl").out)
    assert [(one["outcome"], one["action"]) for one in found] == [("done", "update")] * 2
    again = list(csv.DictReader(io.StringIO(call("apply", plan, "--store", "i.db", "--format", "csv").out)))
    assert [one["number"] for one in again] == [one["number"] for one in found]


def test_failures_stop_a_run_that_then_goes_on(vendors: Sandbox, tmp_path: Path) -> None:
    """What was not reached is done by the same command once the vendor accepts it."""
    rule = faults.Status(code=422, route="agents.update")
    vendors.faults.add(rule)
    plan = planned(vendors, tmp_path, 4)
    done = call("apply", plan, "--store", "i.db", "--yes", "--max-failures", "1", "--concurrency", "1")
    assert done.status == 1, done
    assert "1 rejected, 3 not reached" in done.err
    assert "to go on: phonesys apply plan.jsonl --store i.db" in done.err
    vendors.faults.clear()
    done = call("apply", plan, "--store", "i.db", "--yes")
    assert "3 done, 1 rejected" in done.err


def test_ctrl_c_says_how_to_go_on(vendors: Sandbox, tmp_path: Path) -> None:
    """The same command does the rest, and nothing twice; before that, a second process is refused."""
    vendors.faults.add(faults.Latency(seconds=1, route="agents.update"))
    plan = planned(vendors, tmp_path, 6)
    options = ("--store", "i.db", "--yes", "--max-share", "100%")
    process = start("apply", plan, *options, "--concurrency", "1", "-f", "jsonl", cwd=tmp_path)
    assert process.stdout is not None
    first = process.stdout.readline()
    second = call("apply", plan, *options)
    process.send_signal(signal.SIGINT)
    done = end(process)
    assert done.status == 130, done
    assert json.loads(first)["outcome"] == "done"
    assert (second.status, "another process is applying plan" in second.err) == (1, True), second
    assert re.search(
        r"interrupted: \d/6 changes.*; go on with: phonesys apply plan\.jsonl --store i\.db", done.err
    )
    vendors.faults.clear()
    again = call("apply", plan, *options, "--grace-period", "1")
    assert again.status == 0, again
    assert len({row.agent_id for row in active(vendors)[:6]}) <= 2
    assert vendors.served["agents.update", 200] + vendors.served["agents.update", None] <= 7


# changes and undo


def test_runs_are_listed_and_shown(vendors: Sandbox, tmp_path: Path) -> None:
    """By the beginning of an id, and one outcome at a time."""
    rows = active(vendors)[:2]
    plan = planned(vendors, tmp_path)
    rows[0].agent_id = None
    call("apply", plan, "--store", "i.db", "--yes")
    listed = call("changes", "--store", "i.db")
    run_id = lines(call("changes", "--store", "i.db", "-f", "jsonl").out)[0]["run"]
    assert run_id[:8] in listed.out
    counts = lines(call("changes", "--store", "i.db", "-f", "jsonl", "--columns", "changes,done").out)
    assert counts == [{"changes": 2, "done": 1}]
    outcomes = call("changes", "last", "--store", "i.db", "--columns", "number,outcome", "-f", "csv").out
    assert outcomes.splitlines()[0] == "number,outcome"
    assert "no such column" in call("changes", "last", "--store", "i.db", "--columns", "undoes").err
    shown = call("changes", run_id[:4], "--store", "i.db")
    assert [row.number in shown.out for row in rows] == [True, True]
    assert f"run {run_id[:8]}: 1 done, 1 conflict" in shown.err
    only = lines(call("changes", run_id, "--store", "i.db", "--outcome", "conflict", "-f", "jsonl").out)
    assert [(one["number"], one["outcome"]) for one in only] == [(rows[0].number, "conflict")]
    assert call("changes", "last", "--store", "i.db").out == shown.out
    missing = call("changes", "zzz", "--store", "i.db")
    assert (missing.status, "no run 'zzz'" in missing.err) == (1, True), missing


def test_a_run_is_taken_back(vendors: Sandbox, tmp_path: Path) -> None:
    """Its undo is a plan like any other."""
    rows = active(vendors)[:2]
    before = [row.agent_id for row in rows]
    call("apply", planned(vendors, tmp_path), "--store", "i.db", "--yes")
    run_id = lines(call("changes", "--store", "i.db", "-f", "jsonl").out)[0]["run"]
    assert call("undo", "--store", "i.db").out == call("undo", run_id[:8], "--store", "i.db").out
    done = call("undo", run_id[:8], "--store", "i.db", "--output", "undo.jsonl")
    assert done.status == 0, done
    assert f" → {before[0]}" in done.out
    assert [row.agent_id for row in rows] != before
    assert call("apply", "undo.jsonl", "--store", "i.db", "--yes").status == 0
    assert [row.agent_id for row in rows] == before
    assert lines(call("changes", "--store", "i.db", "-f", "jsonl").out)[0]["undoes"] == run_id


def test_what_cannot_be_taken_back_is_named(vendors: Sandbox, tmp_path: Path) -> None:
    """In the plan before, and in the undo afterwards."""
    record = next(iter(vendors.state.leadping.values()))
    path = sheet(tmp_path / "c.csv", {"backend": "leadping", "id": record.id, "action": "delete"})
    shown = call("plan", path, "--output", "plan.jsonl")
    assert "cannot be undone: Leadping releases the number" in shown.out
    call("apply", "plan.jsonl", "--store", "i.db", "--yes", "--allow", "unroute")
    run_id = lines(call("changes", "--store", "i.db", "-f", "jsonl").out)[0]["run"]
    done = call("undo", run_id, "--store", "i.db")
    assert "left out, because it cannot be done:" in done.out
    assert record.number in done.out
    assert "nothing to change" in done.err


# Single numbers


def test_dry_runs_change_nothing(vendors: Sandbox) -> None:
    """Each says what it would do, as a plan does."""
    row = active(vendors)[0]
    agent = other_agent(vendors, row)
    position = list(vendors.state.agents).index(row.agent_id or "") + 1
    record = next(iter(vendors.state.leadping.values()))
    sale = vendors.state.for_sale(1)[0]
    for arguments, expected in (
        (("update", "agents", row.id, "--agent", agent), f"(Agent {position}) → {agent} ("),
        (("update", "agents", row.id, "--status", "INACTIVE"), "status  active → inactive"),
        (("update", "leadping", record.id, "--name", "Desk"), f"label  {record.name} → Desk"),
        (("delete", "agents", row.id), f"- {row.number}"),
        (("assign", "agents", "--number", "+14155550144", "--agent", agent), "+ +14155550144"),
        (("create", "leadping", "--name", "Desk", "--number", "+14155550144"), "costs money"),
        (("buy", "leadping", "--name", "Desk", "--number", sale), "costs money"),
    ):
        done = call(*arguments, "--dry-run")
        assert (done.status, expected in done.out) == (0, True), done
        assert "plan: 1 to" in done.err
    refused = call("update", "agents", row.id, "--agent", "agent_unknown", "--dry-run")
    assert (refused.status, "there is no agent 'agent_unknown'" in refused.err) == (2, True), refused
    assert call("update", "leadping", record.id, "--number", "+14155550144", "--dry-run").status == 2
    assert writes(vendors) == 0


def test_a_held_number_is_moved_and_not_assigned(vendors: Sandbox) -> None:
    """The error names the command that moves it."""
    row = active(vendors)[0]
    agent = other_agent(vendors, row)
    done = call("assign", "agents", "--number", row.number, "--agent", agent)
    assert (done.status, done.out) == (1, ""), done
    assert (
        f"{row.number} is held already, as {row.id} in default of agents, assigned to {row.agent_id}"
        in done.err
    )
    assert f"to move it: phonesys update agents {row.id} --agent {agent}" in done.err
    done = call("assign", "agents", "--number", row.number, "--agent", row.agent_id or "")
    assert (done.status, "nothing was sent" in done.err) == (0, True), done
    assert writes(vendors) == 0


def test_delete_asks_by_number_label_and_account(vendors: Sandbox, tmp_path: Path) -> None:
    """A person knows a number by them, and not by its id."""
    row = active(vendors)[0]
    row.friendly_name = "Support"
    done = on_a_terminal(tmp_path, b"y\n", "delete", "agents", row.id)
    assert done.status == 0, done
    assert f"Delete {row.number} (Support) in default of agents? (y/N)" in done.err
    assert row.id not in vendors.state.assignments


def test_a_number_is_bought(vendors: Sandbox) -> None:
    """Once, and only if it is not held already."""
    location = vendors.location_ids[0]
    bought = next(one for one in vendors.state.for_sale(50) if describe(one)[0] == "US")
    options = ("--number", bought, "--country", "US", "--account", location)
    assert call("buy", "leadconnector", *options).status == 2  # there is no terminal
    done = call("buy", "leadconnector", *options, "--yes", "-f", "jsonl")
    assert [(one["number"], one["outcome"]) for one in lines(done.out)] == [(bought, "done")], done
    assert bought in vendors.truth["leadconnector", location]
    again = call("buy", "leadconnector", *options, "--yes")
    assert (again.status, f"{bought} is held already" in again.err) == (0, True), again
    assert len(vendors.created) == 1


def test_reading_is_shown_on_a_terminal(vendors: Sandbox, tmp_path: Path) -> None:
    """The accounts of every backend may take minutes to read."""
    vendors.faults.add(faults.Latency(seconds=0.5, route="agents.list"))
    path = moving(vendors, tmp_path / "c.csv")
    leader, follower = pty.openpty()
    streams = {"stdout": subprocess.DEVNULL, "stderr": follower}
    process = start("plan", path, cwd=tmp_path, variables={"TERM": "xterm"}, **streams)
    os.close(follower)
    shown = b""
    with suppress(OSError):  # the program has ended
        while piece := os.read(leader, 4096):
            shown += piece
    process.wait()
    os.close(leader)
    assert b"0 numbers in 0 accounts read" in shown
    assert b"plan: 2 to update" in shown


def test_candidates_of_an_unclear_change_are_named() -> None:
    """A person looks at them, and decides."""
    change = PlannedChange(position=1, action=Action.CREATE, backend="leadping", account="default")
    now = datetime(2026, 1, 1, tzinfo=UTC)
    result = ChangeResult(
        position=1, outcome=ChangeOutcome.UNCLEAR, reason="lost", candidates=("num_1", "num_2"), at=now
    )
    table = render_text(results_table([result_row("run", change, result, sent=True)])).decode()
    assert "lost; it may have made num_1, num_2" in table
    killed = result_row("run", change, None, sent=True)
    assert (killed.outcome, "apply the plan again to find out" in killed.reason) == ("unclear", True)
    assert result_row("run", change, None, sent=False).outcome == "not_reached"
