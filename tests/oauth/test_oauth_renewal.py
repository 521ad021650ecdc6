"""Renewal of tokens before they expire: which are renewed, with what, and what uses them afterwards."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from phonesys import (
    ConfigError,
    HttpOptions,
    InvalidArgument,
    LeadConnector,
    NotOpen,
    RateLimit,
    Unauthorized,
)
from phonesys.backends.leadconnector.oauth import AgencyTokens, OAuthToken
from phonesys.errors import BadRequest
from phonesys.http import Call
from phonesys.oauth import FileTokenStore, LeaseGrant, MemoryTokenStore
from phonesys.sandbox import status
from phonesys.telemetry import TokenRenewed, TokenRequest
from phonesys.testing import MockTransport, json_response
from tests.oauth.agencies import (
    HASTY,
    Clock,
    agency,
    backend,
    company_key,
    exchanges,
    refreshes,
    store_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phonesys.http import RawResponse
    from phonesys.oauth import TokenStore
    from phonesys.sandbox import Sandbox

LIFETIME = 86_399.0
"""Seconds, by the vendor's responses."""


def location_key(sandbox: Sandbox, location: str) -> str:
    return f"leadconnector/{sandbox.oauth.client_id}/location/{location}"


def connected(sandbox: Sandbox) -> list[str]:
    return [id_ for id_ in sandbox.location_ids if id_ not in sandbox.not_connected]


def own_token(sandbox: Sandbox, location: str, store: Any, clock: Clock) -> OAuthToken:
    return OAuthToken(
        sandbox.oauth.client_id,
        sandbox.oauth.client_secret,
        location_id=location,
        store=store,
        refresh_token=sandbox.oauth.grant_location(location)["refresh_token"],
        clock=clock,
    )


async def test_a_token_that_lasts_is_not_renewed(sandbox: Sandbox) -> None:
    """A token counts as expired a minute before it is. The vendor is asked for longer ones only."""
    clock, here = Clock(), connected(sandbox)[0]
    auth = agency(sandbox, await store_of(sandbox), clock=clock)
    async with backend(sandbox, auth):
        company = sandbox.oauth.company_id
        clock.now += 100
        assert await auth.renew(company, valid_for=LIFETIME - 161) is False
        assert refreshes(sandbox) == 0
        assert await auth.renew(company, valid_for=LIFETIME - 160) is True
        assert refreshes(sandbox) == 1
        assert await auth.renew(here, valid_for=0) is True
        clock.now += 100
        assert await auth.renew(here, valid_for=LIFETIME - 161) is False
        assert await auth.renew(here, valid_for=LIFETIME - 160) is True
        assert (refreshes(sandbox), exchanges(sandbox)) == (1, 2)


async def test_calls_use_the_renewed_token(sandbox: Sandbox) -> None:
    """A location's renewed token is used at once, and saved for the next process."""
    store, clock, here = await store_of(sandbox), Clock(), connected(sandbox)[0]
    auth = agency(sandbox, store, clock=clock)
    async with backend(sandbox, auth) as lc:
        await lc.page(here)
        sandbox.oauth.expire()  # at the vendor only: the client does not know
        clock.now += 1
        assert await auth.renew(sandbox.oauth.company_id, valid_for=LIFETIME)
        assert await auth.renew(here, valid_for=LIFETIME)
        await lc.page(here)
        assert sandbox.served["leadconnector.numbers", 401] == 0
    async with backend(sandbox, agency(sandbox, store, clock=clock)) as lc:
        await lc.page(here)
    assert (refreshes(sandbox), exchanges(sandbox)) == (1, 2)


async def test_a_location_with_a_token_of_its_own_is_renewed(sandbox: Sandbox) -> None:
    """It is refreshed, and the calls that follow need no other token. No other account granted it."""
    store, clock, here = MemoryTokenStore(), Clock(), connected(sandbox)[0]
    auth = own_token(sandbox, here, store, clock)
    assert auth.grantors == ()
    with pytest.raises(NotOpen, match=rf"credentials of '{here}' are not open; use `async with`"):
        await auth.renew(here, valid_for=0)
    async with backend(sandbox, auth) as lc:
        assert await auth.renew(here, valid_for=0) is True
        assert (
            await auth.renew(here, valid_for=LIFETIME - 61) is True
        )  # by the clock, it was renewed just now
        clock.now += 1
        assert await auth.renew(here, valid_for=0) is False
        await lc.page(here)
    assert refreshes(sandbox) == 1


async def test_the_company_grants_the_tokens_of_its_locations(sandbox: Sandbox) -> None:
    """It is no account to sweep, and its own calls are signed with its own token."""
    store = await store_of(sandbox)
    auth = agency(sandbox, store)
    company = sandbox.oauth.company_id
    assert (auth.grantors, auth.accounts()) == ((company,), ())
    call: Call[Any] = Call(operation="o", method="GET", target="/", decode=bytes, account=company)
    assert auth.sign(call) is None
    async with backend(sandbox, auth):
        await auth.ensure_valid(call)
        headers = auth.sign(call)
        saved = await store.load(company_key(sandbox))
        assert saved is not None
        assert headers == {"Authorization": f"Bearer {saved.access.reveal()}"}
        assert auth.on_unauthorized(call, headers) is True
        await auth.ensure_valid(call)
        assert auth.sign(call) != headers
    assert (refreshes(sandbox), exchanges(sandbox)) == (1, 0)


def test_a_credential_names_its_account_and_no_secret(sandbox: Sandbox) -> None:
    """The kind and the account, quoted."""
    location = connected(sandbox)[0]
    own = own_token(sandbox, location, MemoryTokenStore(), Clock())
    assert repr(own) == f"<OAuthToken of location {location!r}>"
    of_agency = agency(sandbox, MemoryTokenStore())
    assert repr(of_agency) == f"<AgencyTokens of company {sandbox.oauth.company_id!r}>"


async def test_a_refresh_token_without_a_successor_stays(sandbox: Sandbox) -> None:
    """A location's token that is refreshed without a new refresh token keeps the old one."""
    sandbox.oauth.location_refresh = True
    store, clock, here = await store_of(sandbox), Clock(), connected(sandbox)[0]
    auth = agency(sandbox, store, clock=clock)
    fields = {"access_token": "access-1", "expires_in": LIFETIME, "locationId": here, "scope": "a"}
    async with backend(sandbox, auth):
        await auth.renew(here, valid_for=0)
        first = await store.load(location_key(sandbox, here))
        sandbox.script("leadconnector.token", status(200, fields))
        clock.now += 1
        await auth.renew(here, valid_for=LIFETIME)
    second = await store.load(location_key(sandbox, here))
    assert first is not None
    assert second is not None
    assert (second.access.reveal(), second.refresh) == ("access-1", first.refresh)
    assert (second.obtained_at, second.expires_at) == (clock.now, clock.now + LIFETIME)


async def test_observers_see_each_token_request(sandbox: Sandbox) -> None:
    """With its backend, account, duration and error, of which a success has none."""
    events: list[Any] = []
    options = HttpOptions(backoff=0.0, observers=[events.append])
    auth = agency(sandbox, await store_of(sandbox))
    one, two = connected(sandbox)[:2]
    sandbox.script("leadconnector.location_token", status(400))
    async with backend(sandbox, auth, http=options, name="lc_2"):
        with pytest.raises(BadRequest):
            await auth.renew(one, valid_for=0)
        assert await auth.renew(two, valid_for=0)
        assert await auth.renew(sandbox.oauth.company_id, valid_for=2 * LIFETIME)
    failed, renewed, refreshed = [event for event in events if isinstance(event, TokenRenewed)]
    kinds = [event.kind for event in (failed, renewed, refreshed)]
    assert kinds == [TokenRequest.EXCHANGE, TokenRequest.EXCHANGE, TokenRequest.REFRESH]
    assert [(event.backend, event.account) for event in (failed, renewed)] == [("lc_2", one), ("lc_2", two)]
    assert isinstance(failed.error, BadRequest)
    assert renewed.error is None
    assert 0 <= renewed.duration < 3600


async def test_a_token_saved_by_a_location_is_found_by_it_alone(sandbox: Sandbox) -> None:
    """Its key names the app and the location, so that two of them do not share a token."""
    store, clock = MemoryTokenStore(), Clock()
    one, two = connected(sandbox)[:2]
    async with backend(sandbox, own_token(sandbox, one, store, clock), http=HASTY) as lc:
        await lc.page(one)
    saved = await store.load(location_key(sandbox, one))
    assert saved is not None
    assert await store.load(location_key(sandbox, two)) is None
    assert (saved.obtained_at, saved.expires_at) == (clock.now, clock.now + LIFETIME)


class Leasing(MemoryTokenStore):
    """A store that grants every lease, and records what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.trades: list[tuple[str, RateLimit, float]] = []
        self._ids = itertools.count()

    async def trade_leases(self, window: str, limit: RateLimit, **terms: Any) -> LeaseGrant:
        self.trades.append((window, limit, terms["hold"]))
        return LeaseGrant({next(self._ids): 0.0 for _ in range(terms["wanted"])}, 0.0, 1)


def token_response(serial: int = 1, **fields: Any) -> dict[str, Any]:
    return {"access_token": f"access-{serial}", "expires_in": LIFETIME, **fields}


def app(store: TokenStore, **options: Any) -> AgencyTokens:
    return AgencyTokens("app-1", "s3cret", company_id="c1", store=store, clock=Clock(), **options)


async def opened(auth: Any, transport: MockTransport, **options: Any) -> LeadConnector:
    return LeadConnector(auth=auth, transport=transport, **{"limit": None, "http": HASTY, **options})


def form(call: Call[Any]) -> dict[str, str]:
    body = call.body or b""
    return dict(parse_qsl(body.decode())) if call.content_type != "application/json" else json.loads(body)


async def test_token_requests_say_for_whom_they_are() -> None:
    """The kind of account, the newest refresh token, and the app; an exchange names both accounts."""

    def respond(_call: Call[Any]) -> RawResponse:
        serial = len(transport.calls)
        return json_response(token_response(serial, refresh_token=f"r{serial}"))

    transport, events = MockTransport(respond), list[Any]()
    auth = app(MemoryTokenStore(), refresh_token="r0")
    async with await opened(auth, transport, http=HttpOptions(observers=[events.append])):
        await auth.renew("c1", valid_for=0)
        for _ in range(3):
            await auth.renew("loc", valid_for=2 * LIFETIME)
    secrets = {"client_id": "app-1", "client_secret": "s3cret", "grant_type": "refresh_token"}
    assert [form(call) for call in transport.calls] == [
        {**secrets, "refresh_token": "r0", "user_type": "Company"},
        {"companyId": "c1", "locationId": "loc"},
        {**secrets, "refresh_token": "r2", "user_type": "Location"},
        {**secrets, "refresh_token": "r3", "user_type": "Location"},
    ]
    assert [(call.operation, call.account) for call in transport.calls] == [
        ("refresh_token", "c1"), ("location_token", "loc"), *[("refresh_token", "loc")] * 2,
    ]  # fmt: skip
    kinds = [event.kind for event in events if isinstance(event, TokenRenewed)]
    assert kinds == [
        TokenRequest.REFRESH, TokenRequest.EXCHANGE, TokenRequest.REFRESH, TokenRequest.REFRESH,
    ]  # fmt: skip


@pytest.mark.parametrize(("app_id", "sent"), [(None, "app"), ("other", "other")])
async def test_locations_are_listed_by_offset(app_id: str | None, sent: str) -> None:
    """Those of the company where the app is installed; all of them if the count says that there are more."""

    def respond(call: Call[Any]) -> RawResponse:
        if call.method == "POST":
            return json_response(token_response(refresh_token="r2"))
        query = dict(parse_qsl(urlsplit(call.target).query))
        queries.append(query)
        rows = [{"_id": f"loc_{n}", "isInstalled": n < 120, "name": f"Location {n}"} for n in range(150)]
        rows = rows[:120] if query.get("isInstalled") == "true" else rows
        skip = int(query["skip"])
        return json_response({"locations": rows[skip : skip + int(query["limit"])], "count": 150})

    queries: list[dict[str, str]] = []
    auth = app(MemoryTokenStore(), refresh_token="r1", app_id=app_id)
    async with await opened(auth, MockTransport(respond)):
        found = [tuple(location) async for location in auth.locations_with_names()]
        assert found == [(f"loc_{n}", f"Location {n}") for n in range(120)]
        assert [location async for location in auth.locations()] == [location for location, _ in found]
    whose = {"companyId": "c1", "appId": sent, "limit": "100"}
    filtered = [{**whose, "isInstalled": "true", "skip": skip} for skip in ("0", "99", "198")]
    unfiltered = [{**whose, "skip": skip} for skip in ("0", "99", "198")]
    assert queries == [*filtered, *unfiltered] * 2


async def test_locations_are_listed_by_token() -> None:
    """In version v3, a hundred at a time."""

    def respond(call: Call[Any]) -> RawResponse:
        if call.method == "POST":
            return json_response(token_response(refreshToken="r2"))
        query = dict(parse_qsl(urlsplit(call.target).query))
        queries.append(query)
        paging = {"totalRecords": 2, "nextPageToken": "t" if len(queries) == 1 else None}
        return json_response({"items": [{"locationId": f"loc_{len(queries)}"}], "pagination": paging})

    queries: list[dict[str, str]] = []
    auth = app(MemoryTokenStore(), refresh_token="r1", version="v3")
    async with await opened(auth, MockTransport(respond)):
        assert [location async for location in auth.locations()] == ["loc_1", "loc_2"]
    first, second = queries
    assert (first["companyId"], first["appId"]) == ("c1", "app")
    assert "100" in first.values()
    assert {name: value for name, value in second.items() if first.get(name) != value}.popitem()[1] == "t"


async def test_token_requests_are_in_the_version_of_the_credential() -> None:
    """Version v3 has other names, and JSON bodies, in each of them."""
    store = MemoryTokenStore()
    serial = itertools.count(1)
    transport = MockTransport(lambda _call: json_response(token_response(next(serial), refreshToken="r2")))
    auth = app(store, refresh_token="r1", version="v3")
    async with await opened(auth, transport):
        await auth.renew("c1", valid_for=0)
        await auth.renew("loc", valid_for=0)
        await auth.renew("loc", valid_for=2 * LIFETIME)
    targets = ["/oauth/token", "/oauth/location-token", "/oauth/token"]
    assert [call.target for call in transport.calls] == targets
    assert [form(call).get("userType") for call in transport.calls] == ["Company", None, "Location"]


@pytest.mark.parametrize("version", ["2021-07-28", "v3"])
async def test_token_requests_carry_the_version_and_go_to_their_own_address(
    sandbox: Sandbox, version: str, unused_port: int
) -> None:
    """Which may be another one than the backend's."""
    versions: list[str | None] = []

    async def respond(exchange: Any, /) -> Any:
        versions.append(exchange.request.headers.get("Version"))
        return await status(200, token_response(refresh_token="r2"))(exchange)

    sandbox.script("leadconnector.token", respond)
    auth = app(MemoryTokenStore(), refresh_token="r1", version=version, base_url=sandbox.leadconnector_url)
    elsewhere = f"http://127.0.0.1:{unused_port}"
    async with LeadConnector(auth=auth, base_url=elsewhere, http=HASTY, version="v3"):
        assert await auth.renew("c1", valid_for=0)
    assert versions == [version]


async def test_a_cold_start_opens_sixty_four_connections_at_most() -> None:
    """However many tokens are fetched at once."""
    running = peak = 0

    async def respond(call: Call[Any]) -> RawResponse:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0)
        running -= 1
        return json_response(token_response(refresh_token="r2"))

    auth = app(MemoryTokenStore(), refresh_token="r1")
    async with await opened(auth, MockTransport(respond)):
        await asyncio.gather(*(auth.renew(f"loc_{number}", valid_for=0) for number in range(200)))
    assert peak == 64


@pytest.mark.parametrize(("seconds", "hold"), [(7.0, 17.0), (None, 70.0)])
async def test_programs_share_the_window_of_the_company(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, seconds: float | None, hold: float
) -> None:
    """Of an app, by the store that they share, if it can. A request is held for its time-out and a window."""
    store, limit = Leasing(), RateLimit(100, per=10)
    here, alone = connected(sandbox)[:2]
    auth = agency(sandbox, await store_of(sandbox, store))
    options = HttpOptions(timeout=seconds, connect_timeout=None)
    async with backend(sandbox, auth, http=options, limit=limit):
        await auth.renew(here, valid_for=0)
    assert len(store.trades) == 2  # a lease, and its return
    assert set(store.trades) == {(company_key(sandbox), limit, hold)}
    own = own_token(sandbox, alone, store, Clock())
    async with backend(sandbox, own, limit=limit):
        await own.renew(alone, valid_for=0)
    assert len(store.trades) == 2
    plain = agency(sandbox, await store_of(sandbox))
    async with backend(sandbox, plain, limit=limit):
        await plain.renew(here, valid_for=0)
    assert caplog.records == []


def test_a_lost_response_is_followed_by_a_pause(jumping: Callable[[Any], Any]) -> None:
    """Then the refresh token is tried once more."""

    def respond(_call: Call[Any]) -> RawResponse:
        if len(transport.calls) == 1:
            raise TimeoutError
        return json_response(token_response(refresh_token="r2"))

    transport = MockTransport(respond)

    async def main() -> float:
        loop, auth = asyncio.get_running_loop(), app(MemoryTokenStore(), refresh_token="r1")
        options = HttpOptions(backoff=3.0, jitter=lambda: 0.5)
        async with LeadConnector(auth=auth, transport=transport, http=options):
            began = loop.time()
            await auth.renew("c1", valid_for=0)
            return loop.time() - began

    assert jumping(main()) == 1.5


async def test_a_credential_that_cannot_be_opened_is_not_half_open() -> None:
    """Each attempt fails alike."""
    auth = app(MemoryTokenStore(), refresh_token="r1", base_url="http://vendor.example")
    for _ in range(3):
        with pytest.raises(InvalidArgument, match="base_url: plain http is for loopback only"):
            async with LeadConnector(auth=auth):
                raise AssertionError


async def test_a_closed_credential_is_not_open() -> None:
    """As before it was opened."""
    transport = MockTransport(lambda _call: json_response(token_response(refresh_token="r2")))
    auth = app(MemoryTokenStore(), refresh_token="r1")
    async with await opened(auth, transport):
        await auth.renew("c1", valid_for=0)
    with pytest.raises(NotOpen, match="credentials of 'c1' are not open"):
        await auth.renew("loc", valid_for=0)


class Flushing(MemoryTokenStore):
    """A store whose writing takes its time, or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__()
        self.failure = failure
        self.began = asyncio.Event()
        self.may_end = asyncio.Event()

    async def flush(self) -> None:
        self.began.set()
        await self.may_end.wait()
        if self.failure is not None:
            raise self.failure


async def test_a_credential_may_be_opened_while_it_is_closed() -> None:
    """The client that was opened meanwhile stays open."""
    transport = MockTransport(lambda _call: json_response(token_response(refresh_token="r2")))
    store = Flushing()
    auth = app(store, refresh_token="r1")
    first = await opened(auth, transport)
    await first.__aenter__()
    closing = asyncio.create_task(first.__aexit__(None, None, None))
    await store.began.wait()
    async with await opened(auth, transport):
        store.may_end.set()
        await closing
        assert await auth.renew("c1", valid_for=0)


async def test_tokens_that_could_not_be_written_fail_no_close(caplog: pytest.LogCaptureFixture) -> None:
    """They can be fetched again. The log says so."""
    store = Flushing(ConfigError("token store: disk full"))
    store.may_end.set()
    async with await opened(app(store), MockTransport(lambda _call: json_response({}))):
        pass
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "cached tokens were not written: token store: disk full")
    ]


async def test_an_error_of_a_token_names_its_account() -> None:
    """As the vendor writes it."""
    transport = MockTransport(lambda _call: json_response({"message": "invalid_grant"}, status=400))
    store = MemoryTokenStore()
    auth = AgencyTokens("app-1", "s3cret", company_id="c/1/2", store=store, refresh_token="r1")
    call: Call[Any] = Call(operation="o", method="GET", target="/", decode=bytes, account="c/1/2")
    async with await opened(auth, transport):
        with pytest.raises(Unauthorized) as caught:
            await auth.ensure_valid(call)
    assert caught.value.message == "no token of company c/1/2: invalid_grant"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"client_id": " "}, "client_id"),
        ({"location_id": "a\nb"}, "location_id"),
        ({"client_secret": ""}, "client_secret"),
        ({"refresh_token": " padded"}, "refresh_token"),
    ],
)
def test_an_argument_that_no_vendor_gives_is_named(changes: dict[str, Any], what: str) -> None:
    """When the credential is made."""
    options = {"client_id": "app-1", "client_secret": "s", "location_id": "loc", **changes}
    with pytest.raises(InvalidArgument, match=f"^{what}: expected"):
        OAuthToken(store=MemoryTokenStore(), **options)


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "file"])
async def test_a_stored_token_of_a_location_is_used_to_its_end(
    sandbox: Sandbox, tmp_path: Path, shared: bool
) -> None:
    """By the next program, from its key in the store, until a minute before it expires."""
    clock, here = Clock(), connected(sandbox)[0]
    store = await store_of(sandbox, FileTokenStore(tmp_path / "tokens.json", clock=clock) if shared else None)
    for moment, expected in ((0.0, 1), (LIFETIME - 60.5, 1), (LIFETIME - 60.0, 2)):
        clock.now = Clock().now + moment
        async with backend(sandbox, agency(sandbox, store, clock=clock)) as lc:
            await lc.page(here)
        assert sandbox.oauth.exchanges[here] == expected
        saved = await store.load(location_key(sandbox, here))
        assert saved is not None
        assert saved.obtained_at == (clock.now if expected == 2 else Clock().now)


async def test_a_location_that_is_no_id_is_an_error() -> None:
    """Before any request."""
    transport = MockTransport(lambda _call: json_response(token_response()))
    auth = app(MemoryTokenStore(), refresh_token="r1")
    async with await opened(auth, transport):
        with pytest.raises(InvalidArgument, match=r"^location id: "):
            await auth.renew("..", valid_for=0)
    assert transport.calls == []


async def test_the_log_says_why_a_token_was_exchanged(caplog: pytest.LogCaptureFixture) -> None:
    """Instead of refreshed, which has no quota."""

    def respond(call: Call[Any]) -> RawResponse:
        if call.account == "loc" and call.operation == "refresh_token":
            return json_response({"message": "invalid_grant"}, status=400)
        return json_response(token_response(len(transport.calls), refresh_token=f"r{len(transport.calls)}"))

    transport = MockTransport(respond)
    auth = app(MemoryTokenStore(), refresh_token="r0")
    caplog.set_level(logging.DEBUG, "phonesys")
    async with await opened(auth, transport):
        for _ in range(2):
            await auth.renew("loc", valid_for=2 * LIFETIME)
    (line,) = [line for line in caplog.messages if "was not refreshed" in line]
    assert line.startswith("the token of location loc was not refreshed: ")
    assert "invalid_grant" in line
