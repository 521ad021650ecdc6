"""One company's app: its token, and the token of each of its locations."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from phonesys.backends.leadconnector.oauth.calls import installed_locations, location_token
from phonesys.backends.leadconnector.oauth.credential import OAuthCredential, hidden, store_key
from phonesys.backends.leadconnector.oauth.discovery import location_ids
from phonesys.oauth.cache import TokenCache

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from phonesys.backends.leadconnector.oauth.wire import Locations
    from phonesys.http.call import Call
    from phonesys.oauth.store import TokenStore
    from phonesys.oauth.token import Token
    from phonesys.secret import Secret


class AgencyTokens(OAuthCredential):
    """Signs calls for every location of a company: `LeadConnector(auth=AgencyTokens(…))`.

    The company's token is refreshed when it ends, and exchanged for a token of each location that is asked
    for. Exchanges are paid from the company's rate window: 100 per 10 s. All tokens are reused until a
    minute before they end, across sweeps, and across processes where the store is a file.

    - `store`: where the tokens are; `exchange_code` and `phonesys auth login` put the first one there.
    - `refresh_token`: the one to begin with where the store has none yet.
    - `app_id`: for listing locations; the part of `client_id` before the dash unless given.
    - `base_url`: the backend's own unless given. `clock`: seconds since the epoch.

    Memory: a token, of about a kilobyte, for each location that was asked for.
    """

    def __init__(
        self,
        client_id: str,
        client_secret: str | Secret,
        *,
        company_id: str,
        store: TokenStore,
        refresh_token: str | Secret | None = None,
        app_id: str | None = None,
        base_url: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        client_secret, refresh_token = hidden(client_secret, refresh_token)
        super().__init__(
            client_id,
            client_secret,
            user_type="Company",
            account=company_id,
            store=store,
            refresh_token=refresh_token,
            base_url=base_url,
            clock=clock,
        )
        self.company_id = company_id
        self.app_id = app_id or client_id.partition("-")[0]
        self._locations: dict[str, TokenCache] = {}

    def sign(self, call: Call[Any]) -> Mapping[str, str] | None:
        """Return the headers for the call's location, or for the company itself."""
        renewal = self._own if call.account == self.company_id else self._locations.get(call.account)
        return None if renewal is None else renewal.headers()

    async def ensure_valid(self, call: Call[Any]) -> None:
        """Fetch the token for the call's location; raises what the vendor said if there is none."""
        await self._renewal(call.account).renew()

    def on_unauthorized(self, call: Call[Any], headers: Mapping[str, str]) -> bool:
        """Drop the token that was refused, if it is still the current one."""
        return self._renewal(call.account).refuse(headers)

    def accounts(self) -> tuple[str, ...]:
        """Name none: `locations` has to ask."""
        return ()

    async def locations(self) -> AsyncIterator[str]:
        """Yield the ids of the locations where the app is installed."""

        async def page(skip: int, limit: int) -> Locations:
            return await self._client.send(installed_locations(self.company_id, self.app_id, skip, limit))

        async for id_ in location_ids(page):
            yield id_

    def _renewal(self, account: str) -> TokenCache:
        if account == self.company_id:
            return self._own
        renewal = self._locations.get(account)
        if renewal is None:
            fetch = partial(self._exchange, account)
            renewal = TokenCache(f"location {account}", fetch, uninterruptible=False, clock=self._clock)
            self._locations[account] = renewal
        return renewal

    async def _exchange(self, location_id: str, refused: Token | None) -> Token:
        """Find the location's token in the store, or have the company's exchanged for one."""
        key = store_key(self.client_id, f"location/{location_id}")
        call = location_token(self.company_id, location_id, clock=self._clock)
        stored = await self._store.load(key)
        if stored is not None and stored.usable(self._clock(), refused):
            return stored
        # What could refresh it is not kept: another exchange does the same, and has nothing to lose.
        token = (await self._client.send(call)).without_refresh()
        self._store.cache(key, token)
        return token
