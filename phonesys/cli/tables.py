"""Tables for people: the summary of a sweep, failures, numbers, pools and changes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from phonesys.cli.terminal import escape_controls
from phonesys.errors import CallError
from phonesys.sweep import Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from rich.console import RenderableType

    from phonesys.cli.problems import RowProblem
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
_NUMERIC = {"numbers", "rows"}
_MAX_FINDINGS = 200

_COLUMNS = {
    "done": (Outcome.DONE, ""),
    "empty": (Outcome.EMPTY, ""),
    "not\nconnected": (Outcome.NOT_CONNECTED, ""),
    "failed": (Outcome.FAILED, "bold red"),
    "not\nreached": (Outcome.NOT_REACHED, "yellow"),
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
    table = _table()
    table.add_column("backend", style="cyan", overflow="fold", vertical="bottom")
    for heading in ("accounts", *_COLUMNS, "numbers"):
        table.add_column(heading, justify="right", vertical="bottom")
    for name in names:
        table.add_row(
            Text(escape_controls(name)),
            *_counts(report.by_provider.get(name, {}), report.numbers_by_provider[name]),
        )
    if len(names) > 1:
        table.add_section()
        table.add_row(Text("all", "bold"), *_counts(report.outcomes, report.numbers, style="bold"))
    groups = Table.grid(padding=(0, 2, 0, 0))
    groups.add_row(Text("by country", "dim"), _group(breakdown.countries))
    groups.add_row(Text("by status", "dim"), _group(breakdown.statuses))
    return Group("", table, "", groups, "") if report.numbers else Group("", table, "")


def _counts(outcomes: Mapping[Outcome, int], numbers: int, style: str = "") -> list[Text]:
    cells = [_count(sum(outcomes.values()), style)]
    cells += [_count(outcomes.get(outcome, 0), loud or style) for outcome, loud in _COLUMNS.values()]
    return [*cells, _count(numbers, "bold")]


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
    table = _table()
    table.add_column("backend", style="cyan")
    table.add_column("account")
    table.add_column("reason", overflow="fold")
    for failure in failed[:MAX_FAILURES]:
        account = _ACCOUNT_LIST if failure.account is None else escape_controls(failure.account)
        # Text, because square brackets in a string would be markup.
        table.add_row(
            *map(Text, (escape_controls(failure.provider), account, escape_controls(_reason(failure.error))))
        )
    return _limited(table, len(failed) - MAX_FAILURES, "accounts")


def unreadable_rows(counts: Counter[RowProblem], examples: Mapping[RowProblem, str]) -> RenderableType:
    """Return a table of unreadable rows: where, which field, why, and the beginning of a row."""
    shown = counts.most_common(MAX_FAILURES)
    table = columns(
        {
            "backend": [problem.backend for problem, _ in shown],
            "account": [problem.account for problem, _ in shown],
            "rows": [f"{count:,}" for _, count in shown],
            "field": [problem.field for problem, _ in shown],
            "reason": [problem.reason for problem, _ in shown],
            "row": [examples[problem][:_EXCERPT] for problem, _ in shown],
        }
    )
    return _limited(table, len(counts) - len(shown), "kinds")


def incomplete_accounts(found: Sequence[AccountOutcome]) -> RenderableType:
    """Return a table of accounts that were not read completely."""
    shown = found[:MAX_FAILURES]
    table = columns(
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
    return columns({name: cells for name, cells in texts.items() if name not in hide})


def pools(rows: Sequence[PoolRow]) -> RenderableType:
    """Return a table of pools."""
    return columns(
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
    return columns(
        {
            "id": [str(row.id) for row in rows],
            "started_at": [row.started_at for row in rows],
            "finished_at": [row.finished_at for row in rows],
            "backends": [row.backends for row in rows],
            "numbers": [f"{row.numbers:,}" for row in rows],
        }
    )


def changes(found: Sequence[Change]) -> RenderableType:
    """Return a table of changes between two snapshots."""
    return columns(
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


def findings(found: Sequence[Finding]) -> RenderableType:
    """Return a table of the first findings, and the number of the others."""
    shown = found[:_MAX_FINDINGS]
    table = columns(
        {
            "severity": [one.severity.value for one in shown],
            "code": [one.code for one in shown],
            "number": [one.number or "" for one in shown],
            "accounts": [
                ", ".join(f"{backend} {account}" for backend, account in one.accounts) for one in shown
            ],
            "evidence": [one.evidence for one in shown],
        }
    )
    if len(found) <= _MAX_FINDINGS:
        return table
    return Group(table, Text(f"and {len(found) - _MAX_FINDINGS:,} more, which --format jsonl shows"))


def columns(texts: Mapping[str, Sequence[str]]) -> RenderableType:
    """Return a table of these columns, without the empty ones."""
    filled = {name: cells for name, cells in texts.items() if any(cells)}
    table = _table()
    for name in filled:
        table.add_column(name, justify="right" if name in _NUMERIC else "left", overflow="fold")
    for cells in zip(*filled.values(), strict=True):
        table.add_row(*(Text(escape_controls(cell)) for cell in cells))
    return table


def _unless_unknown(word: str) -> str:
    return "" if word == "unknown" else word


def _yes_no(switch: bool) -> str:
    return "yes" if switch else "no"


def _capabilities(row: NumberRow) -> str:
    words = {"voice": row.voice, "sms": row.sms, "mms": row.mms, "fax": row.fax}
    return " ".join(word for word, can in words.items() if can)


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, header_style="dim", padding=(0, 1, 0, 0), show_edge=False)
