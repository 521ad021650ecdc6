"""Leadping's official SDK (`leadping`) on Kiota's httpx adapter, as its README has it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from benchmarks.clients.passes import passes
from benchmarks.job import TOKEN, Job, Outcome

if TYPE_CHECKING:
    from leadping import LeadpingOpenApiClient

warnings.simplefilter("ignore", DeprecationWarning)  # importing it warns, five times of itself


def opened(job: Job) -> LeadpingOpenApiClient:
    """Make the client; there is nothing to close."""
    from kiota_abstractions.authentication.api_key_authentication_provider import (
        ApiKeyAuthenticationProvider,
        KeyLocation,
    )
    from kiota_http.httpx_request_adapter import HttpxRequestAdapter
    from leadping import LeadpingOpenApiClient

    auth = ApiKeyAuthenticationProvider(KeyLocation.Header, f"Bearer {TOKEN}", "Authorization", ["127.0.0.1"])
    adapter = HttpxRequestAdapter(auth)
    adapter.base_url = job.url
    return LeadpingOpenApiClient(adapter)


async def organization(job: Job) -> Outcome:
    """Read one organization, page after page."""
    from leadping.models.request_data_options import RequestDataOptions

    client = opened(job)

    async def work(_job: Job) -> int:
        options, numbers, more = RequestDataOptions(page_size=job.rows), 0, True
        while more:
            page = await client.phone_numbers.all.organization.post(options)
            assert page is not None
            assert page.items is not None
            numbers += len(page.items)
            options.continuation_token = page.continuation_token
            more = page.continuation_token is not None
        return numbers

    return await passes(job, work)
