"""phonesys, as a program uses it, with everything on: retries, limits, deadlines, the report."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.clients.passes import passes
from benchmarks.job import TOKEN, Job, Outcome, Stopwatch, peak_kib
from phonesys import Cursor, HttpOptions, LeadConnector, Leadping, PhoneSystem, RateLimit

if TYPE_CHECKING:
    from phonesys import NumberProvider
    from phonesys.inventory import Inventory
    from phonesys.sweep import Sweep


def backend(job: Job) -> LeadConnector:
    """Make the backend as one would; only a case that is about limits sets one."""
    requests, per = job.limit or (100, 10.0)
    trusted = ssl.create_default_context(cafile=job.certificate) if job.certificate else None
    return LeadConnector(
        token=TOKEN,
        base_url=job.url,
        page_size=job.rows,
        speculate=job.speculate,
        limit=RateLimit(requests, per=per),
        http=HttpOptions(ssl=trusted),
    )


def leadping(job: Job) -> Leadping:
    """Make the backend, without a limit that it would reach."""
    return Leadping(TOKEN, base_url=job.url, page_size=job.rows, limit=RateLimit(1_000_000, per=60))


async def count(sweep: Sweep) -> int:
    """Read a sweep to its end."""
    numbers = 0
    async with sweep:
        async for page in sweep:
            numbers += len(page.numbers)
    assert sweep.report.complete, sweep.report.failures[:1]
    return numbers


async def swept(job: Job, phones: PhoneSystem) -> Outcome:
    """Sweep the job's locations."""
    requests = 0

    async def work(job: Job) -> int:
        nonlocal requests
        sweep = phones.sweep(leadconnector=job.ids(), concurrency=job.concurrency, keep_done=job.keep_done)
        numbers = await count(sweep)
        requests = sweep.report.requests
        return numbers

    outcome = await passes(job, work)
    outcome.extra["requests"] = requests
    return outcome


async def locations(job: Job) -> Outcome:
    """Sweep locations."""
    async with PhoneSystem(backend(job)) as phones:
        return await swept(job, phones)


deep = limited = locations  # what differs is the backend's window and limit, and the server


async def locations_by_page(job: Job) -> Outcome:
    """Read locations page after page, without a sweep."""
    lead_connector = backend(job)

    async def work(job: Job) -> int:
        ids, numbers = job.ids(), 0

        async def worker() -> None:
            nonlocal numbers
            for location in ids:
                numbers += await read_by_page(lead_connector, location)

        async with asyncio.TaskGroup() as group:
            for _ in range(job.concurrency):
                group.create_task(worker())
        return numbers

    async with lead_connector:
        return await passes(job, work)


async def organization_by_page(job: Job) -> Outcome:
    """Read one organization page after page, without a sweep."""
    async with leadping(job) as backend:
        return await passes(job, lambda _job: read_by_page(backend, "default"))


async def read_by_page(backend: NumberProvider, account: str) -> int:
    """Read an account, and return how many numbers its pages hold."""
    numbers, cursors = 0, deque[Cursor | None]([None])
    while cursors:
        page = await backend.page(account, cursors.popleft())
        numbers += len(page.numbers)
        cursors += page.next
    return numbers


async def requests(job: Job) -> Outcome:
    """Count the requests that one location of `job.count` numbers takes."""
    async with PhoneSystem(backend(job)) as phones:
        location = f"{'counted' if job.total else 'rows'}-{job.count}"
        watch = Stopwatch()
        with watch.lap():
            sweep = phones.sweep(leadconnector=[location], concurrency=job.concurrency)
            numbers = await count(sweep)
        return watch.outcome(numbers, requests=sweep.report.requests)


async def exchanged(job: Job) -> Outcome:
    """Sweep locations, each with a token of its own, which the agency's token is exchanged for."""
    from phonesys.backends.leadconnector.oauth import AgencyTokens
    from phonesys.oauth import MemoryTokenStore

    async def work(job: Job) -> int:
        # New ones for each pass: tokens are reused otherwise. The exchanges have the company's rate window.
        tokens = AgencyTokens(
            "app-client", TOKEN, company_id="company", store=MemoryTokenStore(), refresh_token=TOKEN
        )
        limit = RateLimit(1_000_000, per=10)
        lead_connector = LeadConnector(auth=tokens, base_url=job.url, page_size=job.rows, limit=limit)
        async with PhoneSystem(lead_connector) as phones:
            return await count(phones.sweep(leadconnector=job.ids(), concurrency=job.concurrency))

    return await passes(job, work)


async def organization(job: Job) -> Outcome:
    """Read one organization, page after page."""
    async with PhoneSystem(leadping(job)) as phones:
        return await passes(job, lambda _job: count(phones.sweep()))


class Flat(msgspec.Struct):
    """A line of the file: whose number it is, and the number."""

    account: str
    number: Any


async def to_file(job: Job) -> Outcome:
    """Sweep locations into a file of JSON lines."""
    assert job.file is not None
    encode = msgspec.json.Encoder().encode_lines
    async with PhoneSystem(backend(job)) as phones:

        async def work(job: Job) -> int:
            numbers = 0
            with Path(str(job.file)).open("wb") as file:  # noqa: ASYNC230 -- a local file, as one would
                async with phones.sweep(leadconnector=job.ids(), concurrency=job.concurrency) as sweep:
                    async for page in sweep:
                        numbers += len(page.numbers)
                        file.write(encode(page.numbers))
            return numbers

        return await passes(job, work)


async def stored(job: Job) -> Outcome:
    """Sweep locations into a new database of SQLite's."""
    from phonesys.inventory import Inventory

    async with PhoneSystem(backend(job)) as phones:

        async def work(job: Job) -> int:
            with TemporaryDirectory() as folder:
                async with Inventory(Path(folder) / "inventory.db") as inventory:
                    return await collected(inventory, phones, job)

        return await passes(job, work)


async def stored_again(job: Job) -> Outcome:
    """Sweep locations into a database that holds the same already."""
    from phonesys.inventory import Inventory

    with TemporaryDirectory() as folder:
        async with PhoneSystem(backend(job)) as phones, Inventory(Path(folder) / "inventory.db") as inventory:
            await collected(inventory, phones, job)
            once = msgspec.structs.replace(job, warm_up=0)
            return await passes(once, lambda job: collected(inventory, phones, job))


async def collected(inventory: Inventory, phones: PhoneSystem, job: Job) -> int:
    """Sweep to the end, keeping everything."""
    report = await inventory.collect(phones, leadconnector=job.ids(), concurrency=job.concurrency)
    assert report.complete, report.failures[:1]
    return report.numbers


async def stopping(job: Job) -> Outcome:
    """Stop at the first page, and time how long it takes until everything has ended."""
    async with (
        PhoneSystem(backend(job)) as phones,
        phones.sweep(leadconnector=job.ids(), concurrency=job.concurrency) as sweep,
    ):
        async for _page in sweep:
            break
        began = time.perf_counter()
    ended = time.perf_counter() - began
    left = len(asyncio.all_tasks()) - 1
    return Outcome(seconds=ended, cpu=0.0, peak_kib=peak_kib(), extra={"tasks_left": left})
