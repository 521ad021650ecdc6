"""`phonesys numbers`: list the numbers of a backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from phonesys.cli import sweeping
from phonesys.cli.filters import NumberFilter, parse_columns
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    AllowIncompleteOption,
    BackendArgument,
    BomOption,
    ColumnsOption,
    ConfigOption,
    CountryFilterOption,
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
from phonesys.cli.running import run
from phonesys.cli.terminal import print_info
from phonesys.config import ConfiguredBackend, load_backend
from phonesys.errors import UsageError
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path
    from typing import Any


def numbers(
    backend: BackendArgument,
    account: Annotated[
        str | None, typer.Argument(help="Only this account. [dim]Default: all[/dim]", show_default=False)
    ] = None,
    *,
    config: ConfigOption = None,
    format_: FormatOption = Format.TABLE,
    output: OutputOption = None,
    columns: ColumnsOption = None,
    status: StatusFilterOption = None,
    country: CountryFilterOption = None,
    with_pools: PoolsOption = None,
    bom: BomOption = False,
    failures: FailuresOption = None,
    allow_incomplete: AllowIncompleteOption = False,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the numbers of one backend, or of one of its accounts."""

    def prepare() -> Coroutine[Any, Any, int]:
        chosen, accepted = parse_columns(columns), NumberFilter.parse(status, country)
        configured = load_backend(config, backend, with_pools=with_pools)
        if account is not None:
            _select_account(configured, account)
        sweeping.require_accounts([configured])
        hide = ("backend",) if account is None else ("backend", "account")
        written = sweeping.NumberOutput(format_, output, bom, hide, chosen, accepted)
        return _list(configured, written, failures, allow_incomplete)

    run(prepare, verbose=verbose, quiet=quiet)


def _select_account(backend: ConfiguredBackend, account: str) -> None:
    """Restrict the backend to one account; raise UsageError if its key does not open it."""
    if backend.single_account and account not in (backend.accounts or ()):  # type: ignore[operator]
        raise UsageError(f"{backend.name}: its key reads one account, which is called {backend.accounts!r}")
    backend.accounts = (account,)


async def _list(
    backend: ConfiguredBackend, output: sweeping.NumberOutput, failures: Path | None, allow_incomplete: bool
) -> int:
    async with PhoneSystem(backend.provider) as phones:
        sweep = phones.sweep({backend.name: backend.accounts} if backend.accounts is not None else {})
        with destination(output.path) as to:
            unreadable = await sweeping.run_sweep(
                sweep, [backend], output.writer(to), live=output.can_show_live(to), log_progress=False
            )
    await write_failures(failures, sweep.report, unreadable)
    accounts = pluralize(sweep.report.outcomes.total(), "account")
    print_info(f"{pluralize(sweep.report.numbers, 'number')} in {accounts}")
    return report_sweep(sweep.report, [backend], unreadable, allow_incomplete=allow_incomplete)
