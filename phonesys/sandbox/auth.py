"""Who may ask for what. Everything about credentials is here; the vendors' handlers only see a `Grant`."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Grant:
    """What a credential opens: one account, or all of them, and for what; for everything where unsaid."""

    account: str | None = None
    scopes: frozenset[str] | None = None

    def covers(self, account: str) -> bool:
        """Say whether this account is opened by it."""
        return self.account is None or self.account == account

    def allows(self, scope: str) -> bool:
        """Say whether this operation is."""
        return self.scopes is None or scope in self.scopes


class Authenticator(Protocol):
    """Looks at a request's headers and says what they open."""

    def grant(self, headers: Mapping[str, str], /) -> Grant | None:
        """Say what the caller may do, or None for a stranger."""
        ...


class BearerTokens:
    """`Authorization: Bearer …`, for tokens that were issued here."""

    def __init__(self) -> None:
        self._grants: dict[str, Grant] = {}

    def issue(self, token: str, grant: Grant) -> str:
        """Make a token valid, and hand it back."""
        self._grants[token] = grant
        return token

    def revoke(self, token: str) -> None:
        """Make a token invalid; an unknown one already is."""
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
        """Grant everything to whoever has the key."""
        sent = headers.get("X-API-Key", "").encode("utf-8", "replace")
        return Grant() if hmac.compare_digest(sent, self._key.encode()) else None
