"""Start of the program: what runs before, and without, the packages of the extra."""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from phonesys import __version__

if TYPE_CHECKING:
    from collections.abc import Generator

stdout_was_closed = False
"""True if the program was started without stdout, as by `>&-`."""

_INTERRUPTED = 128 + signal.SIGINT


def open_streams() -> None:
    """Open what is closed of the three standard streams on the null device.

    Otherwise a file or a connection would get the number of a closed stream, and messages would be written
    into it. Characters that the locale lacks are escaped instead of raising an error.
    """
    global stdout_was_closed  # noqa: PLW0603 -- a fact of the process
    stdout_was_closed = sys.stdout is None
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def show_version() -> None:
    """Print the version."""
    sys.stdout.write(f"phonesys {__version__}\n")


def _exit(_number: int, _frame: object) -> None:
    os._exit(_INTERRUPTED)


def exit_on_interrupt() -> None:
    """Exit at once on Ctrl-C, until a command has something to clean up.

    KeyboardInterrupt would pass through third-party modules while they are imported. They may replace it,
    print a traceback, or crash. A program whose parent ignores Ctrl-C, such as a job in the background,
    ignores it too.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _exit)


@contextmanager
def prompting() -> Generator[None]:
    """Raise KeyboardInterrupt on Ctrl-C while a prompt waits, so that it restores the terminal."""
    if signal.getsignal(signal.SIGINT) is not _exit:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, _exit)
