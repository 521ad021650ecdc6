"""The exchange of an authorization code: what is sent, once or twice, and where the token is kept."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from phonesys import HttpOptions, InvalidArgument, OutcomeUnknown
from phonesys.backends.leadconnector.oauth import exchange_code
from phonesys.errors import BadRequest, DecodeError, ServerError
from phonesys.oauth import MemoryTokenStore
from phonesys.sandbox import body, drop_after, status
from phonesys.secret import Secret
from tests.mocked import Mocked
from tests.oauth.agencies import Clock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from phonesys.oauth import Token
    from phonesys.sandbox import Sandbox

RESPONSE = {
    "access_token": "a1",
    "refresh_token": "r1",
    "expires_in": 600,
    "userType": "Company",
    "companyId": "c1",
}


class Locking(MemoryTokenStore):
    """A store that records the keys of its locks, and what was saved while one was held."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncGenerator[None]:
        self.log.append(f"lock {key}")
        async with super().lock(key):
            yield
        self.log.append("unlock")

    async def save(self, key: str, token: Token) -> None:
        self.log.append(f"save {key}")
        await super().save(key, token)


class Endpoint:
    """The vendor's token endpoint: records the forms and headers of requests, and gives its responses."""

    def __init__(self, sandbox: Sandbox, *responses: Any) -> None:
        self.forms: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._responses = list(responses)
        sandbox.script("leadconnector.token", self._respond, repeat=True)

    async def _respond(self, exchange: Any, /) -> Any:
        request = exchange.request
        is_json = request.content_type == "application/json"
        self.forms.append(await request.json() if is_json else dict(await request.post()))
        self.headers.append(dict(request.headers))
        response = self._responses.pop(0) if self._responses else status(200, RESPONSE)
        return await response(exchange)


async def exchanged(sandbox: Sandbox, **options: Any) -> Token:
    options.setdefault("store", MemoryTokenStore())
    return await exchange_code("app-1", "s3cret", "code-1", base_url=sandbox.leadconnector_url, **options)


@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_code_is_sent_with_all_that_belongs_to_it(sandbox: Sandbox, wrapped: bool) -> None:
    """And nothing that was not given. Its token is kept under the subject that the response names."""
    store, endpoint = Locking(), Endpoint(sandbox)
    verifier: Any = Secret("v1") if wrapped else "v1"
    token = await exchanged(
        sandbox,
        store=store,
        redirect_uri="http://localhost:1/cb",
        user_type="Location",
        code_verifier=verifier,
        clock=Clock(5000.0),
    )
    app = {
        "client_id": "app-1",
        "client_secret": "s3cret",
        "grant_type": "authorization_code",
        "code": "code-1",
    }
    assert endpoint.forms == [
        {**app, "user_type": "Location", "redirect_uri": "http://localhost:1/cb", "code_verifier": "v1"}
    ]
    assert endpoint.headers[0]["Version"] == "2021-07-28"
    assert "Authorization" not in endpoint.headers[0]
    assert (token.obtained_at, token.expires_at, token.subject) == (5000.0, 5600.0, "company/c1")
    assert store.log == ["lock leadconnector/app-1/login", "save leadconnector/app-1/company/c1", "unlock"]
    assert await store.load("leadconnector/app-1/company/c1") == token
    await exchanged(sandbox)
    assert endpoint.forms[1] == {**app, "user_type": "Company"}


async def test_version_v3_has_its_own_names(sandbox: Sandbox) -> None:
    """And its own header. An unknown version is refused before a request."""
    endpoint = Endpoint(sandbox)
    await exchanged(sandbox, version="v3", code_verifier="v1")
    assert endpoint.forms[0]["clientId"] == "app-1"
    assert endpoint.forms[0]["codeVerifier"] == "v1"
    assert endpoint.headers[0]["Version"] == "v3"
    with pytest.raises(InvalidArgument, match="version"):
        await exchanged(sandbox, version="v9")
    assert len(endpoint.forms) == 1


async def test_a_session_of_the_callers_is_used_and_left_open(sandbox: Sandbox) -> None:
    """With its headers, and the options that are given beside it."""
    endpoint = Endpoint(sandbox)
    async with aiohttp.ClientSession(headers={"X-Mine": "1"}) as session:
        await exchanged(sandbox, session=session, http=HttpOptions(user_agent="mine/1"))
        assert not session.closed
    assert endpoint.headers[0]["X-Mine"] == "1"
    assert endpoint.headers[0]["User-Agent"] == "mine/1"


@pytest.mark.parametrize(
    "words", ["property code_verifier should not exist", "unknown field: codeVerifier", "CODE_VERIFIER?"]
)
async def test_a_verifier_that_is_not_known_is_left_out(sandbox: Sandbox, words: str) -> None:
    """The rejection of the field, in any spelling, proves that the code was not used."""
    endpoint = Endpoint(sandbox, status(422, {"message": words}))
    assert (await exchanged(sandbox, code_verifier="v1")).access == Secret("a1")
    first, second = endpoint.forms
    assert first.pop("code_verifier") == "v1"
    assert first == second


@pytest.mark.parametrize(
    ("response", "verifier", "error"),
    [
        (status(400, {"message": "authorization code is invalid"}), "v1", BadRequest),
        (status(422, {"message": "code_verifier is missing"}), None, BadRequest),
        (status(500, {"message": "code_verifier"}), "v1", OutcomeUnknown),
        (drop_after(), "v1", OutcomeUnknown),
    ],
    ids=["rejected", "without a verifier", "server error", "lost"],
)
async def test_a_code_is_not_sent_twice(
    sandbox: Sandbox, response: Any, verifier: str | None, error: type[Exception]
) -> None:
    """After any other error: it may be spent."""
    endpoint = Endpoint(sandbox, response)
    with pytest.raises(error) as caught:
        await exchanged(sandbox, code_verifier=verifier)
    assert len(endpoint.forms) == 1
    assert caught.value.backend == "leadconnector"  # type: ignore[attr-defined]
    assert not isinstance(caught.value, ServerError)


async def test_a_response_without_a_subject_is_not_kept(sandbox: Sandbox) -> None:
    """No key could be made of it."""
    Endpoint(sandbox, body(b'{"access_token": "a"}'))
    store = Locking()
    with pytest.raises(DecodeError) as caught:
        await exchanged(sandbox, store=store)
    assert caught.value.message == "the response names neither a company nor a location"
    assert "save" not in str(store.log)


@pytest.mark.parametrize("what", ["client_secret", "code", "code_verifier"])
async def test_a_value_that_no_request_can_carry_is_named(what: str) -> None:
    """It is not shown."""
    given: dict[str, Any] = {"client_secret": "s", "code": "c", "code_verifier": "v", what: "PLANTED\n"}
    with pytest.raises(InvalidArgument, match=rf"^{what}: expected") as caught:
        await exchange_code("app-1", store=MemoryTokenStore(), **given)
    assert "PLANTED" not in str(caught.value)


async def test_a_code_is_exchanged_at_the_vendor() -> None:
    """By default, at the address of its API."""
    with Mocked() as mocked:
        mocked.post("https://services.leadconnectorhq.com/oauth/token", payload=RESPONSE)
        token = await exchange_code("app-1", "s3cret", "code-1", store=MemoryTokenStore())
    assert token.subject == "company/c1"
