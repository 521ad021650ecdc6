"""httpx with pydantic models: the same worker loop, the same fields."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from benchmarks.clients.passes import passes
from benchmarks.job import TOKEN, Job, Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Model(BaseModel):
    """Fields are camel case on the wire."""

    model_config = ConfigDict(alias_generator=to_camel)


class Capabilities(Model):
    """The traffic that a number can carry."""

    voice: bool | None = None
    sms: bool | None = None
    mms: bool | None = None
    fax: bool | None = None


class Service(Model):
    """The service that takes a call."""

    type: str | None = None
    value: str | None = None


class Number(Model):
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


class Listing(Model):
    """A page of a location's numbers."""

    numbers: list[Number]
    account_status: str | None = None
    is_under_ghl: bool | None = None
    total: int | None = None


class Loop:
    """One client and what it read."""

    def __init__(self, client: httpx.AsyncClient, rows: int) -> None:
        self.client = client
        self.rows = rows
        self.numbers = 0

    async def sweep(self, ids: Iterator[str], concurrency: int) -> int:
        """Read all locations with a few workers, and return how many numbers there are."""
        self.numbers = 0
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(self._work(ids))
        return self.numbers

    async def _work(self, ids: Iterator[str]) -> None:
        for location in ids:
            page, more = 0, True
            while more:
                # No name for the page: it would live on while its worker waits for the next one.
                count = len((await self.page(location, page)).numbers)
                self.numbers += count
                page, more = page + 1, count == self.rows

    async def page(self, location: str, page: int) -> Listing:
        """Read one page."""
        response = await self.client.get(
            f"/phone-system/numbers/location/{location}",
            params={"pageSize": self.rows, "page": page, "skipNumberPool": "false"},
        )
        response.raise_for_status()
        listing: Listing = Listing.model_validate_json(response.content)
        return listing


@asynccontextmanager
async def opened(job: Job) -> AsyncIterator[Loop]:
    """Open the client."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Version": "2021-07-28"}
    verify = ssl.create_default_context(cafile=job.certificate) if job.certificate else True
    async with httpx.AsyncClient(base_url=job.url, headers=headers, verify=verify, timeout=60) as client:
        yield Loop(client, job.rows)


async def locations(job: Job) -> Outcome:
    """Sweep locations."""
    async with opened(job) as loop:
        return await passes(job, lambda work: loop.sweep(work.ids(), work.concurrency))
