"""A sweep by several workers as `phonesys sweep` runs it: progress, a summary, and failures at the end."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phonesys import distributed
from phonesys.cli import tables
from phonesys.cli.output import destination, write_table
from phonesys.cli.problems import UnreadableRows, not_reached
from phonesys.cli.progress import Progress, pluralize, show_progress, summary_line
from phonesys.cli.store import VARIABLE, expand_store
from phonesys.cli.terminal import print_error, print_info, stderr_is_live
from phonesys.config.store_urls import has_password, is_url

if TYPE_CHECKING:
    from phonesys.cli.groups import ConfigOptions, FailureOptions
    from phonesys.config import ConfiguredBackend
    from phonesys.distributed import DistributedSweep, Runner

LOCAL = "local"
"""The address of a Dask cluster that is started for the sweep."""


@dataclass(frozen=True, kw_only=True)
class DistributedRequest:
    """The options of a sweep by several workers."""

    origin: ConfigOptions
    names: list[str]
    with_pools: bool | None
    processes: int | None
    dask: str | None
    store: str | None
    folder: Path | None
    snapshot: str | None
    shards: int | None
    split_companies: bool
    concurrency: int
    output: Path | None
    failing: FailureOptions

    @property
    def runner(self) -> Runner:
        """The engine."""
        if self.dask is None:
            return distributed.Processes(self.processes)
        if self.dask == LOCAL:
            return distributed.Dask(workers=self.processes)
        return distributed.Dask(self.dask)


async def sweep_with_workers(backends: list[ConfiguredBackend], request: DistributedRequest) -> int:
    """Sweep, and return the exit status."""
    config = request.origin.config
    work = distributed.sweep(
        distributed.load_system,
        {one.name: one.accounts for one in backends if one.accounts is not None},
        arguments={
            "config": None if config is None else str(config.expanduser().absolute()),
            "names": [one.name for one in backends],
            "with_pools": request.with_pools,
            "token_store": _for_workers(request.origin.token_store),
        },
        runner=request.runner,
        store=_shared_store(request),
        folder=None if request.folder is None else request.folder.expanduser().absolute(),
        snapshot=request.snapshot,
        shards=request.shards,
        split_companies=request.split_companies,
        concurrency=request.concurrency,
        count_numbers=True,
    )
    breakdown, unreadable = tables.Breakdown(), UnreadableRows()
    try:
        await _consume(work, breakdown, unreadable)
    except asyncio.CancelledError:
        print_error(f"interrupted: {not_reached(work.report, backends)}")
        print_info(f"run the same command again, with --snapshot {work.snapshot}, to resume the sweep")
        raise
    with destination(request.output) as to:
        await write_table(tables.summary(work.report, [one.name for one in backends], breakdown), to)
    _report_work(work)
    return await request.failing.report(work.report, backends, unreadable)


async def _consume(work: DistributedSweep, breakdown: tables.Breakdown, unreadable: UnreadableRows) -> None:
    async with work, show_progress(Progress(work.report, work.totals), live=stderr_is_live()):
        async for summary in work:
            breakdown.countries.update(summary.countries)
            breakdown.statuses.update(summary.statuses)
            for page in summary.problems:
                unreadable.add(page)


def _report_work(work: DistributedSweep) -> None:
    if work.resumed:
        print_info(f"resumed: {pluralize(work.resumed, 'account')} had been read before, and are counted")
    if work.finished:
        print_info(f"snapshot {work.snapshot} is finished: {pluralize(work.shards, 'shard')}")
    else:
        print_error(f"snapshot {work.snapshot} is not finished; the same command with its name resumes it")
    print_info(summary_line(work.report))


def _shared_store(request: DistributedRequest) -> str | None:
    """Return the store for workers. A password reaches those of this machine in their environment only."""
    if request.store is None:
        return None
    if has_password(request.store):
        os.environ[VARIABLE] = request.store
        return None
    return _for_workers(expand_store(request.store))


def _for_workers(store: str | None) -> str | None:
    """Return a URL as it is, and a file by the path that holds in every directory."""
    return store if store is None or is_url(store) else str(Path(store).expanduser().absolute())
