"""Assignment of cores: the server on one, every client on another, if there are two."""

from __future__ import annotations

import os
import sys


def cores() -> tuple[int | None, int | None]:
    """Choose the server's core and the clients'; None where the system does not let us, or has one only."""
    if sys.platform != "linux":
        return None, None
    available = sorted(os.sched_getaffinity(0))
    return (available[0], available[-1]) if len(available) > 1 else (None, None)


def pin(core: int | None) -> None:
    """Keep this process on a core."""
    if core is not None and sys.platform == "linux":
        os.sched_setaffinity(0, {core})


def run_pinned(core: int | None, command: list[str]) -> list[str]:
    """Make the command that runs another one on a core."""
    if core is None:
        return command
    program = (
        "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); os.execvp(sys.argv[2], sys.argv[2:])"
    )
    return [sys.executable, "-c", program, str(core), *command]
