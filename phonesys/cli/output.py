"""Destinations of results: stdout, or a file that is replaced only once it is complete."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self, TextIO

import anyio

from phonesys.cli.terminal import print_error, print_table, render_text
from phonesys.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from rich.console import RenderableType

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
        sys.stdout.flush()
        self._pipe = _pipe_of(sys.stdout)
        return self

    def __exit__(self, *_: object) -> None:
        """Stdout stays open."""

    async def write(self, lines: Iterable[bytes]) -> None:
        """Write lines as soon as the pipe accepts them."""
        if self._pipe is None:
            sys.stdout.buffer.write(b"".join(lines))
            sys.stdout.buffer.flush()
            return
        for piece in _pieces(lines):
            await _wait_writable(self._pipe)
            _write(self._pipe, piece)


class OutputFile:
    """A file that is replaced if its block ends without an exception, and left alone otherwise."""

    is_terminal = False

    def __init__(self, path: Path) -> None:
        self._requested = path
        self._temporary: Path | None = None

    def __enter__(self) -> Self:
        # A link stays a link: its target is replaced.
        self._path = Path(os.path.realpath(self._requested))
        try:
            self._file = self._open()
        except OSError as error:
            raise UsageError(f"--output {self._requested}: {error.strerror or error}") from None
        return self

    def _open(self) -> BinaryIO:
        mode = _mode(self._path)
        if mode is not None and not stat.S_ISREG(mode):
            return self._path.open("wb")  # a device or a pipe cannot be replaced
        descriptor, name = tempfile.mkstemp(
            dir=self._path.parent, prefix=f".{self._path.name}.", suffix=".part"
        )
        self._temporary = Path(name)
        self._temporary.chmod(0o666 & ~_umask() if mode is None else stat.S_IMODE(mode))
        return os.fdopen(descriptor, "wb")

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
            with self._file as file:
                if kind is None and self._temporary is not None:
                    file.flush()
                    os.fsync(file.fileno())
            if kind is None and self._temporary is not None:
                self._temporary.replace(self._path)
        finally:
            if self._temporary is not None:
                self._temporary.unlink(missing_ok=True)
            if kind is not None:
                print_error(f"{self._requested} was not written")


Destination = Stdout | OutputFile


def destination(output: Path | None) -> Destination:
    """Return the file to write, or stdout for None and `-`."""
    return Stdout() if output is None or str(output) == "-" else OutputFile(output)


async def write_table(table: RenderableType, to: Destination) -> None:
    """Write a table: in colour on a terminal, as plain text anywhere else."""
    if to.is_terminal:
        print_table(table)
    else:
        await to.write([render_text(table)])


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


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
