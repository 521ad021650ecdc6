"""`phonesys report`: write an HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from phonesys.cli.groups import FailureOptions, LogOptions  # noqa: TC001 -- typer reads the annotations
from phonesys.cli.options import IgnoreOption  # noqa: TC001 -- as above
from phonesys.cli.source import SourceOptions  # noqa: TC001 -- as above
from phonesys.cli.terminal import print_info
from phonesys.config.paths import expand
from phonesys.inventory.report import read_trend, write_report


def report(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="It is replaced once complete.")] = Path(
        "inventory.html"
    ),
    *,
    title: Annotated[str, typer.Option(metavar="TEXT", help="Title of the page.")] = "Phone number inventory",
    source: SourceOptions,
    ignore: IgnoreOption = None,
    trend: Annotated[
        int, typer.Option(min=0, metavar="N", help="Show the trend since N earlier snapshots of the store.")
    ] = 7,
    failing: FailureOptions,
    log: LogOptions,
) -> None:
    """Write an HTML page with counts, findings, changes and a searchable list.

    Changes and trend are those since earlier snapshots, if a store holds them. A page of filtered
    numbers has no trend.
    """

    async def main() -> int:
        async with source.open_source() as opened:
            earlier: dict[str, Any] = {}
            if opened.snapshot is not None:
                inventory, snapshot = opened.snapshot
                earlier["as_of"] = snapshot.finished_at or snapshot.started_at
                earlier["trend"] = await read_trend(inventory, snapshot, sweeps=trend, ignore=ignore or ())
            await write_report(
                expand(file, "FILE"),
                **opened.audit_arguments(ignore),
                **earlier,
                changes=opened.changes,
                title=title,
            )
        print_info(f"written: {file}")
        return await opened.finish(failing)

    log.run(main)
