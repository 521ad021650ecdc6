"""One company's app: its token, and the token of each of its locations."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from phonesys.backends.leadconnector.oauth.calls import (
    DEFAULT_VERSION,
    installed_locations,
    installed_locations_v3,
    location_token,
    refresh_token,
)
from phonesys.backends.leadconnector.oauth.credential import OAuthCredential, store_key, wrap_secrets
from phonesys.backends.leadconnector.oauth.discovery import PAGE_SIZE, list_by_offset, list_by_token
from phonesys.errors import DecodeError, OutcomeUnknown, StatusError
from phonesys.http.call import encode_segment
from phonesys.oauth.cache import TokenCache
from phonesys.oauth.store import SingleFlight
from phonesys.provider import NamedAccount
from phonesys.telemetry.events import TokenRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from phonesys.backends.leadconnector.oauth.wire import LocationPage
    from phonesys.http.call import Call
    from phonesys.oauth.store import TokenStore
    from phonesys.oauth.token import Token
    from phonesys.secret import Secret

log = logging.getLogger("phonesys")


class AgencyTokens(OAuthCredential):
    """Signs calls for every location of a company: `LeadConnector(auth=AgencyTokens(…))`.

    The company's token is refreshed when it expires, and exchanged for the token of each location that a
    call needs. Exchanges count against the company's rate window: 100 per 10 s. A location's token that came
    with a refresh token is refreshed instead, which has no quota. All tokens are reused until a minute before
    they expire, across sweeps, and across processes if the store is a file.

    - `store`: where tokens are kept. `exchange_code` and `phonesys auth login` put the first one there.
    - `refresh_token`: the one to use while the store is empty.
    - `app_id`: for listing locations. By default, the part of `client_id` before the dash.
    - `base_url`: by default, the backend's own.
    - `version`: version of the vendor's OAuth API, 2021-07-28 or v3. It is independent of the backend's.
    - `clock`: seconds since the epoch.

    Memory: about a kilobyte for each location that was asked for.
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
        version: str = DEFAULT_VERSION,
        clock: Callable[[], float] = time.time,
    ) -> None:
        client_secret, refresh_token = wrap_secrets(client_secret, refresh_token)
        super().__init__(
            client_id,
            client_secret,
            user_type="Company",
            account=company_id,
            store=store,
            version=version,
            refresh_token=refresh_token,
            base_url=base_url,
            clock=clock,
        )
        self.company_id = company_id
        self.app_id = app_id or client_id.partition("-")[0]
        self._location_caches: dict[str, TokenCache] = {}

    def sign(self, call: Call[Any]) -> Mapping[str, str] | None:
        """Return the headers for the call's location, or for the company itself."""
        if call.account == self.company_id:
            return self._token_cache.headers()
        cache = self._location_caches.get(call.account)
        return None if cache is None else cache.headers()

    async def ensure_valid(self, call: Call[Any]) -> None:
        """Fetch the token for the call's location. Raise the vendor's error if there is none."""
        await self._cache_for(call.account).ensure_valid()

    def on_unauthorized(self, call: Call[Any], headers: Mapping[str, str]) -> bool:
        """Drop the rejected token, if it is still the current one."""
        return self._cache_for(call.account).invalidate(headers)

    @property
    def grantors(self) -> tuple[str, ...]:
        """The company, whose token is exchanged for those of its locations."""
        return (self.company_id,)

    def accounts(self) -> tuple[str, ...]:
        """Return nothing: only `locations` can list them, with a request."""
        return ()

    async def locations(self) -> AsyncIterator[str]:
        """Yield the ids of the locations where the app is installed."""
        async for account in self.locations_with_names():
            yield account.id

    async def locations_with_names(self) -> AsyncIterator[NamedAccount]:
        """Yield the locations where the app is installed.

        Raises InconsistentListing after the last one if the vendor counts more than it lists.
        """
        if self._version == DEFAULT_VERSION:
            rows = list_by_offset(self._fetch_page, fetch_unfiltered=partial(self._fetch_page, all_=True))
        else:
            rows = list_by_token(self._fetch_page_v3)
        async for row in rows:
            if row.id is not None:
                yield NamedAccount(row.id, row.name)

    async def _fetch_page(self, skip: int, limit: int, *, all_: bool = False) -> LocationPage:
        call = installed_locations(self.company_id, self.app_id, skip, limit, only_installed=not all_)
        return await self._client.send(call)

    async def _fetch_page_v3(self, token: str | None) -> LocationPage:
        return await self._client.send(installed_locations_v3(self.company_id, self.app_id, PAGE_SIZE, token))

    def _cache_for(self, account: str) -> TokenCache:
        if account == self.company_id:
            return self._token_cache
        cache = self._location_caches.get(account)
        if cache is None:
            fetch = partial(self._fetch_location_token, account)
            cache = TokenCache(f"location {account}", fetch, uninterruptible=False, clock=self._clock)
            self._location_caches[account] = cache
        return cache

    async def _token_for(self, account: str, valid_for: float) -> Token:
        if account == self.company_id:
            return await super()._token_for(account, valid_for)
        token = await self._fetch_location_token(account, None, valid_for=valid_for)
        if account in self._location_caches:
            self._location_caches[account].replace(token)
        return token

    async def _fetch_location_token(
        self, location_id: str, rejected: Token | None, *, valid_for: float = 0.0
    ) -> Token:
        """Return the location's token from the store, or get a new one."""
        key = store_key(self.client_id, f"location/{location_id}")
        encode_segment(location_id, "location id")
        fetch = partial(self._refresh_or_exchange, location_id)

        def is_wanted(token: Token) -> bool:
            return token.is_usable(self._clock() + valid_for, rejected)

        if isinstance(self._store, SingleFlight):
            return await self._store.fetch_once(key, fetch, is_wanted=is_wanted)
        stored = await self._store.load(key)
        if stored is not None and is_wanted(stored):
            return stored
        token = await fetch(stored)
        self._store.cache(key, token)
        return token

    async def _refresh_or_exchange(self, location_id: str, stored: Token | None) -> Token:
        """Refresh the location's token, which has no quota, or exchange the company's token for one."""
        if stored is not None and stored.refresh is not None:
            try:
                return await self._refresh_location(location_id, stored.refresh)
            except (StatusError, DecodeError, OutcomeUnknown) as failure:
                log.debug("the token of location %s was not refreshed: %s", location_id, failure)
        call = location_token(self.company_id, location_id, clock=self._clock, version=self._version)
        return await self._request_token(call, TokenRequest.EXCHANGE)

    async def _refresh_location(self, location_id: str, refresh: Secret) -> Token:
        call = refresh_token(
            self.client_id,
            self._client_secret,
            refresh,
            user_type="Location",
            account=location_id,
            clock=self._clock,
            version=self._version,
        )
        token = await self._request_token(call, TokenRequest.REFRESH)
        return token if token.refresh is not None else msgspec.structs.replace(token, refresh=refresh)
