"""Base of the vendor's credentials: a client of their own, and the refresh of their token."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from phonesys._concurrency import run_shielded
from phonesys.backends.leadconnector.oauth import calls
from phonesys.errors import InvalidArgument, NotOpen, PhonesysError
from phonesys.http.ratelimit.leased import LeaseStore, SharedLimit
from phonesys.oauth.cache import TokenCache
from phonesys.oauth.refresh import Refresher
from phonesys.secret import Secret
from phonesys.telemetry.events import TokenRenewed, TokenRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from phonesys.backends.leadconnector.oauth.calls import UserType, Version
    from phonesys.http.auth import AuthClient
    from phonesys.http.call import Call
    from phonesys.oauth.store import TokenStore
    from phonesys.oauth.token import Token

log = logging.getLogger("phonesys")

_UNSIGNED: Mapping[str, str] = {}
_MAX_CONCURRENCY = 64
"""Concurrent token requests. A cold sweep needs thousands, and would open a connection for each."""
_MAX_DURATION = 60.0
"""Seconds that a request is assumed to take at most if there is no time-out."""


def store_key(client_id: str, subject: str) -> str:
    """Return the key of a token in a store. `subject` is `company/…` or `location/…`."""
    return f"leadconnector/{client_id}/{subject}"


def wrap_secrets(
    client_secret: str | Secret, refresh_token: str | Secret | None
) -> tuple[Secret, Secret | None]:
    """Wrap plain strings as secrets before anything can fail, since tracebacks may show locals."""
    client_secret = Secret(client_secret, what="client_secret")
    return client_secret, None if refresh_token is None else Secret(refresh_token, what="refresh_token")


class OAuthCredential:
    """A refreshable credential of an app, opened and closed with the clients that it signs for."""

    def __init__(
        self,
        client_id: str,
        client_secret: Secret,
        *,
        user_type: UserType,
        account: str,
        store: TokenStore,
        version: str,
        refresh_token: Secret | None,
        base_url: str | None,
        clock: Callable[[], float],
    ) -> None:
        subject = f"{user_type.lower()}/{account}"
        for what, value in (("client_id", client_id), (f"{user_type.lower()}_id", account)):
            if not isinstance(value, str) or not value.strip() or not value.isprintable():
                raise InvalidArgument(f"{what}: expected an id as the vendor gives it, got {value!r}")
        self.client_id = client_id
        self._client_secret = client_secret
        self._user_type: UserType = user_type
        self._account = account
        self._store = store
        self._base_url = base_url
        self._version: Version = calls.validate_version(version)
        self._clock = clock
        self._http: AuthClient | None = None
        self._users = 0
        self._refresher = Refresher(
            store_key(client_id, subject),
            store,
            self._request_refresh,
            back_off=self._back_off,
            clock=clock,
            initial_token=refresh_token,
        )
        self._token_cache = TokenCache(
            subject.replace("/", " ", 1), self._refresher, uninterruptible=True, clock=clock
        )

    async def open(self, client: AuthClient) -> None:
        """Open a client of its own, to the same vendor as the first client it signs for."""
        self._users += 1
        if self._users > 1:
            return
        try:
            http = client.clone(
                _CredentialAuth(self._token_cache),
                headers=calls.headers(self._version),
                base_url=self._base_url,
                max_concurrency=_MAX_CONCURRENCY,
                shared_limit=self._shared_limit(client),
            )
            await http.__aenter__()
        except BaseException:
            self._users = 0
            raise
        self._http = http

    async def close(self, client: AuthClient) -> None:
        """Wait for a running refresh, write cached tokens, and close the client."""
        self._users -= 1
        if self._users:
            return
        http = self._http
        try:
            await self._token_cache.wait_finished()
            await self._flush()
        finally:
            if self._http is http:  # not opened again meanwhile
                self._http = None
            if http is not None:
                await http.__aexit__(None, None, None)

    def _shared_limit(self, client: AuthClient) -> SharedLimit | None:
        """Return the company's window as programs that use the same store share it."""
        if self._user_type != "Company" or not isinstance(self._store, LeaseStore):
            return None
        name = store_key(self.client_id, f"company/{self._account}")
        return SharedLimit(self._account, name, self._store, client.options.timeout or _MAX_DURATION)

    async def _flush(self) -> None:
        try:
            await self._store.flush()
        except PhonesysError as failure:
            log.warning("cached tokens were not written: %s", failure)

    @property
    def grantors(self) -> tuple[str, ...]:
        """No accounts: the credential is for the account that granted it."""
        return ()

    async def renew(self, account: str, *, valid_for: float) -> bool:
        """Renew the token of an account unless it is usable for so many more seconds.

        Return True if it was renewed, by this program or another one. Raises as a call does that needs the
        token. The credential must be open, as it is in the block of its backend.
        """
        began = self._clock()
        token = await self._token_for(account, valid_for)
        return token.obtained_at >= began

    async def _token_for(self, account: str, valid_for: float) -> Token:
        # A refresh that has begun is finished, or its token would be lost.
        token = await run_shielded(self._refresher(None, valid_for=valid_for))
        self._token_cache.replace(token)
        return token

    @property
    def _client(self) -> AuthClient:
        if self._http is None:
            raise NotOpen(
                f"the credentials of {self._account!r} are not open; use `async with` on the backend"
            )
        return self._http

    async def _request_refresh(self, refresh: Secret) -> Token:
        call = calls.refresh_token(
            self.client_id,
            self._client_secret,
            refresh,
            user_type=self._user_type,
            account=self._account,
            clock=self._clock,
            version=self._version,
        )
        return await self._request_token(call, TokenRequest.REFRESH)

    async def _request_token(self, call: Call[Token], kind: TokenRequest) -> Token:
        """Send a call for a token, and report it to the observers."""
        client = self._client
        clock = asyncio.get_running_loop().time
        started, failure = clock(), None
        try:
            return await client.send(call)
        except PhonesysError as error:
            failure = error
            raise
        finally:
            if client.observers:
                client.observers.notify(
                    TokenRenewed(
                        backend=client.backend,
                        account=call.account,
                        kind=kind,
                        duration=clock() - started,
                        error=failure,
                    )
                )

    async def _back_off(self) -> None:
        options = self._client.options
        await asyncio.sleep(options.backoff * options.jitter())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._user_type.lower()} {self._account!r}>"


class _CredentialAuth:
    """Signs the requests of the credential itself. Token requests carry their secrets in the body."""

    def __init__(self, cache: TokenCache) -> None:
        self._cache = cache

    def sign(self, call: Call[Any]) -> Mapping[str, str] | None:
        """Return the headers of the credential's own token."""
        return _UNSIGNED if call.target == calls.TOKEN_TARGET else self._cache.headers()

    async def ensure_valid(self, call: Call[Any]) -> None:
        """Refresh the token."""
        await self._cache.ensure_valid()

    def on_unauthorized(self, call: Call[Any], headers: Mapping[str, str]) -> bool:
        """Drop the rejected token, if it is the current one. A rejected client secret is final."""
        return headers is not _UNSIGNED and self._cache.invalidate(headers)

    def accounts(self) -> tuple[str, ...]:
        """Return nothing: a credential of one company or location does not sweep."""
        return ()
