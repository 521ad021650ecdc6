"""Writing the report: one HTML file that loads nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from phonesys._files import replace_atomically
from phonesys.errors import PhonesysError
from phonesys.inventory.audit import audit
from phonesys.inventory.report.changes import change_facts
from phonesys.inventory.report.gather import CachedOutcomes, FindingGroups, NumberSummary
from phonesys.inventory.report.page import (
    account_facts,
    embedded_data,
    number_facts,
    page_template,
    trend_facts,
)
from phonesys.inventory.report.trend import TrendPoint

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterable, Callable, Collection, Iterable, Sequence

    from phonesys.inventory.audit import AuditContext, Finding
    from phonesys.inventory.diff import Change
    from phonesys.inventory.record import AccountOutcome, Records

MAX_NUMBERS = 200_000
"""The number of listed numbers: about 20 MB. The counts include all numbers."""
MAX_PER_KIND = 200
"""The number of listed findings of one rule, of changes, and of failed accounts."""


class ReportFailed(PhonesysError):
    """The file could not be written. A previous file is unchanged."""


async def write_report(
    path: str | os.PathLike[str],
    records: Records,
    *,
    findings: Iterable[Finding] | AsyncIterable[Finding] | None = None,
    context: AuditContext | None = None,
    ignore: Collection[str] = (),
    accounts: Iterable[AccountOutcome] | AsyncIterable[AccountOutcome] = (),
    changes: Iterable[Change] | AsyncIterable[Change] | None = None,
    trend: Sequence[TrendPoint] = (),
    title: str = "Phone number inventory",
    as_of: datetime | None = None,
    max_numbers: int = MAX_NUMBERS,
) -> None:
    """Write a page of counts, findings, changes and numbers, to be read in a browser.

    The records are audited with `context` and `ignore`, unless `findings` is given. `accounts` and `changes`
    are read after the records. Without `changes` the page has no such section. `trend` is what `read_trend`
    returns: the counts of earlier sweeps. The file is replaced once it is complete. Raises ReportFailed if
    writing fails.
    """
    template = page_template()
    numbers, outcomes = NumberSummary(max_numbers), CachedOutcomes(accounts)
    groups = FindingGroups(MAX_PER_KIND, numbers.cost)
    if findings is None:
        findings = audit(numbers.counted(records), context=context, ignore=ignore, accounts=outcomes)
    else:
        await numbers.add_all(records)
    await groups.add_all(findings)
    when = (as_of or datetime.now(UTC)).astimezone(UTC)
    facts: dict[str, Any] = {"title": title, "as_of": when}
    facts |= number_facts(numbers, groups) | account_facts(await outcomes.all(), numbers, MAX_PER_KIND)
    facts |= await change_facts(changes, MAX_PER_KIND)
    facts |= trend_facts(trend, _current_point(facts))
    read = await outcomes.all()
    await to_thread.run_sync(_write, path, template, facts, lambda: embedded_data(numbers, groups, read))


def _current_point(facts: dict[str, Any]) -> TrendPoint:
    counts = dict(facts["change_counts"]) if facts["changes"] is not None else None
    return TrendPoint(
        as_of=facts["as_of"],
        numbers=facts["counts"].total,
        complete=not facts["unread"],
        critical=facts["critical"],
        other_findings=facts["found"] - facts["critical"],
        added=counts.get("added", 0) if counts is not None else None,
        removed=counts.get("removed", 0) if counts is not None else None,
    )


def _write(
    path: str | os.PathLike[str], template: Any, facts: dict[str, Any], encode_data: Callable[[], str]
) -> None:
    page = template.generate(**facts, data=encode_data())
    try:
        with replace_atomically(path) as file:
            file.writelines(piece.encode("utf-8", "replace") for piece in page)
    except OSError as failure:
        raise ReportFailed(f"{path} was not written: {failure.strerror or failure}") from failure
