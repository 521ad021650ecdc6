"""The file of tokens that must not be lost: staged at once, synced, then replaced as a whole."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, TypeAlias

from phonesys._files import replace_atomically
from phonesys.errors import ConfigError
from phonesys.oauth.lock import acquire_lock_blocking
from phonesys.oauth.private_files import OWNER_ONLY, read_private

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from phonesys.oauth.codec import Codec, Tokens
    from phonesys.oauth.token import Token

Signature: TypeAlias = tuple[int, int, int]

_HEADROOM = 16_384


class DurableTokenFile:
    """The main file of a store. All methods block, `commit` and `ensure_writable` for a disk's sync."""

    def __init__(self, path: Path, folder: Path, codec: Codec, *, lock_timeout: float) -> None:
        self._path = path
        self._folder = folder
        self._codec = codec
        self._lock_timeout = lock_timeout
        self._last_read: tuple[Signature | None, Tokens] | None = None

    def find(self, key: str) -> Token | None:
        """Return a token, preferring one that a killed process staged but did not commit."""
        token, staged = self._current().get(key), self._read_staged(key)
        if staged is None or (token is not None and token.obtained_at > staged.obtained_at):
            return token
        return staged

    def stage(self, key: str, token: Token) -> None:
        """Hand a token to the operating system, so that the end of this process cannot lose it.

        A power failure still can, until `commit`. Raises ConfigError if the file cannot be decoded.
        """
        self._current()  # an unreadable file must not get a successor
        with _os_errors_as_config_errors(path := self._stage_path(key)):
            _write_file(path, self._codec.encode({key: token}), sync=False)

    def commit(self, key: str, token: Token | None) -> None:
        """Write a token, or delete it. On return, the change is on disk."""
        with (
            _os_errors_as_config_errors(self._path),
            acquire_lock_blocking(self._folder / "lock", timeout=self._lock_timeout),
        ):
            tokens = dict(self._read())
            tokens[key] = token
            if token is None:
                del tokens[key]
            self._replace(self._codec.encode(tokens))
            self._stage_path(key).unlink(missing_ok=True)

    def delete(self, prefix: str) -> set[str]:
        """Delete the tokens whose keys begin so, staged ones included. Return their keys."""
        with (
            _os_errors_as_config_errors(self._path),
            acquire_lock_blocking(self._folder / "lock", timeout=self._lock_timeout),
        ):
            found = dict(self._read())
            for path in self._folder.glob("staged-*"):
                raw = read_private(path)
                staged = self._codec.decode(raw, str(path)) if raw and raw.endswith(b"\n") else {}
                if any(key.startswith(prefix) for key in staged):
                    found |= staged
                    path.unlink()
            deleted = {key for key in found if key.startswith(prefix)}
            if deleted & self._read().keys():
                self._replace(
                    self._codec.encode({key: token for key, token in found.items() if key not in deleted})
                )
        return deleted

    def ensure_writable(self, key: str) -> None:
        """Raise ConfigError if `commit` would. Commit a token that a killed process staged."""
        with (
            _os_errors_as_config_errors(self._path),
            acquire_lock_blocking(self._folder / "lock", timeout=self._lock_timeout),
        ):
            self._rehearse_commit(key)
        if (staged := self._read_staged(key)) is not None:
            self.commit(key, staged)

    def _rehearse_commit(self, key: str) -> None:
        """Do everything that `commit` does, with the tokens that are there already."""
        raw = read_if_exists(self._path)
        tokens = {} if raw is None else self._codec.decode(raw, str(self._path))
        probe = self._folder / f"probe-{os.getpid()}-{_digest(key)}"
        try:
            _write_file(probe, bytes(len(self._codec.encode(tokens)) + _HEADROOM), sync=True)
        finally:
            probe.unlink(missing_ok=True)
        self._replace(self._codec.encode(tokens) if raw is None else raw)
        if raw is None:
            self._path.unlink()

    def _replace(self, raw: bytes) -> None:
        try:
            with replace_atomically(self._path, mode=OWNER_ONLY, folder=self._folder) as file:
                file.write(raw)
        except OSError as failure:
            if failure.errno not in {errno.EBUSY, errno.EXDEV}:
                raise
            reason = failure.strerror
        else:
            return
        raise ConfigError(
            f"token store: {self._path} cannot be replaced: {reason}; if the file is a mount of its own, "
            "mount its folder instead"
        )

    def _current(self) -> Tokens:
        """Return the tokens in the file, decoded again only if it has changed."""
        signature = file_signature(self._path)
        if self._last_read is None or self._last_read[0] != signature:
            self._last_read = signature, self._read()
        return self._last_read[1]

    def _read(self) -> Tokens:
        raw = read_if_exists(self._path)
        return {} if raw is None else self._codec.decode(raw, str(self._path))

    def _read_staged(self, key: str) -> Token | None:
        raw = read_private(path := self._stage_path(key))
        if raw is None or not raw.endswith(b"\n"):  # cut short by a power failure
            return None
        return self._codec.decode(raw, str(path)).get(key)

    def _stage_path(self, key: str) -> Path:
        return self._folder / f"staged-{_digest(key)}"


@contextmanager
def _os_errors_as_config_errors(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as failure:
        raise ConfigError(f"token store: {path}: {failure.strerror}") from None


def read_if_exists(path: Path) -> bytes | None:
    """Read a file. Return None if it does not exist."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as failure:
        reason = failure.strerror
    raise ConfigError(f"token store: {path} cannot be read: {reason}")


def file_signature(path: Path) -> Signature | None:
    """Return a value that changes with the file's content, without reading it."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _write_file(path: Path, raw: bytes, *, sync: bool) -> None:
    # Removed first, so that no other mode or link stands in its place.
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), OWNER_ONLY)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        left = memoryview(raw)
        while left:
            left = left[file.write(left) :]
        if sync:
            os.fsync(file.fileno())


def _digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()[:16]
