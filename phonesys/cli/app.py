"""Application: every command under its name, imported when it is called.

`phonesys --help` and completion must not wait for aiohttp and the backends, which take several times as long
to import as typer. So each command is listed here with the first line of its help, and its module is imported
once it is run or asked for its own help. The help of the whole program is plain text for the same reason:
typer's panels take longer to import than everything else together (131 ms instead of 64 ms).
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from phonesys.cli.startup import show_version

_SETTINGS: dict[str, Any] = {
    "rich_markup_mode": "rich",
    "add_completion": False,
    # Tracebacks that show local variables would show credentials.
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["--help", "-h"]},
}
_PLAIN_SETTINGS: dict[str, Any] = {**_SETTINGS, "rich_markup_mode": None, "add_completion": True}


class CommandEntry(NamedTuple):
    """A command, in the module of `phonesys.cli.commands` that defines it."""

    module: str
    help: str


_PANELS = {
    "Inventory": {
        "sweep": ("sweep", "Read every number of every account of every backend."),
        "numbers": ("numbers", "List the numbers of one backend, or of one of its accounts."),
        "accounts": ("accounts", "List the accounts of every backend, with their names."),
        "agents": ("agents", "List the agents of a backend."),
        "pools": ("pools", "List the number pools of an account."),
        "available": ("available", "Search for numbers to buy, with their prices."),
        "find": ("find", "Find every backend and account that holds a number."),
        "get": ("get", "Fetch one number by its id."),
        "status": ("status", "Show a number's capacity to send, and its metrics."),
        "warmup": ("status", "Show the same as `status`, of a number by its id."),
    },
    "Snapshots and reports": {
        "diff": ("snapshots", "Show numbers added, removed, moved or changed between two snapshots."),
        "snapshots": ("snapshots", "List the snapshots in a store or a folder, newest first."),
        "prune": ("snapshots", "Delete the oldest snapshots of a store, after confirmation."),
        "watch": ("watch", "Sweep on an interval, print changes and findings, and send alerts."),
        "audit": ("audit", "Find numbers that are unrouted, blocked, held twice, or paid for and unused."),
        "export": ("export", "Write every number to a file: Parquet, Arrow, CSV, JSON lines or Excel."),
        "report": ("report", "Write an HTML page with counts, findings, changes and a searchable list."),
    },
    "Changes": {
        "plan": ("plan", "Show what a file of desired states would change, and keep it as a plan."),
        "apply": ("apply", "Carry out a plan, after confirmation."),
        "changes": ("changes", "List the runs of plans with their outcomes, or the changes of one run."),
        "undo": ("changes", "Show the plan that takes a run back, as far as the vendors allow, and keep it."),
        "create": ("change", "Create a number, which may cost money."),
        "buy": ("buy", "Buy a number, after confirmation."),
        "assign": ("change", "Assign a number to an agent, which answers its calls from then on."),
        "update": ("change", "Update a number. Supported fields depend on the vendor."),
        "delete": ("change", "Delete a number, after confirmation."),
    },
    "Setup": {
        "mcp": ("mcp", "Serve assistants and agents on stdin and stdout, by the Model Context Protocol."),
        "providers": ("providers", "Show installed and configured backends, and their abilities."),
        "doctor": (
            "doctor",
            "Check everything that a sweep needs, and advise what to type.",
        ),
        "schema": ("schema", "Print the JSON schema of the lines that a command writes with --format jsonl."),
        "sandbox": ("sandbox", "Serve the three vendors' APIs on loopback until Ctrl-C."),
        "auth": ("auth", "Authorize an app of yours with LeadConnector."),
    },
}
COMMANDS = {name: CommandEntry(*entry) for entries in _PANELS.values() for name, entry in entries.items()}
"""Every command, in the order of the help."""


class _LazyCommand(TyperCommand):
    """A command whose module is imported when it is called."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Return the context of the imported command."""
        return load_command(self.name or "").make_context(*args, **options)


class _LazyGroup(TyperGroup):
    """The group of all commands. Errors in its use are one line, like all others."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command and exit with its status."""
        options["standalone_mode"] = False
        try:
            status = super().main(*args, **options)
        except typer.Abort:
            _fail("aborted", 1)
        except Exception as error:
            # An error of click's, or of the copy that typer has had since 0.26.
            if not hasattr(error, "format_message"):
                raise
            _report_usage(error)
        sys.exit(status or 0)

    # Contexts and commands are click's or, since 0.26, those of a copy inside typer. Hence Any.

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command that is imported when it is called, or None."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        return _LazyCommand(cmd_name, help=entry.help)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands to the help, a section for each panel."""
        for panel, entries in _PANELS.items():
            with formatter.section(panel):
                formatter.write_dl([(name, help_) for name, (_, help_) in entries.items()])


def _report_usage(error: Any) -> NoReturn:
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        sys.exit(error.exit_code)
    help_ = f" (see `{error.ctx.command_path} --help`)" if getattr(error, "ctx", None) else ""
    _fail(error.format_message().rstrip(".") + help_, error.exit_code)


def _fail(message: str, status: int) -> NoReturn:
    from phonesys.cli.terminal import print_error  # rich, which the help does not need

    print_error(message)
    sys.exit(status)


def load_command(name: str) -> Any:
    """Import a command."""
    from phonesys.cli.groups import expand_groups

    module = import_module(f"phonesys.cli.commands.{COMMANDS[name].module}")
    if isinstance(module.__dict__.get("app"), typer.Typer):
        return typer.main.get_command(module.app)
    single = typer.Typer(**_SETTINGS)
    single.command(name)(expand_groups(getattr(module, name)))
    return typer.main.get_command(single)


app = typer.Typer(
    no_args_is_help=True,
    cls=_LazyGroup,
    **_PLAIN_SETTINGS,
)


@app.callback(invoke_without_command=True)
def phonesys(
    *, version: Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version.")] = False
) -> None:
    """Find out which phone numbers you hold, where, and in what state."""
    if version:
        show_version()
        raise typer.Exit
