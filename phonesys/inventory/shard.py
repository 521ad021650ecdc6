"""Shards: parts of one snapshot that several processes or machines sweep."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable
from hashlib import blake2b
from typing import TYPE_CHECKING, Self, cast

import msgspec

from phonesys.errors import InvalidArgument
from phonesys.provider import AccountsWithNames, SharesCompany

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterable, Mapping

    from phonesys.provider import NumberProvider
    from phonesys.sweep import Accounts, SweepReport
    from phonesys.system import PhoneSystem

MAX_SHARDS = 100_000
_PARSED = re.compile(r"([0-9]{1,6})/([0-9]{1,6})").fullmatch
_NAME = re.compile(r"[\w+@:-][\w.+@:-]{0,199}").fullmatch


class Shard(msgspec.Struct, frozen=True):
    """One of `count` parts of a snapshot, numbered from 1. Raises InvalidArgument for any other."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count <= MAX_SHARDS:
            raise InvalidArgument(
                f"shard: expected 1/{self.count} to {self.count}/{self.count}, got {self}"
                if 1 <= self.count <= MAX_SHARDS
                else f"shard: expected 1 to {MAX_SHARDS:,} shards, got {self}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the shard that is written as `3/16`."""
        found = _PARSED(text.strip())
        if found is None:
            raise InvalidArgument(f"shard: expected INDEX/COUNT such as 3/16, got {text!r:.40}")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def holds(self, key: str) -> bool:
        """Return True if the account, or the company, with this id belongs to the shard."""
        return shard_index(key, self.count) == self.index


def shard_index(key: str, count: int) -> int:
    """Return the index of the shard that a key belongs to: the same in every process, and for all time."""
    if count == 1:
        return 1
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % count + 1


def validate_snapshot_name(name: str) -> str:
    """Return the name of a snapshot, which may also name a folder. Raises InvalidArgument."""
    if not isinstance(name, str) or _NAME(name) is None:
        raise InvalidArgument(
            "snapshot: expected a name of letters, digits and any of . _ - + @ :, at most 200 and not "
            f"beginning with a dot; got {name!r:.60}"
        )
    return name


def company_of(provider: NumberProvider) -> str | None:
    """Return the company whose rate window all accounts of a backend share, or None."""
    return provider.company if isinstance(provider, SharesCompany) else None


def select_shard(
    phones: PhoneSystem,
    names: Iterable[str],
    accounts: Mapping[str, Accounts],
    shard: Shard,
    report: SweepReport,
    *,
    split_companies: bool = False,
) -> dict[str, Accounts]:
    """Return the accounts of a shard by backend, without the backends that it sweeps whole."""
    chosen = {
        name: select_accounts(
            phones[name], accounts.get(name), shard, report, split_companies=split_companies
        )
        for name in names
    }
    return {name: those for name, those in chosen.items() if those is not None}


def select_accounts(
    provider: NumberProvider,
    accounts: Accounts | None,
    shard: Shard,
    report: SweepReport,
    *,
    split_companies: bool = False,
) -> Accounts | None:
    """Return the accounts of a backend that belong to a shard; None for all that it lists.

    A company's accounts stay together, unless `split_companies`. A shard that does not hold the company does
    not list its accounts either.
    """
    company = None if split_companies else company_of(provider)
    if company is not None:
        return accounts if shard.holds(company) else ()
    if accounts is None:
        return None if shard.count == 1 else _Listed(provider, shard, report)
    # A collection stays one: a sweep that ends early then knows which accounts it has not reached.
    if isinstance(accounts, tuple | list | set | frozenset | dict):
        return tuple(account for account in cast("Collection[str]", accounts) if _holds(shard, account))
    return _Filtered(accounts, shard)


def _holds(shard: Shard, account: object) -> bool:
    # The sweep rejects anything but text, which must reach it.
    return not isinstance(account, str) or shard.holds(account)


class _Filtered:
    """The accounts of an iterable that belong to a shard."""

    def __init__(self, accounts: AsyncIterable[str] | Iterable[str], shard: Shard) -> None:
        self._accounts = accounts
        self._shard = shard

    async def __aiter__(self) -> AsyncGenerator[str]:
        if isinstance(self._accounts, AsyncIterable):
            async for account in self._accounts:
                if _holds(self._shard, account):
                    yield account
        else:
            for account in self._accounts:
                if _holds(self._shard, account):
                    yield account


class _Listed:
    """The accounts that a backend lists and that belong to a shard."""

    def __init__(self, provider: NumberProvider, shard: Shard, report: SweepReport) -> None:
        self._provider = provider
        self._shard = shard
        self._report = report

    async def __aiter__(self) -> AsyncGenerator[str]:
        async for account, name in list_accounts(self._provider):
            if self._shard.holds(account):
                if name:
                    self._report.account_names[self._provider.name, account] = name
                yield account


async def list_accounts(provider: NumberProvider) -> AsyncGenerator[tuple[str, str | None]]:
    """Yield the accounts that a backend lists, with their names if it knows them."""
    if isinstance(provider, AccountsWithNames):
        async for named in provider.accounts_with_names():
            yield named.id, named.name
    else:
        async for account in provider.accounts():
            yield account, None
