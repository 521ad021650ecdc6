"""Destinations of results: stdout, or a file that is replaced only once it is complete."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO, Self, TextIO

import anyio

from phonesys._files import replace_atomically
from phonesys.cli import startup
from phonesys.cli.terminal import escape_output, print_error, print_table, render_text
from phonesys.config.paths import expand
from phonesys.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType

    from rich.console import RenderableType

STDOUT = "-"

# POSIX: a pipe that is ready accepts this much without blocking.
_PIPE_CAPACITY = 4096


class Format(StrEnum):
    """Format of results."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


class Stdout:
    """Standard output. A full pipe blocks only the task that writes to it.

    Lines reach a pipe whole, so that the last one is valid however the program ends.
    """

    @property
    def is_terminal(self) -> bool:
        """True if stdout is a terminal."""
        return sys.stdout.isatty()

    def __enter__(self) -> Self:
        if startup.stdout_was_closed:
            raise UsageError("stdout is closed; expected --output FILE")
        sys.stdout.flush()
        self._pipe = _pipe_of(sys.stdout)
        return self

    def __exit__(self, *_: object) -> None:
        """Stdout stays open."""

    async def write(self, lines: Iterable[bytes]) -> None:
        """Write lines as soon as the pipe accepts them. A terminal gets no control characters."""
        if self._pipe is None:
            data = b"".join(lines)
            sys.stdout.buffer.write(escape_output(data) if self.is_terminal else data)
            sys.stdout.buffer.flush()
            return
        for piece in _pieces(lines):
            await _wait_writable(self._pipe)
            _write(self._pipe, piece)


class OutputFile:
    """A file that is replaced if its block ends without an exception, and left alone otherwise."""

    is_terminal = False

    def __init__(self, path: Path, option: str = "--output") -> None:
        self._path = path
        self._option = option

    def __enter__(self) -> Self:
        try:
            self._context = _open(expand(self._path, self._option))
            self._file = self._context.__enter__()
        except OSError as error:
            raise UsageError(f"{self._option} {self._path}: {error.strerror or error}") from None
        return self

    async def write(self, lines: Iterable[bytes]) -> None:
        """Write lines."""
        self._file.writelines(lines)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._context.__exit__(kind, error, trace)
        finally:
            if kind is not None:
                print_error(f"{self._path} was not written")


def _open(path: Path) -> AbstractContextManager[BinaryIO]:
    # A device or a pipe is written to: it cannot be replaced.
    if path.exists() and not path.is_file():
        return path.open("wb")
    return replace_atomically(path)


Destination = Stdout | OutputFile


def destination(output: Path | None) -> Destination:
    """Return the file to write, or stdout for None and `-`."""
    return Stdout() if output is None or str(output) == STDOUT else OutputFile(output)


async def write_table(table: RenderableType, to: Destination) -> None:
    """Write a table: in colour on a terminal, as plain text anywhere else."""
    if to.is_terminal:
        print_table(table)
    else:
        await to.write([render_text(table)])


def _pipe_of(stream: TextIO) -> int | None:
    """Return the descriptor of a stream that can block: a pipe or a socket."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = stream.fileno()
        mode = os.fstat(descriptor).st_mode
        if os.name == "posix" and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            return descriptor
    return None


def _pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join lines to pieces that a pipe accepts at once; a longer line is a piece of its own."""
    piece = b""
    for line in lines:
        if piece and len(piece) + len(line) > _PIPE_CAPACITY:
            yield piece
            piece = b""
        piece += line
    if piece:
        yield piece


async def _wait_writable(descriptor: int) -> None:
    if not select.select([], [descriptor], [], 0)[1]:
        await anyio.wait_writable(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # the process at the other end made it non-blocking
            select.select([], [descriptor], [])
