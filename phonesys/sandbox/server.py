"""The sandbox itself: one server on loopback, and the three vendors below it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from phonesys.sandbox.agents import AgentsApi, Envelope, Paging, UpdateMethod
from phonesys.sandbox.auth import ApiKey, BearerTokens, Grant
from phonesys.sandbox.control import Control
from phonesys.sandbox.faults import Exchange, Fault, FaultPlan, Faults, Script
from phonesys.sandbox.leadconnector import LeadConnectorApi
from phonesys.sandbox.leadping import LeadpingApi
from phonesys.sandbox.limits import Limit, SlidingWindows
from phonesys.sandbox.listener import Listener
from phonesys.sandbox.log import LogFile, RequestLog, Served
from phonesys.sandbox.number_plan import mix128, uuid_like
from phonesys.sandbox.oauth import LeadConnectorOAuth, OAuthState, OAuthTokens
from phonesys.sandbox.routes import JSON, Route, Vendor
from phonesys.sandbox.state import Count, Truth, VendorState

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import TextIO

    from phonesys.sandbox.leadping_wire import Schema
    from phonesys.sandbox.log import Counts, Created, Moved
    from phonesys.sandbox.oauth import Spelling
    from phonesys.sandbox.paging import BeyondEnd
    from phonesys.sandbox.state import Account

_DAY = 86_400.0
UNKNOWN = "unknown"
SCRIPT = "script"
_NO_FAULTS = FaultPlan()


@cache
def _installed_clients() -> EntryPoints:
    """Search once, by entry point: the sandbox is the vendors' side, and imports no client."""
    return entry_points(group="phonesys.providers")


class Sandbox:
    """The three vendors' APIs with generated data, on loopback. The same seed gives the same data.

    - Counts (`numbers`, `pools`) are per location: a number, or an inclusive range drawn from the seed.
    - Limits are `(requests, seconds)`. With `enforce_limits=False` nothing is counted, and quota headers stay
      full.
    - `page_cap` is the most rows in a page of any vendor, whatever size was asked for. Responses do not
      mention it. `beyond_end` is the response to a page after the last one.
    - `missing_phone_system` is the message of the 404 for a location without a phone system.
    - `agents_update` is the HTTP method that updates an agent's number; the other one is answered with 405.
    - `oauth` is LeadConnector's state of tokens. `oauth_grace` is for how many seconds a spent refresh token
      gets the same response again.
    - `latency` seconds are added after an operation was carried out, so that a client that gives up has still
      done it.
    - `faults` apply from the start; `faults.add(...)` and its other methods change them at any time.
    - `header_timeout` is the number of seconds in which the first request of a connection must arrive.
    - `on_request` is called with each request that ended, and `log_file` receives it as a line of JSON.
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
        oauth_expires_in: float = 86_399,
        oauth_grace: float = 0.0,
        oauth_spelling: Spelling = "version",
        leadping_limit: Limit = (300, 60.0),
        agents_limit: Limit | None = None,
        leadping_schema: Schema = "2026",
        agents_envelope: Envelope = "data",
        agents_paging: Paging = "pagination",
        agents_update: UpdateMethod = "both",
        page_cap: int | None = None,
        beyond_end: BeyondEnd = "empty",
        missing_phone_system: str = "Phone system is not connected to this account",
        latency: float = 0.0,
        faults: FaultPlan = _NO_FAULTS,
        header_timeout: float | None = None,
        log_size: int | None = 10_000,
        log_file: str | Path | TextIO | None = None,
        on_request: Callable[[Served], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state = VendorState(
            locations=locations,
            numbers=numbers,
            pools=pools,
            not_connected=not_connected,
            leadping=leadping,
            agents=agents,
            agent_count=agent_count,
            seed=seed,
        )
        self.truth: Mapping[Account, frozenset[str]] = Truth(self.state)
        self.log = RequestLog(log_size)
        self._log_file = LogFile(log_file) if log_file is not None else None
        if self._log_file is not None:
            self.log.listeners.append(self._log_file.write)
        if on_request is not None:
            self.log.listeners.append(on_request)
        self._issue_credentials(seed)

        def windows(*limits: Limit) -> SlidingWindows:
            return SlidingWindows(*limits, clock=clock, enforce=enforce_limits)

        self.oauth = OAuthState(
            seed, clock, expires_in=oauth_expires_in, grace=oauth_grace, spelling=oauth_spelling
        )
        tokens = OAuthTokens(self.oauth, self._bearer)
        leadconnector = windows(leadconnector_limit, (leadconnector_daily, _DAY))
        self.limits = {
            "leadconnector": leadconnector,
            "leadping": windows(leadping_limit),
            "agents": windows(*((agents_limit,) if agents_limit else ())),
        }
        self._vendors: tuple[Vendor, ...] = (
            LeadConnectorApi(
                self.state,
                tokens,
                leadconnector,
                page_cap=page_cap,
                beyond_end=beyond_end,
                missing_phone_system=missing_phone_system,
            ),
            LeadConnectorOAuth(self.state, self.oauth, tokens, leadconnector),
            LeadpingApi(
                self.state,
                self._organization,
                self.limits["leadping"],
                leadping_schema,
                page_cap=page_cap,
            ),
            AgentsApi(
                self.state,
                ApiKey(self.agents_key),
                self.limits["agents"],
                agents_envelope,
                agents_paging,
                update_method=agents_update,
                page_cap=page_cap,
                beyond_end=beyond_end,
            ),
        )
        self._latency, self._clock = latency, clock
        self._listener = Listener(self._application, host, port, header_timeout=header_timeout)
        self._script = Script()
        self.faults = Faults(faults.faults, faults.seed, self.routes)
        self._control = Control(self)

    def _issue_credentials(self, seed: int) -> None:
        self._bearer, self._organization = BearerTokens(), BearerTokens()
        self.leadconnector_token = self._bearer.issue(f"pit-{uuid_like(seed)}", Grant())
        self.leadping_key = self._organization.issue(f"sk_{mix128(seed + 1):032x}", Grant())
        self.agents_key = f"ak_{mix128(seed + 2):032x}"

    # --- Lifecycle -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to listen; a sandbox that was stopped comes back on the same port, with its data."""
        await self._listener.start()
        if self._log_file is not None:
            self._log_file.open()

    async def stop(self) -> None:
        """Close every connection and end; stopping twice is harmless."""
        await self._listener.stop()
        if self._log_file is not None:
            self._log_file.close()

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
        host, port = self._listener.host, self._listener.port
        if not port:
            raise RuntimeError("the sandbox has no address before it is started")
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

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

    def backends(self) -> tuple[Any, ...]:
        """Return the three backends over this sandbox, ready for `PhoneSystem(*sandbox.backends())`."""
        installed = _installed_clients()
        return tuple(installed[vendor].load().from_sandbox(self) for vendor in self.limits)

    def location_token(self, location_id: str) -> str:
        """Issue a token that opens this location only, and is refused with 403 at all others."""
        bits = int.from_bytes(location_id.encode(), "big") ^ self.state.seed
        return self._bearer.issue(f"pit-{uuid_like(bits)}", Grant(location_id))

    def revoke(self, token: str) -> None:
        """Make a LeadConnector token or Leadping key invalid from now on."""
        self._bearer.revoke(token)
        self._organization.revoke(token)

    # --- What is in it, and what happened --------------------------------------------------------------

    @property
    def location_ids(self) -> tuple[str, ...]:
        """The LeadConnector locations, in order."""
        return self.state.location_ids

    @property
    def not_connected(self) -> frozenset[str]:
        """The locations without a phone system."""
        return self.state.not_connected

    @property
    def requests(self) -> deque[Served]:
        """The last `log_size` requests, in the order in which they ended."""
        return self.log.requests

    @property
    def served(self) -> Counts:
        """Requests that ended, by `(route, status)`; status None means that no response was completed."""
        return self.log.served

    @property
    def created(self) -> list[Created]:
        """Every create request that was carried out, in order, whatever became of its answer."""
        return self.state.created

    @property
    def moved(self) -> list[Moved]:
        """Every row that the fault `moving-rows` inserted or removed, in order."""
        return self.state.moved

    def routes(self) -> tuple[str, ...]:
        """Name every operation that it serves, such as `leadconnector.numbers`."""
        return tuple(dict.fromkeys(route.name for vendor in self._vendors for route in vendor.routes()))

    # --- What goes wrong -------------------------------------------------------------------------------

    def script(self, route: str, *faults: Fault, account: str | None = None, repeat: bool = False) -> None:
        """Apply these faults to the next requests for a route, one each; later ones are served normally.

        Faults for one account come before those for any. With `repeat` they begin again when used up.
        """
        if route not in self.routes():
            raise ValueError(f"no such route: {route}")
        self._script.add(route, faults, account, repeat=repeat)

    def clear_script(self) -> None:
        """Forget all scripts; what is in `faults` stays."""
        self._script.clear()

    def refuse_connections(self, seconds: float) -> None:
        """Be away for so long: new connections are refused, and kept ones end after their request."""
        self._listener.refuse(seconds)

    # --- Serving ---------------------------------------------------------------------------------------

    def _application(self) -> web.Application:
        app = web.Application()
        self._control.mount(app)
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
            return await self._serve(
                vendor.name,
                self._exchange(request, route.name, account, lambda: vendor.serve(route, request, account)),
            )

        return handle

    async def _lost(self, request: web.Request) -> web.StreamResponse:
        vendor = next((v for v in self._vendors if request.path.startswith(v.prefix)), None)

        async def answer() -> web.Response:
            if vendor is not None:
                return vendor.unknown(request)
            return web.Response(status=404, body=b'{"message":"Not found"}', content_type=JSON)

        name = vendor.name if vendor is not None else UNKNOWN
        return await self._serve(name, self._exchange(request, UNKNOWN, "", answer))

    def _exchange(
        self, request: web.Request, route: str, account: str, carry_out: Callable[[], Awaitable[web.Response]]
    ) -> Exchange:
        return Exchange(request, route, account, carry_out, state=self.state, outage=self._listener.refuse)

    async def _serve(self, backend: str, exchange: Exchange) -> web.StreamResponse:
        started, status = self._clock(), None
        self.log.begin()
        try:
            response = await self._answer(exchange)
            status = None if exchange.dropped else response.status
            return response
        except ConnectionResetError:  # the client left while its answer was written
            return exchange.drop()
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
                    fault=exchange.fault,
                    at=datetime.now(UTC).isoformat(timespec="milliseconds"),
                )
            )

    async def _answer(self, exchange: Exchange) -> web.StreamResponse:
        fault = await self._next_fault(exchange)
        response = await (exchange.proceed() if fault is None else fault(exchange))
        if self._latency:
            await asyncio.sleep(self._latency)
        return response

    async def _next_fault(self, exchange: Exchange) -> Fault | None:
        """Find out what goes wrong with a request: what was scripted for it comes before what is drawn."""
        fault = self._script.next(exchange.route, exchange.account)
        if fault is not None:
            exchange.fault = SCRIPT
            return fault
        switch = None if exchange.route == UNKNOWN else await self.faults.meet(exchange)
        if switch is None:
            return None
        exchange.fault = switch.kind
        return switch.rule
