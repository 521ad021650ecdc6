"""Start of the program: what runs before, and without, the packages of the extra."""

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
