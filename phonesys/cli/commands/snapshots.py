"""`phonesys diff`, `snapshots` and `prune`: the snapshots in a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from phonesys.cli import rows, tables
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    ConfigOption,
    FormatOption,
    OutputOption,
    QuietOption,
    RequiredStoreOption,
    VerboseOption,
)
from phonesys.cli.output import Format, destination, write_table
from phonesys.cli.progress import pluralize
from phonesys.cli.results import write_rows
from phonesys.cli.running import DONE, FAILED, run
from phonesys.cli.store import existing_store
from phonesys.cli.terminal import confirm, print_error, print_info
from phonesys.config.stores import redact_password
from phonesys.errors import UsageError
from phonesys.inventory import Change, ChangeKind, Inventory

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from phonesys.cli.output import Destination

_LINES_AT_ONCE = 500


def diff(
    older: Annotated[
        int | None,
        typer.Argument(help="Id of a snapshot. [dim]Default: the last but one[/dim]", show_default=False),
    ] = None,
    newer: Annotated[
        int | None,
        typer.Argument(help="Id of another snapshot. [dim]Default: the last[/dim]", show_default=False),
    ] = None,
    *,
    store: RequiredStoreOption = None,
    config: ConfigOption = None,
    format_: FormatOption = Format.TABLE,
    output: OutputOption = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show numbers added, removed, moved or changed between two snapshots."""

    async def main() -> int:
        if format_ is Format.CSV:
            raise UsageError("--format csv: a change has nested fields; use table or jsonl")
        async with Inventory(existing_store(store, config), read_only=True) as inventory:
            with destination(output) as to:
                await _write_changes(inventory, older, newer, format_, to)
        return DONE

    run(main, verbose=verbose, quiet=quiet)


def snapshots(
    *,
    store: RequiredStoreOption = None,
    config: ConfigOption = None,
    format_: FormatOption = Format.TABLE,
    output: OutputOption = None,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the snapshots in a store, newest first."""

    async def main() -> int:
        async with Inventory(existing_store(store, config), read_only=True) as inventory:
            found = [rows.snapshot_row(snapshot) for snapshot in await inventory.snapshots()]
        with destination(output) as to:
            await write_rows(rows.SnapshotRow, found, format_, to, table=tables.snapshots)
        return DONE

    run(main, verbose=verbose, quiet=quiet)


def prune(
    *,
    store: RequiredStoreOption = None,
    config: ConfigOption = None,
    keep: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of snapshots to keep, the newest ones.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without confirmation.")] = False,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Delete the oldest snapshots of a store, after confirmation."""

    def prepare() -> Coroutine[Any, Any, int] | int:
        path = existing_store(store, config)
        if not yes and not confirm(
            f"Delete all but the newest {pluralize(keep, 'snapshot')} of {redact_password(path)}?"
        ):
            print_error("nothing was deleted")
            return FAILED
        return _prune(path, keep)

    run(prepare, verbose=verbose, quiet=quiet)


async def _prune(store: str, keep: int) -> int:
    async with Inventory(store) as inventory:
        deleted = await inventory.prune(keep=keep)
    print_info(f"{pluralize(deleted, 'snapshot')} deleted")
    return DONE


async def _write_changes(
    inventory: Inventory, older: int | None, newer: int | None, format_: Format, to: Destination
) -> None:
    changes: list[Change] = []
    kinds = dict.fromkeys(ChangeKind, 0)
    async for change in inventory.diff(older, newer):
        kinds[change.kind] += 1
        changes.append(change)
        if format_ is Format.JSONL and len(changes) >= _LINES_AT_ONCE:
            await to.write([rows.json_line(rows.change_row(one)) for one in changes])
            changes = []
    if format_ is Format.JSONL:
        await to.write([rows.json_line(rows.change_row(one)) for one in changes])
    elif changes:
        await write_table(tables.changes(changes), to)
    counts = ", ".join(f"{count:,} {kind.value}" for kind, count in kinds.items() if count)
    print_info(f"{pluralize(sum(kinds.values()), 'change')}{': ' if counts else ''}{counts}")
