"""The command line: `phonesys`, or `python -m phonesys`; needs the extra `cli`."""

from __future__ import annotations

import sys

_OPTIONAL = {"typer", "rich"}


def main() -> None:
    """Run the command that the process was started with, and exit with its status."""
    try:
        from phonesys.cli.app import app
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] not in _OPTIONAL:
            raise
        sys.stderr.write("phonesys: the command line is an extra: pip install 'phonesys[cli]'\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    app(prog_name="phonesys")
