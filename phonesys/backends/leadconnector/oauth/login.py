"""Login: consent in a browser, started from a terminal."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import webbrowser
from typing import TYPE_CHECKING

from phonesys.backends.leadconnector.oauth.authorization_code import exchange_code
from phonesys.backends.leadconnector.oauth.calls import DEFAULT_VERSION, MARKETPLACE, authorization_url
from phonesys.backends.leadconnector.oauth.credential import store_key
from phonesys.oauth.loopback import listen_for_callback
from phonesys.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phonesys.backends.leadconnector.oauth.calls import UserType
    from phonesys.oauth.store import TokenStore
    from phonesys.oauth.token import Token

LOCATION_SCOPES = ("phonenumbers.read", "numberpools.read")
"""Scopes that listing the numbers and pools of one location needs."""
COMPANY_SCOPES = (*LOCATION_SCOPES, "oauth.write", "oauth.readonly", "locations.readonly")
"""Scopes for an agency. `oauth.write` and `oauth.readonly` are rejected for a location."""
REDIRECT_URI = "http://localhost:8734/callback"


async def login(
    client_id: str,
    client_secret: str | Secret,
    *,
    store: TokenStore,
    scopes: Iterable[str] | None = None,
    redirect_uri: str = REDIRECT_URI,
    user_type: UserType = "Company",
    show: Callable[[str], object] = webbrowser.open,
    timeout: float = 300.0,  # noqa: ASYNC109 -- a person's time, not a request's
    pkce: bool = True,
    base_url: str = "https://services.leadconnectorhq.com",
    marketplace_url: str = MARKETPLACE,
    version: str = DEFAULT_VERSION,
) -> Token:
    """Ask a person for consent, and save the token. Its `subject` names the company or location.

    - `scopes`: by default, those for listing numbers, by `user_type`.
    - `redirect_uri`: on loopback, and registered with the app, character for character.
    - `show`: opens the address; called in a thread.
    - `timeout`: seconds that the person has.
    - `pkce`: send a code challenge (RFC 7636). The vendor does not document that it checks one.
    - `marketplace_url`: the marketplace, or the host of a white-label agency.
    - `version`: version of the vendor's OAuth API, 2021-07-28 or v3.

    The redirect must carry the `state` of this login. Raises CallError if the person refuses, and
    AttemptTimeout without a response. A store that cannot be written fails before the person is asked.
    """
    client_secret = Secret(client_secret, what="client_secret")  # tracebacks may show locals
    state = Secret(secrets.token_urlsafe(32), what="state")
    verifier = Secret(secrets.token_urlsafe(32), what="code_verifier") if pkce else None
    address = authorization_url(
        client_id,
        redirect_uri,
        scopes or (COMPANY_SCOPES if user_type == "Company" else LOCATION_SCOPES),
        state=state.reveal(),
        code_challenge=None if verifier is None else _challenge(verifier),
        marketplace_url=marketplace_url,
    )
    async with listen_for_callback(redirect_uri, state) as callback:
        async with store.lock(store_key(client_id, "login")):
            pass
        await asyncio.to_thread(show, address)
        code = await callback.wait_for_code(timeout)
    return await exchange_code(
        client_id,
        client_secret,
        code,
        store=store,
        redirect_uri=redirect_uri,
        user_type=user_type,
        code_verifier=verifier,
        base_url=base_url,
        version=version,
    )


def _challenge(verifier: Secret) -> str:
    digest = hashlib.sha256(verifier.reveal().encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
