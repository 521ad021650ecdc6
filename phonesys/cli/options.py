"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from phonesys.cli.output import Format

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The configuration. [dim]Default: $PHONESYS_CONFIG, or phonesys.toml here[/dim]",
        show_default=False,
    ),
]
Provider = Annotated[str, typer.Argument(help="The backend, by its name in the configuration.")]
Providers = Annotated[
    list[str] | None,
    typer.Option("--provider", metavar="NAME", help="Only this backend; may be given again."),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write results here, all or nothing."),
]
As = Annotated[Format, typer.Option("--format", "-f", help="How results are written.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log every retry and wait to stderr.")]
Account = Annotated[
    str | None,
    typer.Option(
        "--account", metavar="ID", help="The account, where the backend's credentials are for several."
    ),
]
_WORLD = "Generated data"
Locations = Annotated[
    int | None,
    typer.Option(
        min=0, metavar="N", help="How many locations. [dim]Default: 300[/dim]", rich_help_panel=_WORLD
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="The same seed gives the same data. [dim]Default: 1[/dim]", rich_help_panel=_WORLD
    ),
]
NotConnected = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="How many of them have no phone system. [dim]Default: one in 40[/dim]",
        rich_help_panel=_WORLD,
    ),
]
Latency = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="How long every answer takes. [dim]Default: 0.1[/dim]",
        rich_help_panel=_WORLD,
    ),
]
