"""Account ids from a file or from stdin, one a line, read no further ahead than they are needed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from phonesys.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STDIN = "-"
_CHUNK = 2**16
_LONGEST = 1000
"""No vendor's id comes near it; what is longer is some other kind of file."""


class AccountLines:
    """The ids in a file, or on stdin for `-`: an async iterable, so that an endless pipe is no problem.

    Blank lines and lines that begin with `#` are skipped. Raises UsageError where the file cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.is_stdin = path == STDIN
        self.name = "stdin" if self.is_stdin else path
        self._path = path
        self.ended = False
        """Whether all lines were read."""
        if not self.is_stdin and ("\0" in path or not os.access(path, os.R_OK)):
            raise UsageError(f"{path}: cannot read it; expected a file with an account id on each line")

    async def __aiter__(self) -> AsyncIterator[str]:
        descriptor = self._open()
        try:
            async for account in self._accounts(descriptor):
                yield account
            self.ended = True
        finally:
            if not self.is_stdin:
                os.close(descriptor)

    def _open(self) -> int:
        try:
            return 0 if self.is_stdin else os.open(self._path, os.O_RDONLY)
        except OSError as error:
            raise UsageError(f"{self.name}: {error.strerror or error}") from None

    async def _accounts(self, descriptor: int) -> AsyncIterator[str]:
        count, rest = 0, b""
        while chunk := await self._read(descriptor):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                count += 1
                if account := self._account(line, count):
                    yield account
            if len(rest) > _LONGEST:
                self._account(rest, count + 1)
        if account := self._account(rest, count + 1):
            yield account

    async def _read(self, descriptor: int) -> bytes:
        # A file is always ready and cannot be waited for; a pipe or a terminal may keep us waiting for ever,
        # and a thread that reads it could not be told to stop.
        try:
            await anyio.wait_readable(descriptor)
        except (OSError, NotImplementedError):
            await anyio.lowlevel.checkpoint()
        try:
            return os.read(descriptor, _CHUNK)
        except OSError as error:
            raise UsageError(f"{self.name}: {error.strerror or error}") from None

    def _account(self, line: bytes, count: int) -> str:
        """Read one line; empty for one that holds no id."""
        if len(line) > _LONGEST:
            raise UsageError(f"{self.name}: line {count}: expected an account id, got {len(line):,} bytes")
        try:
            text = line.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise UsageError(f"{self.name}: line {count}: expected UTF-8") from None
        return "" if text.startswith("#") else text
