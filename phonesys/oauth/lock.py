"""A lock between processes that ends with whoever holds it, however it ends."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from phonesys.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from pathlib import Path

_FIRST_LOOK, _LAST_LOOK = 0.002, 0.05
"""Seconds between two looks at a lock that somebody holds, at first and at the most."""
PRIVATE = 0o600

# The operating system drops these locks with the process: `kill -9` leaves none behind. A file that merely
# exists would be. `flock` locks belong to the open file, so that two tasks of one process exclude each other.
if sys.platform == "win32":
    import msvcrt

    def _try(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@asynccontextmanager
async def locked(path: Path, *, patience: float) -> AsyncGenerator[None]:
    """Hold the lock on this file, which stays there; raises ConfigError after `patience` seconds."""
    until = time.monotonic() + patience
    with _opened(path) as descriptor:
        pause = _FIRST_LOOK
        while not _try(descriptor):
            if time.monotonic() > until:
                raise _held(path, patience)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_LOOK)
        yield


@contextmanager
def locked_briefly(path: Path, *, patience: float) -> Generator[None]:
    """Hold the lock from a thread that may wait."""
    until = time.monotonic() + patience
    with _opened(path) as descriptor:
        while not _try(descriptor):
            if time.monotonic() > until:
                raise _held(path, patience)
            time.sleep(_FIRST_LOOK)
        yield


@contextmanager
def _opened(path: Path) -> Generator[int]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), PRIVATE)
    except OSError as failure:
        raise ConfigError(f"token store: {path} cannot be opened: {failure.strerror}") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)  # lets go of the lock as well


def _held(path: Path, patience: float) -> ConfigError:
    return ConfigError(f"token store: another process has held {path} for more than {patience:g} s")
