"""`phonesys sweep`: the whole inventory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from phonesys.cli import reading
from phonesys.cli.accounts import AccountLines
from phonesys.cli.commands.snapshots import sweep_into
from phonesys.cli.config import Configured, configured
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    As,
    Config,
    Latency,
    Locations,
    NotConnected,
    Output,
    Providers,
    Seed,
    Verbose,
)
from phonesys.cli.output import Format, destination
from phonesys.cli.progress import closing_line
from phonesys.cli.running import FAILED, run
from phonesys.cli.terminal import say
from phonesys.errors import UsageError
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path
    from typing import Any

    from phonesys.cli.output import Destination
    from phonesys.inventory import StoredSweep
    from phonesys.sandbox import Sandbox
    from phonesys.sweep import Sweep

_ACCOUNTS_FOR = "leadconnector"


@dataclass(frozen=True)
class _Request:
    """What was asked for on the command line."""

    format: Format
    output: Path | None
    concurrency: int
    deadline: float | None
    on_error: Literal["collect", "raise"]
    store: str | None
    resume: bool
    names: list[str] = field(default_factory=list[str])


def sweep(
    *,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Sweep generated data on an embedded server instead.")
    ] = False,
    config: Config = None,
    accounts: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="Account ids, one a line, for one backend; - is stdin."),
    ] = None,
    provider: Providers = None,
    format_: As = Format.TABLE,
    output: Output = None,
    concurrency: Annotated[int, typer.Option(min=1, help="How many requests may be under way.")] = 64,
    with_pools: Annotated[
        bool, typer.Option("--with-pools", help="Fetch number pools too, where there are any.")
    ] = False,
    deadline: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="End then, with what was read so far.")
    ] = None,
    on_error: Annotated[
        Literal["collect", "raise"], typer.Option(help="Go on after a failed account, or end.")
    ] = "collect",
    store: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|URL", envvar="PHONESYS_STORE", help="Keep it here, and resume what broke off."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="With --store: go on with a sweep that broke off.")
    ] = True,
    locations: Locations = None,
    seed: Seed = None,
    not_connected: NotConnected = None,
    latency: Latency = None,
    verbose: Verbose = False,
) -> None:
    """Read every number of every account of every backend.

    Without --format, a summary; jsonl and csv are one row for each number, as they arrive.
    """
    request = _Request(format_, output, concurrency, deadline, on_error, store, resume, provider or [])
    world = {"locations": locations, "seed": seed, "not_connected": not_connected, "latency": latency}

    def prepare() -> Coroutine[Any, Any, int]:
        if not sandbox:
            _refuse(world, "only with --sandbox")
            return _sweep_configured(_backends(config, accounts, request.names, with_pools), request)
        _refuse({"config": config, "accounts": accounts}, "not with --sandbox, which brings its own")
        from phonesys.cli import embedded  # a web server, which nothing else needs

        made = embedded.make(locations=locations, seed=seed, not_connected=not_connected, latency=latency)
        return _sweep_sandbox(made, request)

    run(prepare, verbose=verbose)


def _refuse(options: dict[str, Any], why: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise UsageError(f"--{name.replace('_', '-')}: {why}")


def _backends(
    config: Path | None, accounts: str | None, names: list[str], with_pools: bool
) -> list[Configured]:
    if accounts is not None and len(names) > 1:
        raise UsageError(f"--accounts names the accounts of one backend; --provider names {len(names)}")
    names = names or ([_ACCOUNTS_FOR] if accounts is not None else [])
    found = configured(config, names, **({"with_pools": True} if with_pools else {}))
    if accounts is not None:
        if found[0].one_account:
            raise UsageError(f"--accounts: the key of {found[0].name!r} reads one account, its own")
        found[0].accounts = AccountLines(accounts)
    reading.check_accounts_known(found)
    return found


async def _sweep_configured(backends: list[Configured], request: _Request) -> int:
    status, _ = await _sweep(backends, request)
    return status


async def _sweep_sandbox(sandbox: Sandbox, request: _Request) -> int:
    from phonesys.cli import embedded

    async with sandbox:
        backends = embedded.backends(sandbox, request.names)
        status, done = await _sweep(backends, request)
        if not done.report.complete or getattr(done, "resumed", False):  # which reads the rest only
            return status
        agree, words = embedded.verdict(sandbox, done.report, [one.name for one in backends])
        say(words, "green" if agree else "bold red")
        return status if agree else FAILED


async def _sweep(backends: list[Configured], request: _Request) -> tuple[int, Sweep | StoredSweep]:
    async with (
        PhoneSystem(*(one.provider for one in backends)) as phones,
        sweep_into(
            request.store,
            phones,
            {one.name: one.accounts for one in backends if one.accounts is not None},
            resume=request.resume,
            concurrency=request.concurrency,
            on_error=request.on_error,
            keep_done=not any(_is_stdin(one) for one in backends),
            deadline=request.deadline,
        ) as sweep,
    ):
        with destination(request.output) as to:
            writer = _writer(request.format, [one.name for one in backends], to)
            live = reading.may_be_live(request.format, to) and not any(map(_is_stdin, backends))
            await reading.read(sweep, backends, writer, live=live)
    say(closing_line(sweep.report))
    return reading.conclude(sweep.report, backends), sweep


def _writer(format_: Format, names: list[str], to: Destination) -> reading.Writer:
    return reading.Summary(names, to) if format_ is Format.TABLE else reading.Lines(format_, to)


def _is_stdin(one: Configured) -> bool:
    """Whether the accounts may never end, so that what is done must not be remembered."""
    return isinstance(one.accounts, AccountLines) and one.accounts.is_stdin
