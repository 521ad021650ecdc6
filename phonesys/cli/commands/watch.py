"""`phonesys watch`: sweep on an interval, print changes and findings, and send alerts."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phonesys._extras import require_extra
from phonesys.cli import sweeping, watch_lines
from phonesys.cli.groups import ConfigOptions, LogOptions  # noqa: TC001 -- typer reads the annotations
from phonesys.cli.options import (
    OUTPUT,
    BackendsOption,
    IgnoreOption,
    PoolsOption,
    SandboxOption,
    SelectOption,
    refuse_password,
)
from phonesys.cli.output import destination
from phonesys.cli.running import DONE, FAILED
from phonesys.cli.source import selected_rules
from phonesys.cli.store import default_store, expand_store
from phonesys.cli.terminal import print_error, print_info
from phonesys.config.alerts import AlertSettings, read_alerts
from phonesys.config.durations import parse_duration
from phonesys.errors import InvalidArgument, UsageError
from phonesys.inventory import (
    AlertEvent,
    Alerts,
    Inventory,
    InventoryError,
    SchemaTooNew,
    SweepEvent,
    SweepSuperseded,
    Watch,
)
from phonesys.inventory.audit import Severity  # noqa: TC001 -- as above
from phonesys.inventory.audit.run import select_rules
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from datetime import timedelta

    from phonesys.cli.output import Destination
    from phonesys.config import ConfiguredBackend

_ALERTS = "Alerts"


class WatchFormat(StrEnum):
    """Format of the events."""

    TEXT = "text"
    JSONL = "jsonl"


@dataclass(frozen=True, kw_only=True)
class _Request:
    interval: timedelta
    format: WatchFormat
    store: str
    sweeps: int | None
    options: dict[str, Any]
    """Keyword arguments of the watch."""


def watch(
    *,
    interval: Annotated[
        str,
        typer.Option(metavar="DURATION", help="From the start of a sweep to the next one, as 90s or 1h30m."),
    ] = "15m",
    store: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|URL",
            help="Where snapshots, findings and alerts are stored. [dim]Default: $PHONESYS_STORE[/dim]",
            show_default=False,
            callback=refuse_password,
        ),
    ] = None,
    sandbox: SandboxOption = False,
    origin: ConfigOptions,
    backend: BackendsOption = None,
    format_: Annotated[
        WatchFormat,
        typer.Option("--format", "-f", metavar="FORMAT", help="text or jsonl.", rich_help_panel=OUTPUT),
    ] = (WatchFormat.TEXT),
    sweeps: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="End after this many sweeps.")
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Delete all but the newest snapshots after every sweep."),
    ] = None,
    audit: Annotated[bool, typer.Option("--audit/--no-audit", help="Look for findings too.")] = True,
    select: SelectOption = None,
    ignore: IgnoreOption = None,
    concurrency: Annotated[int, typer.Option(min=1, metavar="N", help="Most concurrent requests.")] = 64,
    with_pools: PoolsOption = None,
    alerts: Annotated[
        bool,
        typer.Option("--alerts/--no-alerts", help="Send alerts, if configured.", rich_help_panel=_ALERTS),
    ] = True,
    quiet_period: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Least time between two messages.", rich_help_panel=_ALERTS),
    ] = None,
    severity: Annotated[
        Severity | None,
        typer.Option(
            metavar="SEVERITY",
            help="Mildest findings to send. [dim]Default: warning[/dim]",
            show_default=False,
            rich_help_panel=_ALERTS,
        ),
    ] = None,
    resolved: Annotated[
        bool | None,
        typer.Option(
            "--resolved/--no-resolved",
            help="Send findings that are resolved too.",
            show_default=False,
            rich_help_panel=_ALERTS,
        ),
    ] = None,
    test_alerts: Annotated[
        bool,
        typer.Option("--test-alerts", help="Send a test message and end.", rich_help_panel=_ALERTS),
    ] = False,
    log: LogOptions,
) -> None:
    """Sweep on an interval, print changes and findings, and send alerts.

    Runs until Ctrl-C or SIGTERM, which is its regular end, with status 0.
    """

    def prepare() -> Coroutine[Any, Any, int]:
        is_silent = sandbox and origin.config is None and not alerts
        settings = AlertSettings() if is_silent else read_alerts(origin.config)
        chosen: dict[str, Any] = {
            "quiet_period": _duration("--quiet-period", quiet_period),
            "severity": severity,
            "resolved": resolved,
        }
        chosen = {key: value for key, value in chosen.items() if value is not None}
        sender = Alerts(settings.urls, **{**settings.options, **chosen}) if settings.urls and alerts else None
        if test_alerts:
            return _test(sender)
        if audit:
            require_extra("audit", "phonenumbers")  # before a sweep that could not be audited
        rules = selected_rules(select) if select else None
        select_rules(rules, ignore or ())  # names a code that no rule has
        where = store or (None if sandbox else default_store(origin.config))
        if where is None and not sandbox:
            raise UsageError("--store: expected a file or URL, which keeps what was found before")
        request = _Request(
            interval=_duration("--interval", interval),
            format=format_,
            store="" if where is None else expand_store(where),
            sweeps=sweeps,
            options={
                "audit": audit and (rules if select else True),
                "ignore": ignore or (),
                "alerts": sender,
                "keep": keep,
                "concurrency": concurrency,
            },
        )
        if not request.interval:
            raise UsageError("--interval: expected more than nothing")
        if sandbox:
            origin.reject_with_sandbox()
            return _watch_sandbox(backend or [], with_pools, request)
        backends = origin.load_backends(backend or [], {"with_pools": True}, with_pools=with_pools)
        sweeping.require_accounts(backends)
        return _watch(backends, request)

    log.run(prepare, is_service=True)


def _duration(option: str, text: str | None) -> Any:
    if text is None:
        return None
    try:
        return parse_duration(text)
    except InvalidArgument as error:
        raise UsageError(f"{option}: {error}") from None


async def _test(sender: Alerts | None) -> int:
    if sender is None:
        raise UsageError("no alerts are configured; set PHONESYS_ALERTS_URLS, or write a section [alerts]")
    results = await sender.test()
    for result in results:
        if result.sent:
            print_info(f"{result.destination}: a test message was sent")
        else:
            print_error(f"{result.destination}: {result.problem}")
    return DONE if all(result.sent for result in results) else FAILED


async def _watch_sandbox(names: list[str], with_pools: bool | None, request: _Request) -> int:
    from phonesys.cli import sandbox  # a web server, which no other command needs

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(sandbox.create_sandbox())
        backends = await sandbox.sandbox_backends(server, names, with_pools=with_pools)
        if not request.store:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="phonesys-"))
            request = replace(request, store=str(Path(folder) / "inventory.db"))
        return await _watch(backends, request)


async def _watch(backends: list[ConfiguredBackend], request: _Request) -> int:
    """Watch, again from the start if the database fails in between."""
    _introduce(backends, request)
    progress = _Progress(request.sweeps)
    async with PhoneSystem(*(one.provider for one in backends)) as phones:
        accounts = {one.name: one.accounts for one in backends if one.accounts is not None}
        with destination(None) as stdout:
            while True:
                try:
                    await _watch_store(phones, accounts, request, progress, stdout)
                except (SchemaTooNew, SweepSuperseded):
                    raise
                except InventoryError as failure:
                    if not progress.ended:
                        raise
                    print_error(f"{failure}; trying again after {request.interval}")
                    await asyncio.sleep(request.interval.total_seconds())
                else:
                    return DONE if progress.is_good else FAILED


class _Progress:
    """The sweeps that have ended, and whether all is well."""

    def __init__(self, sweeps: int | None) -> None:
        self._sweeps = sweeps
        self._unsent = False
        self.ended = 0
        self.is_good = True

    @property
    def is_over(self) -> bool:
        return self.ended == self._sweeps

    def add(self, event: object) -> None:
        if isinstance(event, AlertEvent):
            self._unsent |= not event.sent
        elif isinstance(event, SweepEvent):
            self.ended += 1
            self.is_good = event.complete and not self._unsent
            self._unsent = False


async def _watch_store(
    phones: PhoneSystem,
    accounts: dict[str, Any],
    request: _Request,
    progress: _Progress,
    stdout: Destination,
) -> None:
    line = watch_lines.json_line if request.format is WatchFormat.JSONL else watch_lines.text_lines
    async with Inventory(request.store) as inventory:
        watched = Watch(phones, accounts, interval=request.interval, store=inventory, **request.options)
        async with watched, aclosing(watched.events()) as events:
            async for event in events:
                await stdout.write([line(event)])
                progress.add(event)
                if progress.is_over:
                    return


def _introduce(backends: list[ConfiguredBackend], request: _Request) -> None:
    names = ", ".join(one.name for one in backends)
    sender: Alerts | None = request.options["alerts"]
    alerts = f"; alerts go to {', '.join(sender.names)}" if sender is not None else ""
    print_info(f"watching {names}, every {request.interval}{alerts}")
