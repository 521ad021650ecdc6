"""The sandbox itself: one server on loopback, and the three vendors below it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Self

from aiohttp import web

from phonesys.sandbox.agents import AgentsApi, Envelope, Paging
from phonesys.sandbox.auth import ApiKey, BearerTokens, Grant
from phonesys.sandbox.faults import Exchange, Fault, Script
from phonesys.sandbox.leadconnector import LeadConnectorApi
from phonesys.sandbox.leadping import LeadpingApi
from phonesys.sandbox.limits import Limit, SlidingWindows
from phonesys.sandbox.log import RequestLog, Served
from phonesys.sandbox.numbering import mix128, uuid_like
from phonesys.sandbox.routes import JSON, Route, Vendor
from phonesys.sandbox.world import Count, Truth, World

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

    from phonesys.sandbox.leadping_wire import Schema
    from phonesys.sandbox.log import Counts, Created
    from phonesys.sandbox.world import Account

_DAY = 86_400.0
# Handlers that are stalling or late on purpose get this long before they are cancelled.
_GRACE = 0.05
_BACKLOG = 1024
UNKNOWN = "unknown"


class Sandbox:
    """The three vendors' APIs with generated data, on loopback; the same seed gives the same data.

    Counts are per location, either fixed or an inclusive range drawn from the seed. Limits are
    `(requests, seconds)`; with `enforce_limits=False` nothing is counted, and quota headers stay full.
    `latency` is added after an operation was carried out, so that a client that gives up has still done it.
    """

    def __init__(
        self,
        *,
        locations: int = 300,
        numbers: Count = (0, 12),
        pools: Count = (0, 3),
        not_connected: int = 0,
        leadping: int = 250,
        agents: int = 120,
        agent_count: int = 7,
        seed: int = 1,
        port: int = 0,
        host: str = "127.0.0.1",
        enforce_limits: bool = True,
        leadconnector_limit: Limit = (100, 10.0),
        leadconnector_daily: int = 200_000,
        leadping_limit: Limit = (300, 60.0),
        agents_limit: Limit | None = None,
        leadping_schema: Schema = "2026",
        agents_envelope: Envelope = "data",
        agents_paging: Paging = "pagination",
        latency: float = 0.0,
        log_size: int | None = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.world = World(
            locations=locations,
            numbers=numbers,
            pools=pools,
            not_connected=not_connected,
            leadping=leadping,
            agents=agents,
            agent_count=agent_count,
            seed=seed,
        )
        self.truth: Mapping[Account, frozenset[str]] = Truth(self.world)
        self.log = RequestLog(log_size)
        self._issue_credentials(seed)

        def windows(*limits: Limit) -> SlidingWindows:
            return SlidingWindows(*limits, clock=clock, enforce=enforce_limits)

        self._vendors: tuple[Vendor, ...] = (
            LeadConnectorApi(
                self.world, self._bearer, windows(leadconnector_limit, (leadconnector_daily, _DAY))
            ),
            LeadpingApi(self.world, self._organization, windows(leadping_limit), leadping_schema),
            AgentsApi(
                self.world,
                ApiKey(self.agents_key),
                windows(*((agents_limit,) if agents_limit else ())),
                agents_envelope,
                agents_paging,
            ),
        )
        self._host, self._port, self._latency, self._clock = host, port, latency, clock
        self._script = Script()
        self._runner: web.AppRunner | None = None

    def _issue_credentials(self, seed: int) -> None:
        self._bearer, self._organization = BearerTokens(), BearerTokens()
        self.leadconnector_token = self._bearer.issue(f"pit-{uuid_like(seed)}", Grant())
        self.leadping_key = self._organization.issue(f"sk_{mix128(seed + 1):032x}", Grant())
        self.agents_key = f"ak_{mix128(seed + 2):032x}"

    # --- Lifecycle -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to listen; a sandbox that was stopped comes back on the same port, with its data."""
        if self._runner is not None:
            raise RuntimeError("the sandbox is already running")
        runner = web.AppRunner(
            self._application(), access_log=None, handler_cancellation=True, shutdown_timeout=_GRACE
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port, backlog=_BACKLOG).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._port = runner.addresses[0][1]
        self._runner = runner

    async def stop(self) -> None:
        """Close every connection and end; stopping twice is harmless."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it, whatever happened."""
        await self.stop()

    # --- What clients need -----------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where the sandbox listens; raises RuntimeError before its port is known."""
        if not self._port:
            raise RuntimeError("the sandbox has no address before it is started")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def leadconnector_url(self) -> str:
        """The base URL for LeadConnector."""
        return self.url + LeadConnectorApi.prefix

    @property
    def leadping_url(self) -> str:
        """The base URL for Leadping."""
        return self.url + LeadpingApi.prefix

    @property
    def agents_url(self) -> str:
        """The base URL for agent numbers."""
        return self.url + AgentsApi.prefix

    def location_token(self, location_id: str) -> str:
        """Issue a token that opens this location only, and is refused with 403 at all others."""
        bits = int.from_bytes(location_id.encode(), "big") ^ self.world.seed
        return self._bearer.issue(f"pit-{uuid_like(bits)}", Grant(location_id))

    def revoke(self, token: str) -> None:
        """Make a LeadConnector token or Leadping key invalid from now on."""
        self._bearer.revoke(token)
        self._organization.revoke(token)

    # --- What is in it, and what happened --------------------------------------------------------------

    @property
    def location_ids(self) -> tuple[str, ...]:
        """The LeadConnector locations, in order."""
        return self.world.location_ids

    @property
    def not_connected(self) -> frozenset[str]:
        """The locations without a phone system."""
        return self.world.not_connected

    @property
    def requests(self) -> deque[Served]:
        """The last `log_size` requests, in the order in which they ended."""
        return self.log.requests

    @property
    def served(self) -> Counts:
        """How many requests ended, by `(route, status)`; the status is None where no answer was completed."""
        return self.log.served

    @property
    def created(self) -> list[Created]:
        """Every create request that was carried out, in order, whatever became of its answer."""
        return self.world.created

    # --- What goes wrong -------------------------------------------------------------------------------

    def script(self, route: str, *faults: Fault, account: str | None = None, repeat: bool = False) -> None:
        """Let the next requests for a route meet these faults, one each, and be served normally after that.

        Faults for one account come before those for any. With `repeat` they begin again when used up.
        """
        if route not in {known.name for vendor in self._vendors for known in vendor.routes()}:
            raise ValueError(f"no such route: {route}")
        self._script.add(route, faults, account, repeat=repeat)

    def clear_script(self) -> None:
        """Let everything be served normally again."""
        self._script.clear()

    # --- Serving ---------------------------------------------------------------------------------------

    def _application(self) -> web.Application:
        app = web.Application()
        for vendor in self._vendors:
            for route in vendor.routes():
                app.router.add_route(route.method, vendor.prefix + route.path, self._endpoint(vendor, route))
        app.router.add_route("*", "/{path:.*}", self._lost)
        return app

    def _endpoint(
        self, vendor: Vendor, route: Route
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            account = vendor.account(request)
            exchange = Exchange(request, route.name, account, lambda: vendor.serve(route, request, account))
            return await self._serve(vendor.name, exchange)

        return handle

    async def _lost(self, request: web.Request) -> web.StreamResponse:
        vendor = next((v for v in self._vendors if request.path.startswith(v.prefix)), None)

        async def answer() -> web.Response:
            if vendor is not None:
                return vendor.unknown(request)
            return web.Response(status=404, body=b'{"message":"Not found"}', content_type=JSON)

        name = vendor.name if vendor is not None else UNKNOWN
        return await self._serve(name, Exchange(request, UNKNOWN, "", answer))

    async def _serve(self, backend: str, exchange: Exchange) -> web.StreamResponse:
        started, status = self._clock(), None
        self.log.begin()
        try:
            response = await self._answer(exchange)
            status = None if exchange.dropped else response.status
            return response
        finally:
            request = exchange.request
            self.log.end(
                Served(
                    backend=backend,
                    route=exchange.route,
                    account=exchange.account,
                    method=request.method,
                    path=request.raw_path,
                    status=status,
                    started=started,
                    duration=self._clock() - started,
                )
            )

    async def _answer(self, exchange: Exchange) -> web.StreamResponse:
        fault = self._script.next(exchange.route, exchange.account)
        response = await (exchange.proceed() if fault is None else fault(exchange))
        if self._latency:
            await asyncio.sleep(self._latency)
        return response
