"""What the vendor's credentials share: a client of their own, and the way to refresh."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from phonesys.backends.leadconnector.oauth.calls import HEADERS, TOKEN_KEY, refreshed_token
from phonesys.errors import InvalidArgument, NotOpen, PhonesysError
from phonesys.oauth.cache import TokenCache
from phonesys.oauth.refresh import Refresher
from phonesys.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from phonesys.backends.leadconnector.oauth.calls import UserType
    from phonesys.http.call import Call
    from phonesys.http.client import HttpClient
    from phonesys.oauth.store import TokenStore
    from phonesys.oauth.token import Token

log = logging.getLogger("phonesys")

_UNSIGNED: Mapping[str, str] = {}
_AT_ONCE = 64
"""Tokens asked for at once: a cold sweep wants hundreds, and would open a connection for each."""


def store_key(client_id: str, subject: str) -> str:
    """Name the place of a token in a store; `holder` is `company/…` or `location/…`."""
    return f"leadconnector/{client_id}/{subject}"


def hidden(client_secret: str | Secret, refresh_token: str | Secret | None) -> tuple[Secret, Secret | None]:
    """Hide what was given in the clear, before anything can fail: tracebacks may show locals."""
    client_secret = Secret(client_secret, what="client_secret")
    return client_secret, None if refresh_token is None else Secret(refresh_token, what="refresh_token")


class OAuthCredential:
    """One refreshable credential of an app, opened and closed with the clients that it signs for."""

    def __init__(
        self,
        client_id: str,
        client_secret: Secret,
        *,
        user_type: UserType,
        account: str,
        store: TokenStore,
        refresh_token: Secret | None,
        base_url: str | None,
        clock: Callable[[], float],
    ) -> None:
        holder = f"{user_type.lower()} {account}"
        for what, value in (("client_id", client_id), (f"{user_type.lower()}_id", account)):
            if not isinstance(value, str) or not value.strip() or not value.isprintable():
                raise InvalidArgument(f"{what}: expected an id as the vendor gives it, got {value!r}")
        self.client_id = client_id
        self._client_secret = client_secret
        self._user_type: UserType = user_type
        self._account = account
        self._store = store
        self._base_url = base_url
        self._clock = clock
        self._http: HttpClient | None = None
        self._users = 0
        refresher = Refresher(
            store_key(client_id, holder.replace(" ", "/", 1)),
            store,
            self._ask,
            pause=self._pause,
            clock=clock,
            first=refresh_token,
        )
        self._own = TokenCache(holder, refresher, uninterruptible=True, clock=clock)

    async def open(self, client: HttpClient) -> None:
        """Open a client to the same vendor as the first one that is signed for."""
        self._users += 1
        if self._users > 1:
            return
        http = client.clone(
            _Signer(self._own), headers=HEADERS, base_url=self._base_url, max_concurrency=_AT_ONCE
        )
        try:
            await http.__aenter__()
        except BaseException:
            self._users = 0
            raise
        self._http = http

    async def close(self, client: HttpClient) -> None:
        """Wait for a refresh that is under way, write what is still to be written, and close."""
        self._users -= 1
        if self._users:
            return
        http = self._http
        try:
            await self._own.settled()
            await self._flush()
        finally:
            if self._http is http:  # nobody attached meanwhile
                self._http = None
            if http is not None:
                await http.__aexit__(None, None, None)

    async def _flush(self) -> None:
        try:
            await self._store.flush()
        except PhonesysError as failure:
            log.warning("tokens that can be had again were not written: %s", failure)

    @property
    def _client(self) -> HttpClient:
        if self._http is None:
            raise NotOpen(
                f"the credentials of {self._account!r} are not open; use `async with` on the backend"
            )
        return self._http

    async def _ask(self, refresh: Secret) -> Token:
        call = refreshed_token(
            self.client_id,
            self._client_secret,
            refresh,
            user_type=self._user_type,
            account=self._account,
            clock=self._clock,
        )
        return await self._client.send(call)

    async def _pause(self) -> None:
        options = self._client.options
        await asyncio.sleep(options.backoff * options.jitter())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._user_type.lower()} {self._account!r}>"


class _Signer:
    """Signs what the credentials themselves send: asking for a token carries its secrets in the body."""

    def __init__(self, renewal: TokenCache) -> None:
        self._renewal = renewal

    def sign(self, call: Call[Any]) -> Mapping[str, str] | None:
        """Sign with the credential's own token."""
        return _UNSIGNED if call.rate_key == TOKEN_KEY else self._renewal.headers()

    async def ensure_valid(self, call: Call[Any]) -> None:
        """Refresh it."""
        await self._renewal.renew()

    def on_unauthorized(self, call: Call[Any], headers: Mapping[str, str]) -> bool:
        """Drop it, if it is the current one; a client id or secret that is refused stays refused."""
        return headers is not _UNSIGNED and self._renewal.refuse(headers)

    def accounts(self) -> tuple[str, ...]:
        """Name none."""
        return ()
