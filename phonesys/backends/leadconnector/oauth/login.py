"""Walking a person through consent, from a terminal."""

from __future__ import annotations

import asyncio
import secrets
import webbrowser
from typing import TYPE_CHECKING

from phonesys.backends.leadconnector.oauth.authorization_code import exchange_code
from phonesys.backends.leadconnector.oauth.calls import MARKETPLACE, authorization_url
from phonesys.oauth.loopback import callback
from phonesys.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phonesys.backends.leadconnector.oauth.calls import UserType
    from phonesys.oauth.store import TokenStore
    from phonesys.oauth.token import Token

SCOPES = (
    "phonenumbers.read",
    "numberpools.read",
    "oauth.write",
    "oauth.readonly",
    "locations.readonly",
)
"""What listing the numbers and pools of an agency needs."""
REDIRECT_URI = "http://localhost:8734/callback"


async def login(
    client_id: str,
    client_secret: str | Secret,
    *,
    store: TokenStore,
    scopes: Iterable[str] = SCOPES,
    redirect_uri: str = REDIRECT_URI,
    user_type: UserType = "Company",
    show: Callable[[str], object] = webbrowser.open,
    timeout: float = 300.0,  # noqa: ASYNC109 -- a person's time, not a request's
    base_url: str = "https://services.leadconnectorhq.com",
    marketplace_url: str = MARKETPLACE,
) -> Token:
    """Have a person let the app in, and save the token; its `holder` says whose it is.

    - `redirect_uri`: on loopback, and registered with the app, character for character.
    - `show`: is given the address to open; it runs in a thread.
    - `timeout`: seconds that the person has.

    The answer must bear the `state` that was made for this login. Raises CallError where the person refuses,
    AttemptTimeout where nobody answers.
    """
    client_secret = Secret(client_secret, what="client_secret")  # tracebacks may show locals
    state = Secret(secrets.token_urlsafe(32), what="state")
    address = authorization_url(
        client_id, redirect_uri, scopes, state=state.reveal(), marketplace_url=marketplace_url
    )
    async with callback(redirect_uri, state) as waiting:
        await asyncio.to_thread(show, address)
        code = await waiting.code(timeout)
    return await exchange_code(
        client_id,
        client_secret,
        code,
        store=store,
        redirect_uri=redirect_uri,
        user_type=user_type,
        base_url=base_url,
    )
