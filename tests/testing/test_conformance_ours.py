"""Our own three backends, on the conformance kit."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

from phonesys import AgentNumbers, HttpOptions, LeadConnector, Leadping
from phonesys.sandbox import Exchange, Sandbox, faults
from phonesys.testing import Bench, ProviderConformance, Trouble

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

HTTP = HttpOptions(timeout=30, retries=1, backoff=0)


async def echo(exchange: Exchange, /) -> web.Response:
    """Answer an error that repeats what the client sent."""
    sent = dict(exchange.request.headers)
    return web.json_response({"message": f"refused: {sent}"}, status=400)


def troubles(sandbox: Sandbox, route: str) -> Mapping[Trouble, Callable[[], Any]]:
    rules: dict[Trouble, faults.Fault] = {
        Trouble.UNAVAILABLE: faults.Status(code=503),
        Trouble.RATE_LIMITED: faults.Status(code=429, retry_after=0),
        Trouble.UNAUTHORIZED: faults.Status(code=401),
        Trouble.ECHO: echo,
        Trouble.DROPPED: faults.LostAnswer(),
        Trouble.CUT_SHORT: faults.Truncated(),
        Trouble.NOT_JSON: faults.Html(code=200),
        Trouble.NULL: faults.Null(),
        Trouble.EMPTY_OBJECT: faults.EmptyObject(),
        Trouble.WRONG_SHAPE: faults.WrongShape(),
        Trouble.SLOW: faults.StalledHeaders(),
    }

    def begin(rule: faults.Fault) -> Callable[[], None]:
        return lambda: sandbox.script(route, rule, repeat=True)

    return {trouble: begin(rule) for trouble, rule in rules.items()}


def sandbox(**options: Any) -> Sandbox:
    return Sandbox(locations=4, numbers=(12, 30), pools=(0, 2), enforce_limits=False, **options)


class TestLeadConnector(ProviderConformance):
    version = "2021-07-28"

    @asynccontextmanager
    async def bench(self) -> AsyncGenerator[Bench]:
        async with sandbox() as vendor:
            yield Bench(
                make=lambda: LeadConnector(
                    vendor.leadconnector_token,
                    base_url=vendor.leadconnector_url,
                    version=self.version,
                    locations=vendor.location_ids,
                    page_size=7,
                    http=HTTP,
                ),
                truth={id_: vendor.truth["leadconnector", id_] for id_ in vendor.location_ids},
                secrets=[vendor.leadconnector_token],
                troubles=troubles(vendor, "leadconnector.numbers"),
                calm=vendor.clear_script,
                asked=lambda: [served.path for served in vendor.requests],
                paths=r"/leadconnector/phone-system/numbers/location/[^/?#]+\?[^/?#]*",
            )


class TestLeadConnectorV3(TestLeadConnector):
    version = "v3"


class TestLeadping(ProviderConformance):
    @asynccontextmanager
    async def bench(self) -> AsyncGenerator[Bench]:
        async with sandbox(leadping=70) as vendor:
            yield Bench(
                make=lambda: Leadping(
                    vendor.leadping_key, base_url=vendor.leadping_url, page_size=20, http=HTTP
                ),
                truth={"default": vendor.truth["leadping", "default"]},
                secrets=[vendor.leadping_key],
                troubles=troubles(vendor, "leadping.list"),
                calm=vendor.clear_script,
                asked=lambda: [served.path for served in vendor.requests],
                paths="/leadping/phone-numbers/all/organization",
            )


class TestAgentNumbers(ProviderConformance):
    @asynccontextmanager
    async def bench(self) -> AsyncGenerator[Bench]:
        async with sandbox(agents=70) as vendor:
            yield Bench(
                make=lambda: AgentNumbers(
                    vendor.agents_key, base_url=vendor.agents_url, page_size=20, http=HTTP
                ),
                truth={"default": vendor.truth["agents", "default"]},
                secrets=[vendor.agents_key],
                troubles=troubles(vendor, "agents.list"),
                calm=vendor.clear_script,
                asked=lambda: [served.path for served in vendor.requests],
                paths=r"/agents/api/v1/numbers\?[^/?#]*",
            )
