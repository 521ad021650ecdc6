"""Where results go: stdout, or a file that appears only once it is whole."""

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

from phonesys.cli.terminal import complain
from phonesys.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

# POSIX promises that a pipe which is ready takes as much at once.
_PIPE_ROOM = 4096


class Format(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


class Stdout:
    """Standard output; a pipe that is full keeps its reader waiting and nobody else.

    Lines reach a pipe whole, so that whatever ends the program, the last one is valid.
    """

    @property
    def is_terminal(self) -> bool:
        """Whether somebody watches."""
        return sys.stdout.isatty()

    def __enter__(self) -> Self:
        sys.stdout.flush()
        self._pipe = _pipe_of(sys.stdout)
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to undo."""

    async def write(self, lines: Iterable[bytes]) -> None:
        """Write lines as soon as there is somebody to take them."""
        if self._pipe is None:
            sys.stdout.buffer.write(b"".join(lines))
            sys.stdout.buffer.flush()
            return
        for piece in _pieces(lines):
            await _writable(self._pipe)
            _write(self._pipe, piece)


class File:
    """A file that is replaced when its block ends well, and left as it was when not."""

    is_terminal = False

    def __init__(self, path: Path) -> None:
        self._asked = path
        self._temporary: Path | None = None

    def __enter__(self) -> Self:
        # A link stays a link: what it points to is replaced.
        self._path = Path(os.path.realpath(self._asked))
        try:
            self._file = self._open()
        except OSError as error:
            raise UsageError(f"--output {self._asked}: {error.strerror or error}") from None
        return self

    def _open(self) -> BinaryIO:
        mode = _mode(self._path)
        if mode is not None and not stat.S_ISREG(mode):
            return self._path.open("wb")  # a device or a pipe is written to, and not replaced
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
                complain(f"{self._asked} was not written")


Destination = Stdout | File


def destination(output: Path | None) -> Destination:
    """Choose between a file and stdout."""
    return Stdout() if output is None or str(output) == "-" else File(output)


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
    """Return the stream's descriptor if it is one that can be full for long."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = stream.fileno()
        mode = os.fstat(descriptor).st_mode
        if os.name == "posix" and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            return descriptor
    return None


def _pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join whole lines to pieces that a pipe takes at once; a longer line is a piece of its own."""
    piece = b""
    for line in lines:
        if piece and len(piece) + len(line) > _PIPE_ROOM:
            yield piece
            piece = b""
        piece += line
    if piece:
        yield piece


async def _writable(descriptor: int) -> None:
    if not select.select([], [descriptor], [], 0)[1]:
        await anyio.wait_writable(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # whoever gave us the pipe made it so
            select.select([], [descriptor], [])
