"""`phonesys plan`: what a file of desired states would change."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 -- typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from phonesys.changes import read_changes
from phonesys.cli.groups import ConfigOptions, LogOptions  # noqa: TC001 -- typer reads the annotations
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    AllowIncompleteOption,
    BackendsOption,
    PlanFormatOption,
    PlanOutputOption,
    SandboxOption,
    StoreOption,
)
from phonesys.cli.output import STDOUT
from phonesys.cli.phones import open_phones
from phonesys.cli.plans import PlanFormat
from phonesys.cli.progress import pluralize, show_line
from phonesys.cli.running import DONE, FAILED
from phonesys.cli.showing import report_mistakes, show_plan
from phonesys.cli.store import default_store, existing_store
from phonesys.cli.terminal import print_info, stderr_is_live
from phonesys.config.paths import expand
from phonesys.errors import PlanError, UsageError
from phonesys.provider import ChangesNumbers
from phonesys.telemetry import AccountEnded, PageRead

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from phonesys.changes import Plan
    from phonesys.inventory import Snapshot
    from phonesys.system import PhoneSystem
    from phonesys.telemetry import Event

CHANGES = 3
"""Exit status of `--detailed-exitcode` if there is something to change."""


def plan(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Desired states: CSV, JSON lines or xlsx; - reads stdin.")
    ],
    *,
    store: StoreOption = None,
    assign: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Set this field of every number in the file, whatever else is in it. May be repeated.",
        ),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Ask the vendors, even if a store is configured.")
    ] = False,
    sandbox: SandboxOption = False,
    origin: ConfigOptions,
    backend: BackendsOption = None,
    format_: PlanFormatOption = PlanFormat.TABLE,
    output: PlanOutputOption = None,
    detailed_exitcode: Annotated[
        bool,
        typer.Option("--detailed-exitcode", help="Exit with 3 if there is something to change."),
    ] = False,
    allow_incomplete: AllowIncompleteOption = False,
    log: LogOptions,
) -> None:
    """Show what a file of desired states would change, and keep it as a plan.

    The columns are those of `phonesys export`, so that an export, edited in a spreadsheet, can be planned.
    Nothing is changed.
    """

    async def main() -> int:
        source = _choose_store(store, origin.config, live=live, sandbox=sandbox, names=backend)
        data, fields = _read(file), _parse_assignments(assign)
        reading = _Reading()
        async with open_phones(origin, backend or (), sandbox=sandbox, observers=[reading]) as phones:
            try:
                async with nullcontext() if source else show_line(reading.line, live=stderr_is_live()):
                    made = await _plan(phones, data, fields, source)
            except PlanError as mistakes:
                return report_mistakes(mistakes, "stdin" if str(file) == STDOUT else str(file))
        await show_plan(made, format_, output)
        if made.reading.missing and not allow_incomplete:
            return FAILED
        return CHANGES if detailed_exitcode and made.changes else DONE

    log.run(main)


class _Reading:
    """Counts the numbers that are read, for a line of progress."""

    def __init__(self) -> None:
        self._numbers = self._accounts = 0

    def __call__(self, event: Event, /) -> None:
        """Count a page or an account."""
        if isinstance(event, PageRead):
            self._numbers += event.numbers
        elif isinstance(event, AccountEnded):
            self._accounts += 1

    def line(self) -> str:
        """Return the progress in words."""
        return f"{pluralize(self._numbers, 'number')} in {pluralize(self._accounts, 'account')} read"


def _choose_store(
    store: str | None, config: Path | None, *, live: bool, sandbox: bool, names: list[str] | None
) -> str | None:
    """Return the store whose newest snapshot is read, or None to ask the vendors."""
    if store is not None:
        for option in ["--live"] * live + ["--sandbox"] * sandbox:
            raise UsageError(f"{option}: cannot be combined with --store, which holds a sweep")
        return store
    return None if live or sandbox or names else default_store(config)


def _read(file: Path) -> bytes:
    if str(file) == STDOUT:
        return sys.stdin.buffer.read()
    try:
        return expand(file, "FILE").read_bytes()
    except OSError as failure:
        raise UsageError(f"{file}: {failure.strerror or failure}") from None


def _parse_assignments(texts: list[str] | None) -> dict[str, str] | None:
    """Return the fields and values of `--set`; None if there are none."""
    if not texts:
        return None
    fields: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set: expected FIELD=VALUE, such as is_enabled=false, got {text!r:.60}")
        fields[name.strip()] = value.strip()
    return fields


async def _plan(phones: PhoneSystem, data: bytes, fields: dict[str, str] | None, store: str | None) -> Plan:
    providers = [phones[name] for name in phones]
    words = [name for one in providers if isinstance(one, ChangesNumbers) for name in one.change_rules.fields]
    changes = read_changes(data, words=words, assign=fields)
    async with _newest_snapshot(store) as snapshot:
        return await phones.plan(changes, snapshot=snapshot)


@asynccontextmanager
async def _newest_snapshot(store: str | None) -> AsyncGenerator[Snapshot | None]:
    if store is None:
        yield None
        return
    from phonesys.inventory import Inventory  # needs an extra

    async with Inventory(existing_store(store), read_only=True) as inventory:
        snapshot = await inventory.snapshot()
        minutes = (datetime.now(UTC) - snapshot.started_at).total_seconds() / 60
        age = f"{minutes / 60:.0f} h" if minutes >= 60 else f"{minutes:.0f} min"  # noqa: PLR2004
        print_info(f"reading snapshot {snapshot.id} of {store}, {age} old (--live asks the vendors)")
        yield snapshot
