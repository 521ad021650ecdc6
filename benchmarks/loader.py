"""The capacity of the server, measured with `wrk`, a loader in C, if it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess

from benchmarks.affinity import run_pinned


def available() -> bool:
    """Return True if the loader is installed."""
    return shutil.which("wrk") is not None


def requests_per_second(url: str, core: int | None, *, seconds: int = 3, connections: int = 64) -> float:
    """Load the server from the clients' core and return how many requests it answered in a second."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-H", "Authorization: Bearer x", url]
    done = subprocess.run(  # noqa: S603 -- a fixed command
        run_pinned(core, command), check=True, capture_output=True, text=True
    )
    found = re.search(r"Requests/sec:\s*([\d.]+)", done.stdout)
    return float(found[1]) if found else 0.0
