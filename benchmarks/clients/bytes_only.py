"""A ceiling: the same requests, whose answers are read and never decoded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks.clients.by_hand import opened
from benchmarks.clients.passes import passes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.clients.by_hand import Loop
    from benchmarks.job import Job, Outcome


async def locations(job: Job) -> Outcome:
    """Read all pages of all locations; how many there are is known beforehand."""
    async with opened(job) as loop:

        async def work(work: Job) -> int:
            pairs = ((location, page) for location in work.ids() for page in range(work.pages))
            async with asyncio.TaskGroup() as group:
                for _ in range(work.concurrency):
                    group.create_task(_read(loop, pairs))
            return work.numbers

        return await passes(job, work)


async def _read(loop: Loop, pairs: Iterator[tuple[str, int]]) -> None:
    for location, page in pairs:
        url = (
            f"/phone-system/numbers/location/{location}?pageSize={loop.rows}&page={page}&skipNumberPool=false"
        )
        async with loop.session.get(url) as response:
            await response.read()


async def organization(job: Job) -> Outcome:
    """Read the pages of an organization, whose tokens are known beforehand."""
    async with opened(job) as loop:

        async def work(work: Job) -> int:
            for page in range(work.pages):
                body = {"pageSize": work.rows, "continuationToken": str(page)}
                async with loop.session.post("/phone-numbers/all/organization", json=body) as response:
                    await response.read()
            return work.pages * work.rows

        return await passes(job, work)
