"""Base of stores whose processes fetch a token once between them."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from phonesys.errors import PhonesysError
from phonesys.oauth.lock import MIN_POLL

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager

    from phonesys.oauth.store import Fetch
    from phonesys.oauth.token import Token

log = logging.getLogger("phonesys")


class Claim(NamedTuple):
    """Attempt to get the exclusive right to fetch a token."""

    acquired: bool
    stored: Token | None
    """The token that was stored when the attempt was made, or later."""


class FetchesOnce(ABC):
    """Implements `fetch_once` with claims: a lock, a row, or whatever else excludes other processes."""

    _lock_timeout: float
    _max_poll: float
    """Seconds between two attempts, at most."""

    @abstractmethod
    async def load(self, key: str) -> Token | None:
        """Return a token."""

    @asynccontextmanager
    async def _turn(self, key: str) -> AsyncGenerator[None]:
        """Wait for other tasks of this process, where a claim is too dear for all of them at once."""
        yield

    @abstractmethod
    def _claim(self, key: str) -> AbstractAsyncContextManager[Claim]:
        """Attempt to get the right to fetch a token, and hold it while the block runs."""

    @abstractmethod
    async def _keep_fetched(self, key: str, token: Token) -> None:
        """Write a token for the processes that wait for it. Raises PhonesysError."""

    @abstractmethod
    def cache(self, key: str, token: Token) -> None:
        """Cache a token. Writing it may wait for others."""

    async def fetch_once(
        self,
        key: str,
        fetch: Fetch,
        *,
        is_wanted: Callable[[Token], bool],
    ) -> Token:
        """Return a stored token that is wanted, or fetch and cache one while other processes wait for it.

        While another process holds the claim, the store is looked at again and again. After `lock_timeout`
        seconds, the token is fetched without a claim, which costs a request and no token.
        """
        stored = await self._peek(key)
        if stored is not None and is_wanted(stored):
            return stored
        async with self._turn(key):
            return await self._fetch_in_turn(key, fetch, is_wanted)

    async def _fetch_in_turn(self, key: str, fetch: Fetch, is_wanted: Callable[[Token], bool]) -> Token:
        deadline, pause = time.monotonic() + self._lock_timeout, MIN_POLL
        while True:
            async with self._claim(key) as (acquired, stored):
                if stored is not None and is_wanted(stored):
                    return stored
                if acquired or time.monotonic() > deadline:
                    return await self._fetch(key, fetch, stored)
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._max_poll)

    async def _peek(self, key: str) -> Token | None:
        try:
            return await self.load(key)
        except PhonesysError as failure:  # the claim fails too, if it must
            log.debug("%s", failure)
            return None

    async def _fetch(self, key: str, fetch: Fetch, stored: Token | None) -> Token:
        token = await fetch(stored)
        try:
            await self._keep_fetched(key, token)
        except PhonesysError as failure:
            self.cache(key, token)
            log.warning("cached tokens were not written: %s", failure)
        return token
