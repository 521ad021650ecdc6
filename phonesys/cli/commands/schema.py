"""`phonesys schema`: the JSON schema of what a command writes."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from phonesys.cli.completion import complete_schema
from phonesys.cli.groups import LogOptions  # noqa: TC001 -- typer reads the annotations
from phonesys.cli.output import destination
from phonesys.cli.running import DONE
from phonesys.cli.schemas import NAMES, schema_of


def schema(
    command: Annotated[
        str | None,
        typer.Argument(
            metavar="COMMAND",
            autocompletion=complete_schema,
            help="Command, or `failures` for the file of --failures. [dim]Default: list them[/dim]",
            show_default=False,
        ),
    ] = None,
    *,
    log: LogOptions,
) -> None:
    """Print the JSON schema of the lines that a command writes with --format jsonl.

    Fields stay, and new ones are added. --columns leaves fields out.
    """

    async def main() -> int:
        if command is None:
            lines = [f"{name}\n".encode() for name in NAMES]
        else:
            text = msgspec.json.format(msgspec.json.encode(schema_of(command)), indent=2)
            lines = [text + b"\n"]
        with destination(None) as stdout:
            await stdout.write(lines)
        return DONE

    log.run(main)
