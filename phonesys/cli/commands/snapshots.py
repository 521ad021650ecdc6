"""`diff` and `snapshots`, and what `sweep --store` needs: the inventory that is kept."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from phonesys.cli import rows, tables
from phonesys.cli.options import As, Output, Verbose  # noqa: TC001 -- typer reads the annotations
from phonesys.cli.output import Format, destination
from phonesys.cli.progress import plural
from phonesys.cli.reading import draw
from phonesys.cli.running import DONE, run
from phonesys.cli.terminal import say
from phonesys.errors import UsageError
from phonesys.inventory import Change, ChangeKind, FieldChange, Inventory

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from phonesys.cli.output import Destination
    from phonesys.inventory import Snapshot, StoredSweep
    from phonesys.sweep import Accounts, Sweep
    from phonesys.system import PhoneSystem

app = typer.Typer(help="The inventory that is kept.", no_args_is_help=True)

Store = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="FILE|URL",
        envvar="PHONESYS_STORE",
        help="Where sweeps are kept.",
    ),
]
_LINES_AT_ONCE = 500


class ChangeRow(msgspec.Struct, frozen=True):
    """One change, as a line of jsonl."""

    kind: ChangeKind
    backend: str
    account: str
    number: str | None
    id: str | None
    from_backend: str | None
    from_account: str | None
    topics: tuple[str, ...]
    fields: tuple[FieldChange, ...]
    reason: str | None


@app.command()
def diff(
    older: Annotated[
        int | None,
        typer.Argument(help="A snapshot. [dim]Default: the last but one[/dim]", show_default=False),
    ] = None,
    newer: Annotated[
        int | None, typer.Argument(help="Another's. [dim]Default: the last[/dim]", show_default=False)
    ] = None,
    *,
    store: Store,
    format_: As = Format.TABLE,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """Say which numbers came, went, moved or changed between two snapshots."""

    async def main() -> int:
        if format_ is Format.CSV:
            raise UsageError("--format csv: a change has fields of its own; use table or jsonl")
        async with Inventory(existing(store)) as inventory:
            with destination(output) as to:
                await _write(inventory, older, newer, format_, to)
        return DONE

    run(main, verbose=verbose)


@app.command()
def snapshots(
    *, store: Store, format_: As = Format.TABLE, output: Output = None, verbose: Verbose = False
) -> None:
    """List the snapshots that are kept, the newest first."""

    async def main() -> int:
        async with Inventory(existing(store)) as inventory:
            found = [_snapshot_row(snapshot) for snapshot in await inventory.snapshots()]
        with destination(output) as to:
            if format_ is Format.TABLE:
                await draw(tables.columns(_texts(found)), to)
            else:
                await rows.write(SnapshotRow, found, format_, to)
        return DONE

    run(main, verbose=verbose)


class SnapshotRow(msgspec.Struct, frozen=True):
    """One snapshot."""

    id: int
    started_at: str
    finished_at: str
    backends: str
    numbers: int


def _snapshot_row(snapshot: Snapshot) -> SnapshotRow:
    finished = snapshot.finished_at or snapshot.started_at
    return SnapshotRow(
        snapshot.id,
        snapshot.started_at.isoformat(timespec="seconds"),
        finished.isoformat(timespec="seconds"),
        " ".join(snapshot.coverage),
        snapshot.numbers,
    )


def _texts(found: list[SnapshotRow]) -> dict[str, list[str]]:
    return {
        name: [f"{getattr(row, name):,}" if name == "numbers" else str(getattr(row, name)) for row in found]
        for name in SnapshotRow.__struct_fields__
    }


def existing(store: str) -> str:
    """Refuse a file that is not there: one that is only read should not be made."""
    if "://" not in store and not Path(store).is_file():
        raise UsageError(f"--store {store}: there is no such file")
    return store


@asynccontextmanager
async def sweep_into(
    store: str | None,
    phones: PhoneSystem,
    accounts: Mapping[str, Accounts],
    *,
    resume: bool = True,
    **options: Any,
) -> AsyncGenerator[Sweep | StoredSweep]:
    """Make a sweep that is kept in a store, or only a sweep; the store is open until the block ends."""
    if store is None:
        yield phones.sweep(accounts, **options)
        return
    async with Inventory(store) as inventory:
        options["keep_done"] = True  # the report of a sweep that is kept has every account
        yield inventory.sweep(phones, accounts, resume=resume, **options)


async def _write(
    inventory: Inventory, older: int | None, newer: int | None, format_: Format, to: Destination
) -> None:
    found: list[Change] = []
    kinds = dict.fromkeys(ChangeKind, 0)
    async for change in inventory.diff(older, newer):
        kinds[change.kind] += 1
        found.append(change)
        if format_ is Format.JSONL and len(found) >= _LINES_AT_ONCE:
            await to.write([rows.json_line(_row(one)) for one in found])
            found = []
    if format_ is Format.JSONL:
        await to.write([rows.json_line(_row(one)) for one in found])
    elif found:
        await draw(tables.columns(_columns(found)), to)
    counts = ", ".join(f"{count:,} {kind.value}" for kind, count in kinds.items() if count)
    say(f"{plural(sum(kinds.values()), 'change')}{': ' if counts else ''}{counts}")


def _row(change: Change) -> ChangeRow:
    return ChangeRow(
        change.kind, change.backend, change.account, change.number, change.id, change.from_backend,
        change.from_account, change.topics, change.fields, change.reason,
    )  # fmt: skip


def _columns(found: list[Change]) -> dict[str, list[str]]:
    return {
        "change": [change.kind.value for change in found],
        "number": [change.number or "" for change in found],
        "backend": [change.backend for change in found],
        "account": [_account(change) for change in found],
        "what": [_what(change) for change in found],
    }


def _account(change: Change) -> str:
    if change.kind is not ChangeKind.MOVED:
        return change.account
    before = change.from_account or ""
    if change.from_backend != change.backend:
        before = f"{change.from_backend} {before}"
    return f"{before} → {change.account}"


def _what(change: Change) -> str:
    if change.reason is not None:
        return change.reason
    return "; ".join(f"{field.field}: {_text(field.old)} → {_text(field.new)}" for field in change.fields)


def _text(value: Any) -> str:
    if value is None:
        return "–"  # noqa: RUF001 -- what the other tables show for nothing
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)
