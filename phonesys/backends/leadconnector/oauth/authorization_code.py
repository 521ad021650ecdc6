"""Exchange of an authorization code for the first token."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from phonesys.backends.leadconnector.oauth import calls
from phonesys.backends.leadconnector.oauth.credential import store_key
from phonesys.errors import DecodeError
from phonesys.http.auth import Unsigned
from phonesys.http.client import HttpClient
from phonesys.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp

    from phonesys.backends.leadconnector.oauth.calls import UserType
    from phonesys.http.options import HttpOptions
    from phonesys.oauth.store import TokenStore
    from phonesys.oauth.token import Token


async def exchange_code(
    client_id: str,
    client_secret: str | Secret,
    code: str | Secret,
    *,
    store: TokenStore,
    redirect_uri: str | None = None,
    user_type: UserType = "Company",
    base_url: str = "https://services.leadconnectorhq.com",
    http: HttpOptions | None = None,
    session: aiohttp.ClientSession | None = None,
    clock: Callable[[], float] = time.time,
) -> Token:
    """Exchange an authorization code for a token, and save it where AgencyTokens and OAuthToken find it.

    Returns the token. Its `subject` names the company or location, as `company/…`. A code is valid once:
    raises OutcomeUnknown if the response is lost.
    """
    client_secret, code = Secret(client_secret, what="client_secret"), Secret(code, what="code")
    call = calls.exchange_code(
        client_id,
        client_secret,
        code,
        redirect_uri=redirect_uri,
        user_type=user_type,
        clock=clock,
    )
    client = HttpClient(
        base_url,
        backend="leadconnector",
        auth=Unsigned(),
        headers=calls.HEADERS,
        options=http,
        session=session,
    )
    async with store.lock(store_key(client_id, "login")), client:
        token = await client.send(call)
        if not token.subject:
            raise DecodeError("the response names neither a company nor a location")
        await store.save(store_key(client_id, token.subject), token)
    return token
