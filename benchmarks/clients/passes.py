"""Repetition of a client's work: a warm-up, then passes until they took long enough to be timed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from benchmarks.job import Outcome, Stopwatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.job import Job

_MOST_PASSES = 50


async def passes(job: Job, work: Callable[[Job], Awaitable[int]]) -> Outcome:
    """Time `work`, which returns how many numbers it read."""
    if job.warm_up:
        await work(msgspec.structs.replace(job, locations=job.warm_up))
    watch = Stopwatch()
    numbers = 0
    while not watch.passes or (watch.seconds < job.least_seconds and watch.passes < _MOST_PASSES):
        with watch.lap():
            numbers = await work(job)
    return watch.outcome(numbers)
