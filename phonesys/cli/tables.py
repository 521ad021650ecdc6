"""Results for people: what a sweep came to, what failed, and lists of numbers and pools."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from phonesys.cli.terminal import clean
from phonesys.errors import CallError
from phonesys.sweep import Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from rich.console import RenderableType

    from phonesys.cli.rows import NumberRow, PoolRow
    from phonesys.errors import PhonesysError
    from phonesys.model import PhoneNumber
    from phonesys.sweep import Failure, SweepReport

MOST_FAILURES = 20
_MOST_GROUPS = 8

_COLUMNS = {
    "done": (Outcome.DONE, ""),
    "empty": (Outcome.EMPTY, ""),
    "not\nconnected": (Outcome.NOT_CONNECTED, ""),
    "failed": (Outcome.FAILED, "bold red"),
    "not\nreached": (Outcome.NOT_REACHED, "yellow"),
}


class Breakdown:
    """Counts numbers by country and by status while they go by."""

    def __init__(self) -> None:
        self.countries: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()

    def add(self, numbers: Iterable[PhoneNumber]) -> None:
        """Count some more."""
        for number in numbers:
            self.countries[number.country or "unknown"] += 1
            self.statuses[str(number.status)] += 1


def summary(report: SweepReport, names: Sequence[str], breakdown: Breakdown) -> RenderableType:
    """Draw what a sweep came to: a row for each backend, and what the numbers are."""
    table = _table()
    table.add_column("backend", style="cyan", overflow="fold", vertical="bottom")
    for heading in ("accounts", *_COLUMNS, "numbers"):
        table.add_column(heading, justify="right", vertical="bottom")
    for name in names:
        table.add_row(
            Text(clean(name)), *_counts(report.by_provider.get(name, {}), report.numbers_by_provider[name])
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
    """List the largest groups; what is left is summed up."""
    text = Text()
    for word, count in counter.most_common(_MOST_GROUPS):
        text.append(f"{clean(word)} ", "dim").append(f"{count:,}   ")
    if rest := counter.total() - sum(count for _, count in counter.most_common(_MOST_GROUPS)):
        text.append("others ", "dim").append(f"{rest:,}")
    return text


def failures(failed: Sequence[Failure]) -> RenderableType:
    """Draw which accounts failed and why."""
    table = _table()
    table.add_column("backend", style="cyan")
    table.add_column("account")
    table.add_column("why", overflow="fold")
    for failure in failed[:MOST_FAILURES]:
        account = "(the list of accounts)" if failure.account is None else clean(failure.account)
        # Not as strings, whose square brackets would be taken for markup.
        table.add_row(*map(Text, (clean(failure.provider), account, clean(_why(failure.error)))))
    if len(failed) <= MOST_FAILURES:
        return table
    return Group(table, Text(f"and {len(failed) - MOST_FAILURES:,} more"))


def _why(error: PhonesysError) -> str:
    """Say what went wrong without where, which the row says."""
    if not isinstance(error, CallError):
        return str(error)
    where = " ".join(part for part in (error.backend, error.operation, error.account) if part)
    return str(error).removeprefix(f"{where}: ")


def numbers(rows: Sequence[NumberRow], hide: Collection[str] = ()) -> RenderableType:
    """Draw a list of numbers, without the columns that the reader asked for and knows."""
    texts = {
        "backend": [row.backend for row in rows],
        "account": [row.account for row in rows],
        "number": [row.number for row in rows],
        "label": [row.label or "" for row in rows],
        "country": [row.country or "" for row in rows],
        "kind": [_known(row.kind) for row in rows],
        "status": [_known(row.status) for row in rows],
        "can": [_can(row) for row in rows],
        "assignee": [row.assignee or "" for row in rows],
        "pool": [row.pool or "" for row in rows],
        "id": [row.id for row in rows],
    }
    return columns({name: cells for name, cells in texts.items() if name not in hide})


def pools(rows: Sequence[PoolRow]) -> RenderableType:
    """Draw a list of pools."""
    return columns(
        {
            "name": [row.name or "" for row in rows],
            "numbers": [f"{len(row.numbers):,}" for row in rows],
            "forwards to": [row.forwarding_number or "" for row in rows],
            "active": [_yes(row.is_active) for row in rows],
            "recording": [_yes(row.call_recording) for row in rows],
            "whisper": [_yes(row.whisper) for row in rows],
            "id": [row.id for row in rows],
        }
    )


def columns(texts: Mapping[str, Sequence[str]]) -> RenderableType:
    """Draw columns of text; those that say nothing are left out."""
    said = {name: cells for name, cells in texts.items() if any(cells)}
    table = _table()
    for name in said:
        table.add_column(name, justify="right" if name == "numbers" else "left", overflow="fold")
    for cells in zip(*said.values(), strict=True):
        table.add_row(*(Text(clean(cell)) for cell in cells))
    return table


def _known(word: str) -> str:
    return "" if word == "unknown" else word


def _yes(switch: bool) -> str:
    return "yes" if switch else "no"


def _can(row: NumberRow) -> str:
    words = {"voice": row.voice, "sms": row.sms, "mms": row.mms, "fax": row.fax}
    return " ".join(word for word, can in words.items() if can)


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, header_style="dim", padding=(0, 1, 0, 0), show_edge=False)
