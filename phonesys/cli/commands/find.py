"""`phonesys find`: find who holds a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from phonesys.cli import sweeping
from phonesys.cli.filters import NumberFilter, parse_columns
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    AllowIncompleteOption,
    BackendsOption,
    BomOption,
    ColumnsOption,
    ConfigOption,
    FailuresOption,
    FormatOption,
    OutputOption,
    PoolsOption,
    QuietOption,
    StatusFilterOption,
    VerboseOption,
)
from phonesys.cli.output import Format, destination
from phonesys.cli.problems import report_sweep, write_failures
from phonesys.cli.progress import pluralize
from phonesys.cli.queries import NumberQueries, QueryWriter, read_queries
from phonesys.cli.running import run
from phonesys.cli.terminal import print_info
from phonesys.config import ConfiguredBackend, load_backends
from phonesys.sweep import Source, Sweep
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path
    from typing import Any

    from phonesys.sweep import SweepReport

_MAX_SUMMARY = 20
"""Numbers that are summarised on a line each."""


def find(
    number: Annotated[
        list[str] | None,
        typer.Argument(
            help="Any spelling of a number, a short code, or a sender's name; - reads stdin.",
            show_default=False,
        ),
    ] = None,
    *,
    numbers: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="Find the numbers in this file too, one per line."),
    ] = None,
    country: Annotated[
        str | None,
        typer.Option(metavar="CC", help="Country of numbers without country code, such as US."),
    ] = None,
    config: ConfigOption = None,
    backend: BackendsOption = None,
    format_: FormatOption = Format.TABLE,
    output: OutputOption = None,
    columns: ColumnsOption = None,
    status: StatusFilterOption = None,
    with_pools: PoolsOption = None,
    bom: BomOption = False,
    failures: FailuresOption = None,
    allow_incomplete: AllowIncompleteOption = False,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find every backend and account that holds a number.

    Digits are compared, so that every spelling of a number finds it. Several numbers are found in one sweep.
    """

    def prepare() -> Coroutine[Any, Any, int]:
        chosen, accepted = parse_columns(columns), NumberFilter.parse(status, None)
        written = sweeping.NumberOutput(format_, output, bom, columns=chosen, filter=accepted)
        queries = read_queries(number or [], numbers, country)
        backends = load_backends(config, backend or [], with_pools=with_pools)
        sweeping.require_accounts(backends)
        return _find(queries, backends, written, failures, allow_incomplete)

    run(prepare, verbose=verbose, quiet=quiet)


async def _find(
    queries: NumberQueries,
    backends: list[ConfiguredBackend],
    output: sweeping.NumberOutput,
    failures: Path | None,
    allow_incomplete: bool,
) -> int:
    # A single number is left to the vendors' search. Several are found in one sweep of everything.
    match = queries.all[0].text if len(queries.all) == 1 else None
    async with PhoneSystem(*(backend.provider for backend in backends)):
        with destination(output.path) as to:
            sweep = Sweep([Source(b.name, b.provider, b.accounts) for b in backends], match=match)
            writer = QueryWriter(output.writer(to), queries)
            unreadable = await sweeping.run_sweep(
                sweep, backends, writer, live=output.can_show_live(to), log_progress=False
            )
    await write_failures(failures, sweep.report, unreadable)
    _print_summary(sweep.report, writer)
    return report_sweep(sweep.report, backends, unreadable, allow_incomplete=allow_incomplete)


def _print_summary(report: SweepReport, writer: QueryWriter) -> None:
    accounts = pluralize(report.outcomes.total(), "account")
    # Numbers that were not found come first: they are what a long list is read for.
    for query, count in sorted(writer.counts.items(), key=lambda item: item[1] > 0)[:_MAX_SUMMARY]:
        found = f"found {pluralize(count, 'time')} in" if count else "is in none of"
        print_info(f"{query.text} {found} {accounts}")
    if len(writer.counts) > _MAX_SUMMARY:
        missing = sum(not count for count in writer.counts.values())
        print_info(f"{len(writer.counts):,} numbers: {len(writer.counts) - missing:,} found, {missing:,} not")
