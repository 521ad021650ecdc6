"""Where tokens are kept: a small protocol, and the memory of this process."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager

    from phonesys.oauth.token import Token


@runtime_checkable
class TokenStore(Protocol):
    """Keeps tokens under keys such as `leadconnector/<client id>/company/<company id>`.

    There are two kinds. One with a refresh token that dies when used must never be lost: it is `save`d. One
    that can be had again for a request is only `keep`t. Whatever a method raises fails the calls that needed
    the token; nothing is swallowed.
    """

    async def load(self, key: str) -> Token | None:
        """Find a token, as saved or kept last by anybody who shares the store."""
        ...

    async def save(self, key: str, token: Token) -> None:
        """Write a token; when this returns, it survives whatever happens to the process."""

    def cache(self, key: str, token: Token) -> None:
        """Take a token that may be lost; writing it can wait for others."""

    async def forget(self, key: str) -> None:
        """Drop a token."""

    async def flush(self) -> None:
        """Write what was kept so far."""

    def lock(self, key: str) -> AbstractAsyncContextManager[None]:
        """Hold the right to renew this token, alone among all who share the store, dead ones excluded.

        Entering it should fail where `save` would: the refresh token is not spent yet.
        """
        ...


class MemoryTokenStore:
    """Keeps tokens for as long as the process lives; a refresh token that rotated dies with it."""

    def __init__(self) -> None:
        self._tokens: dict[str, Token] = {}
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    async def load(self, key: str) -> Token | None:
        """Find a token."""
        return self._tokens.get(key)

    async def save(self, key: str, token: Token) -> None:
        """Remember a token."""
        self._tokens[key] = token

    def cache(self, key: str, token: Token) -> None:
        """Remember a token."""
        self._tokens[key] = token

    async def forget(self, key: str) -> None:
        """Drop a token."""
        self._tokens.pop(key, None)

    async def flush(self) -> None:
        """There is nothing to write."""

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncGenerator[None]:
        """Take turns within the process; a lock that nobody uses is not kept."""
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
