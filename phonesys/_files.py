"""Files that are replaced whole, or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def replace_atomically(
    path: str | os.PathLike[str],
    *,
    mode: int | None = None,
    sync: bool = True,
    folder: str | os.PathLike[str] | None = None,
) -> Generator[BinaryIO]:
    """Open a temporary file that replaces `path` when the block ends without an error.

    If the block raises, the file at `path` stays as it was. A symbolic link stays a link: its target is
    replaced.

    - `mode`: permissions of the file. By default, those of the file that is replaced, or what the umask
      leaves of 0o666.
    - `sync`: on return, the file is on disk and survives a power failure.
    - `folder`: where the temporary file is written, on the same file system. By default, beside `path`.
    """
    target = Path(os.path.realpath(path))
    descriptor, name = tempfile.mkstemp(
        dir=folder or target.parent, prefix=f".{target.name}.", suffix=".part"
    )
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            temporary.chmod(_mode(target) if mode is None else mode)
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        temporary.replace(target)
        if sync:
            sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _mode(target: Path) -> int:
    try:
        return target.stat().st_mode & 0o7777
    except FileNotFoundError:
        mask = os.umask(0o077)  # the only way to read it is to set it
        os.umask(mask)
        return 0o666 & ~mask


def sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power failure. Windows cannot sync a folder."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
