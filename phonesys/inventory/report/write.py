"""Writing the report: one HTML file that loads nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from phonesys._files import replace_atomically
from phonesys.errors import PhonesysError
from phonesys.inventory.audit import audit
from phonesys.inventory.report.changes import about_changes
from phonesys.inventory.report.gather import Found, Kept, Numbers
from phonesys.inventory.report.page import about_accounts, about_numbers, page_template

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterable, Collection, Iterable

    from phonesys.inventory.audit import AuditContext, Finding
    from phonesys.inventory.diff.changes import Change
    from phonesys.inventory.record import AccountOutcome, Records
MOST_NUMBERS = 200_000
"""Listed in the page: about 20 MB. Counts are of all numbers, however many."""
MOST_OF_A_KIND = 200
"""Findings of one rule, changes, and accounts that failed."""


class ReportFailed(PhonesysError):
    """The file could not be written; what was there before is still there."""


async def write_report(
    path: str | os.PathLike[str],
    records: Records,
    *,
    findings: Iterable[Finding] | AsyncIterable[Finding] | None = None,
    known: AuditContext | None = None,
    ignore: Collection[str] = (),
    accounts: Iterable[AccountOutcome] | AsyncIterable[AccountOutcome] = (),
    changes: Iterable[Change] | AsyncIterable[Change] | None = None,
    title: str = "Phone number inventory",
    made: datetime | None = None,
    most_numbers: int = MOST_NUMBERS,
) -> None:
    """Write what there is, what is wrong with it and what changed, for people to read in a browser.

    The records are audited as they pass, with what is `known` and without the rules that `ignore` names,
    unless `findings` brings what an audit found. `accounts` and `changes` are read after the records.
    `changes=None` leaves that section out. The file appears once it is whole; raises ReportFailed where the
    disk fails.
    """
    template = page_template()
    numbers, found, kept = Numbers(most_numbers), Found(MOST_OF_A_KIND), Kept(accounts)
    if findings is None:
        findings = audit(numbers.passing(records), known=known, ignore=ignore, accounts=kept)
    else:
        await numbers.add_all(records)
    await found.add_all(findings)
    facts: dict[str, Any] = {"title": title, "made": (made or datetime.now(UTC)).astimezone(UTC)}
    facts |= about_numbers(numbers, found) | about_accounts(await kept.all(), numbers, MOST_OF_A_KIND)
    facts |= await about_changes(changes, MOST_OF_A_KIND)
    await to_thread.run_sync(_write, path, template, facts, numbers)


def _write(path: str | os.PathLike[str], template: Any, facts: dict[str, Any], numbers: Numbers) -> None:
    page = template.generate(**facts, data=numbers.data())
    try:
        with replace_atomically(path) as file:
            file.writelines(piece.encode("utf-8", "replace") for piece in page)
    except OSError as failure:
        raise ReportFailed(f"{path} was not written: {failure.strerror or failure}") from failure
