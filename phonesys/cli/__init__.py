"""The command line: `phonesys`, or `python -m phonesys`; needs the extra `cli`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from phonesys import __version__

if TYPE_CHECKING:
    from collections.abc import Generator

_INTERRUPTED = 128 + signal.SIGINT
_OPTIONAL = {"typer", "rich"}


def main() -> None:
    """Run the command that the process was started with, and exit with its status."""
    if sys.argv[1:2] == ["--version"]:  # before anything is loaded, and without the extra too
        show_version()
        return
    try:
        with _nothing_to_clean_up():
            from phonesys.cli.app import app
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] not in _OPTIONAL:
            raise
        sys.stderr.write("phonesys: the command line is an extra: pip install 'phonesys[cli]'\n")
        sys.exit(2)
    app(prog_name="phonesys")


def show_version() -> None:
    """Print the version."""
    sys.stdout.write(f"phonesys {__version__}\n")


def _leave(_number: int, _frame: object) -> None:
    os._exit(_INTERRUPTED)


@contextmanager
def _nothing_to_clean_up() -> Generator[None]:
    """Let Ctrl-C end the process at once.

    As an exception it would pass through other people's modules while they are loaded, which may turn it
    into another, and print either.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
