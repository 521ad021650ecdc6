"""Files that belong to this user alone: what another user could have made is rejected."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from phonesys.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

OWNER_ONLY = 0o600
_FOLDER_MODE = 0o700
_OTHERS = 0o077
# Windows has neither; its folders are private by inheritance.
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_EXTRA_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | _NO_FOLLOW


def create_private_folder(path: Path) -> None:
    """Create a folder of mode 0700, or check the one that exists."""
    try:
        path.mkdir(mode=_FOLDER_MODE, parents=True)
    except FileExistsError:  # the check names what is no folder
        pass
    except OSError as failure:
        raise ConfigError(f"token store: {path} cannot be created: {failure.strerror}") from None
    check_private_folder(path)


def check_private_folder(path: Path) -> bool:
    """Return False if the folder does not exist. Tighten its mode if others may enter it.

    Raises ConfigError for a link, a file, and a folder of another user, who could read or replace tokens.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    except OSError as failure:
        raise ConfigError(f"token store: {path} cannot be read: {failure.strerror}") from None
    if not stat.S_ISDIR(status.st_mode):
        raise _untrusted(path, "it is not a folder")
    _check_owner(path, status)
    if stat.S_IMODE(status.st_mode) & _OTHERS:
        _tighten(path)
    return True


def open_private(path: Path, flags: int) -> int:
    """Open a file in a private folder, of mode 0600 if it is new, and return its descriptor.

    Raises ConfigError for a link, a file with several names, and a file of another user: each may have been
    planted while the folder was open to others.
    """
    try:
        descriptor = os.open(path, flags | _EXTRA_FLAGS, OWNER_ONLY)
    except OSError:
        if path.is_symlink():
            raise _untrusted(path, "it is a link") from None
        raise
    try:
        _check_file(path, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_private(path: Path) -> bytes | None:
    """Read a file in a private folder. Return None if it does not exist."""
    try:
        descriptor = open_private(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _check_file(path: Path, descriptor: int) -> None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise _untrusted(path, "it is not an ordinary file with one name")
    _check_owner(path, status)
    if _NO_FOLLOW and stat.S_IMODE(status.st_mode) & _OTHERS:
        os.fchmod(descriptor, OWNER_ONLY)


def _tighten(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _NO_FOLLOW)
        try:
            os.fchmod(descriptor, _FOLDER_MODE)
        finally:
            os.close(descriptor)
    except OSError as failure:
        raise ConfigError(f"token store: {path} is open to others: {failure.strerror}") from None


def _check_owner(path: Path, status: os.stat_result) -> None:
    if _NO_FOLLOW and status.st_uid != os.geteuid():
        raise _untrusted(path, f"it belongs to another user ({status.st_uid})")


def _untrusted(path: Path, reason: str) -> ConfigError:
    return ConfigError(f"token store: {path} cannot be trusted: {reason}; remove it, or choose another path")
