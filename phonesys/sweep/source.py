"""One backend and the accounts to sweep."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import TypeAlias

import msgspec

from phonesys.provider import NumberProvider

Accounts: TypeAlias = Iterable[str] | AsyncIterable[str]
"""Account ids: any iterable or async iterable of strings, read as needed. It may be endless."""


class Source(msgspec.Struct, frozen=True):
    """One backend and the accounts to sweep; every account that the backend lists if `accounts` is None."""

    name: str
    provider: NumberProvider
    accounts: Accounts | None = None
