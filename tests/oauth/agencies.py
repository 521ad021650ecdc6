"""Helpers of the OAuth tests: agencies of the sandbox, and a clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phonesys import HttpOptions, LeadConnector
from phonesys.backends.leadconnector.oauth import AgencyTokens
from phonesys.oauth import MemoryTokenStore, Token
from phonesys.secret import Secret

if TYPE_CHECKING:
    from phonesys.oauth import TokenStore
    from phonesys.sandbox import Sandbox

HASTY = HttpOptions(backoff=0.0)
PATIENT = HttpOptions(timeout=None, connect_timeout=None, deadline=None)
"""For counts of requests that a slow machine must not change by retries."""


class Clock:
    """Seconds since the epoch, set by the test."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def company_key(sandbox: Sandbox) -> str:
    return f"leadconnector/{sandbox.oauth.client_id}/company/{sandbox.oauth.company_id}"


def token(response: dict[str, Any], *, expired: bool = False, clock: Clock | None = None) -> Token:
    """Build a stored token from a token response, with times by the test's clock."""
    now = (clock or Clock())()
    return Token(
        access=Secret(response["access_token"]),
        refresh=Secret(response["refresh_token"]),
        obtained_at=now - 90_000 if expired else now,
        expires_at=now - 3_600 if expired else now + response["expires_in"],
    )


async def store_of(sandbox: Sandbox, store: TokenStore | None = None, *, expired: bool = False) -> TokenStore:
    """Authorise the company's app, and store its token."""
    store = store or MemoryTokenStore()
    await store.save(company_key(sandbox), token(sandbox.oauth.grant_company(), expired=expired))
    return store


def agency(sandbox: Sandbox, store: TokenStore, **options: Any) -> AgencyTokens:
    options.setdefault("clock", Clock())
    return AgencyTokens(
        sandbox.oauth.client_id,
        sandbox.oauth.client_secret,
        company_id=sandbox.oauth.company_id,
        store=store,
        **options,
    )


def backend(sandbox: Sandbox, auth: Any, **options: Any) -> LeadConnector:
    options.setdefault("http", HASTY)
    options.setdefault("limit", None)
    return LeadConnector(auth=auth, base_url=sandbox.leadconnector_url, **options)


def refreshes(sandbox: Sandbox) -> int:
    return sum(sandbox.oauth.refreshes.values())


def exchanges(sandbox: Sandbox) -> int:
    return sum(sandbox.oauth.exchanges.values())
