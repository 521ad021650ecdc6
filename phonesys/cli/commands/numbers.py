"""`phonesys numbers` and `phonesys find`: list numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from phonesys._matching import NumberQuery
from phonesys.cli import sweeping
from phonesys.cli.config import ConfiguredBackend, load_backend, load_backends
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    AllowIncompleteOption,
    BackendArgument,
    BackendsOption,
    BomOption,
    ConfigOption,
    FormatOption,
    OutputOption,
    PoolsOption,
    QuietOption,
    VerboseOption,
)
from phonesys.cli.output import Format, destination
from phonesys.cli.problems import report_sweep
from phonesys.cli.progress import pluralize
from phonesys.cli.running import run
from phonesys.cli.terminal import print_info
from phonesys.errors import UsageError
from phonesys.sweep import Source, Sweep
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from pathlib import Path
    from typing import Any

    from phonesys.sweep import SweepReport


def numbers(
    backend: BackendArgument,
    account: Annotated[
        str | None, typer.Argument(help="Only this account. [dim]Default: all[/dim]", show_default=False)
    ] = None,
    *,
    config: ConfigOption = None,
    format_: FormatOption = Format.TABLE,
    output: OutputOption = None,
    with_pools: PoolsOption = None,
    bom: BomOption = False,
    allow_incomplete: AllowIncompleteOption = False,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the numbers of one backend, or of one of its accounts."""

    def prepare() -> Coroutine[Any, Any, int]:
        configured = load_backend(config, backend, with_pools=with_pools)
        if account is not None:
            _select_account(configured, account)
        sweeping.require_accounts([configured])
        hide = ("backend",) if account is None else ("backend", "account")
        return _list([configured], format_, output, allow_incomplete, bom=bom, hide=hide)

    run(prepare, verbose=verbose, quiet=quiet)


def find(
    number: Annotated[str, typer.Argument(help="In any spelling, such as +14155552671 or (415) 555-2671.")],
    *,
    config: ConfigOption = None,
    backend: BackendsOption = None,
    format_: FormatOption = Format.TABLE,
    output: OutputOption = None,
    with_pools: PoolsOption = None,
    bom: BomOption = False,
    allow_incomplete: AllowIncompleteOption = False,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find every backend and account that holds a number."""

    def prepare() -> Coroutine[Any, Any, int]:
        NumberQuery.parse(number)  # raises before any configuration is loaded
        backends = load_backends(config, backend or [], with_pools=with_pools)
        sweeping.require_accounts(backends)
        return _list(backends, format_, output, allow_incomplete, bom=bom, match=number)

    run(prepare, verbose=verbose, quiet=quiet)


def _select_account(backend: ConfiguredBackend, account: str) -> None:
    """Restrict the backend to one account; raise UsageError if its key does not open it."""
    if backend.single_account and account not in (backend.accounts or ()):  # type: ignore[operator]
        raise UsageError(f"{backend.name}: its key reads one account, which is called {backend.accounts!r}")
    backend.accounts = (account,)


async def _list(
    backends: list[ConfiguredBackend],
    format_: Format,
    output: Path | None,
    allow_incomplete: bool,
    *,
    bom: bool,
    match: str | None = None,
    hide: Sequence[str] = (),
) -> int:
    async with PhoneSystem(*(backend.provider for backend in backends)):
        with destination(output) as to:
            sweep = Sweep([Source(b.name, b.provider, b.accounts) for b in backends], match=match)
            writer = (
                sweeping.TableWriter(to, hide)
                if format_ is Format.TABLE
                else sweeping.LineWriter(format_, to, bom=bom)
            )
            live = sweeping.can_show_live(format_, to)
            unreadable = await sweeping.run_sweep(sweep, backends, writer, live=live, log_progress=False)
    print_info(_summary(sweep.report, match))
    return report_sweep(sweep.report, backends, unreadable, allow_incomplete=allow_incomplete)


def _summary(report: SweepReport, match: str | None) -> str:
    accounts = pluralize(report.outcomes.total(), "account")
    if match is None:
        return f"{pluralize(report.numbers, 'number')} in {accounts}"
    if not report.numbers:
        return f"{match} is in none of {accounts}"
    return f"{match} found {pluralize(report.numbers, 'time')} in {accounts}"
