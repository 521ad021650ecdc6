"""Exchange of an authorization code for the first token."""

from __future__ import annotations

import re
import time
from functools import partial
from typing import TYPE_CHECKING

from phonesys.backends.leadconnector.oauth import calls
from phonesys.backends.leadconnector.oauth.credential import store_key
from phonesys.errors import DecodeError, OutcomeUnknown, StatusError
from phonesys.http.auth import Unsigned
from phonesys.http.client import HttpClient
from phonesys.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp

    from phonesys.backends.leadconnector.oauth.calls import UserType
    from phonesys.http.call import Call
    from phonesys.http.options import HttpOptions
    from phonesys.oauth.store import TokenStore
    from phonesys.oauth.token import Token

_names_verifier = re.compile(r"code_?verifier", re.IGNORECASE).search


async def exchange_code(
    client_id: str,
    client_secret: str | Secret,
    code: str | Secret,
    *,
    store: TokenStore,
    redirect_uri: str | None = None,
    user_type: UserType = "Company",
    code_verifier: str | Secret | None = None,
    base_url: str = "https://services.leadconnectorhq.com",
    version: str = calls.DEFAULT_VERSION,
    http: HttpOptions | None = None,
    session: aiohttp.ClientSession | None = None,
    clock: Callable[[], float] = time.time,
) -> Token:
    """Exchange an authorization code for a token, and save it where AgencyTokens and OAuthToken find it.

    - `code_verifier`: the verifier of PKCE, if the address had a `code_challenge`.
    - `version`: version of the vendor's OAuth API, 2021-07-28 or v3.

    Returns the token. Its `subject` names the company or location, as `company/…`. A code is valid once:
    raises OutcomeUnknown if the response is lost.
    """
    client_secret, code = Secret(client_secret, what="client_secret"), Secret(code, what="code")
    if code_verifier is not None:
        code_verifier = Secret(code_verifier, what="code_verifier")
    known_version = calls.validate_version(version)
    make_call = partial(
        calls.exchange_code,
        client_id,
        client_secret,
        code,
        redirect_uri=redirect_uri,
        user_type=user_type,
        clock=clock,
        version=known_version,
    )
    client = HttpClient(
        base_url,
        backend="leadconnector",
        auth=Unsigned(),
        headers=calls.headers(known_version),
        options=http,
        session=session,
    )
    async with store.lock(store_key(client_id, "login")), client:
        token = await _send(client, make_call, code_verifier)
        if not token.subject:
            raise DecodeError("the response names neither a company nor a location")
        await store.save(store_key(client_id, token.subject), token)
    return token


async def _send(
    client: HttpClient, make_call: Callable[..., Call[Token]], code_verifier: Secret | None
) -> Token:
    """Exchange the code, and once more without the verifier if the vendor rejects that field.

    The rejection of an unknown field proves that the code was not used.
    """
    try:
        return await client.send(make_call(code_verifier=code_verifier))
    except OutcomeUnknown:
        raise
    except StatusError as error:
        if code_verifier is None or not _names_verifier(error.message):
            raise
    return await client.send(make_call())
