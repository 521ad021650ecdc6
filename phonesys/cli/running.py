"""From a command to an exit status: 0 done, 1 failed, 2 usage or configuration, 130 interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from phonesys.cli.terminal import ERR, complain
from phonesys.errors import PhonesysError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

DONE, FAILED, USAGE = 0, 1, 2
_INTERRUPTED, _TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM


def run(prepare: Callable[[], Coroutine[Any, Any, int] | int], *, verbose: bool = False) -> NoReturn:
    """Run a command and exit with its status; an error that can be expected is one line.

    `prepare` does what must happen before there is an event loop, such as asking somebody, and returns the
    rest, or its status.
    """
    with _logging_to_stderr() if verbose else contextlib.nullcontext():
        raise typer.Exit(_status(prepare))


def _status(prepare: Callable[[], Coroutine[Any, Any, int] | int]) -> int:
    try:
        rest = prepare()
        return rest if isinstance(rest, int) else asyncio.run(_main(rest))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except asyncio.CancelledError:
        return _TERMINATED
    except BrokenPipeError:
        _forget_stdout()
        return FAILED
    except (PhonesysError, OSError) as failure:
        complain(failure)
        return USAGE if isinstance(failure, UsageError) else FAILED


async def _main(rest: Coroutine[Any, Any, int]) -> int:
    """Let SIGTERM end a command the way Ctrl-C does: what it opened is closed."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 -- asyncio.run made it
    with contextlib.suppress(NotImplementedError):  # Windows has no such handlers
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await rest


def _forget_stdout() -> None:
    """Keep the interpreter from complaining at exit that nobody reads any more."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _ToConsole(logging.Handler):
    """Writes records above a live display instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record as one line."""
        line = f"{record.name}: {record.getMessage()}"
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
