"""Token stores: the protocol, and a store in memory."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from phonesys.oauth.token import Token

    Fetch: TypeAlias = Callable[[Token | None], Awaitable[Token]]


@runtime_checkable
class TokenStore(Protocol):
    """Stores tokens under keys such as `leadconnector/<client id>/company/<company id>`.

    A token whose refresh token dies when used must never be lost: it is `save`d. A token that can be fetched
    again is only `cache`d. An exception from a method fails the calls that need the token.
    """

    async def load(self, key: str) -> Token | None:
        """Return the token that was saved or cached last, by any process that shares the store."""
        ...

    async def save(self, key: str, token: Token) -> None:
        """Write a token. On return, it survives the end of the process."""

    def cache(self, key: str, token: Token) -> None:
        """Cache a token that may be lost. Writing it may wait for others."""

    async def forget(self, key: str) -> None:
        """Delete a token."""

    async def flush(self) -> None:
        """Write the tokens that were cached so far."""

    def lock(self, key: str) -> AbstractAsyncContextManager[None]:
        """Hold the exclusive right to refresh this token among all processes that share the store.

        The lock of a process that dies is released. Entering should fail if `save` would, since the refresh
        token is not spent yet.
        """
        ...


@runtime_checkable
class ForgetsAll(TokenStore, Protocol):
    """A token store that can delete every token of an app."""

    async def forget_all(self, prefix: str) -> int:
        """Delete the tokens whose keys begin so, and return their number."""
        ...


@runtime_checkable
class SingleFlight(Protocol):
    """A token store that lets processes share the fetch of a token that can be fetched again."""

    async def fetch_once(
        self,
        key: str,
        fetch: Fetch,
        *,
        is_wanted: Callable[[Token], bool],
    ) -> Token:
        """Return a stored token that is wanted, or fetch and cache one while other processes wait for it.

        `fetch` gets the stored token that is not wanted. A store that cannot be reached costs a fetch, and
        does not fail.
        """
        ...


class MemoryTokenStore:
    """Tokens in memory. A refresh token that was rotated is lost when the process ends."""

    def __init__(self) -> None:
        self._tokens: dict[str, Token] = {}
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    async def load(self, key: str) -> Token | None:
        """Return a token."""
        return self._tokens.get(key)

    async def save(self, key: str, token: Token) -> None:
        """Store a token."""
        self._tokens[key] = token

    def cache(self, key: str, token: Token) -> None:
        """Store a token."""
        self._tokens[key] = token

    async def forget(self, key: str) -> None:
        """Delete a token."""
        self._tokens.pop(key, None)

    async def forget_all(self, prefix: str) -> int:
        """Delete the tokens whose keys begin so, and return their number."""
        found = [key for key in self._tokens if key.startswith(prefix)]
        for key in found:
            del self._tokens[key]
        return len(found)

    async def flush(self) -> None:
        """Do nothing: memory needs no writing."""

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncGenerator[None]:
        """Hold the lock of a key within this process. A lock without users is dropped."""
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(key)
            if users > 1:
                self._locks[key] = lock, users - 1

    def __repr__(self) -> str:
        return f"<MemoryTokenStore of {len(self._tokens)} tokens>"
