from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from phonesys import AttemptTimeout, CallError, ConfigError, InvalidArgument
from phonesys.backends.leadconnector.oauth import authorization_url, exchange_code, login
from phonesys.backends.leadconnector.oauth.login import COMPANY_SCOPES, LOCATION_SCOPES
from phonesys.errors import BadRequest, DecodeError
from phonesys.oauth import FileTokenStore, MemoryTokenStore
from phonesys.sandbox import body, status
from phonesys.sandbox.oauth import Subject
from tests.oauth.agencies import agency, backend, company_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from phonesys.sandbox import Sandbox

    Browse = Callable[[aiohttp.ClientSession, str], Awaitable[None]]


class Person:
    """Opens the address in a minimal browser, in the test's event loop."""

    def __init__(self, browse: Browse) -> None:
        self._browse = browse
        self._loop = asyncio.get_running_loop()
        self.future: Any = None

    def __call__(self, address: str) -> None:
        self.future = asyncio.run_coroutine_threadsafe(self._open(address), self._loop)

    async def _open(self, address: str) -> None:
        async with aiohttp.ClientSession() as session:
            await self._browse(session, address)


async def consent(session: aiohttp.ClientSession, address: str) -> None:
    async with session.get(address) as response:
        assert response.status == 200
        assert "close this window" in await response.text()


async def logged_in(sandbox: Sandbox, port: int, browse: Browse, **options: Any) -> Any:
    store = options.setdefault("store", MemoryTokenStore())
    person = Person(browse)
    token = await login(
        sandbox.oauth.client_id,
        sandbox.oauth.client_secret,
        redirect_uri=f"http://localhost:{port}/callback",
        show=person,
        base_url=sandbox.leadconnector_url,
        marketplace_url=sandbox.leadconnector_url,
        **options,
    )
    await asyncio.wrap_future(person.future)
    return token, store


async def test_a_login_stores_a_working_token(sandbox: Sandbox, unused_port: int) -> None:
    """Consent, redirect, code, token and store lead from the address to a working agency."""
    token, store = await logged_in(sandbox, unused_port, consent)
    assert token.subject == f"company/{sandbox.oauth.company_id}"
    assert set(token.scope.split()) == set(COMPANY_SCOPES)
    assert await store.load(company_key(sandbox)) == token
    async with backend(sandbox, agency(sandbox, store)) as lc:
        assert [account async for account in lc.accounts()] == list(sandbox.location_ids)


async def test_a_redirect_without_our_state_changes_nothing(sandbox: Sandbox, unused_port: int) -> None:
    """A code with another `state` is rejected, and the login goes on waiting for its own."""
    statuses: list[int] = []

    async def attacked(session: aiohttp.ClientSession, address: str) -> None:
        back = f"http://localhost:{unused_port}/callback"
        for query in ({"code": "theirs"}, {"code": "theirs", "state": "guess"}, {"error": "x", "state": "é"}):
            async with session.get(back, params=query) as response:
                statuses.append(response.status)
        await consent(session, address)

    token, _ = await logged_in(sandbox, unused_port, attacked)
    assert statuses == [400, 400, 400]
    assert token.subject


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"code": ""},
        {"code": "caf\u00e9"},
        {"code": " padded "},
        {"code": "a\nb"},
        {"error": ""},
        {"error_description": "\x1b\n\u202e "},
    ],
)
async def test_a_malformed_callback_is_an_error_page(
    sandbox: Sandbox, unused_port: int, query: dict[str, str]
) -> None:
    """A redirect with our state but without a valid code or an error ends no login."""
    statuses: list[int] = []

    async def stumble(session: aiohttp.ClientSession, address: str) -> None:
        state = parse_qs(urlsplit(address).query)["state"][0]
        back = f"http://localhost:{unused_port}/callback"
        async with session.get(back, params={**query, "state": state}) as response:
            statuses.append(response.status)
            assert "still waiting" in await response.text()
        await consent(session, address)

    token, _ = await logged_in(sandbox, unused_port, stumble)
    assert statuses == [400]
    assert token.subject


async def test_the_vendors_reason_is_cleaned(sandbox: Sandbox, unused_port: int) -> None:
    """Control characters of an error cannot reach a terminal, and its length is bounded."""

    async def deny(session: aiohttp.ClientSession, address: str) -> None:
        state = parse_qs(urlsplit(address).query)["state"][0]
        reason = "no\x1b[2J\n\u202eaccess" + "!" * 1000
        back = f"http://localhost:{unused_port}/callback"
        async with session.get(back, params={"error_description": reason, "state": state}) as response:
            assert response.status == 200

    with pytest.raises(CallError) as failure:
        await logged_in(sandbox, unused_port, deny)
    assert failure.value.message.isprintable()
    assert len(failure.value.message) < 300
    assert "no [2J access!" in failure.value.message


async def test_a_location_is_not_asked_for_agency_scopes(sandbox: Sandbox, unused_port: int) -> None:
    """Consent for one location asks for its scopes only, since the vendor rejects the others."""
    here = sandbox.location_ids[0]

    async def choose(session: aiohttp.ClientSession, address: str) -> None:
        await consent(session, f"{address}&location={here}")

    token, _ = await logged_in(sandbox, unused_port, choose, user_type="Location")
    assert token.subject == f"location/{here}"
    assert set(token.scope.split()) == set(LOCATION_SCOPES)
    with pytest.raises(CallError, match="invalid_scope"):
        await logged_in(sandbox, unused_port, choose, user_type="Location", scopes=COMPANY_SCOPES)


async def test_a_code_is_bound_to_its_login(sandbox: Sandbox, unused_port: int) -> None:
    """With PKCE, a code that was stolen is useless without the verifier."""
    codes: list[str] = []

    async def steal(session: aiohttp.ClientSession, address: str) -> None:
        assert parse_qs(urlsplit(address).query)["code_challenge_method"] == ["S256"]
        async with session.get(address, allow_redirects=False) as response:
            codes.append(parse_qs(urlsplit(response.headers["Location"]).query)["code"][0])
        await consent(session, address)

    await logged_in(sandbox, unused_port, steal)
    with pytest.raises(BadRequest, match="authorization code is invalid"):
        await exchange_code(
            sandbox.oauth.client_id,
            sandbox.oauth.client_secret,
            codes[0],
            store=MemoryTokenStore(),
            redirect_uri=f"http://localhost:{unused_port}/callback",
            base_url=sandbox.leadconnector_url,
        )


async def test_a_vendor_that_rejects_the_verifier_is_asked_without_it(
    sandbox: Sandbox, unused_port: int
) -> None:
    """A 422 about the unknown field proves that the code was not used."""

    async def consent_without_pkce(session: aiohttp.ClientSession, address: str) -> None:
        await consent(session, address.partition("&code_challenge=")[0])

    unknown = {"message": ["property code_verifier should not exist"], "error": "Unprocessable Entity"}
    sandbox.script("leadconnector.token", status(422, unknown))
    token, _ = await logged_in(sandbox, unused_port, consent_without_pkce)
    assert token.subject
    assert sandbox.served["leadconnector.token", 422] == 1


async def test_a_login_without_pkce_sends_no_challenge(sandbox: Sandbox, unused_port: int) -> None:
    """`pkce=False` leaves both parameters out."""
    addresses: list[str] = []

    async def note(session: aiohttp.ClientSession, address: str) -> None:
        addresses.append(address)
        await consent(session, address)

    await logged_in(sandbox, unused_port, note, pkce=False)
    assert "code_challenge" not in addresses[0]


async def test_a_store_that_cannot_be_written_fails_before_the_consent(
    sandbox: Sandbox, unused_port: int, tmp_path: Path
) -> None:
    """No browser is opened for a token that could not be saved."""
    (tmp_path / "tokens.json.d").symlink_to(tmp_path)

    async def refuse(session: aiohttp.ClientSession, address: str) -> None:
        raise AssertionError(address)

    with pytest.raises(ConfigError, match="cannot be trusted"):
        await logged_in(sandbox, unused_port, refuse, store=FileTokenStore(tmp_path / "tokens.json"))


async def test_a_person_may_refuse(sandbox: Sandbox, unused_port: int) -> None:
    """The error carries the vendor's reason."""

    async def deny(session: aiohttp.ClientSession, address: str) -> None:
        await consent(session, address + "&deny=1")

    with pytest.raises(CallError, match="access_denied"):
        await logged_in(sandbox, unused_port, deny)


async def test_no_consent_in_time(sandbox: Sandbox, unused_port: int) -> None:
    """Waiting ends after the time-out, and the port is free again."""

    async def look_away(session: aiohttp.ClientSession, address: str) -> None:
        pass

    for _ in range(2):
        with pytest.raises(AttemptTimeout, match="no consent"):
            await logged_in(sandbox, unused_port, look_away, timeout=0.01)


async def test_a_taken_port_is_an_error(sandbox: Sandbox) -> None:
    """A taken port is an error before a person is asked to consent."""
    port = int(sandbox.url.rpartition(":")[2])
    with pytest.raises(InvalidArgument, match="cannot listen"):
        await login("a-b", "s", store=MemoryTokenStore(), redirect_uri=f"http://127.0.0.1:{port}/callback")


@pytest.mark.parametrize(
    "uri",
    ["https://example.com/cb", "http://example.com/cb", "https://localhost:1/cb", "localhost:8734/cb", ""],
)
async def test_the_redirect_must_lead_to_this_machine(uri: str) -> None:
    """An address elsewhere is rejected, since it would hand the code to a stranger."""
    with pytest.raises(InvalidArgument, match="redirect_uri"):
        await login("a-b", "s", store=MemoryTokenStore(), redirect_uri=uri)


def test_the_address_is_encoded() -> None:
    """Every part is encoded, reserved characters included."""
    url = authorization_url("app-1", "http://localhost:1/cb?a=b&c", ["a/b.read", "c"], state="s&t=+")
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc) == ("https", "marketplace.gohighlevel.com")
    assert parts.path == "/v2/oauth/chooselocation"
    assert parse_qs(parts.query) == {
        "response_type": ["code"],
        "client_id": ["app-1"],
        "redirect_uri": ["http://localhost:1/cb?a=b&c"],
        "scope": ["a/b.read c"],
        "state": ["s&t=+"],
    }


async def test_a_code_is_valid_once(sandbox: Sandbox) -> None:
    """A code is valid once, and only with the redirect address it was issued for."""
    state = sandbox.oauth
    code = state.issue_code(Subject("Company", state.company_id), "http://localhost:1/cb")

    async def exchanged(uri: str) -> Any:
        return await exchange_code(
            state.client_id,
            state.client_secret,
            code,
            store=MemoryTokenStore(),
            redirect_uri=uri,
            base_url=sandbox.leadconnector_url,
        )

    assert (await exchanged("http://localhost:1/cb")).refresh
    with pytest.raises(BadRequest, match="authorization code is invalid"):
        await exchanged("http://localhost:1/cb")


async def test_a_token_without_a_subject_is_an_error(sandbox: Sandbox) -> None:
    """A token response that names neither a company nor a location is a DecodeError."""
    sandbox.script("leadconnector.token", body(b'{"access_token": "a"}'))
    with pytest.raises(DecodeError, match="neither a company nor a location"):
        await exchange_code("a-b", "s", "c", store=MemoryTokenStore(), base_url=sandbox.leadconnector_url)
