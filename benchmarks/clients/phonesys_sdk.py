"""phonesys, as a program uses it, with everything on: retries, limits, deadlines, the report."""

from __future__ import annotations

import asyncio
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from benchmarks.clients.passes import passes
from benchmarks.job import TOKEN, Job, Outcome, peak_kib
from phonesys import LeadConnector, Leadping, PhoneSystem, RateLimit

if TYPE_CHECKING:
    from phonesys.sweep import Sweep


def backend(job: Job, session: aiohttp.ClientSession | None = None) -> LeadConnector:
    """Make the backend as one would; only a case that is about limits sets one."""
    requests, per = job.limit or (100, 10.0)
    return LeadConnector(
        token=TOKEN,
        base_url=job.url,
        page_size=job.rows,
        speculate=job.speculate,
        limit=RateLimit(requests, per=per),
        session=session,
    )


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


async def over_tls(job: Job) -> Outcome:
    """Sweep locations of a server whose certificate is its own."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=job.certificate))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        PhoneSystem(backend(job, session)) as phones,
    ):
        return await swept(job, phones)


deep = limited = locations  # what differs is the backend's window and limit, and the server


async def exchanged(job: Job) -> Outcome:
    """Sweep locations, each with a token of its own, which the agency's token is exchanged for."""
    from phonesys.backends.leadconnector.oauth import AgencyTokens
    from phonesys.oauth import MemoryTokenStore

    async def work(job: Job) -> int:
        # Anew for each pass: tokens are reused otherwise. The exchanges have the company's rate window.
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
    leadping = Leadping(TOKEN, base_url=job.url, page_size=job.rows, limit=RateLimit(1_000_000, per=60))
    async with PhoneSystem(leadping) as phones:
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
