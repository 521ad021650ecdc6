"""The loop that one would write by hand: aiohttp, msgspec structs with the same fields, a few workers."""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import msgspec

from benchmarks.clients.passes import passes
from benchmarks.job import TOKEN, Job, Outcome, peak_kib

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from typing import BinaryIO


class Capabilities(msgspec.Struct):
    """The traffic that a number can carry."""

    voice: bool | None = None
    sms: bool | None = None
    mms: bool | None = None
    fax: bool | None = None


class Service(msgspec.Struct):
    """The service that takes a call."""

    type: str | None = None
    value: str | None = None


class Number(msgspec.Struct, rename="camel"):
    """The fields that phonesys reads of a location's number."""

    phone_number: str
    sid: str | None = None
    friendly_name: str | None = None
    country_code: str | None = None
    capabilities: Capabilities | None = None
    type: str | None = None
    is_default_number: bool | None = None
    linked_user: str | None = None
    linked_ring_all_users: list[str] | None = None
    inbound_call_service: Service | None = None
    forwarding_number: str | None = None
    is_group_conversation_enabled: bool | None = None
    address_sid: str | None = None
    bundle_sid: str | None = None
    date_added: str | None = None
    date_updated: str | None = None
    date_created: str | None = None
    origin: str | None = None


class Listing(msgspec.Struct, rename="camel"):
    """A page of a location's numbers."""

    numbers: list[Number]
    account_status: str | None = None
    is_under_ghl: bool | None = None
    total: int | None = None


class Warmup(msgspec.Struct, rename="camel"):
    """The warm-up of a Leadping number."""

    enabled: bool | None = None
    state: str | None = None
    health_status: str | None = None
    health_score: int | None = None
    progress_percent: int | None = None
    call_stage: str | None = None


class Row(msgspec.Struct, rename="camel"):
    """The fields that phonesys reads of a row of Leadping's list."""

    number: str
    id: str | None = None
    name: str | None = None
    type: str | None = None
    organization: str | None = None
    organization_id: str | None = None
    enabled: bool | None = None
    warmup: Warmup | None = None
    ownership: str | None = None
    routing_summary: str | None = None
    sms_ready: bool | None = None
    voice_ready: bool | None = None
    ten_dlc_campaign_status: str | None = None
    is_demo: bool = False
    inventory_state: str | None = None
    status: str | None = None


class Rows(msgspec.Struct, rename="camel"):
    """A page of Leadping's list."""

    items: list[Row]
    continuation_token: str | None = None
    total_count: int | None = None


decode = msgspec.json.Decoder(Listing).decode
decode_rows = msgspec.json.Decoder(Rows).decode


class Loop:
    """One session and what it read."""

    def __init__(self, session: aiohttp.ClientSession, rows: int) -> None:
        self.session = session
        self.rows = rows
        self.numbers = 0
        self.handle: Callable[[str, Listing], int] = self._count
        self.headers: Callable[[str], Awaitable[dict[str, str] | None]] = _no_headers

    async def sweep(self, ids: Iterator[str], concurrency: int) -> int:
        """Read all locations with a few workers, and return how many numbers there are."""
        self.numbers = 0
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(self._work(ids))
        return self.numbers

    async def _work(self, ids: Iterator[str]) -> None:
        for location in ids:
            headers = await self.headers(location)
            page, more = 0, True
            while more:
                # No name for the page: it would live on while its worker waits for the next one.
                count = self.handle(location, await self.page(location, page, headers))
                page, more = page + 1, count == self.rows

    async def page(self, location: str, page: int, headers: dict[str, str] | None = None) -> Listing:
        """Read one page."""
        url = (
            f"/phone-system/numbers/location/{location}?pageSize={self.rows}&page={page}&skipNumberPool=false"
        )
        async with self.session.get(url, headers=headers) as response:
            response.raise_for_status()
            return decode(await response.read())

    def _count(self, location: str, listing: Listing) -> int:
        self.numbers += len(listing.numbers)
        return len(listing.numbers)


async def _no_headers(_location: str) -> dict[str, str] | None:
    return None


@asynccontextmanager
async def opened(job: Job) -> AsyncIterator[Loop]:
    """Open the session."""
    context = ssl.create_default_context(cafile=job.certificate) if job.certificate else True
    headers = {"Authorization": f"Bearer {TOKEN}", "Version": "2021-07-28", "Accept": "application/json"}
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(job.url, headers=headers, connector=connector) as session:
        yield Loop(session, job.rows)


async def locations(job: Job) -> Outcome:
    """Sweep locations."""
    async with opened(job) as loop:
        return await passes(job, lambda work: loop.sweep(work.ids(), work.concurrency))


async def exchanged(job: Job) -> Outcome:
    """Sweep locations, each with a token of its own, which the agency's token is exchanged for."""

    async def work(job: Job) -> int:
        async with opened(job) as loop:  # a new one for each pass, as for phonesys

            async def exchange(location: str) -> dict[str, str]:
                form = {"companyId": "company", "locationId": location}
                async with loop.session.post("/oauth/locationToken", data=form) as response:
                    response.raise_for_status()
                    token = msgspec.json.decode(await response.read())["access_token"]
                return {"Authorization": f"Bearer {token}"}

            loop.headers = exchange
            return await loop.sweep(job.ids(), job.concurrency)

    return await passes(job, work)


async def organization(job: Job) -> Outcome:
    """Read one organization, page after page."""
    async with opened(job) as loop:

        async def work(_job: Job) -> int:
            numbers, token, more = 0, None, True
            while more:
                body = {"pageSize": job.rows, **({"continuationToken": token} if token else {})}
                async with loop.session.post("/phone-numbers/all/organization", json=body) as response:
                    response.raise_for_status()
                    rows = decode_rows(await response.read())
                numbers += len(rows.items)
                token, more = rows.continuation_token, rows.continuation_token is not None
            return numbers

        return await passes(job, work)


async def to_file(job: Job) -> Outcome:
    """Sweep locations into a file of JSON lines."""
    assert job.file is not None
    encode = msgspec.json.Encoder().encode_lines
    async with opened(job) as loop:

        def write(location: str, listing: Listing, file: BinaryIO) -> int:
            loop.numbers += len(listing.numbers)
            file.write(encode([Flat(location, number) for number in listing.numbers]))
            return len(listing.numbers)

        async def work(work: Job) -> int:
            with Path(str(job.file)).open("wb") as file:  # noqa: ASYNC230 -- a local file, as one would
                loop.handle = lambda location, listing: write(location, listing, file)
                return await loop.sweep(work.ids(), work.concurrency)

        return await passes(job, work)


class Flat(msgspec.Struct):
    """A line of the file: whose number it is, and the number."""

    account: str
    number: Number


async def stopping(job: Job) -> Outcome:
    """Stop at the first page, and time how long it takes until everything has ended."""
    async with opened(job) as loop:
        first = asyncio.Event()

        def write(_location: str, listing: Listing) -> int:
            first.set()
            return len(listing.numbers)

        loop.handle = write
        sweep = asyncio.create_task(loop.sweep(job.ids(), job.concurrency))
        await first.wait()
        began = time.perf_counter()
        sweep.cancel()
        await asyncio.gather(sweep, return_exceptions=True)
    ended = time.perf_counter() - began
    left = len(asyncio.all_tasks()) - 1
    return Outcome(seconds=ended, cpu=0.0, peak_kib=peak_kib(), extra={"tasks_left": left})
