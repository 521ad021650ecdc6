"""From a command to an exit status: 0 done, 1 failed, 2 usage or configuration, 130 interrupted."""

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

from phonesys.cli.terminal import ERR, clean, complain
from phonesys.errors import PhonesysError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

DONE, FAILED, USAGE = 0, 1, 2
_INTERRUPTED, _TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
_PATIENT = 2


def run(prepare: Callable[[], Coroutine[Any, Any, int] | int], *, verbose: bool = False) -> NoReturn:
    """Run a command and exit with its status; an error that can be expected is one line.

    `prepare` does what must happen before there is an event loop, such as asking somebody, and returns the
    rest, or its status.
    """
    with _logging_to_stderr() if verbose else contextlib.nullcontext():
        raise typer.Exit(_status(prepare))


def _status(prepare: Callable[[], Coroutine[Any, Any, int] | int]) -> int:
    told = _Told()
    try:
        rest = prepare()
        return rest if isinstance(rest, int) else asyncio.run(_main(rest, told))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except asyncio.CancelledError:
        return told.status
    except BrokenPipeError:
        _forget_stdout()
        return FAILED
    except (PhonesysError, OSError) as failure:
        complain(failure)
        return USAGE if isinstance(failure, UsageError) else FAILED


async def _main(rest: Coroutine[Any, Any, int], told: _Told) -> int:
    with told.heard():
        return await rest


class _Told:
    """Ends a command when Ctrl-C or SIGTERM say so: what it opened is closed.

    asyncio's own handler raises KeyboardInterrupt for the second Ctrl-C, wherever the program happens to be.
    Here the second one cancels once more what is being closed, and the third ends the process where it is.
    """

    def __init__(self) -> None:
        self.status = _TERMINATED
        self._times = 0

    @contextlib.contextmanager
    def heard(self) -> Generator[None]:
        """Listen while the block runs; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, _frame: object) -> None:
        self.status = 128 + number
        self._times += 1
        if self._times > _PATIENT or self._task is None:
            os._exit(self.status)
        self._task.cancel()
        self._loop.call_soon_threadsafe(lambda: None)  # wakes it


def _forget_stdout() -> None:
    """Keep the interpreter from complaining at exit that nobody reads any more."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _ToConsole(logging.Handler):
    """Writes records above a live display instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record as one line."""
        line = clean(f"{record.name}: {record.getMessage()}")
        ERR.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def _logging_to_stderr() -> Generator[None]:
    log, handler = logging.getLogger("phonesys"), _ToConsole()
    before = log.level
    log.setLevel(logging.DEBUG)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
