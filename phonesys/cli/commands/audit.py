"""`phonesys audit`: find what is wrong with the numbers."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phonesys.cli import rows, tables
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    AllowIncompleteOption,
    BackendsOption,
    BomOption,
    ConfigOption,
    FormatOption,
    IgnoreOption,
    OutputOption,
    PoolsOption,
    QuietOption,
    SandboxOption,
    SelectOption,
    StoreOption,
    VerboseOption,
)
from phonesys.cli.output import Format, destination, write_table
from phonesys.cli.progress import pluralize
from phonesys.cli.running import DONE, FAILED, run
from phonesys.cli.source import open_source
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
    store: StoreOption = None,
    sandbox: SandboxOption = False,
    config: ConfigOption = None,
    backend: BackendsOption = None,
    select: SelectOption = None,
    ignore: IgnoreOption = None,
    fail_on: Annotated[
        Severity | None, typer.Option(help="Exit with 1 for a finding of this severity or worse.")
    ] = None,
    format_: FormatOption = Format.TABLE,
    output: OutputOption = None,
    with_pools: PoolsOption = None,
    bom: BomOption = False,
    allow_incomplete: AllowIncompleteOption = False,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find numbers that are unrouted, blocked, held twice, or paid for and unused.

    Without --format, print the most severe findings. jsonl and csv are one row per finding.
    """

    async def main() -> int:
        counts = _SeverityCounts()
        async with open_source(store, config, backend, sandbox=sandbox, with_pools=with_pools) as source:
            with destination(output) as to:
                if format_ is Format.TABLE:
                    found = await findings(**source.audit_arguments(ignore, select))
                    counts.add(found)
                    await write_table(tables.findings(found), to)
                else:
                    await _write_findings(
                        source.audit_arguments(ignore, select), counts, format_, to, bom=bom
                    )
        print_info(counts.summary())
        return max(source.finish(allow_incomplete), FAILED if counts.reach(fail_on) else DONE)

    run(main, verbose=verbose, quiet=quiet)


async def _write_findings(
    options: dict[str, Any], counts: _SeverityCounts, format_: Format, to: Destination, *, bom: bool
) -> None:
    line = rows.json_line if format_ is Format.JSONL else rows.csv_line
    if format_ is Format.CSV:
        await to.write([rows.csv_header(rows.FindingRow, bom=bom)])
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
