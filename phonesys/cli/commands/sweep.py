"""`phonesys sweep`: read the whole inventory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 -- typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from phonesys.cli import sweeping
from phonesys.cli.filters import NumberFilter
from phonesys.cli.groups import (
    BackendOptions,
    FailureOptions,
    FilterOptions,
    LogOptions,
    RowOptions,
    restrict_accounts,
)
from phonesys.cli.options import SOURCE, BackendsOption, PoolsOption, refuse_password
from phonesys.cli.output import Format, destination
from phonesys.cli.progress import pluralize, summary_line
from phonesys.cli.running import FAILED
from phonesys.cli.store import default_store, open_sweep
from phonesys.cli.terminal import print_info
from phonesys.config.accounts import AccountFile
from phonesys.errors import UsageError
from phonesys.inventory import Shard
from phonesys.inventory.shard import select_accounts
from phonesys.sweep import SweepReport
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from phonesys.cli.filters import PageWriter
    from phonesys.cli.output import Destination
    from phonesys.cli.store import AnySweep
    from phonesys.config import ConfiguredBackend
    from phonesys.inventory import StoredSweep
    from phonesys.inventory.folder import FolderSweep
    from phonesys.sandbox import Sandbox

_ACCOUNTS_BACKEND = "leadconnector"
_SHARDS = "Several processes"
_MAX_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class _Request:
    numbers: sweeping.NumberOutput
    concurrency: int
    deadline: float | None
    on_error: Literal["collect", "raise"]
    store: str | None
    resume: bool
    with_pools: bool | None
    folder: Path | None
    snapshot: str | None
    shard: Shard | None
    split_companies: bool
    failing: FailureOptions
    names: list[str]
    only_accounts: list[str] | None


def sweep(
    *,
    source: BackendOptions,
    accounts: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-",
            help="Account ids of one backend, one per line; - is stdin.",
            rich_help_panel=SOURCE,
        ),
    ] = None,
    backend: BackendsOption = None,
    filters: FilterOptions,
    shown: RowOptions,
    concurrency: Annotated[
        int, typer.Option(min=1, metavar="N", help="Maximum number of concurrent requests.")
    ] = 64,
    with_pools: PoolsOption = None,
    deadline: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="End then, with the numbers read so far.")
    ] = None,
    on_error: Annotated[
        Literal["collect", "raise"],
        typer.Option(metavar="collect|raise", help="Continue after a failed account, or end."),
    ] = "collect",
    store: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|URL",
            help="Record a snapshot here, and resume an interrupted sweep. "
            "[dim]Default: $PHONESYS_STORE or `store` in the configuration, unless --sandbox is given[/dim]",
            show_default=False,
            callback=refuse_password,
        ),
    ] = None,
    failing: FailureOptions,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="With --store: resume an interrupted sweep.")
    ] = True,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Sweep with N processes of this machine.", rich_help_panel=_SHARDS
        ),
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Sweep with the workers of this Dask scheduler; `local` starts some on this machine.",
            rich_help_panel=_SHARDS,
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the snapshot as Parquet files into this folder, instead of a store.",
            rich_help_panel=_SHARDS,
        ),
    ] = None,
    snapshot: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the snapshot. It is always resumed, and made once.",
            rich_help_panel=_SHARDS,
        ),
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="With --processes or --dask: the number of parts. [dim]Default: by the accounts[/dim]",
            show_default=False,
            rich_help_panel=_SHARDS,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Sweep only shard K of N, such as 3/16. Other processes or machines sweep the others.",
            rich_help_panel=_SHARDS,
        ),
    ] = None,
    split_companies: Annotated[
        bool,
        typer.Option(
            "--split-companies",
            help="Divide a company's accounts too. Its token store must be a database that all share.",
            rich_help_panel=_SHARDS,
        ),
    ] = False,
    log: LogOptions,
) -> None:
    """Read every number of every account of every backend.

    Without --format, print a summary. jsonl and csv are one row per number, written as pages arrive.
    """

    def prepare() -> Coroutine[Any, Any, int]:
        source.check()
        if shown.format_ is Format.TABLE:
            lines_only = {"columns": shown.columns, "status": filters.status, "country": filters.country}
            _reject(lines_only, "needs --format jsonl or csv; a summary counts every number")
        has_own_store = source.sandbox or folder is not None
        request = _Request(
            numbers=shown.numbers(NumberFilter.parse(filters.status, filters.country)),
            concurrency=concurrency,
            deadline=deadline,
            on_error=on_error,
            store=store or (None if has_own_store else default_store(source.config)),
            resume=resume,
            folder=folder,
            snapshot=snapshot,
            shard=None if shard is None else Shard.parse(shard),
            split_companies=split_companies,
            with_pools=with_pools,
            failing=failing,
            names=backend or [],
            only_accounts=filters.account,
        )
        if processes is not None or dask is not None:
            single = {
                "sandbox": source.sandbox or None,
                "shard": shard,
                "deadline": deadline,
                "on_error": None if on_error == "collect" else on_error,
                "format": None if shown.format_ is Format.TABLE else shown.format_,
                "no_resume": None if resume else True,
            }
            _reject(single, "cannot be combined with --processes or --dask")
            return _sweep_with_workers(source, accounts, request, processes, dask, shards)
        _reject({"shards": shards}, "only with --processes or --dask")
        _check_shard(request)
        if not source.sandbox:
            found = _backends(source, accounts, request.names, with_pools)
            return _sweep_configured(restrict_accounts(found, filters.account), request)
        _reject({"accounts": accounts}, "cannot be combined with --sandbox, which has its own")
        return _sweep_sandbox(source.create_sandbox(), request)

    log.run(prepare)


def _reject(options: dict[str, Any], reason: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise UsageError(f"--{name.replace('_', '-')}: {reason}")


def _sweep_with_workers(
    source: BackendOptions,
    accounts: str | None,
    request: _Request,
    processes: int | None,
    dask: str | None,
    shards: int | None,
) -> Coroutine[Any, Any, int]:
    from phonesys.cli import distributed  # which most sweeps do not need

    _check_target(request)
    if dask not in {None, distributed.LOCAL} and processes is not None:
        raise UsageError("--processes: cannot be combined with the address of a scheduler")
    backends = _backends(source, accounts, request.names, request.with_pools)
    return distributed.sweep_with_workers(
        backends,
        distributed.DistributedRequest(
            origin=source,
            names=request.names,
            with_pools=request.with_pools,
            processes=processes,
            dask=dask,
            store=request.store,
            folder=request.folder,
            snapshot=request.snapshot,
            shards=shards,
            split_companies=request.split_companies,
            concurrency=request.concurrency,
            output=request.numbers.path,
            failing=request.failing,
        ),
    )


def _check_target(request: _Request) -> None:
    if request.store is not None and request.folder is not None:
        raise UsageError("--folder: cannot be combined with --store")
    if request.store is None and request.folder is None:
        raise UsageError("--processes and --dask: need --store or --folder, where the workers write")


def _check_shard(request: _Request) -> None:
    if request.store is not None and request.folder is not None:
        raise UsageError("--folder: cannot be combined with --store")
    if request.folder is not None and request.snapshot is None:
        raise UsageError("--folder: needs --snapshot NAME, for the folder's own")
    if request.snapshot is not None:
        if request.store is None and request.folder is None:
            raise UsageError("--snapshot: needs --store or --folder, where the snapshot is recorded")
        if not request.resume:
            raise UsageError("--no-resume: a named snapshot is always resumed; use another name")
    elif request.shard is not None:
        raise UsageError("--shard: needs --snapshot NAME, which all shards share")
    if request.split_companies and request.shard is None:
        raise UsageError("--split-companies: needs --shard")


def _backends(
    source: BackendOptions, accounts: str | None, names: list[str], with_pools: bool | None
) -> list[ConfiguredBackend]:
    if accounts is not None and len(names) > 1:
        raise UsageError(f"--accounts lists the accounts of one backend; --backend names {len(names)}")
    names = names or ([_ACCOUNTS_BACKEND] if accounts is not None else [])
    found = source.load_backends(names, with_pools=with_pools)
    if accounts is not None:
        if found[0].single_account:
            raise UsageError(f"--accounts: the key of {found[0].name!r} reads one account, its own")
        found[0].accounts = AccountFile(accounts)
    sweeping.require_accounts(found)
    return found


async def _sweep_configured(backends: list[ConfiguredBackend], request: _Request) -> int:
    status, _ = await _sweep(backends, request)
    return status


async def _sweep_sandbox(sandbox: Sandbox, request: _Request) -> int:
    from phonesys.cli.sandbox import compare, sandbox_backends

    async with sandbox:
        backends = restrict_accounts(
            await sandbox_backends(sandbox, request.names, with_pools=request.with_pools),
            request.only_accounts,
        )
        status, done = await _sweep(backends, request)
        is_part = (
            request.only_accounts
            or getattr(done, "resumed", False)
            or (request.shard is not None and request.shard.count > 1)
        )
        if not done.report.complete or is_part:
            return status
        agree, sentence = compare(sandbox, done.report, [one.name for one in backends])
        print_info(sentence, "green" if agree else "bold red")
        return status if agree else FAILED


async def _sweep(backends: list[ConfiguredBackend], request: _Request) -> tuple[int, AnySweep]:
    if request.shard is not None:
        _select_accounts(backends, request.shard, split_companies=request.split_companies)
    async with (
        PhoneSystem(*(one.provider for one in backends)) as phones,
        open_sweep(
            request.store,
            phones,
            {one.name: one.accounts for one in backends if one.accounts is not None},
            resume=request.resume,
            concurrency=request.concurrency,
            on_error=request.on_error,
            keep_done=not any(_is_stdin(one) for one in backends),
            deadline=request.deadline,
            folder=request.folder,
            snapshot=request.snapshot,
            shard=request.shard,
            split_companies=request.split_companies,
        ) as sweep,
    ):
        with destination(request.numbers.path) as to:
            writer = _writer(request.numbers, [one.name for one in backends], to)
            live = request.numbers.can_show_live(to) and not any(map(_is_stdin, backends))
            unreadable = await sweeping.run_sweep(sweep, backends, writer, live=live)
        _report_shard(sweep, request)
    if resumed := getattr(sweep, "resumed", 0):
        print_info(f"resumed: {pluralize(resumed, 'account')} had been read before, and are counted")
    print_info(summary_line(sweep.report))
    return await request.failing.report(sweep.report, backends, unreadable), sweep


def _select_accounts(backends: list[ConfiguredBackend], shard: Shard, *, split_companies: bool) -> None:
    """Keep only the accounts of the shard, where they are known in advance: progress then has a total."""
    for one in backends:
        if one.account_count is not None:
            chosen = select_accounts(
                one.provider, one.accounts, shard, SweepReport(), split_companies=split_companies
            )
            one.accounts = cast("tuple[str, ...]", chosen)


def _report_shard(sweep: AnySweep, request: _Request) -> None:
    """Print which shards are left, or that the snapshot is made."""
    if request.snapshot is None or not getattr(sweep, "finished", False):
        return
    left = cast("StoredSweep | FolderSweep", sweep).unfinished_shards
    if left:
        numbers = ", ".join(map(str, left[:_MAX_SHOWN])) + (", …" if len(left) > _MAX_SHOWN else "")
        print_info(f"shard {request.shard} is finished; {pluralize(len(left), 'other')} left: {numbers}")
    else:
        print_info(f"snapshot {request.snapshot} is finished")


def _writer(output: sweeping.NumberOutput, names: list[str], to: Destination) -> PageWriter:
    return sweeping.SummaryWriter(names, to) if output.format is Format.TABLE else output.writer(to)


def _is_stdin(one: ConfiguredBackend) -> bool:
    """Return True for accounts that may never end, so that finished ones must not be kept in memory."""
    return isinstance(one.accounts, AccountFile) and one.accounts.is_stdin
