"""Credentials and the grants they carry. The vendors' handlers only see a `Grant`."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Grant:
    """Accounts and scopes that a credential covers; None means all of them."""

    account: str | None = None
    scopes: frozenset[str] | None = None

    def covers(self, account: str) -> bool:
        """Return whether the credential covers this account."""
        return self.account is None or self.account == account

    def allows(self, scope: str) -> bool:
        """Return whether the credential has this scope."""
        return self.scopes is None or scope in self.scopes


class Authenticator(Protocol):
    """Maps a request's headers to the grant that they carry."""

    def grant(self, headers: Mapping[str, str], /) -> Grant | None:
        """Return the caller's grant, or None for unknown credentials."""
        ...


class BearerTokens:
    """`Authorization: Bearer …`, for tokens that were issued here."""

    def __init__(self) -> None:
        self._grants: dict[str, Grant] = {}

    def issue(self, token: str, grant: Grant) -> str:
        """Make a token valid and return it."""
        self._grants[token] = grant
        return token

    def revoke(self, token: str) -> None:
        """Make a token invalid; unknown tokens are ignored."""
        self._grants.pop(token, None)

    def grant(self, headers: Mapping[str, str], /) -> Grant | None:
        """Find the grant behind the header; the scheme may be written in any case."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        return self._grants.get(token) if scheme.lower() == "bearer" else None


class ApiKey:
    """`X-API-Key: …`, one key for everything."""

    def __init__(self, key: str) -> None:
        self._key = key

    def grant(self, headers: Mapping[str, str], /) -> Grant | None:
        """Grant everything to a request with the right key."""
        sent = headers.get("X-API-Key", "").encode("utf-8", "replace")
        return Grant() if hmac.compare_digest(sent, self._key.encode()) else None
