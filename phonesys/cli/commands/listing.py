"""`numbers`, `pools`, `find` and `get`: what is where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from phonesys._validation import validate_e164
from phonesys.cli import reading, rows, tables
from phonesys.cli.config import Configured, configured, one
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    Account,
    As,
    Config,
    Output,
    Provider,
    Providers,
    Verbose,
)
from phonesys.cli.output import Format, destination
from phonesys.cli.progress import plural
from phonesys.cli.running import DONE, run
from phonesys.cli.signatures import accepted
from phonesys.cli.terminal import say
from phonesys.errors import UsageError
from phonesys.provider import GetsNumbers, HasPools, require
from phonesys.sweep import Source, Sweep
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from pathlib import Path
    from typing import Any

    from phonesys.cli.output import Destination
    from phonesys.cli.rows import NumberRow
    from phonesys.sweep import SweepReport


def numbers(
    provider: Provider,
    account: Annotated[
        str | None, typer.Argument(help="One account only. [dim]Default: all[/dim]", show_default=False)
    ] = None,
    *,
    config: Config = None,
    format_: As = Format.TABLE,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """List the numbers of one backend, or of one account of it."""

    def prepare() -> Coroutine[Any, Any, int]:
        backend = one(config, provider)
        if account is not None:
            _narrow(backend, account)
        reading.check_accounts_known([backend])
        hide = ("backend",) if account is None else ("backend", "account")
        return _read([backend], format_, output, hide=hide)

    run(prepare, verbose=verbose)


def find(
    number: Annotated[str, typer.Argument(help="E.164, as in +14155552671.")],
    *,
    config: Config = None,
    provider: Providers = None,
    format_: As = Format.TABLE,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """Find every backend and account that holds a number."""

    def prepare() -> Coroutine[Any, Any, int]:
        match = validate_e164(number)
        backends = configured(config, provider or [])
        reading.check_accounts_known(backends)
        return _read(backends, format_, output, match=match)

    run(prepare, verbose=verbose)


def pools(
    provider: Provider,
    location: Annotated[str, typer.Argument(help="The account that the pools are in.")],
    *,
    config: Config = None,
    format_: As = Format.TABLE,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """List the number pools of an account."""

    def prepare() -> Coroutine[Any, Any, int]:
        backend = one(config, provider)
        return _pools(backend, require(backend.provider, HasPools), location, format_, output)

    run(prepare, verbose=verbose)


def get(
    provider: Provider,
    number_id: Annotated[str, typer.Argument(metavar="ID", help="What the vendor calls the number.")],
    *,
    account: Account = None,
    config: Config = None,
    format_: As = Format.TABLE,
    verbose: Verbose = False,
) -> None:
    """Fetch one number by its id."""

    def prepare() -> Coroutine[Any, Any, int]:
        backend = one(config, provider)
        able = require(backend.provider, GetsNumbers)
        options = accepted(able.get, backend.name, "get", {"--account": account})
        return _get(backend, able, number_id, options, format_)

    run(prepare, verbose=verbose)


def _narrow(backend: Configured, account: str) -> None:
    """Read this account only; a key that reads one account reads no other."""
    if backend.one_account and account not in (backend.accounts or ()):  # type: ignore[operator]
        raise UsageError(f"{backend.name}: its key reads one account, which is called {backend.accounts!r}")
    backend.accounts = (account,)


async def _read(
    backends: list[Configured],
    format_: Format,
    output: Path | None,
    *,
    match: str | None = None,
    hide: Sequence[str] = (),
) -> int:
    async with PhoneSystem(*(backend.provider for backend in backends)):
        with destination(output) as to:
            sweep = Sweep([Source(b.name, b.provider, b.accounts) for b in backends], match=match)
            writer = reading.Listing(to, hide) if format_ is Format.TABLE else reading.Lines(format_, to)
            live = reading.may_be_live(format_, to)
            await reading.read(sweep, backends, writer, live=live, quiet=True)
    say(_found(sweep.report, match))
    return reading.conclude(sweep.report, backends)


def _found(report: SweepReport, match: str | None) -> str:
    accounts = plural(report.outcomes.total(), "account")
    if match is None:
        return f"{plural(report.numbers, 'number')} in {accounts}"
    if not report.numbers:
        return f"{match} is in none of {accounts}"
    return f"{match} found {plural(report.numbers, 'time')} in {accounts}"


async def _pools(
    backend: Configured, able: HasPools, location: str, format_: Format, output: Path | None
) -> int:
    async with PhoneSystem(backend.provider):
        with destination(output) as to:
            found = [rows.pool_row(pool, backend.name, location) for pool in await able.pools(location)]
            if format_ is not Format.TABLE:
                await rows.write(rows.PoolRow, found, format_, to)
            elif found:
                await reading.draw(tables.pools(found), to)
    say(plural(len(found), "pool"))
    return DONE


async def _get(
    backend: Configured, able: GetsNumbers, number_id: str, options: dict[str, Any], format_: Format
) -> int:
    async with PhoneSystem(backend.provider):
        number = await able.get(number_id, **options)
    await write_one(rows.number_row(number, backend.name), format_)
    return DONE


async def write_one(row: NumberRow, format_: Format, to: Destination | None = None) -> None:
    """Write one number to stdout."""
    with to or destination(None) as stdout:
        if format_ is Format.TABLE:
            await reading.draw(tables.numbers([row]), stdout)
        else:
            await rows.write(rows.NumberRow, [row], format_, stdout)
