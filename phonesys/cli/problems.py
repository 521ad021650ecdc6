"""Reports on stderr of what a sweep could not read, and the exit status that follows."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from phonesys.cli import rows, tables
from phonesys.cli.output import OutputFile
from phonesys.cli.problem_counts import ProblemCounts, RowProblem
from phonesys.cli.progress import pluralize
from phonesys.cli.running import DONE, FAILED
from phonesys.cli.terminal import print_error, print_info, print_table, progress_is_wanted
from phonesys.config.accounts import AccountFile
from phonesys.sweep import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Sequence
    from pathlib import Path

    from phonesys.config import ConfiguredBackend
    from phonesys.inventory import AccountOutcome
    from phonesys.model import Page, PhoneNumber
    from phonesys.sweep import SweepReport

_PATH_IN_REASON = re.compile(r" - at `\$\.?([^`]*)`$")


class UnreadableRows:
    """Rows of a sweep that could not be read, and fields that could not."""

    def __init__(self) -> None:
        self.rows = ProblemCounts()
        self.fields = ProblemCounts()
        """Fields of another type than documented, in rows that could be read without them."""

    def add(self, page: Page[PhoneNumber]) -> None:
        """Count the unreadable rows and fields of a page."""
        for row in page.rejected:
            path = _PATH_IN_REASON.search(row.reason)
            reason = row.reason[: path.start()] if path else row.reason
            problem = RowProblem(page.provider, page.account, path[1] if path else "", reason)
            self.rows.add(problem, 1, row.raw)
        for mended in page.mended:
            problem = RowProblem(page.provider, page.account, mended.field, "not of the documented type")
            self.fields.add(problem, mended.count, mended.example)

    async def pages(self, sweep: AsyncIterable[Page[PhoneNumber]]) -> AsyncGenerator[Page[PhoneNumber]]:
        """Yield the pages of a sweep and count their unreadable rows."""
        async for page in sweep:
            self.add(page)
            yield page


def report_sweep(
    report: SweepReport,
    backends: Sequence[ConfiguredBackend],
    unreadable: UnreadableRows,
    *,
    allow_incomplete: bool,
) -> int:
    """Print accounts and rows that could not be read, and return the exit status."""
    if report.rejected:
        print_error(f"{pluralize(report.rejected, 'row')} could not be read")
        print_table(tables.row_problems(unreadable.rows), on_stderr=True)
    if unreadable.fields.counts:
        print_info("some fields are not of the documented type; the numbers are complete but for these:")
        if progress_is_wanted():
            print_table(tables.row_problems(unreadable.fields), on_stderr=True)
    if report.failures:
        print_error(f"{pluralize(len(report.failures), 'account')} failed")
        print_table(tables.failures(report.failures), on_stderr=True)
    if report.timed_out:
        print_error(f"the deadline ended the sweep: {not_reached(report, backends)}")
    return DONE if report.complete or allow_incomplete else FAILED


async def write_failures(path: Path | None, report: SweepReport, unreadable: UnreadableRows) -> None:
    """Write failed accounts, and accounts with unreadable rows, as lines of JSON."""
    if path is None:
        return
    found = [
        rows.FailureRow(
            failure.provider, failure.account, "failed", type(failure.error).__name__, str(failure.error)
        )
        for failure in report.failures
    ]
    counts: Counter[tuple[str, str]] = Counter()
    for problem, count in unreadable.rows.counts.items():
        counts[problem.backend, problem.account] += count
    found += [
        rows.FailureRow(backend, account, "unreadable", None, f"{pluralize(count, 'row')} could not be read")
        for (backend, account), count in counts.items()
    ]
    with OutputFile(path, "--failures") as file:
        await file.write(map(rows.json_line, found))


async def write_incomplete(path: Path | None, incomplete: Sequence[AccountOutcome]) -> None:
    """Write the accounts of a snapshot that were not read completely, as lines of JSON."""
    if path is None:
        return
    found = [
        rows.FailureRow(one.backend, one.account or None, one.outcome, None, one.problem or "")
        for one in incomplete
    ]
    with OutputFile(path, "--failures") as file:
        await file.write(map(rows.json_line, found))


def report_snapshot(
    name: int | str, incomplete: Sequence[AccountOutcome], gap: str | None, *, allow_incomplete: bool
) -> int:
    """Print which accounts and shards of a snapshot are missing, and return the exit status."""
    if incomplete:
        accounts = sum(one.problem != gap for one in incomplete)
        reasons = [
            *([gap] if gap else []),
            *([f"{pluralize(accounts, 'account')} not read completely"] if accounts else []),
        ]
        print_error(f"snapshot {name} is incomplete: {'; '.join(reasons)}")
        print_table(tables.incomplete_accounts(incomplete), on_stderr=True)
    return FAILED if incomplete and not allow_incomplete else DONE


def not_reached(report: SweepReport, backends: Sequence[ConfiguredBackend]) -> str:
    """Count the accounts that were not reached, and name files that were not read to their end."""
    unread = [
        f"the rest of {one.accounts.name}"
        for one in backends
        if isinstance(one.accounts, AccountFile) and not one.accounts.exhausted
    ]
    reached = sum(count for outcome, count in report.outcomes.items() if outcome is not Outcome.NOT_REACHED)
    missed = report.outcomes[Outcome.NOT_REACHED]
    named = [pluralize(missed, "account")] if missed or not unread else []
    return f"{' and '.join(named + unread)} not reached, {pluralize(reached, 'account')} read"
