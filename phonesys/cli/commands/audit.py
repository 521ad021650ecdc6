"""`phonesys audit`: find what is wrong with the numbers."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phonesys.cli import rows, tables
from phonesys.cli.filters import parse_columns
from phonesys.cli.groups import (  # noqa: TC001 -- typer reads the annotations
    FailureOptions,
    LogOptions,
    RowOptions,
)
from phonesys.cli.options import IgnoreOption, SelectOption  # noqa: TC001 -- as above
from phonesys.cli.output import Format, destination, write_table
from phonesys.cli.progress import pluralize
from phonesys.cli.running import DONE, FAILED
from phonesys.cli.source import SourceOptions  # noqa: TC001 -- as above
from phonesys.cli.terminal import print_info
from phonesys.inventory import batches
from phonesys.inventory.audit import Finding, Severity, findings
from phonesys.inventory.audit import audit as run_audit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phonesys.cli.output import Destination

_CHUNK = 256


def audit(
    *,
    source: SourceOptions,
    select: SelectOption = None,
    ignore: IgnoreOption = None,
    fail_on: Annotated[
        Severity | None,
        typer.Option(
            metavar="SEVERITY",
            help="Exit with 1 for a finding of this severity or worse: critical, warning or info.",
        ),
    ] = None,
    shown: RowOptions,
    failing: FailureOptions,
    log: LogOptions,
) -> None:
    """Find numbers that are unrouted, blocked, held twice, or paid for and unused.

    Without --format, print the most severe findings. jsonl and csv are one row per finding. Numbers that are
    filtered out are not audited, so that nothing is compared with them either.
    """

    async def main() -> int:
        counts = _SeverityCounts()
        columns = parse_columns(shown.columns, rows.FindingRow)
        async with source.open_source() as opened:
            with destination(shown.output) as to:
                if shown.format_ is Format.TABLE:
                    found = await findings(**opened.audit_arguments(ignore, select))
                    counts.add(found)
                    table = (
                        tables.chosen(list(map(rows.finding_row, found)), columns)
                        if columns
                        else tables.findings(found)
                    )
                    await write_table(table, to)
                else:
                    await _write_findings(opened.audit_arguments(ignore, select), counts, shown, columns, to)
        print_info(counts.summary())
        return max(await opened.finish(failing), FAILED if counts.reach(fail_on) else DONE)

    log.run(main)


async def _write_findings(
    options: dict[str, Any],
    counts: _SeverityCounts,
    shown: RowOptions,
    columns: Sequence[str],
    to: Destination,
) -> None:
    if shown.format_ is Format.CSV:
        line = rows.csv_lines_of(columns) if columns else rows.csv_line
        await to.write([rows.csv_header(rows.FindingRow, columns, bom=shown.bom)])
    else:
        line = rows.json_lines_of(columns) if columns else rows.json_line
    async with aclosing(batches(run_audit(**options), _CHUNK)) as chunks:
        async for chunk in chunks:
            counts.add(chunk)
            await to.write([line(rows.finding_row(finding)) for finding in chunk])


class _SeverityCounts:
    def __init__(self) -> None:
        self._counts = dict.fromkeys(Severity, 0)

    def add(self, found: Sequence[Finding]) -> None:
        for finding in found:
            self._counts[finding.severity] += 1

    def reach(self, severity: Severity | None) -> bool:
        """Return True if there is a finding of this severity or worse."""
        limit = -1 if severity is None else severity.rank
        return any(count and one.rank <= limit for one, count in self._counts.items())

    def summary(self) -> str:
        parts = [f"{count:,} {severity.value}" for severity, count in self._counts.items() if count]
        total = pluralize(sum(self._counts.values()), "finding")
        return f"{total}: {', '.join(parts)}" if parts else total
