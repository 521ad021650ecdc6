"""Fetching a token once among all processes that share a store."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from phonesys.oauth.lock import MAX_POLL, MIN_POLL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from phonesys.oauth.token import Token


async def fetch_under_lock(
    load: Callable[[], Awaitable[Token | None]],
    fetch: Callable[[], Awaitable[Token]],
    *,
    is_wanted: Callable[[Token], bool],
    try_lock: Callable[[], AbstractAsyncContextManager[bool]],
    timeout: float,  # noqa: ASYNC109 -- it ends the wait for the lock, and not the fetch
) -> Token:
    """Return a loaded token that is wanted, or fetch one while holding the lock.

    While another process holds the lock, the store is looked at again and again: that process may be fetching
    other tokens after this one. After `timeout` seconds, the token is fetched without the lock, which costs a
    request and no token.
    """
    deadline, pause = time.monotonic() + timeout, MIN_POLL
    while True:
        async with try_lock() as acquired:
            stored = await load()
            if stored is not None and is_wanted(stored):
                return stored
            if acquired or time.monotonic() > deadline:
                return await fetch()
        await asyncio.sleep(pause)
        pause = min(2 * pause, MAX_POLL)
