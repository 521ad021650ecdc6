"""The application: every command under its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from phonesys.cli import show_version
from phonesys.cli.commands import auth
from phonesys.cli.commands.audit import audit_command, export, report
from phonesys.cli.commands.change import assign, create, delete, update
from phonesys.cli.commands.listing import find, get, numbers, pools
from phonesys.cli.commands.providers import providers
from phonesys.cli.commands.sandbox import sandbox
from phonesys.cli.commands.snapshots import diff, snapshots
from phonesys.cli.commands.sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(
    help="Which phone numbers do we hold, where, and in what state?",
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
    # Tracebacks that show local variables would show credentials.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)

_PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Inventory": (sweep, numbers, pools, find, get),
    "What is kept": (diff, snapshots, audit_command, export, report),
    "Changes": (create, assign, update, delete),
    "Setup": (providers, sandbox),
}
for _panel, _commands in _PANELS.items():
    for _command in _commands:
        app.command(_command.__name__.removesuffix("_command"), rich_help_panel=_panel)(_command)
app.add_typer(auth.app, name="auth", rich_help_panel="Setup")


@app.callback(invoke_without_command=True)
def options(
    *, version: Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version.")] = False
) -> None:
    """Handle the options that need no command."""
    if version:
        show_version()
        raise typer.Exit
