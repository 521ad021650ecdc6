"""One location that installed the app by itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from phonesys.backends.leadconnector.oauth.calls import DEFAULT_VERSION
from phonesys.backends.leadconnector.oauth.credential import OAuthCredential, wrap_secrets
from phonesys.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from phonesys.http.call import Call
    from phonesys.oauth.store import TokenStore
    from phonesys.secret import Secret


class OAuthToken(OAuthCredential):
    """Signs calls for one location with the token that it granted, refreshed when it expires.

    For several locations, use `PerAccount({location_id: OAuthToken(…), …})`. The options are those of
    `AgencyTokens`.
    """

    def __init__(
        self,
        client_id: str,
        client_secret: str | Secret,
        *,
        location_id: str,
        store: TokenStore,
        refresh_token: str | Secret | None = None,
        base_url: str | None = None,
        version: str = DEFAULT_VERSION,
        clock: Callable[[], float] = time.time,
    ) -> None:
        client_secret, refresh_token = wrap_secrets(client_secret, refresh_token)
        super().__init__(
            client_id,
            client_secret,
            user_type="Location",
            account=location_id,
            store=store,
            version=version,
            refresh_token=refresh_token,
            base_url=base_url,
            clock=clock,
        )
        self.location_id = location_id

    def sign(self, call: Call[Any]) -> Mapping[str, str] | None:
        """Return the location's headers. Raise InvalidArgument for a call about another location."""
        if call.account != self.location_id:
            raise InvalidArgument(
                f"this token belongs to location {self.location_id!r}, not to {call.account!r}"
            )
        return self._token_cache.headers()

    async def ensure_valid(self, call: Call[Any]) -> None:
        """Refresh the token."""
        await self._token_cache.ensure_valid()

    def on_unauthorized(self, call: Call[Any], headers: Mapping[str, str]) -> bool:
        """Drop the rejected token, if it is still the current one."""
        return self._token_cache.invalidate(headers)

    def accounts(self) -> tuple[str, ...]:
        """Return the location."""
        return (self.location_id,)
