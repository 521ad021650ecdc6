"""Registry of rate limiters: clients with the same credential at the same address share one.

A window belongs to a credential, not to a client. A client that is closed and opened again, and two clients
of one process, must know what was sent before, or the vendor refuses what they send.
"""

from __future__ import annotations

import os
import time
import weakref
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeAlias

from phonesys.http.auth import PerAccount, StaticAuth
from phonesys.http.ratelimit.limiter import RateLimiter

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Hashable

    from phonesys.http.auth import Auth
    from phonesys.http.ratelimit.headers import RateLimitHeaders
    from phonesys.http.ratelimit.window import RateLimit

    Key: TypeAlias = tuple[str, RateLimit, RateLimitHeaders | None, Hashable]

_MIN_ENTRIES = 64
_CLOCK_TOLERANCE = 1.0
_DIGEST_KEY = os.urandom(32)  # digests tell credentials apart in this process, and nothing elsewhere


class LimiterRegistry:
    """The rate limiters in use, and those in which requests still count."""

    def __init__(self) -> None:
        self._entries: dict[Key, _Entry] = {}
        self._max_entries = _MIN_ENTRIES

    def __len__(self) -> int:
        return len(self._entries)

    def acquire(
        self,
        base_url: str,
        auth: Auth,
        limit: RateLimit,
        headers: RateLimitHeaders | None,
        loop: AbstractEventLoop,
    ) -> RateLimiter:
        """Return the limiter for a credential. Each call needs one of `release`."""
        key = base_url, limit, headers, credential_key(auth)
        entry = self._entries.get(key)
        if entry is not None and not entry.usable_in(loop):
            entry = None
        if entry is None:
            self._drop_idle()
            entry = self._entries[key] = _Entry(RateLimiter(limit, loop, headers), loop)
        entry.users += 1
        return entry.limiter

    def release(self, limiter: RateLimiter) -> None:
        """Note that a client has closed."""
        for entry in self._entries.values():
            if entry.limiter is limiter:
                entry.users -= 1
                return

    def _drop_idle(self) -> None:
        if len(self._entries) >= self._max_entries:
            self._entries = {key: entry for key, entry in self._entries.items() if not entry.is_idle()}
            self._max_entries = max(_MIN_ENTRIES, 2 * len(self._entries))


class _Entry:
    """A limiter, and the event loop whose clock and timers it uses."""

    def __init__(self, limiter: RateLimiter, loop: AbstractEventLoop) -> None:
        self.limiter = limiter
        self.users = 0
        self._loop = loop
        self._monotonic = _is_monotonic(loop)

    def usable_in(self, loop: AbstractEventLoop) -> bool:
        """Return True if the limiter works in this loop, where its clock is the same."""
        if self._loop is loop:
            return True
        if self.users or not (self._monotonic and _is_monotonic(loop)):
            return False
        self.limiter.rebind(loop)
        self._loop = loop
        return True

    def is_idle(self) -> bool:
        """Return True if no client uses the limiter and none of its requests counts any more."""
        return not self.users and self.limiter.is_idle(self._loop.time())


def credential_key(auth: Auth) -> Hashable:
    """Return a key that is equal for equal credentials, and does not hold them."""
    digest = blake2b(key=_DIGEST_KEY)
    auths = auth.credentials if isinstance(auth, PerAccount) else {"": auth}
    for account, each in sorted(auths.items()):
        if not isinstance(each, StaticAuth):
            return _identity(auth)
        digest.update(repr([account, *((name, str(value)) for name, value in each.headers.items())]).encode())
    return digest.digest()


def _identity(auth: Auth) -> Hashable:
    try:
        return weakref.ref(auth)
    except TypeError:  # of a class with slots
        return object()


def _is_monotonic(loop: AbstractEventLoop) -> bool:
    return abs(loop.time() - time.monotonic()) < _CLOCK_TOLERANCE


shared = LimiterRegistry()
"""The registry of this process."""
