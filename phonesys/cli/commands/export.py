"""`phonesys export`: write every number to a file."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    AllowIncompleteOption,
    BackendsOption,
    BomOption,
    ConfigOption,
    PoolsOption,
    QuietOption,
    SandboxOption,
    StoreOption,
    VerboseOption,
)
from phonesys.cli.output import STDOUT, destination
from phonesys.cli.progress import pluralize
from phonesys.cli.running import run
from phonesys.cli.source import open_source
from phonesys.cli.terminal import print_info
from phonesys.config.paths import expand
from phonesys.errors import UsageError
from phonesys.inventory.export import Format
from phonesys.inventory.export import export as write_export

if TYPE_CHECKING:
    from phonesys.cli.source import RecordSource

_CHUNK = 2**16


def export(
    file: Annotated[
        Path,
        typer.Argument(
            help="Ends in .parquet, .arrow, .csv, .jsonl or .xlsx; - is stdout. Replaced at the end."
        ),
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
    bom: BomOption = False,
    allow_incomplete: AllowIncompleteOption = False,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write every number to a file: Parquet, Arrow, CSV, JSON lines or Excel."""

    async def main() -> int:
        if str(file) == STDOUT and format_ is None:
            raise UsageError("FILE: stdout has no ending; expected --format")
        async with open_source(store, config, backend, sandbox=sandbox, with_pools=with_pools) as source:
            options: dict[str, Any] = {"format": format_, "accounts": source.accounts, "bom": bom}
            if str(file) == STDOUT:
                count = await _export_to_stdout(source, options)
            else:
                count = await write_export(expand(file, "FILE"), source.records, **options)
        print_info(f"{pluralize(count, 'number')} in {'stdout' if str(file) == STDOUT else file}")
        return source.finish(allow_incomplete)

    run(main, verbose=verbose, quiet=quiet)


async def _export_to_stdout(source: RecordSource, options: dict[str, Any]) -> int:
    """Export to a temporary file and copy it: some formats are not written from the beginning to the end."""
    with TemporaryDirectory(prefix="phonesys-") as folder:
        path = Path(folder) / "export"
        count = await write_export(path, source.records, **options)
        with destination(None) as stdout, path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                await stdout.write([chunk])
    return count
