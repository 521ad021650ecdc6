"""`phonesys find`: find who holds a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from phonesys.cli import sweeping, tables
from phonesys.cli.filters import NumberFilter
from phonesys.cli.groups import (
    BackendOptions,
    FailureOptions,
    LogOptions,
    RowOptions,
    restrict_accounts,
)
from phonesys.cli.options import (
    AccountsFilterOption,
    BackendsOption,
    FolderOption,
    PoolsOption,
    SnapshotOption,
    StatusFilterOption,
    refuse_password,
)
from phonesys.cli.output import Format, destination
from phonesys.cli.progress import pluralize
from phonesys.cli.queries import NumberQueries, QueryWriter, ResultCounts, read_queries
from phonesys.cli.rows import NumberRow, record_row
from phonesys.cli.source import open_snapshot
from phonesys.cli.terminal import print_info
from phonesys.errors import UsageError
from phonesys.sweep import Source, Sweep
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from phonesys.cli.source import RecordSource
    from phonesys.config import ConfiguredBackend

_MAX_SUMMARY = 20
"""Numbers that are summarised on a line each."""


def find(
    number: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NUMBER",
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
    source: BackendOptions,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|URL",
            help="Look into the last snapshot of this store, and send nothing.",
            callback=refuse_password,
        ),
    ] = None,
    folder: FolderOption = None,
    snapshot: SnapshotOption = None,
    backend: BackendsOption = None,
    account: AccountsFilterOption = None,
    status: StatusFilterOption = None,
    rows: RowOptions,
    with_pools: PoolsOption = None,
    failing: FailureOptions,
    log: LogOptions,
) -> None:
    """Find every backend and account that holds a number.

    Digits are compared, so that every spelling of a number finds it. Several numbers are found in one sweep,
    and in none with --store or --folder.
    """

    async def main() -> int:
        output = rows.numbers(NumberFilter.parse(status))
        queries = read_queries(number or [], numbers, country)
        if store is not None or folder is not None:
            source.check_snapshot("--folder" if store is None else "--store", with_pools=with_pools)
            accepted = NumberFilter.parse(status, None, account, backend)
            async with open_snapshot(store, folder, snapshot, accepted) as opened:
                await _find_in_snapshot(opened, queries, rows)
                return await opened.finish(failing)
        if snapshot is not None:
            raise UsageError("--snapshot: needs --store or --folder, where it is")
        async with source.open(backend or [], with_pools=with_pools) as configured:
            backends = restrict_accounts(configured, account)
            sweeping.require_accounts(backends)
            return await _find(queries, backends, output, failing)

    log.run(main)


async def _find_in_snapshot(opened: RecordSource, queries: NumberQueries, shown: RowOptions) -> None:
    counts = ResultCounts(queries)
    found = [record_row(one) async for one in opened.records if counts.add(one.number)]
    if found or shown.format_ is not Format.TABLE:
        await shown.write(NumberRow, found, table=tables.numbers)
    _print_summary(sum([1 async for one in opened.accounts if one.account]), counts)


async def _find(
    queries: NumberQueries,
    backends: list[ConfiguredBackend],
    output: sweeping.NumberOutput,
    failing: FailureOptions,
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
    _print_summary(sweep.report.outcomes.total(), writer.counts)
    return await failing.report(sweep.report, backends, unreadable)


def _print_summary(account_count: int, counts: ResultCounts) -> None:
    accounts = pluralize(account_count, "account")
    # Numbers that were not found come first: they are what a long list is read for.
    for query, count in sorted(counts.items(), key=lambda item: item[1] > 0)[:_MAX_SUMMARY]:
        found = f"found {pluralize(count, 'time')} in" if count else "is in none of"
        print_info(f"{query.text} {found} {accounts}")
    if len(counts) > _MAX_SUMMARY:
        missing = sum(not count for count in counts.values())
        print_info(f"{len(counts):,} numbers: {len(counts) - missing:,} found, {missing:,} not")
