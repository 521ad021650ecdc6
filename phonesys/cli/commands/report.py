"""`phonesys report`: write an HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    AllowIncompleteOption,
    BackendsOption,
    ConfigOption,
    IgnoreOption,
    PoolsOption,
    QuietOption,
    SandboxOption,
    StoreOption,
    VerboseOption,
)
from phonesys.cli.running import run
from phonesys.cli.source import open_source
from phonesys.cli.terminal import print_info
from phonesys.config.paths import expand
from phonesys.inventory.report import read_trend, write_report


def report(
    file: Annotated[Path, typer.Argument(help="It is replaced once complete.")] = Path("inventory.html"),
    *,
    title: Annotated[str, typer.Option(help="Title of the page.")] = "Phone number inventory",
    store: StoreOption = None,
    sandbox: SandboxOption = False,
    config: ConfigOption = None,
    backend: BackendsOption = None,
    ignore: IgnoreOption = None,
    trend: Annotated[
        int, typer.Option(min=0, metavar="N", help="Show the trend since N earlier snapshots of the store.")
    ] = 7,
    with_pools: PoolsOption = None,
    allow_incomplete: AllowIncompleteOption = False,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write an HTML page with counts, findings, changes and a searchable list.

    Changes and trend are those since earlier snapshots, if a store holds them.
    """

    async def main() -> int:
        async with open_source(store, config, backend, sandbox=sandbox, with_pools=with_pools) as source:
            earlier: dict[str, Any] = {}
            if source.snapshot is not None:
                inventory, snapshot = source.snapshot
                earlier["as_of"] = snapshot.finished_at
                earlier["trend"] = await read_trend(inventory, snapshot, sweeps=trend, ignore=ignore or ())
            await write_report(
                expand(file, "FILE"),
                **source.audit_arguments(ignore),
                **earlier,
                changes=source.changes,
                title=title,
            )
        print_info(f"written: {file}")
        return source.finish(allow_incomplete)

    run(main, verbose=verbose, quiet=quiet)
