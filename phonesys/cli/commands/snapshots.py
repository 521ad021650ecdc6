"""`phonesys diff`, `snapshots` and `prune`: the snapshots in a store."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, cast

import typer

from phonesys.cli import rows, tables
from phonesys.cli.filters import NumberFilter, parse_columns
from phonesys.cli.groups import (  # noqa: TC001 -- typer reads the annotations
    FilterOptions,
    LogOptions,
    RowOptions,
)
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    BackendsOption,
    ConfigOption,
    FolderOption,
    QuietOption,
    RequiredStoreOption,
    VerboseOption,
)
from phonesys.cli.output import Format, destination, write_table
from phonesys.cli.progress import pluralize
from phonesys.cli.running import DONE, FAILED, run
from phonesys.cli.store import existing_store, find_snapshot, open_snapshots
from phonesys.cli.terminal import confirm, print_error, print_info
from phonesys.config.store_urls import redact_password
from phonesys.errors import UsageError
from phonesys.inventory import Change, ChangeKind, Inventory

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Sequence
    from typing import Any

    from phonesys.cli.output import Destination
    from phonesys.inventory.protocol import ReadableSnapshot, SnapshotSource

_LINES_AT_ONCE = 500


def diff(
    older: Annotated[
        str | None,
        typer.Argument(
            metavar="OLDER",
            help="Id or name of a snapshot. [dim]Default: the last but one[/dim]",
            show_default=False,
        ),
    ] = None,
    newer: Annotated[
        str | None,
        typer.Argument(
            metavar="NEWER",
            help="Id or name of another snapshot. [dim]Default: the last[/dim]",
            show_default=False,
        ),
    ] = None,
    *,
    store: RequiredStoreOption = None,
    folder: FolderOption = None,
    config: ConfigOption = None,
    filters: FilterOptions,
    backend: BackendsOption = None,
    shown: RowOptions,
    log: LogOptions,
) -> None:
    """Show numbers added, removed, moved or changed between two snapshots."""

    async def main() -> int:
        if shown.format_ is Format.CSV:
            raise UsageError("--format csv: a change has nested fields; use table or jsonl")
        columns = parse_columns(shown.columns, rows.ChangeRow)
        accepted = filters.parse(backend)
        async with open_snapshots(store, folder, config) as opened:
            inventory = cast("SnapshotSource[ReadableSnapshot]", opened)
            new: ReadableSnapshot = await find_snapshot(opened, newer)
            old = await (inventory.previous(new) if older is None else find_snapshot(opened, older))
            with destination(shown.output) as to:
                await _write_changes(inventory.diff(old, new), accepted, shown.format_, columns, to)
        gaps = [one for one in (old, new) if one.gap is not None]
        for one in gaps:
            print_error(f"snapshot {one.id} is incomplete: {one.gap}")
        return FAILED if gaps else DONE

    log.run(main)


def snapshots(
    *,
    store: RequiredStoreOption = None,
    folder: FolderOption = None,
    config: ConfigOption = None,
    shown: RowOptions,
    log: LogOptions,
) -> None:
    """List the snapshots in a store or a folder, newest first."""

    async def main() -> int:
        shown.check(rows.SnapshotRow)
        async with open_snapshots(store, folder, config) as inventory:
            found = [rows.snapshot_row(snapshot) for snapshot in await inventory.snapshots()]
        await shown.write(rows.SnapshotRow, found, table=tables.snapshots)
        return DONE

    log.run(main)


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
    found: AsyncGenerator[Change],
    accepted: NumberFilter,
    format_: Format,
    columns: Sequence[str],
    to: Destination,
) -> None:
    changes: list[Change] = []
    kinds = dict.fromkeys(ChangeKind, 0)
    line = rows.json_lines_of(columns) if columns else rows.json_line
    async with aclosing(found):
        async for change in found:
            if accepted and not accepted.accepts_change(change):
                continue
            kinds[change.kind] += 1
            changes.append(change)
            if format_ is Format.JSONL and len(changes) >= _LINES_AT_ONCE:
                await to.write([line(rows.change_row(one)) for one in changes])
                changes = []
    if format_ is Format.JSONL:
        await to.write([line(rows.change_row(one)) for one in changes])
    elif changes:
        chosen = tables.chosen(list(map(rows.change_row, changes)), columns) if columns else None
        await write_table(chosen or tables.changes(changes), to)
    counts = ", ".join(f"{count:,} {kind.value}" for kind, count in kinds.items() if count)
    print_info(f"{pluralize(sum(kinds.values()), 'change')}{': ' if counts else ''}{counts}")
