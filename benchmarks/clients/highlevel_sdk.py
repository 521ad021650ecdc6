"""HighLevel's official SDK (`gohighlevel-api-client`) with `gather`."""

from __future__ import annotations

import asyncio

from highlevel import HighLevel

from benchmarks.clients.passes import passes
from benchmarks.job import TOKEN, Job, Outcome


async def locations(job: Job) -> Outcome:
    """Sweep locations."""
    HighLevel.BASE_URL = job.url  # it has no argument for that
    client = HighLevel(private_integration_token=TOKEN)
    try:
        return await passes(job, lambda work: _sweep(client, work))
    finally:
        await client.close()


async def _sweep(client: HighLevel, job: Job) -> int:
    """Read all locations, a few at once: more than its pool of 100 would time out."""
    places = asyncio.Semaphore(job.concurrency)

    async def location(location_id: str) -> int:
        async with places:
            return await _location(client, location_id, job.rows)

    return sum(await asyncio.gather(*map(location, job.ids())))


async def _location(client: HighLevel, location_id: str, rows: int) -> int:
    numbers, page, more = 0, 0, True
    while more:
        listing = await client.phone_system.active_numbers(
            location_id, version="v3", page_size=rows, page=page, skip_number_pool=False
        )
        found = len(listing["numbers"])
        numbers, page, more = numbers + found, page + 1, found == rows
    return numbers
