"""phonesys in one process and in several, into a folder of Parquet files."""

from __future__ import annotations

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

from benchmarks.clients.phonesys_sdk import backend
from benchmarks.job import Job, Outcome, cpu_seconds, peak_kib
from phonesys import PhoneSystem
from phonesys.distributed import Dask, Processes, run_shard, sweep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from phonesys.distributed import Runner, ShardSpec, ShardSummary

_WORKERS = 2
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def make_system(url: str, rows: int) -> PhoneSystem:
    """Make the system of a worker."""
    return PhoneSystem(backend(Job(client="", task="", url=url, rows=rows)))


class Here:
    """Runs shards in this process, one after the other."""

    capacity = 1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Do nothing."""

    async def run(self, spec: ShardSpec) -> ShardSummary:
        """Run a shard."""
        return await run_shard(spec)


class _Open:
    """A runner that stays open after a sweep, so that the next one finds its workers warm."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @property
    def capacity(self) -> int:
        return self._runner.capacity

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave it open."""

    async def run(self, spec: ShardSpec) -> ShardSummary:
        return await self._runner.run(spec)


async def one(job: Job) -> Outcome:
    """Sweep in this process."""
    return await _timed(job, Here(), lambda: 0.0, shards=1)


async def processes(job: Job) -> Outcome:
    """Sweep with two processes."""
    _unpin()
    runner = Processes(_WORKERS)
    return await _timed(job, runner, lambda: sum(map(_cpu_of, runner.pids)))


async def dask(job: Job) -> Outcome:
    """Sweep with a Dask cluster of two processes."""
    _unpin()
    runner = Dask(workers=_WORKERS)
    pids: list[int] = []

    async def started() -> None:
        pids.extend((await runner.client.run(os.getpid)).values())

    return await _timed(job, runner, lambda: sum(map(_cpu_of, pids)), started)


async def _timed(
    job: Job,
    runner: Runner,
    cpu_of_workers: Callable[[], float],
    started: Callable[[], Awaitable[None]] | None = None,
    shards: int | None = None,
) -> Outcome:
    """Sweep once to warm up, and once more to be timed."""
    async with runner:
        if started is not None:
            await started()
        await _sweep(job, job.warm_up, runner, 4 * _WORKERS)
        cpu, wall = cpu_seconds() + cpu_of_workers(), time.perf_counter()
        numbers = await _sweep(job, job.locations, runner, shards)
        wall = time.perf_counter() - wall
        cpu = cpu_seconds() + cpu_of_workers() - cpu
    return Outcome(seconds=wall, cpu=cpu, numbers=numbers, peak_kib=peak_kib())


async def _sweep(job: Job, locations: int, runner: Runner, shards: int | None) -> int:
    with TemporaryDirectory(dir=Path(job.file or "").parent) as folder:
        work = sweep(
            "benchmarks.clients.sharded:make_system",
            {"leadconnector": [f"loc{place:016}" for place in range(locations)]},
            arguments={"url": job.url, "rows": job.rows},
            runner=_Open(runner),
            folder=folder,
            snapshot="n",
            shards=shards,
            concurrency=job.concurrency,
        )
        async with work:
            async for _ in work:
                pass
        assert work.report.complete, work.report.failures[:1]
        return work.report.numbers


def _unpin() -> None:
    """Let workers use every core; this process was kept on one."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


def _cpu_of(pid: int) -> float:
    """Count the CPU time of a process that runs, from /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
