"""Spending a refresh token: once among all who share the store, and never without keeping what it buys."""

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
    """Turns the stored refresh token into the next token.

    - `ask` spends a refresh token at the vendor's; `first` is the one to begin with where the store is empty.
    - `pause` waits before the one repetition that a lost answer gets.
    """

    def __init__(
        self,
        key: str,
        store: TokenStore,
        ask: Callable[[Secret], Awaitable[Token]],
        *,
        pause: Callable[[], Awaitable[None]],
        clock: Callable[[], float],
        first: Secret | None = None,
    ) -> None:
        self._key = key
        self._store = store
        self._ask = ask
        self._pause = pause
        self._clock = clock
        self._first = first
        self._unsaved: Token | None = None
        self._verdict: tuple[Secret, StatusError] | None = None

    async def __call__(self, refused: Token | None) -> Token:
        """Return a token that is good and is not the refused one: the stored one, or its successor."""
        stored = await self._store.load(self._key)
        if stored is not None and stored.usable(self._clock(), refused):
            return stored
        async with self._store.lock(self._key):
            if self._unsaved is not None:
                return await self._saved(self._unsaved)
            stored = await self._store.load(self._key)  # somebody else may have refreshed it meanwhile
            if stored is not None and stored.usable(self._clock(), refused):
                return stored
            return await self._saved(await self._successor(stored))

    async def _saved(self, token: Token) -> Token:
        """Hand a token out once it is durable; until then it is kept here, and the next caller saves it."""
        self._unsaved = token
        await self._store.save(self._key, token)
        self._unsaved = None
        return token

    async def _successor(self, stored: Token | None) -> Token:
        refresh = self._first if stored is None else stored.refresh
        if refresh is None:
            raise ConfigError(
                f"the token store holds no refresh token under {self._key!r}: authorise first, as with "
                "`phonesys auth login`, or give refresh_token="
            )
        if self._verdict is not None and self._verdict[0] == refresh:
            raise copy.copy(self._verdict[1])  # only another login can change it
        try:
            token = await self._spend(refresh)
        except StatusError as error:
            raise self._judged(refresh, error) from None
        # A vendor that names no new refresh token means that the old one stays.
        return token if token.refresh is not None else msgspec.structs.replace(token, refresh=refresh)

    async def _spend(self, refresh: Secret) -> Token:
        """Ask for the successor; once more if the answer is lost.

        That is the best that is left: if the first request arrived, the refresh token is spent, what it
        bought is gone, and a second one is refused; if it did not, the second one saves the credential.
        """
        try:
            return await self._ask(refresh)
        except OutcomeUnknown as lost:
            lost.__traceback__ = None
            first = lost
        log.warning("the answer to a refresh was lost; trying once more with the same refresh token")
        await self._pause()
        try:
            return await self._ask(refresh)
        except StatusError as error:
            if not error.transient:
                error.message += f"; an answer before that was lost ({first.cause}), and with it the token"
            raise

    def _judged(self, refresh: Secret, error: StatusError) -> StatusError:
        """Tell a refresh token that is refused for good, which is remembered, from a vendor out of order."""
        if error.transient:
            return error
        refused = Unauthorized(error.message)
        refused.__dict__.update(error.__dict__)
        refused.renewable = False
        self._verdict = refresh, refused
        return copy.copy(refused)
