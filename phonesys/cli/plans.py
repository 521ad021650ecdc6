"""Plans and runs in words: changes and their effects, and the outcomes of runs."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec
from rich.text import Text

from phonesys._text import escape_controls
from phonesys.changes import ChangeOutcome
from phonesys.cli.columns import ColumnTable
from phonesys.cli.output import write_table
from phonesys.cli.progress import pluralize
from phonesys.writes import Action

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from phonesys.changes import ChangeResult, Plan, PlannedChange, RunSummary
    from phonesys.changes.change import LeftOut
    from phonesys.cli.output import Destination
    from phonesys.writes import Value

_SIGNS = {
    Action.UPDATE: ("~", "yellow"),
    Action.DELETE: ("-", "red"),
    Action.CREATE: ("+", "green"),
    Action.BUY: ("+", "green"),
}
_STYLES = {
    ChangeOutcome.DONE: "green",
    ChangeOutcome.CONFLICT: "yellow",
    ChangeOutcome.REJECTED: "red",
    ChangeOutcome.UNCLEAR: "bold red",
    ChangeOutcome.NOT_REACHED: "yellow",
}
MAX_SHARE = 0.5
"""Part of an account's numbers beyond which a plan needs a permission, unless another one is given."""
SHORT_ID = 8
"""Characters of a plan's id that are shown."""


def render_plan(plan: Plan) -> Text:
    """Render the changes of a plan by account: for each number its old and new values, and what to know."""
    ordered = sorted(plan.changes, key=lambda change: (change.backend, change.account))
    blocks = [
        Text("\n").join([_account_line(backend, account, name), *_change_lines(changes)])
        for (backend, account, name), changes in groupby(
            ordered, key=lambda change: (change.backend, change.account, change.account_name)
        )
    ]
    if plan.left_out:
        blocks.append(Text("\n").join(_left_out_lines(plan.left_out)))
    return Text("\n\n").join(blocks)


def _account_line(backend: str, account: str, name: str | None) -> Text:
    named = f" ({name})" if name else ""
    return Text(escape_controls(f"{backend} {account}{named}"), "bold")


def _change_lines(changes: Iterable[PlannedChange]) -> Iterator[Text]:
    for change in changes:
        sign, style = _SIGNS[change.action]
        what = "" if change.action is Action.UPDATE else f"  {change.action}"
        name = f"  {change.label}" if change.label else ""
        yield Text.assemble(
            (f"  {sign} ", style), escape_controls(f"{change.number or 'a new number'}{name}{what}")
        )
        width = max(map(len, change.new), default=0)
        for field, value in change.new.items():
            yield Text.assemble(f"      {field:{width}}  ", *_difference(field, value, change))
        for note in change.notes:
            yield Text(escape_controls(f"      {note}"), "yellow")
        if change.unroutes:
            yield Text("      no calls reach it afterwards", "red")


def _difference(field: str, value: Value, change: PlannedChange) -> Iterator[tuple[str, str]]:
    if change.action is Action.UPDATE:
        yield _with_name(change.old.get(field), change), "dim"
        yield " → ", "dim"
    yield _with_name(value, change), ""


def _with_name(value: Value, change: PlannedChange) -> str:
    return escape_controls(change.named(value) or "") if value in change.names else show_value(value)


def show_value(value: Value) -> str:
    """Return a value as a cell of CSV has it, or `(none)`."""
    if value is None:
        return "(none)"
    return str(value).lower() if isinstance(value, bool) else escape_controls(value)


def _left_out_lines(left_out: Sequence[LeftOut]) -> Iterator[Text]:
    yield Text("left out, because it cannot be done:", "bold")
    for one in left_out:
        name = " ".join(filter(None, (one.backend, one.account, one.number or one.id, one.label)))
        yield Text(escape_controls(f"  {name}: {one.reason}"))


def summary_of(plan: Plan) -> str:
    """Return the counts of a plan as one line."""
    same = f"{pluralize(plan.unchanged, 'number')} already as wanted" if plan.unchanged else ""
    if not plan.changes:
        return f"nothing to change{f': {same}' if same else ''}"
    left_out = f"{len(plan.left_out):,} left out" if plan.left_out else ""
    return "; ".join(filter(None, (f"plan: {_counts_of(plan)}", left_out, same)))


def question_of(plan: Plan, done: int) -> str:
    """Return the question that `apply` asks before it changes anything."""
    accounts = len({(change.backend, change.account) for change in plan.changes})
    costs = sum(change.cost is not None for change in plan.changes)
    final = sum(bool(change.irreversible) for change in plan.changes)
    facts = [
        _counts_of(plan),
        *([f"{costs:,} {'costs' if costs == 1 else 'cost'} money"] if costs else []),
        *([f"{final:,} cannot be undone"] if final else []),
    ]
    what = f"{pluralize(len(plan.changes), 'change')} in {pluralize(accounts, 'account')}"
    verb, rest = ("Go on with", f", of which {done:,} are done") if done else ("Apply", "")
    return f"{verb} {what} ({'; '.join(facts)}){rest}?"


def _counts_of(plan: Plan) -> str:
    counts = plan.counts()
    return ", ".join(f"{counts[action]:,} to {action}" for action in Action if counts[action])


class PlanFormat(StrEnum):
    """Format of a plan."""

    TABLE = "table"
    JSONL = "jsonl"
    """As `--output` writes it and `phonesys apply` reads it."""
    JSON = "json"
    """One document, with counts and what needs a permission."""


async def write_plan(plan: Plan, format_: PlanFormat, to: Destination) -> None:
    """Write a plan."""
    if format_ is PlanFormat.JSONL:
        await to.write([plan.to_jsonl()])
    elif format_ is PlanFormat.JSON:
        await to.write([msgspec.json.encode(_document(plan)) + b"\n"])
    elif plan.changes or plan.left_out:
        await write_table(render_plan(plan), to)


def _document(plan: Plan) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(plan)
    counts = {action.value: plan.counts()[action] for action in Action}
    concerns = [concern._asdict() for concern in plan.concerns(MAX_SHARE)]
    return {**values, "counts": counts, "unchanged": plan.unchanged, "concerns": concerns}


class ResultRow(msgspec.Struct, frozen=True):
    """One change of a run, as a line of jsonl or csv."""

    run: str
    position: int
    outcome: ChangeOutcome
    action: Action
    backend: str
    account: str
    id: str | None
    number: str | None
    label: str | None
    changes: tuple[str, ...]
    """As `field: old -> new`."""
    reason: str
    candidates: tuple[str, ...]
    """Ids of numbers that the change may have made, if that is unclear."""
    at: str | None


class RunRow(msgspec.Struct, frozen=True):
    """One run of a plan."""

    run: str
    started_at: str
    finished_at: str | None
    changes: int
    done: int
    conflict: int
    rejected: int
    unclear: int
    not_reached: int
    undoes: str | None


def result_row(run: str, change: PlannedChange, result: ChangeResult | None, *, sent: bool) -> ResultRow:
    """Return the row of a change. One without a result is unclear if its request may have been sent."""
    missing = ChangeOutcome.UNCLEAR if sent else ChangeOutcome.NOT_REACHED
    unknown = "the process ended while the request was under way; apply the plan again to find out"
    return ResultRow(
        run=run,
        position=change.position,
        outcome=missing if result is None else result.outcome,
        action=change.action,
        backend=change.backend,
        account=change.account,
        id=change.id if result is None or result.id is None else result.id,
        number=change.number if result is None or result.number is None else result.number,
        label=change.label,
        changes=tuple(differences_of(change)),
        reason=(unknown if sent else "") if result is None else result.reason,
        candidates=() if result is None else result.candidates,
        at=None if result is None else result.at.isoformat(timespec="seconds"),
    )


def differences_of(change: PlannedChange) -> Iterator[str]:
    """Yield each field with its old and its new value."""
    for field, value in change.new.items():
        old = f"{show_value(change.old.get(field))} -> " if change.action is Action.UPDATE else ""
        yield f"{field}: {old}{show_value(value)}"


def run_row(run: RunSummary) -> RunRow:
    """Return the row of a run."""
    count = run.outcomes.get
    return RunRow(
        run=run.plan_id,
        started_at=run.started_at.isoformat(timespec="seconds"),
        finished_at=None if run.finished_at is None else run.finished_at.isoformat(timespec="seconds"),
        changes=run.changes,
        done=count(ChangeOutcome.DONE, 0),
        conflict=count(ChangeOutcome.CONFLICT, 0),
        rejected=count(ChangeOutcome.REJECTED, 0),
        unclear=count(ChangeOutcome.UNCLEAR, 0),
        not_reached=count(ChangeOutcome.NOT_REACHED, 0),
        undoes=run.undoes,
    )


def runs_table(rows: Sequence[RunRow]) -> ColumnTable:
    """Return a table of runs."""
    counts = ("changes", "done", "conflict", "rejected", "unclear", "not_reached")
    return ColumnTable(
        {
            "run": [Text(row.run[:SHORT_ID], "cyan") for row in rows],
            "started": [_minute(row.started_at) for row in rows],
            "finished": [_minute(row.finished_at) for row in rows],
            **{name.replace("_", " "): [f"{getattr(row, name):,}" for row in rows] for name in counts},
            "undoes": [(row.undoes or "")[:SHORT_ID] for row in rows],
        }
    )


def _minute(text: str | None) -> str:
    return "" if text is None else f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M}"


def results_table(rows: Sequence[ResultRow]) -> ColumnTable:
    """Return a table of changes and their outcomes."""
    return ColumnTable(
        {
            "outcome": [Text(row.outcome.replace("_", " "), _STYLES[row.outcome]) for row in rows],
            "number": [row.number or row.id or "" for row in rows],
            "label": [row.label or "" for row in rows],
            "account": [f"{row.backend} {row.account}" for row in rows],
            "details": ["\n".join(row.changes or (row.action,)) for row in rows],
            "reason": [_grounds(row) for row in rows],
        }
    )


def _grounds(row: ResultRow) -> str:
    maybe = f"; it may have made {', '.join(row.candidates)}" if row.candidates else ""
    return row.reason + maybe


def outcome_counts(outcomes: Mapping[ChangeOutcome, int]) -> str:
    """Return outcomes in words: 998 done, 1 conflict."""
    parts = [
        f"{outcomes[outcome]:,} {outcome.replace('_', ' ')}"
        for outcome in ChangeOutcome
        if outcomes.get(outcome)
    ]
    return ", ".join(parts)
