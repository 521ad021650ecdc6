"""Command line: `phonesys`, or `python -m phonesys`. Needs the extra `cli`."""

from __future__ import annotations

import sys

from phonesys.cli import startup

__all__ = ["main"]

_EXTRA_PACKAGES = {"typer", "rich"}


def main() -> None:
    """Run the command in `sys.argv` and exit with its status."""
    startup.exit_on_interrupt()
    startup.open_streams()
    if sys.argv[1:2] == ["--version"]:  # needs nothing that has to be imported or installed
        startup.show_version()
        return
    try:
        from phonesys.cli.app import app

        app(prog_name="phonesys")
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] not in _EXTRA_PACKAGES:
            raise
        sys.stderr.write("phonesys: the command line is an extra: pip install 'phonesys[cli]'\n")
        sys.exit(2)
