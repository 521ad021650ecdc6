"""Options and arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from phonesys.cli.completion import (
    complete_backend,
    complete_columns,
    complete_rule,
    complete_status,
)
from phonesys.cli.output import Format
from phonesys.cli.plans import PlanFormat
from phonesys.config.store_urls import has_password


def refuse_password(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> str | None:
    """Return a store. Raise BadParameter for a password on the command line, which every user can see."""
    source = context.get_parameter_source(parameter.name or "")
    if value is not None and has_password(value) and source is not None and source.name == "COMMANDLINE":
        raise typer.BadParameter(
            "every user of the machine can see a password on the command line; put the URL into a variable, "
            "or the password into PGPASSWORD or a passfile"
        )
    return value


SOURCE, FILTERS, FIELDS = "Source", "Filters", "Fields of the number"
OUTPUT, MESSAGES = "Output", "Messages and failures"
"""Panels of the help, for options that several commands share."""

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Configuration. [dim]Default: $PHONESYS_CONFIG, or phonesys.toml in this directory[/dim]",
        show_default=False,
        rich_help_panel=SOURCE,
    ),
]
TokenStoreOption = Annotated[
    str | None,
    typer.Option(
        "--token-store",
        metavar="FILE|URL",
        help="File or database of the tokens of apps. "
        "[dim]Default: as configured, $PHONESYS_TOKEN_STORE, or ~/.phonesys/tokens.json[/dim]",
        show_default=False,
        callback=refuse_password,
        rich_help_panel=SOURCE,
    ),
]
BackendArgument = Annotated[
    str,
    typer.Argument(
        metavar="BACKEND", autocompletion=complete_backend, help="Name of the backend in the configuration."
    ),
]
BackendsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--backend",
        metavar="NAME",
        autocompletion=complete_backend,
        help="Only this backend. May be repeated.",
        rich_help_panel=FILTERS,
    ),
]
NumberIdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the number in the vendor's API.")]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write results to this file once they are complete.",
        rich_help_panel=OUTPUT,
    ),
]
FormatOption = Annotated[
    Format,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="Format of the results: table, jsonl or csv.",
        rich_help_panel=OUTPUT,
    ),
]
VerboseOption = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", help="Log every request, retry and wait to stderr.", rich_help_panel=MESSAGES
    ),
]
QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print only results and errors.", rich_help_panel=MESSAGES),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="NAMES",
        autocompletion=complete_columns,
        help="Only these columns, with commas between them.",
        rich_help_panel=OUTPUT,
    ),
]
StatusFilterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        metavar="STATUS",
        autocompletion=complete_status,
        help="Only numbers with this status. May be repeated.",
        rich_help_panel=FILTERS,
    ),
]
CountryFilterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--country",
        metavar="CC",
        help="Only numbers of this country. May be repeated.",
        rich_help_panel=FILTERS,
    ),
]
AccountsFilterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--account", metavar="ID", help="Only this account. May be repeated.", rich_help_panel=FILTERS
    ),
]
FailuresOption = Annotated[
    Path | None,
    typer.Option(
        "--failures",
        metavar="FILE",
        help="Write failed accounts here, as lines of JSON.",
        rich_help_panel=MESSAGES,
    ),
]
BomOption = Annotated[
    bool,
    typer.Option(
        "--bom", help="With --format csv: begin with a byte order mark, for Excel.", rich_help_panel=OUTPUT
    ),
]
AccountOption = Annotated[
    str | None,
    typer.Option("--account", metavar="ID", help="Account, if the credentials are for several."),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")]
SandboxOption = Annotated[
    bool,
    typer.Option(
        "--sandbox", help="Read generated data from an embedded server instead.", rich_help_panel=SOURCE
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="FILE|URL",
        help="Read the last snapshot of this store. "
        "[dim]Default: $PHONESYS_STORE, `store` in the configuration, or sweep now[/dim]",
        show_default=False,
        callback=refuse_password,
        rich_help_panel=SOURCE,
    ),
]
RequiredStoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="FILE|URL",
        help="Where snapshots are stored. "
        "[dim]Default: $PHONESYS_STORE, or `store` in the configuration[/dim]",
        show_default=False,
        callback=refuse_password,
        rich_help_panel=SOURCE,
    ),
]
FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        metavar="DIR",
        help="Read the last finished snapshot in this folder of `sweep --folder`, or the one that it is.",
        rich_help_panel=SOURCE,
    ),
]
SnapshotOption = Annotated[
    str | None,
    typer.Option(
        "--snapshot",
        metavar="ID|NAME",
        help="Read this snapshot of the store or the folder. [dim]Default: the last[/dim]",
        show_default=False,
        rich_help_panel=SOURCE,
    ),
]
JournalOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="FILE|URL",
        help="Where the run is kept, so that it can be taken up again and taken back. "
        "[dim]Default: $PHONESYS_STORE, or `store` in the configuration[/dim]",
        show_default=False,
        callback=refuse_password,
        rich_help_panel=SOURCE,
    ),
]
PlanFormatOption = Annotated[
    PlanFormat,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="Format of the plan: table, jsonl or json.",
        rich_help_panel=OUTPUT,
    ),
]
PlanOutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write the plan to this file, for `phonesys apply`.",
        rich_help_panel=OUTPUT,
    ),
]
SelectOption = Annotated[
    list[str] | None,
    typer.Option(
        "--select",
        metavar="CODE",
        autocompletion=complete_rule,
        help="Only this audit rule. May be repeated.",
    ),
]
IgnoreOption = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore",
        metavar="CODE",
        autocompletion=complete_rule,
        help="Skip this audit rule. May be repeated.",
    ),
]
AllowIncompleteOption = Annotated[
    bool,
    typer.Option(
        "--allow-incomplete",
        help="Exit with 0 even if accounts or rows could not be read.",
        rich_help_panel=MESSAGES,
    ),
]
PoolsOption = Annotated[
    bool | None,
    typer.Option(
        "--with-pools/--no-pools",
        help="Fetch number pools too, or never. [dim]Default: as configured[/dim]",
        show_default=False,
        rich_help_panel=SOURCE,
    ),
]

_GENERATED = "Generated data"
LocationsOption = Annotated[
    int | None,
    typer.Option(
        min=0, metavar="N", help="Number of locations. [dim]Default: 300[/dim]", rich_help_panel=_GENERATED
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Seed. The same seed generates the same data. [dim]Default: 1[/dim]",
        rich_help_panel=_GENERATED,
    ),
]
UnconnectedOption = Annotated[
    int | None,
    typer.Option(
        "--not-connected",
        min=0,
        metavar="N",
        help="Number of locations without a phone system. [dim]Default: one in 40[/dim]",
        rich_help_panel=_GENERATED,
    ),
]
LatencyOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="Duration of every response. [dim]Default: 0.1[/dim]",
        rich_help_panel=_GENERATED,
    ),
]
