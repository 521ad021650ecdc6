"""Import times, each in an interpreter that has imported nothing yet."""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.job import Outcome

if TYPE_CHECKING:
    from benchmarks.job import Job

_PROGRAM = """
import time, warnings
warnings.simplefilter("ignore")
cpu, wall = time.process_time(), time.perf_counter()
{imports}
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


def phonesys(job: Job) -> Outcome:
    """phonesys, whole."""
    return _time(job, "from phonesys import *")


def needs(job: Job) -> Outcome:
    """Import what phonesys is made of, and any program like it would import."""
    return _time(job, "import aiohttp, msgspec, anyio")


def highlevel(job: Job) -> Outcome:
    """HighLevel's SDK."""
    return _time(job, "import highlevel")


def httpx(job: Job) -> Outcome:
    """Httpx and pydantic."""
    return _time(job, "import httpx, pydantic")


def leadping(job: Job) -> Outcome:
    """Leadping's SDK, which imports its parts as they are asked for."""
    return _time(job, "import leadping, kiota_http.httpx_request_adapter; leadping.LeadpingOpenApiClient")


def dlt(job: Job) -> Outcome:
    """Import the REST source of dlt."""
    return _time(job, "import dlt, dlt.sources.rest_api")


def _time(job: Job, imports: str) -> Outcome:
    """Return the median of a few imports, after one that compiles."""
    times = [_once(imports) for _ in range(job.locations + 1)][1:]
    walls, cpus = zip(*times, strict=True)
    return Outcome(seconds=median(walls), cpu=median(cpus), passes=len(times))


def _once(imports: str) -> tuple[float, float]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(  # noqa: S603 -- our own program
        [sys.executable, "-c", _PROGRAM.format(imports=imports)],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    wall, cpu = map(float, done.stdout.split())
    return wall, cpu
