"""Run a command and turn its end into an exit status: 0 done, 1 failed, 2 usage, 130 interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from phonesys._text import escape_controls
from phonesys.cli.terminal import ERR, only_errors, print_error
from phonesys.errors import PhonesysError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

DONE, FAILED, USAGE = 0, 1, 2
_INTERRUPTED, _TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
_HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)  # Windows has none
_MAX_CANCELLATIONS = 2


def run(
    prepare: Callable[[], Coroutine[Any, Any, int] | int],
    *,
    verbose: bool = False,
    quiet: bool = False,
    is_service: bool = False,
) -> NoReturn:
    """Run a command and exit with its status; an expected error is one line.

    `prepare` does what must happen before the event loop starts, such as prompting. It returns a coroutine to
    run, or an exit status. A service runs until SIGTERM, which is its regular end, with status 0.
    """
    with log_to_stderr(logging.DEBUG if verbose else logging.WARNING), only_errors(quiet):
        raise typer.Exit(_status(prepare, DONE if is_service else _TERMINATED))


def _status(prepare: Callable[[], Coroutine[Any, Any, int] | int], terminated: int) -> int:
    signals = _SignalHandler()
    try:
        command = prepare()
        return command if isinstance(command, int) else asyncio.run(_main(command, signals))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except asyncio.CancelledError:
        return terminated if signals.status == _TERMINATED else signals.status
    except BrokenPipeError:
        _redirect_stdout_to_null()
        return FAILED
    except (PhonesysError, OSError) as failure:
        print_error(failure)
        return USAGE if isinstance(failure, UsageError) else FAILED


async def _main(command: Coroutine[Any, Any, int], signals: _SignalHandler) -> int:
    with signals.installed():
        return await command


class _SignalHandler:
    """Cancels a command on Ctrl-C, SIGTERM or SIGHUP, so that it closes what it opened.

    asyncio's own handler raises KeyboardInterrupt on the second Ctrl-C, wherever the program happens to be.
    Here the second signal cancels the clean-up too, and the third one ends the process at once.
    """

    def __init__(self) -> None:
        self.status = _TERMINATED
        self._received = 0

    @contextlib.contextmanager
    def installed(self) -> Generator[None]:
        """Handle signals while the block runs; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        numbers = [signal.SIGINT, signal.SIGTERM]
        if _HANGUP is not None and signal.getsignal(_HANGUP) is not signal.SIG_IGN:  # as it is under nohup
            numbers.append(_HANGUP)
        before = {number: signal.signal(number, self._handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, _frame: object) -> None:
        self.status = 128 + number
        self._received += 1
        if self._received > _MAX_CANCELLATIONS or self._task is None:
            os._exit(self.status)
        self._task.cancel()
        self._loop.call_soon_threadsafe(lambda: None)  # wakes it


def _redirect_stdout_to_null() -> None:
    """Prevent the interpreter's own error at exit about a closed pipe."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _ConsoleHandler(logging.Handler):
    """Writes records above a live display, without breaking it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record as one line."""
        line = escape_controls(f"{record.name}: {record.getMessage()}")
        style = "red" if record.levelno >= logging.WARNING else "dim"
        ERR.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def log_to_stderr(level: int = logging.DEBUG) -> Generator[None]:
    """Write the package's log to stderr while the block runs, from a level on."""
    log, handler = logging.getLogger("phonesys"), _ConsoleHandler()
    before = log.level
    log.setLevel(level)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
