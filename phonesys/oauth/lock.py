"""A lock between processes that ends with the process that holds it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from phonesys.errors import ConfigError
from phonesys.oauth.private_files import open_private

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from pathlib import Path

MIN_POLL, MAX_POLL = 0.002, 0.05
"""Seconds between two attempts to lock, at first and at most."""

# The operating system drops these locks with the process, even after `kill -9`. `flock` locks belong to the
# open file, so two tasks of one process exclude each other.
if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@asynccontextmanager
async def acquire_lock(path: Path, *, timeout: float) -> AsyncGenerator[None]:  # noqa: ASYNC109 -- reported as ConfigError
    """Hold the lock on a file, which is not removed. Raise ConfigError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    with _open_lock_file(path) as descriptor:
        pause = MIN_POLL
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise _lock_timeout(path, timeout)
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_POLL)
        yield


@contextmanager
def try_lock(path: Path) -> Generator[bool]:
    """Hold the lock on a file if it is free. Yield False if another process holds it."""
    with _open_lock_file(path) as descriptor:
        yield _try_lock(descriptor)


@contextmanager
def acquire_lock_blocking(path: Path, *, timeout: float) -> Generator[None]:
    """Hold the lock on a file, in a thread that may block."""
    deadline = time.monotonic() + timeout
    with _open_lock_file(path) as descriptor:
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise _lock_timeout(path, timeout)
            time.sleep(MIN_POLL)
        yield


@contextmanager
def _open_lock_file(path: Path) -> Generator[int]:
    try:
        descriptor = open_private(path, os.O_RDWR | os.O_CREAT)
    except OSError as failure:
        raise ConfigError(f"token store: {path} cannot be opened: {failure.strerror}") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)  # releases the lock as well


def _lock_timeout(path: Path, timeout: float) -> ConfigError:
    return ConfigError(f"token store: another process has held {path} for more than {timeout:g} s")
