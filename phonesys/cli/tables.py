"""Tables for people: the summary of a sweep, failures, numbers, pools and changes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from rich.console import Group
from rich.table import Table
from rich.text import Text

from phonesys._text import escape_controls
from phonesys.cli.columns import ColumnTable
from phonesys.errors import CallError
from phonesys.sweep import Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from rich.console import RenderableType

    from phonesys.cli.problem_counts import ProblemCounts
    from phonesys.cli.rows import NumberRow, PoolRow, SnapshotRow
    from phonesys.errors import PhonesysError
    from phonesys.inventory import AccountOutcome, Change
    from phonesys.inventory.audit import Finding
    from phonesys.model import PhoneNumber
    from phonesys.sweep import Failure, SweepReport

MAX_FAILURES = 20
_MAX_GROUPS = 8
_ACCOUNT_LIST = "(the list of accounts)"
_EXCERPT = 60
_MAX_FINDINGS = 200

_OUTCOMES = {
    "done": (Outcome.DONE, ""),
    "empty": (Outcome.EMPTY, ""),
    "not connected": (Outcome.NOT_CONNECTED, ""),
    "failed": (Outcome.FAILED, "bold red"),
    "not reached": (Outcome.NOT_REACHED, "yellow"),
}


class Breakdown:
    """Counts numbers by country and by status."""

    def __init__(self) -> None:
        self.countries: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()

    def add(self, numbers: Iterable[PhoneNumber]) -> None:
        """Count these numbers."""
        for number in numbers:
            self.countries[number.country or "unknown"] += 1
            self.statuses[str(number.status)] += 1


def summary(report: SweepReport, names: Sequence[str], breakdown: Breakdown) -> RenderableType:
    """Return a row per backend, and the numbers by country and status."""
    rows = [
        _summary_row(
            Text(escape_controls(name), "cyan"),
            report.by_provider.get(name, {}),
            report.numbers_by_provider[name],
        )
        for name in names
    ]
    if len(names) > 1:
        rows.append(_summary_row(Text("all", "bold"), report.outcomes, report.numbers, style="bold"))
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    table = ColumnTable(columns, total=len(names) > 1)
    groups = Table.grid(padding=(0, 2, 0, 0))
    groups.add_row(Text("by country", "dim"), _group(breakdown.countries))
    groups.add_row(Text("by status", "dim"), _group(breakdown.statuses))
    return Group("", table, "", groups, "") if breakdown.countries else Group("", table, "")


def _summary_row(
    name: Text, outcomes: Mapping[Outcome, int], numbers: int, style: str = ""
) -> dict[str, Text]:
    counts = {
        heading: _count(outcomes.get(outcome, 0), loud or style)
        for heading, (outcome, loud) in _OUTCOMES.items()
    }
    accounts = _count(sum(outcomes.values()), style)
    return {"backend": name, "accounts": accounts, **counts, "numbers": _count(numbers, "bold")}


def _count(count: int, style: str) -> Text:
    return Text(f"{count:,}", style) if count else Text("\N{EN DASH}", "dim")


def _group(counter: Counter[str]) -> Text:
    """Return the largest groups, and the sum of the others."""
    text = Text()
    for word, count in counter.most_common(_MAX_GROUPS):
        text.append(f"{escape_controls(word)} ", "dim").append(f"{count:,}   ")
    if rest := counter.total() - sum(count for _, count in counter.most_common(_MAX_GROUPS)):
        text.append("others ", "dim").append(f"{rest:,}")
    return text


def failures(failed: Sequence[Failure]) -> RenderableType:
    """Return a table of accounts that failed and the reasons."""
    shown = failed[:MAX_FAILURES]
    table = ColumnTable(
        {
            "backend": [failure.provider for failure in shown],
            "account": [failure.account or _ACCOUNT_LIST for failure in shown],
            "reason": [_reason(failure.error) for failure in shown],
        }
    )
    return _limited(table, len(failed) - len(shown), "accounts")


def row_problems(problems: ProblemCounts) -> RenderableType:
    """Return a table of problems: where, which field, why, and the beginning of an example."""
    shown = problems.counts.most_common(MAX_FAILURES)
    table = ColumnTable(
        {
            "backend": [problem.backend for problem, _ in shown],
            "account": [problem.account for problem, _ in shown],
            "rows": [f"{count:,}" for _, count in shown],
            "field": [problem.field for problem, _ in shown],
            "reason": [problem.reason for problem, _ in shown],
            "row": [problems.examples[problem][:_EXCERPT] for problem, _ in shown],
        }
    )
    return _limited(table, len(problems.counts) - len(shown), "kinds")


def incomplete_accounts(found: Sequence[AccountOutcome]) -> RenderableType:
    """Return a table of accounts that were not read completely."""
    shown = found[:MAX_FAILURES]
    table = ColumnTable(
        {
            "backend": [one.backend for one in shown],
            "account": [one.account or _ACCOUNT_LIST for one in shown],
            "reason": [one.problem or "" for one in shown],
        }
    )
    return _limited(table, len(found) - len(shown), "accounts")


def _limited(table: RenderableType, more: int, what: str) -> RenderableType:
    return Group(table, Text(f"and {more:,} more {what}")) if more > 0 else table


def _reason(error: PhonesysError) -> str:
    """Return the message without backend and account, which have columns of their own."""
    if not isinstance(error, CallError):
        return str(error)
    where = " ".join(part for part in (error.backend, error.operation, error.account) if part)
    return str(error).removeprefix(f"{where}: ")


def numbers(rows: Sequence[NumberRow], hide: Collection[str] = ()) -> RenderableType:
    """Return a table of numbers without the columns in `hide`."""
    texts = {
        "backend": [row.backend for row in rows],
        "account": [row.account for row in rows],
        "number": [row.number for row in rows],
        "label": [row.label or "" for row in rows],
        "country": [row.country or "" for row in rows],
        "kind": [_unless_unknown(row.kind) for row in rows],
        "status": [_unless_unknown(row.status) for row in rows],
        "capabilities": [_capabilities(row) for row in rows],
        "assignee": [row.assignee or "" for row in rows],
        "pool": [row.pool or "" for row in rows],
        "id": [row.id for row in rows],
    }
    return ColumnTable({name: cells for name, cells in texts.items() if name not in hide})


def chosen(rows: Sequence[Any], columns: Sequence[str]) -> RenderableType:
    """Return a table of rows with these columns."""
    cells = {name: [_plain(getattr(row, name)) for row in rows] for name in columns}
    return ColumnTable(cells, keep_empty=True)


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ", ".join(map(str, cast("tuple[object, ...]", value)))
    return _yes_no(value) if isinstance(value, bool) else str(value)


def pools(rows: Sequence[PoolRow]) -> RenderableType:
    """Return a table of pools."""
    return ColumnTable(
        {
            "name": [row.name or "" for row in rows],
            "numbers": [f"{len(row.numbers):,}" for row in rows],
            "forwards to": [row.forwarding_number or "" for row in rows],
            "active": [_yes_no(row.is_active) for row in rows],
            "recording": [_yes_no(row.call_recording) for row in rows],
            "whisper": [_yes_no(row.whisper) for row in rows],
            "id": [row.id for row in rows],
        }
    )


def snapshots(rows: Sequence[SnapshotRow]) -> RenderableType:
    """Return a table of snapshots."""
    return ColumnTable(
        {
            "id": ["" if row.id is None else str(row.id) for row in rows],
            "started_at": [row.started_at for row in rows],
            "finished_at": [row.finished_at or "" for row in rows],
            "backends": [row.backends for row in rows],
            "numbers": [f"{row.numbers:,}" for row in rows],
            "name": [row.name or "" for row in rows],
            "complete": ["yes" if row.complete else "no" for row in rows],
        }
    )


def changes(found: Sequence[Change]) -> RenderableType:
    """Return a table of changes between two snapshots."""
    return ColumnTable(
        {
            "change": [change.kind.value for change in found],
            "number": [change.number or "" for change in found],
            "backend": [change.backend for change in found],
            "account": [_moved_account(change) for change in found],
            "details": [_details(change) for change in found],
        }
    )


def _moved_account(change: Change) -> str:
    if change.from_account is None:
        return change.account
    before = change.from_account
    if change.from_backend != change.backend:
        before = f"{change.from_backend} {before}"
    return f"{before} → {change.account}"


def _details(change: Change) -> str:
    if change.reason is not None:
        return change.reason
    return "; ".join(f"{field.field}: {_value(field.old)} → {_value(field.new)}" for field in change.fields)


def _value(value: Any) -> str:
    if value is None:
        return "\N{EN DASH}"
    return _yes_no(value) if isinstance(value, bool) else str(value)


def _lines(texts: Iterable[str]) -> Text:
    return Text("\n".join(map(escape_controls, texts)))


def findings(found: Sequence[Finding]) -> RenderableType:
    """Return a table of the first findings, and the number of the others."""
    shown = found[:_MAX_FINDINGS]
    table = ColumnTable(
        {
            "severity": [one.severity.value for one in shown],
            "code": [one.code for one in shown],
            "number": [one.number or "" for one in shown],
            "backend": [_lines(backend for backend, _ in one.accounts) for one in shown],
            "account": [_lines(account for _, account in one.accounts) for one in shown],
            "evidence": [one.evidence for one in shown],
        }
    )
    if len(found) <= _MAX_FINDINGS:
        return table
    return Group(table, Text(f"and {len(found) - _MAX_FINDINGS:,} more, which --format jsonl shows"))


def _unless_unknown(word: str) -> str:
    return "" if word == "unknown" else word


def _yes_no(switch: bool) -> str:
    return "yes" if switch else "no"


def _capabilities(row: NumberRow) -> str:
    words = {"voice": row.voice, "sms": row.sms, "mms": row.mms, "fax": row.fax}
    return " ".join(word for word, can in words.items() if can)
