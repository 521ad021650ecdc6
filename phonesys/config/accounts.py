"""Account ids from a file or stdin, one per line, read as they are needed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from phonesys.config.paths import expand
from phonesys.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STDIN = "-"
_CHUNK = 2**16
_MAX_LINE = 1000
"""No vendor's id is nearly as long. A longer line means another kind of file."""


class AccountFile:
    """Account ids in a file, or on stdin for `-`, as an async iterable: a pipe may be endless.

    Blank lines and lines that begin with `#` are skipped. Raises UsageError if the file cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.is_stdin = path == STDIN
        self.name = "stdin" if self.is_stdin else path
        self._path = path if self.is_stdin else str(expand(path, "account file"))
        self.exhausted = False
        """True once all lines were read."""
        if not self.is_stdin and ("\0" in path or not os.access(self._path, os.R_OK)):
            raise UsageError(f"{path}: cannot be read; expected a file with one account id per line")

    async def __aiter__(self) -> AsyncIterator[str]:
        descriptor = self._open()
        try:
            async for account in self._accounts(descriptor):
                yield account
            self.exhausted = True
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
                if account := self._parse_line(line, count):
                    yield account
            if len(rest) > _MAX_LINE:
                self._parse_line(rest, count + 1)
        if account := self._parse_line(rest, count + 1):
            yield account

    async def _read(self, descriptor: int) -> bytes:
        # A file is always ready and cannot be waited for. A pipe or a terminal may never be ready, and a
        # thread that reads it could not be cancelled.
        try:
            await anyio.wait_readable(descriptor)
        except (OSError, NotImplementedError):
            await anyio.lowlevel.checkpoint()
        try:
            return os.read(descriptor, _CHUNK)
        except OSError as error:
            raise UsageError(f"{self.name}: {error.strerror or error}") from None

    def _parse_line(self, line: bytes, count: int) -> str:
        """Return the id on a line, or an empty string for a blank line or a comment."""
        if len(line) > _MAX_LINE:
            raise UsageError(f"{self.name}: line {count}: expected an account id, got {len(line):,} bytes")
        try:
            text = line.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise UsageError(f"{self.name}: line {count}: expected UTF-8") from None
        return "" if text.startswith("#") else text
