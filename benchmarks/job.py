"""The work of a client, and its result: data that crosses to its process and back."""

from __future__ import annotations

import os
import re
import resource
import time
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "pit-benchmark"  # noqa: S105 -- opens nothing


class Job(msgspec.Struct, kw_only=True, frozen=True):
    """One piece of work; `task` names the function of the client's module that does it."""

    client: str
    task: str
    url: str = ""
    locations: int = 0
    pages: int = 1
    rows: int = 8
    concurrency: int = 64
    warm_up: int = 0
    """The number of locations to sweep before the clock starts: imports, connections, caches."""
    least_seconds: float = 0.0
    """Repeat the work until it took as long in total."""
    certificate: str | None = None
    file: str | None = None
    count: int | None = None
    """The numbers of each location, in the case `requests`; `rows` is the size of a page there."""
    total: bool = False
    """True if pages state the total."""
    speculate: int = 12
    limit: tuple[int, float] | None = None
    """The rate limit to stay within; the client's default where None."""
    keep_done: bool = True
    core: int | None = None

    @property
    def requests(self) -> int:
        """The number of pages to read without overlap."""
        return self.locations * (self.pages if self.count is None else ceil(self.count / self.rows))

    @property
    def numbers(self) -> int:
        """The number of numbers that a client must return."""
        return (
            self.locations * self.count
            if self.count is not None
            else self.locations * (self.pages * self.rows - 1)
        )

    def ids(self, prefix: str = "loc") -> Iterator[str]:
        """Name the locations, one by one: a hundred thousand are not kept in a list."""
        return (f"{prefix}{place:016}" for place in range(self.locations))


class Outcome(msgspec.Struct, kw_only=True):
    """The result of a job, and what it took."""

    seconds: float
    cpu: float
    """Seconds of this process, user and system, all threads."""
    passes: int = 1
    numbers: int = 0
    """Of one pass."""
    peak_kib: int = 0
    """The most memory that the process ever held."""
    extra: dict[str, float] = {}
    """Figures that only this case has."""


class Stopwatch:
    """Counts wall and CPU time over all passes."""

    def __init__(self) -> None:
        self.seconds = self.cpu = 0.0
        self.passes = 0

    @contextmanager
    def lap(self) -> Iterator[None]:
        """Count what happens inside."""
        cpu, wall = cpu_seconds(), time.perf_counter()
        yield
        self.seconds += time.perf_counter() - wall
        self.cpu += cpu_seconds() - cpu
        self.passes += 1

    def outcome(self, numbers: int, **extra: float) -> Outcome:
        """Return the mean pass."""
        passes = max(1, self.passes)
        return Outcome(
            seconds=self.seconds / passes,
            cpu=self.cpu / passes,
            passes=passes,
            numbers=numbers,
            peak_kib=peak_kib(),
            extra=extra,
        )


def cpu_seconds() -> float:
    """Count the CPU time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_kib() -> int:
    """Return the most memory that this process held.

    From /proc where there is one: `ru_maxrss` of a child starts with what its parent held.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak // 1024 if os.uname().sysname == "Darwin" else peak
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return int(found[1]) if found else 0
