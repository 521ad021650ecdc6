"""The file of tokens that can be fetched again: appended to in batches, and never synced."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from phonesys._files import replace_atomically
from phonesys.errors import ConfigError
from phonesys.oauth.durable_file import file_signature, read_if_exists
from phonesys.oauth.lock import OWNER_ONLY, acquire_lock_blocking

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phonesys.oauth.codec import Codec, Tokens
    from phonesys.oauth.token import Token

_MIN_COMPACT_SIZE = 4 * 2**20


class TokenCacheFile:
    """Lines of tokens. Later lines win, and only lines appended since the last read are read.

    A crash loses the last second, which costs as many requests as it held tokens.
    """

    def __init__(
        self, path: Path, folder: Path, codec: Codec, *, lock_timeout: float, clock: Callable[[], float]
    ) -> None:
        self._path = path
        self._lock = folder / "lock"
        self._codec = codec
        self._lock_timeout = lock_timeout
        self._clock = clock
        self._write_lock = threading.Lock()
        self._tokens: Tokens = {}
        self._read_position: tuple[int, int] = (0, 0)
        self._last_signature: object = None
        self._compacted_size = 0

    def find(self, key: str) -> Token | None:
        """Return a token, whichever process wrote it."""
        signature = file_signature(self._path)
        if signature != self._last_signature:
            self._read_appended(signature)
        return self._tokens.get(key)

    def append(self, tokens: Tokens) -> None:
        """Append a batch, after any batch that another thread is writing."""
        with self._write_lock:
            if not tokens:
                return
            try:
                with acquire_lock_blocking(self._lock, timeout=self._lock_timeout):
                    self._append(self._codec.encode(tokens))
            except OSError as failure:
                reason = failure.strerror
            else:
                return
        raise ConfigError(f"token store: {self._path} cannot be written: {reason}")

    def _append(self, line: bytes) -> None:
        if self._needs_compaction():
            self._compact(self._decode_lines(read_if_exists(self._path) or b""))
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(self._path, flags, OWNER_ONLY), "r+b", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            if end and not _ends_with_newline(file.fileno(), end):
                # A writer was killed in the middle of a line.
                end = _last_line_end(read_if_exists(self._path) or b"")
                file.truncate(end)
            file.seek(end)
            left = memoryview(line)
            while left:
                left = left[file.write(left) :]

    def _needs_compaction(self) -> bool:
        """Return True if the file is large, and has doubled since it was compacted."""
        signature = file_signature(self._path)
        return signature is not None and signature[1] > max(_MIN_COMPACT_SIZE, 2 * self._compacted_size)

    def _compact(self, tokens: Tokens) -> None:
        """Rewrite the file without outdated and expired tokens."""
        now = self._clock()
        live: Tokens = {
            key: token
            for key, token in tokens.items()
            if token is not None and (token.expires_at is None or token.expires_at > now)
        }
        raw = self._codec.encode(live)
        with replace_atomically(self._path, mode=OWNER_ONLY, sync=False) as file:
            file.write(raw)
        self._compacted_size = len(raw)

    def _read_appended(self, signature: object) -> None:
        """Read the lines added since the last time, or all lines of a file that was replaced."""
        try:
            with self._path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                last_inode, offset = self._read_position
                if inode != last_inode or os.fstat(file.fileno()).st_size < offset:
                    self._tokens, offset = {}, 0
                file.seek(offset)
                added = file.read()
        except FileNotFoundError:
            self._tokens, self._read_position, self._last_signature = {}, (0, 0), signature
            return
        whole = _last_line_end(added)
        self._tokens.update(self._decode_lines(added[:whole]))
        self._read_position, self._last_signature = (inode, offset + whole), signature

    def _decode_lines(self, raw: bytes) -> Tokens:
        tokens: Tokens = {}
        for line in raw[: _last_line_end(raw)].splitlines():
            tokens.update(self._codec.decode(line, str(self._path)))
        return tokens


def _last_line_end(raw: bytes) -> int:
    return raw.rfind(b"\n") + 1


def _ends_with_newline(descriptor: int, end: int) -> bool:
    os.lseek(descriptor, end - 1, os.SEEK_SET)
    return os.read(descriptor, 1) == b"\n"
