"""The file of tokens that can be fetched again: appended to in batches, and never synced."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

from phonesys._files import replace_atomically
from phonesys.errors import ConfigError
from phonesys.oauth.durable_file import file_signature
from phonesys.oauth.lock import acquire_lock_blocking
from phonesys.oauth.private_files import OWNER_ONLY, open_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phonesys.oauth.codec import Codec, Tokens
    from phonesys.oauth.token import Token

log = logging.getLogger("phonesys")

_MIN_COMPACT_SIZE = 4 * 2**20
_REFRESH_TOKEN_LIFETIME = 365 * 86_400.0


class TokenCacheFile:
    """Lines of tokens. Later lines win, and only lines appended since the last read are read.

    A crash loses the last second, which costs as many requests as it held tokens. Lines that cannot be read
    are skipped, and the next write sets the file aside.
    """

    def __init__(
        self, path: Path, folder: Path, codec: Codec, *, lock_timeout: float, clock: Callable[[], float]
    ) -> None:
        self._path = path
        self._lock = folder / "lock"
        self._codec = codec
        self._lock_timeout = lock_timeout
        self._clock = clock
        self._write_lock = threading.Lock()  # batches are written in threads
        self._state_lock = threading.Lock()  # and the event loop reads meanwhile
        self._tokens: Tokens = {}
        self._read_position: tuple[int, int] = (0, 0)
        self._last_signature: object = None
        self._compacted_size = 0
        self._is_damaged = False

    def find(self, key: str) -> Token | None:
        """Return a token, whichever process wrote it."""
        signature = file_signature(self._path)
        if signature != self._last_signature:
            with self._state_lock:
                self._read_appended(signature)
        return self._tokens.get(key)

    def append(self, tokens: Tokens) -> None:
        """Append a batch, after any batch that another thread is writing."""
        with self._write_lock:
            if not tokens:
                return
            try:
                line = self._codec.encode(tokens)
                with acquire_lock_blocking(self._lock, timeout=self._lock_timeout), self._state_lock:
                    self._append(line)
            except OSError as failure:
                reason = failure.strerror
            else:
                return
        raise ConfigError(f"token store: {self._path} cannot be written: {reason}")

    def delete(self, prefix: str) -> set[str]:
        """Rewrite the file without the tokens whose keys begin so. Return their keys."""
        with (
            self._write_lock,
            acquire_lock_blocking(self._lock, timeout=self._lock_timeout),
            self._state_lock,
        ):
            self._read_appended(file_signature(self._path))
            deleted = {key for key, token in self._tokens.items() if token and key.startswith(prefix)}
            if deleted:
                self._tokens = {key: token for key, token in self._tokens.items() if key not in deleted}
                self._compact()
        return deleted

    def _append(self, line: bytes) -> None:
        self._read_appended(signature := file_signature(self._path))
        if self._is_damaged:
            self._set_aside()
        elif signature is not None and signature[1] > max(_MIN_COMPACT_SIZE, 2 * self._compacted_size):
            self._compact()
        with os.fdopen(open_private(self._path, os.O_RDWR | os.O_CREAT), "r+b", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            if end > (whole := self._read_position[1]):  # a writer was killed in the middle of a line
                file.truncate(whole)
                file.seek(whole)
            left = memoryview(line)
            while left:
                left = left[file.write(left) :]

    def _set_aside(self) -> None:
        """Move a damaged file away, and begin another with the tokens that could be read."""
        aside = self._path.with_name(f"{self._path.name}-unreadable")
        log.warning("token store: %s was damaged or has another key; it is now %s", self._path, aside.name)
        self._path.replace(aside)
        self._compact()

    def _compact(self) -> None:
        """Rewrite the file without outdated and expired tokens."""
        live: Tokens = {
            key: token for key, token in self._tokens.items() if token is not None and self._is_live(token)
        }
        raw = self._codec.encode(live)
        with replace_atomically(self._path, mode=OWNER_ONLY, sync=False) as file:
            file.write(raw)
        self._compacted_size = len(raw)
        self._read_appended(file_signature(self._path))

    def _is_live(self, token: Token) -> bool:
        """Return True for a token that is not expired, or that a refresh token can replace."""
        now = self._clock()
        if token.refresh is not None:
            return now < token.obtained_at + _REFRESH_TOKEN_LIFETIME
        return token.expires_at is None or now < token.expires_at

    def _read_appended(self, signature: object) -> None:
        """Read the lines added since the last time, or all lines of a file that was replaced."""
        try:
            descriptor = open_private(self._path, os.O_RDONLY)
        except FileNotFoundError:
            self._tokens, self._read_position, self._last_signature = {}, (0, 0), signature
            self._is_damaged = False
            return
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            last_inode, offset = self._read_position
            if status.st_ino != last_inode or status.st_size < offset:
                self._tokens, offset, self._is_damaged = {}, 0, False
            file.seek(offset)
            added = file.read()
        whole = added.rfind(b"\n") + 1
        self._decode_lines(added[:whole])
        self._read_position, self._last_signature = (status.st_ino, offset + whole), signature

    def _decode_lines(self, raw: bytes) -> None:
        for line in raw.splitlines():
            try:
                tokens = self._codec.decode(line, str(self._path))
            except ConfigError:
                self._is_damaged = True
            else:
                self._tokens.update(tokens)
