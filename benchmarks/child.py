"""A client's own process: reads a `Job` from standard input, does it, and writes the `Outcome`."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from importlib import import_module

import msgspec

from benchmarks import affinity
from benchmarks.job import Job, Outcome


def main() -> None:
    """Do the job on its core; standard output is kept for the outcome, whatever a library prints."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    affinity.pin(job.core)
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    task = getattr(import_module(f"benchmarks.clients.{job.client}"), job.task)
    outcome = asyncio.run(task(job)) if inspect.iscoroutinefunction(task) else task(job)
    assert isinstance(outcome, Outcome)
    answer.write(msgspec.json.encode(outcome))
    answer.flush()


if __name__ == "__main__":
    main()
