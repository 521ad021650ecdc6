"""The file of tokens that can be had again: appended to in batches, and never waited for."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from phonesys.errors import ConfigError
from phonesys.oauth.durable_file import contents, signature_of
from phonesys.oauth.lock import PRIVATE, locked_briefly

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phonesys.oauth.codec import Codec, Tokens
    from phonesys.oauth.token import Token

_SMALL = 4 * 2**20


class TokenCacheFile:
    """Lines of tokens, later ones first; what lines hold is remembered, and only new ones are read.

    Nothing is synced: a crash loses the last second, which costs as many requests as it held tokens.
    """

    def __init__(
        self, path: Path, folder: Path, codec: Codec, *, patience: float, clock: Callable[[], float]
    ) -> None:
        self._path = path
        self._lock = folder / "lock"
        self._codec = codec
        self._patience = patience
        self._clock = clock
        self._one_writer = threading.Lock()
        self._tokens: Tokens = {}
        self._read_to: tuple[int, int] = (0, 0)
        self._seen: object = None
        self._compact_size = 0

    def find(self, key: str) -> Token | None:
        """Find a token, whoever wrote it."""
        signature = signature_of(self._path)
        if signature != self._seen:
            self._catch_up(signature)
        return self._tokens.get(key)

    def append(self, tokens: Tokens) -> None:
        """Write a batch, after those that are being written."""
        with self._one_writer:
            if not tokens:
                return
            try:
                with locked_briefly(self._lock, patience=self._patience):
                    self._append(self._codec.write(tokens))
            except OSError as failure:
                reason = failure.strerror
            else:
                return
        raise ConfigError(f"token store: {self._path} cannot be written: {reason}")

    def _append(self, line: bytes) -> None:
        if self._is_due():
            self._compact(self._entries(contents(self._path) or b""))
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(self._path, flags, PRIVATE), "r+b", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            if end and not _ends_line(file.fileno(), end):
                end = _last_line_end(contents(self._path) or b"")  # a writer was killed in the middle of one
                file.truncate(end)
            file.seek(end)
            left = memoryview(line)
            while left:
                left = left[file.write(left) :]

    def _is_due(self) -> bool:
        """Say whether much of the file may be outdated: it is large, and doubled since it was compact."""
        signature = signature_of(self._path)
        return signature is not None and signature[1] > max(_SMALL, 2 * self._compact_size)

    def _compact(self, tokens: Tokens) -> None:
        """Leave out what is outdated."""
        now = self._clock()
        live: Tokens = {
            key: token
            for key, token in tokens.items()
            if token is not None and (token.expires_at is None or token.expires_at > now)
        }
        fresh = self._path.with_name(f"{self._path.name}-{os.getpid()}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "wb") as file:
            file.write(self._codec.write(live))
        self._compact_size = fresh.stat().st_size
        fresh.replace(self._path)

    def _catch_up(self, signature: object) -> None:
        """Read what was added since the last time; everything, if it is another file."""
        try:
            with self._path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                known, offset = self._read_to
                if inode != known or os.fstat(file.fileno()).st_size < offset:
                    self._tokens, offset = {}, 0
                file.seek(offset)
                added = file.read()
        except FileNotFoundError:
            self._tokens, self._read_to, self._seen = {}, (0, 0), signature
            return
        whole = _last_line_end(added)
        self._tokens.update(self._entries(added[:whole]))
        self._read_to, self._seen = (inode, offset + whole), signature

    def _entries(self, raw: bytes) -> Tokens:
        tokens: Tokens = {}
        for line in raw[: _last_line_end(raw)].splitlines():
            tokens.update(self._codec.read(line, str(self._path)))
        return tokens


def _last_line_end(raw: bytes) -> int:
    return raw.rfind(b"\n") + 1


def _ends_line(descriptor: int, end: int) -> bool:
    os.lseek(descriptor, end - 1, os.SEEK_SET)
    return os.read(descriptor, 1) == b"\n"
