"""Refreshing a token: once among all processes that share a store, and never without saving the result."""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING

import msgspec

from phonesys.errors import ConfigError, OutcomeUnknown, StatusError, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from phonesys.oauth.store import TokenStore
    from phonesys.oauth.token import Token
    from phonesys.secret import Secret

log = logging.getLogger("phonesys")


class Refresher:
    """Exchanges the stored refresh token for the next token.

    - `request`: spends a refresh token at the vendor.
    - `initial_token`: the refresh token to use while the store is empty.
    - `back_off`: waits before the single retry after a lost response.
    """

    def __init__(
        self,
        key: str,
        store: TokenStore,
        request: Callable[[Secret], Awaitable[Token]],
        *,
        back_off: Callable[[], Awaitable[None]],
        clock: Callable[[], float],
        initial_token: Secret | None = None,
    ) -> None:
        self._key = key
        self._store = store
        self._request = request
        self._back_off = back_off
        self._clock = clock
        self._initial_token = initial_token
        self._unsaved: Token | None = None
        self._final_error: tuple[Secret, StatusError] | None = None

    async def __call__(self, rejected: Token | None, *, valid_for: float = 0.0) -> Token:
        """Return a usable token other than the rejected one: the stored one, or its successor.

        - `valid_for`: seconds that the stored one must be usable.
        """

        def is_wanted(token: Token) -> bool:
            return token.is_usable(self._clock() + valid_for, rejected)

        stored = await self._store.load(self._key)
        if stored is not None and is_wanted(stored):
            return stored
        async with self._store.lock(self._key):
            if self._unsaved is not None:
                return await self._save(self._unsaved)
            stored = await self._store.load(self._key)  # another process may have refreshed it meanwhile
            if stored is not None and is_wanted(stored):
                return stored
            return await self._save(await self._refresh(stored))

    async def _save(self, token: Token) -> Token:
        """Return the token once it is durable. If saving fails, the next caller saves it."""
        self._unsaved = token
        await self._store.save(self._key, token)
        self._unsaved = None
        return token

    async def _refresh(self, stored: Token | None) -> Token:
        refresh = self._initial_token if stored is None else stored.refresh
        if refresh is None:
            raise ConfigError(
                f"the token store holds no refresh token under {self._key!r}: authorise first, as with "
                "`phonesys auth login`, or give refresh_token="
            )
        if self._final_error is not None and self._final_error[0] == refresh:
            raise copy.copy(self._final_error[1])  # only another login can change it
        try:
            token = await self._request_with_retry(refresh)
        except StatusError as error:
            raise self._as_final(refresh, error) from None
        # A response without a refresh token means that the old one stays valid.
        return token if token.refresh is not None else msgspec.structs.replace(token, refresh=refresh)

    async def _request_with_retry(self, refresh: Secret) -> Token:
        """Request the successor, and once more if the response is lost.

        If the first request arrived, the refresh token is spent and its result is lost; a second request is
        rejected and costs nothing. If it did not arrive, the second request saves the credential.
        """
        try:
            return await self._request(refresh)
        except OutcomeUnknown as lost:
            lost.__traceback__ = None
            first = lost
        log.warning("the response to a refresh was lost; trying once more with the same refresh token")
        await self._back_off()
        try:
            return await self._request(refresh)
        except StatusError as error:
            if not error.transient:
                error.message += f"; an earlier response was lost ({first.cause}), and with it the token"
            raise

    def _as_final(self, refresh: Secret, error: StatusError) -> StatusError:
        """Turn a final rejection of the refresh token into Unauthorized, and remember it."""
        if error.transient:
            return error
        rejected = Unauthorized(error.message)
        rejected.__dict__.update(error.__dict__)
        rejected.renewable = False
        self._final_error = refresh, rejected
        return copy.copy(rejected)
