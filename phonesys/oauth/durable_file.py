"""The file of tokens that must not be lost: staged at once, synced, then replaced as a whole."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, TypeAlias

from phonesys.errors import ConfigError
from phonesys.oauth.lock import PRIVATE, locked_briefly

if TYPE_CHECKING:
    from pathlib import Path

    from phonesys.oauth.codec import Codec, Tokens
    from phonesys.oauth.token import Token

Signature: TypeAlias = tuple[int, int, int]

_ROOM = 16_384


class DurableTokenFile:
    """The file itself; everything here blocks, and only `commit` and `check` for longer than a moment."""

    def __init__(self, path: Path, folder: Path, codec: Codec, *, patience: float) -> None:
        self._path = path
        self._folder = folder
        self._codec = codec
        self._patience = patience
        self._known: tuple[Signature | None, Tokens] | None = None

    def find(self, key: str) -> Token | None:
        """Find a token; one that was staged and not committed is what a process left that was killed."""
        token, staged = self._current().get(key), self._staged(key)
        if staged is None or (token is not None and token.obtained_at > staged.obtained_at):
            return token
        return staged

    def stage(self, key: str, token: Token) -> None:
        """Put a token where no end of this process can lose it: in the operating system's hands.

        A power failure still can; that takes the disk, and `commit`. Raises ConfigError where `commit` would
        not understand the file.
        """
        self._current()  # a file that cannot be read is not one to prepare a successor of
        with _told(self._stage_of(key)) as path:
            _write(path, self._codec.write({key: token}), synced=False)

    def commit(self, key: str, token: Token | None) -> None:
        """Write a token, or its absence, into the file; on return it is on the disk."""
        with _told(self._path), locked_briefly(self._folder / "lock", patience=self._patience):
            tokens = dict(self._read())
            tokens[key] = token
            if token is None:
                del tokens[key]
            self._replace(self._codec.write(tokens))
            self._stage_of(key).unlink(missing_ok=True)

    def check(self, key: str) -> None:
        """Raise ConfigError where `commit` would, and commit what a killed process staged."""
        with _told(self._path):
            probe = self._folder / f"probe-{os.getpid()}-{_short(key)}"
            try:
                _write(probe, bytes(len(self._codec.write(self._read())) + _ROOM), synced=True)
            finally:
                probe.unlink(missing_ok=True)
        if (staged := self._staged(key)) is not None:
            self.commit(key, staged)

    def _replace(self, raw: bytes) -> None:
        fresh = self._folder / f"fresh-{os.getpid()}"
        _write(fresh, raw, synced=True)
        fresh.replace(self._path)
        _sync_folder(self._path.parent)

    def _current(self) -> Tokens:
        """Read the file, unless it is the one that was read last."""
        signature = signature_of(self._path)
        if self._known is None or self._known[0] != signature:
            self._known = signature, self._read()
        return self._known[1]

    def _read(self) -> Tokens:
        raw = contents(self._path)
        return {} if raw is None else self._codec.read(raw, str(self._path))

    def _staged(self, key: str) -> Token | None:
        raw = contents(path := self._stage_of(key))
        if raw is None or not raw.endswith(b"\n"):  # a power failure may have cut it short
            return None
        return self._codec.read(raw, str(path)).get(key)

    def _stage_of(self, key: str) -> Path:
        return self._folder / f"staged-{_short(key)}"


class _told:  # noqa: N801 -- read as a word: `with _told(path)`
    """Turns an OSError into a ConfigError that names the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Path:
        return self._path

    def __exit__(self, kind: object, failure: object, trace: object) -> None:
        if isinstance(failure, OSError):
            raise ConfigError(f"token store: {self._path}: {failure.strerror}") from None


def contents(path: Path) -> bytes | None:
    """Read a file; None if there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as failure:
        reason = failure.strerror
    raise ConfigError(f"token store: {path} cannot be read: {reason}")


def signature_of(path: Path) -> Signature | None:
    """Tell one state of a file from another, without reading it."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _write(path: Path, raw: bytes, *, synced: bool) -> None:
    # Made anew, so that no other mode or link stands in the way.
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), PRIVATE)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        left = memoryview(raw)
        while left:
            left = left[file.write(left) :]
        if synced:
            os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Make the new name durable too; Windows has no such thing."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _short(key: str) -> str:
    return sha256(key.encode()).hexdigest()[:16]
