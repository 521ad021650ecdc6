"""Login: consent in a browser, started from a terminal."""

from __future__ import annotations

import asyncio
import secrets
import webbrowser
from typing import TYPE_CHECKING

from phonesys.backends.leadconnector.oauth.authorization_code import exchange_code
from phonesys.backends.leadconnector.oauth.calls import MARKETPLACE, authorization_url
from phonesys.oauth.loopback import listen_for_callback
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
"""Scopes that listing the numbers and pools of an agency needs."""
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
    """Ask a person for consent, and save the token. Its `subject` names the company or location.

    - `redirect_uri`: on loopback, and registered with the app, character for character.
    - `show`: opens the address; called in a thread.
    - `timeout`: seconds that the person has.

    The redirect must carry the `state` of this login. Raises CallError if the person refuses, and
    AttemptTimeout without a response.
    """
    client_secret = Secret(client_secret, what="client_secret")  # tracebacks may show locals
    state = Secret(secrets.token_urlsafe(32), what="state")
    address = authorization_url(
        client_id, redirect_uri, scopes, state=state.reveal(), marketplace_url=marketplace_url
    )
    async with listen_for_callback(redirect_uri, state) as callback:
        await asyncio.to_thread(show, address)
        code = await callback.wait_for_code(timeout)
    return await exchange_code(
        client_id,
        client_secret,
        code,
        store=store,
        redirect_uri=redirect_uri,
        user_type=user_type,
        base_url=base_url,
    )
