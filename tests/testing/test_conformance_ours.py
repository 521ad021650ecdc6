"""Our own three backends, on the conformance kit."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

from phonesys import Action, AgentNumbers, ChangeRequest, HttpOptions, LeadConnector, Leadping
from phonesys.sandbox import Exchange, Sandbox, faults
from phonesys.testing import BackendUnderTest, FailureMode, ProviderConformance

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

FRESH = "+15005550006"
HTTP = HttpOptions(timeout=30, retries=1, backoff=0)


async def echo(exchange: Exchange, /) -> web.Response:
    """Answer an error that repeats what the client sent."""
    sent = dict(exchange.request.headers)
    return web.json_response({"message": f"refused: {sent}"}, status=400)


def troubles(sandbox: Sandbox, route: str) -> Mapping[FailureMode, Callable[[], Any]]:
    rules: dict[FailureMode, faults.Fault] = {
        FailureMode.UNAVAILABLE: faults.Status(code=503),
        FailureMode.RATE_LIMITED: faults.Status(code=429, retry_after=0),
        FailureMode.UNAUTHORIZED: faults.Status(code=401),
        FailureMode.ECHO: echo,
        FailureMode.DROPPED: faults.LostAnswer(),
        FailureMode.CUT_SHORT: faults.Truncated(),
        FailureMode.NOT_JSON: faults.Html(code=200),
        FailureMode.NULL: faults.Null(),
        FailureMode.EMPTY_OBJECT: faults.EmptyObject(),
        FailureMode.WRONG_SHAPE: faults.WrongShape(),
        FailureMode.SLOW: faults.StalledHeaders(),
    }

    def begin(rule: faults.Fault) -> Callable[[], None]:
        return lambda: sandbox.script(route, rule, repeat=True)

    return {trouble: begin(rule) for trouble, rule in rules.items()}


def changes(ids: list[str], *fields: Mapping[str, Any]) -> list[ChangeRequest]:
    """A change for each set of fields, and a deletion."""
    updates = [ChangeRequest(id=id_, fields=some) for id_, some in zip(ids, fields, strict=False)]
    return [*updates, ChangeRequest(id=ids[-1], action=Action.DELETE)]


def sandbox(**options: Any) -> Sandbox:
    return Sandbox(locations=4, numbers=(12, 30), pools=(0, 2), enforce_limits=False, **options)


class TestLeadConnector(ProviderConformance):
    version = "2021-07-28"

    @asynccontextmanager
    async def bench(self) -> AsyncGenerator[BackendUnderTest]:
        async with sandbox() as vendor:
            yield BackendUnderTest(
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
                failures=troubles(vendor, "leadconnector.numbers"),
                restore=vendor.clear_script,
                requested_paths=lambda: [served.path for served in vendor.requests],
                paths=r"/leadconnector/phone-system/numbers/location/[^/?#]+\?[^/?#]*",
                changes=self.changes(vendor),
            )

    def changes(self, vendor: Sandbox) -> list[ChangeRequest]:
        number = next(number for number in vendor.state.for_sale(100) if number.startswith("+1"))
        return [
            ChangeRequest(
                backend="leadconnector",
                account=vendor.location_ids[0],
                number=number,
                action=Action.BUY,
                fields={"country": "US"},
            )
        ]


class TestLeadConnectorV3(TestLeadConnector):
    version = "v3"

    def changes(self, vendor: Sandbox) -> list[ChangeRequest]:
        """None: this version asks for a payment with each purchase."""
        return []


class TestLeadping(ProviderConformance):
    @asynccontextmanager
    async def bench(self) -> AsyncGenerator[BackendUnderTest]:
        async with sandbox(leadping=70) as vendor:
            yield BackendUnderTest(
                make=lambda: Leadping(
                    vendor.leadping_key, base_url=vendor.leadping_url, page_size=20, http=HTTP
                ),
                truth={"default": vendor.truth["leadping", "default"]},
                secrets=[vendor.leadping_key],
                failures=troubles(vendor, "leadping.list"),
                restore=vendor.clear_script,
                requested_paths=lambda: [served.path for served in vendor.requests],
                paths="/leadping/phone-numbers/all/organization",
                changes=[
                    *changes(list(vendor.state.leadping), {"label": "Desk"}, {"is_enabled": "false"}),
                    ChangeRequest(
                        backend="leadping", number=FRESH, action=Action.CREATE, fields={"label": "New"}
                    ),
                ],
            )


class TestAgentNumbers(ProviderConformance):
    @asynccontextmanager
    async def bench(self) -> AsyncGenerator[BackendUnderTest]:
        async with sandbox(agents=70) as vendor:
            yield BackendUnderTest(
                make=lambda: AgentNumbers(
                    vendor.agents_key, base_url=vendor.agents_url, page_size=20, http=HTTP
                ),
                truth={"default": vendor.truth["agents", "default"]},
                secrets=[vendor.agents_key],
                failures=troubles(vendor, "agents.list"),
                restore=vendor.clear_script,
                requested_paths=lambda: [served.path for served in vendor.requests],
                paths=r"/agents/api/v1/numbers\?[^/?#]*",
                changes=[
                    *changes(list(vendor.state.assignments), {"label": "Desk"}, {"assignee": None}),
                    ChangeRequest(
                        backend="agents",
                        number=FRESH,
                        action=Action.CREATE,
                        fields={"assignee": next(iter(vendor.state.agents))},
                    ),
                ],
            )
