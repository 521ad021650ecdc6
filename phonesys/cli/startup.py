"""Start of the program: what runs before, and without, the packages of the extra."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
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


@contextmanager
def exit_on_interrupt() -> Generator[None]:
    """Exit at once on Ctrl-C while modules are imported.

    KeyboardInterrupt would pass through third-party modules, which may replace it or print a traceback.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
