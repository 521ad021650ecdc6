"""`phonesys export`: write every number to a file."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phonesys.cli.filters import parse_columns
from phonesys.cli.groups import FailureOptions, LogOptions  # noqa: TC001 -- typer reads the annotations
from phonesys.cli.options import OUTPUT, BomOption, ColumnsOption
from phonesys.cli.output import STDOUT, destination
from phonesys.cli.progress import pluralize
from phonesys.cli.source import SourceOptions  # noqa: TC001 -- as above
from phonesys.cli.terminal import print_info
from phonesys.config.paths import expand
from phonesys.errors import UsageError
from phonesys.inventory.export import Format
from phonesys.inventory.export import export as write_export
from phonesys.record import NumberRecord

if TYPE_CHECKING:
    from phonesys.cli.source import RecordSource

_CHUNK = 2**16


def export(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Ends in .parquet, .arrow, .csv, .jsonl or .xlsx; - is stdout. Replaced at the end.",
        ),
    ],
    *,
    format_: Annotated[
        Format | None,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="parquet, arrow, csv, jsonl or xlsx. [dim]Default: from the file's ending[/dim]",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    source: SourceOptions,
    columns: ColumnsOption = None,
    bom: BomOption = False,
    failing: FailureOptions,
    log: LogOptions,
) -> None:
    """Write every number to a file: Parquet, Arrow, CSV, JSON lines or Excel."""

    async def main() -> int:
        is_stdout = str(file) == STDOUT
        if is_stdout and format_ is None:
            raise UsageError("FILE: stdout has no ending; expected --format")
        chosen = parse_columns(columns, NumberRecord) or None
        async with source.open_source() as opened:
            options: dict[str, Any] = {
                "format": format_,
                "accounts": opened.accounts,
                "bom": bom,
                "columns": chosen,
            }
            if is_stdout:
                count = await _export_to_stdout(opened, options)
            else:
                count = await write_export(expand(file, "FILE"), opened.records, **options)
        print_info(f"{pluralize(count, 'number')} in {'stdout' if is_stdout else file}")
        return await opened.finish(failing)

    log.run(main)


async def _export_to_stdout(source: RecordSource, options: dict[str, Any]) -> int:
    """Export to a temporary file and copy it: some formats are not written from the beginning to the end."""
    with TemporaryDirectory(prefix="phonesys-") as folder:
        path = Path(folder) / "export"
        count = await write_export(path, source.records, **options)
        with destination(None) as stdout, path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                await stdout.write([chunk])
    return count
