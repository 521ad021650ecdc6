"""OAuth tokens: one refresh for all waiting callers, and stores that survive crashes."""

from phonesys.http.ratelimit.leased import LeaseGrant, LeaseStore
from phonesys.oauth.cipher import new_key
from phonesys.oauth.file import FileTokenStore
from phonesys.oauth.store import MemoryTokenStore, SingleFlight, TokenStore
from phonesys.oauth.token import Token

__all__ = [
    "FileTokenStore",
    "LeaseGrant",
    "LeaseStore",
    "MemoryTokenStore",
    "SingleFlight",
    "Token",
    "TokenStore",
    "new_key",
]
