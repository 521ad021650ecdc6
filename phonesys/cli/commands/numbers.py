"""`phonesys numbers`: list the numbers of a backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from phonesys.cli import sweeping
from phonesys.cli.filters import NumberFilter
from phonesys.cli.groups import (  # noqa: TC001 -- typer reads the annotations
    BackendOptions,
    FailureOptions,
    LogOptions,
    RowOptions,
)
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    BackendArgument,
    CountryFilterOption,
    PoolsOption,
    StatusFilterOption,
)
from phonesys.cli.output import destination
from phonesys.cli.progress import pluralize
from phonesys.cli.terminal import print_info
from phonesys.errors import UsageError
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from phonesys.config import ConfiguredBackend


def numbers(
    backend: BackendArgument,
    account: Annotated[
        str | None,
        typer.Argument(
            metavar="ACCOUNT", help="Only this account. [dim]Default: all[/dim]", show_default=False
        ),
    ] = None,
    *,
    source: BackendOptions,
    rows: RowOptions,
    status: StatusFilterOption = None,
    country: CountryFilterOption = None,
    with_pools: PoolsOption = None,
    failing: FailureOptions,
    log: LogOptions,
) -> None:
    """List the numbers of one backend, or of one of its accounts."""

    async def main() -> int:
        hide = ("backend",) if account is None else ("backend", "account")
        output = rows.numbers(NumberFilter.parse(status, country), hide)
        async with source.open_one(backend, with_pools=with_pools) as configured:
            if account is not None:
                _select_account(configured, account)
            sweeping.require_accounts([configured])
            return await _list(configured, output, failing)

    log.run(main)


def _select_account(backend: ConfiguredBackend, account: str) -> None:
    """Restrict the backend to one account; raise UsageError if its key does not open it."""
    if backend.single_account and account not in (backend.accounts or ()):  # type: ignore[operator]
        raise UsageError(f"{backend.name}: its key reads one account, which is called {backend.accounts!r}")
    backend.accounts = (account,)


async def _list(backend: ConfiguredBackend, output: sweeping.NumberOutput, failing: FailureOptions) -> int:
    async with PhoneSystem(backend.provider) as phones:
        sweep = phones.sweep({backend.name: backend.accounts} if backend.accounts is not None else {})
        with destination(output.path) as to:
            unreadable = await sweeping.run_sweep(
                sweep, [backend], output.writer(to), live=output.can_show_live(to), log_progress=False
            )
    accounts = pluralize(sweep.report.outcomes.total(), "account")
    print_info(f"{pluralize(sweep.report.numbers, 'number')} in {accounts}")
    return await failing.report(sweep.report, [backend], unreadable)
