"""`phonesys export`: write every number to a file."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 -- typer reads the annotations
from typing import Annotated

import typer

from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    AllowIncompleteOption,
    BackendsOption,
    ConfigOption,
    PoolsOption,
    SandboxOption,
    StoreOption,
    VerboseOption,
)
from phonesys.cli.progress import pluralize
from phonesys.cli.running import run
from phonesys.cli.source import open_source
from phonesys.cli.terminal import print_info
from phonesys.inventory.export import Format
from phonesys.inventory.export import export as write_export


def export(
    file: Annotated[
        Path,
        typer.Argument(help="Ends in .parquet, .arrow, .csv or .jsonl. It is replaced once complete."),
    ],
    *,
    format_: Annotated[
        Format | None,
        typer.Option("--format", "-f", help="[dim]Default: from the file's ending[/dim]", show_default=False),
    ] = None,
    store: StoreOption = None,
    sandbox: SandboxOption = False,
    config: ConfigOption = None,
    backend: BackendsOption = None,
    with_pools: PoolsOption = None,
    allow_incomplete: AllowIncompleteOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write every number to a file: Parquet, Arrow, CSV or JSON lines."""

    async def main() -> int:
        async with open_source(store, config, backend, sandbox=sandbox, with_pools=with_pools) as source:
            count = await write_export(file, source.records, format=format_)
        print_info(f"{pluralize(count, 'number')} in {file}")
        return source.finish(allow_incomplete)

    run(main, verbose=verbose)
