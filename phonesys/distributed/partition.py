"""Division of accounts into shards, on disk: ten million accounts need no memory of the driver."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import AsyncIterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio.lowlevel
import msgspec

from phonesys.errors import InvalidArgument
from phonesys.inventory.shard import company_of, list_accounts, shard_index

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping

    from phonesys.sweep import Accounts
    from phonesys.system import PhoneSystem

    Row = tuple[str, str, str | None]
    """A backend, an account and its name."""

_CHUNK = 4096
_TURN = 1000  # accounts between two chances for other tasks
_encode = msgspec.json.Encoder().encode
_decode_rows = msgspec.json.Decoder(list[tuple[str, str, str | None]]).decode


class ShardAccounts(msgspec.Struct, frozen=True):
    """The accounts of a shard."""

    accounts: dict[str, tuple[str, ...] | None]
    """By backend; None for all that it lists."""
    names: dict[str, dict[str, str]]


class Partition:
    """All accounts of a sweep, and after `divide` those of each shard."""

    def __init__(self) -> None:
        self._all = tempfile.TemporaryFile()  # noqa: SIM115 -- closed by `close`
        self._divided = tempfile.TemporaryFile()  # noqa: SIM115
        self._chunks: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        self._companies: dict[str, tuple[str, tuple[str, ...] | None]] = {}
        """By backend: its company, and its accounts, None for all that it lists."""
        self.count = 0
        self.by_backend: dict[str, int] = {}
        self._shards = 1

    def close(self) -> None:
        """Delete what is on disk."""
        self._all.close()
        self._divided.close()

    async def read(
        self,
        phones: PhoneSystem,
        names: Iterable[str],
        accounts: Mapping[str, Accounts],
        *,
        split_companies: bool = False,
    ) -> None:
        """Read the accounts of every backend. A company that is not split lists its own, in its shard."""
        for name in names:
            company = None if split_companies else company_of(phones[name])
            named = accounts.get(name)
            if company is not None:
                those = None if named is None else tuple([one async for one, _ in _iterate(named)])
                self._companies[name] = company, those
                continue
            rows = list_accounts(phones[name]) if named is None else _iterate(named)
            async with aclosing(rows):
                async for account, label in rows:
                    self._add(name, account, label)

    def _add(self, backend: str, account: str, label: str | None) -> None:
        if not isinstance(account, str):
            raise InvalidArgument(f"accounts: expected strings, got {account!r:.80}")
        self._all.write(_encode((backend, account, label)) + b"\n")
        self.count += 1
        self.by_backend[backend] = self.by_backend.get(backend, 0) + 1

    @property
    def companies(self) -> int:
        """The number of backends whose accounts stay in one shard."""
        return len(self._companies)

    async def divide(self, shards: int) -> None:
        """Divide the accounts into so many shards."""
        self._shards = shards
        self._all.seek(0)
        pending: defaultdict[int, bytearray] = defaultdict(bytearray)
        for number, line in enumerate(self._all):
            account = msgspec.json.decode(line)[1]
            index = shard_index(account, shards)
            rows = pending[index]
            rows += line
            if len(rows) >= _CHUNK:
                self._flush(index, rows)
            if not number % _TURN:
                await anyio.lowlevel.checkpoint()
        for index, rows in pending.items():
            self._flush(index, rows)
        self._all.close()

    def _flush(self, index: int, rows: bytearray) -> None:
        if rows:
            self._chunks[index].append((self._divided.tell(), len(rows)))
            self._divided.write(rows)
            rows.clear()

    def accounts_of(self, index: int) -> ShardAccounts:
        """Return the accounts of a shard."""
        accounts: dict[str, Any] = {
            backend: those
            for backend, (company, those) in self._companies.items()
            if shard_index(company, self._shards) == index
        }
        names: defaultdict[str, dict[str, str]] = defaultdict(dict)
        found: defaultdict[str, dict[str, None]] = defaultdict(dict)
        for backend, account, label in self._rows(index):
            found[backend][account] = None  # an account that is named twice is swept once
            if label is not None:
                names[backend][account] = label
        accounts |= {backend: tuple(those) for backend, those in found.items()}
        return ShardAccounts(accounts, dict(names))

    def _rows(self, index: int) -> list[Row]:
        parts: list[bytes] = []
        for offset, size in self._chunks[index]:
            self._divided.seek(offset)
            parts.append(self._divided.read(size))
        return _decode_rows(b"[" + b",".join(b"".join(parts).splitlines()) + b"]")


async def _iterate(accounts: Accounts) -> AsyncGenerator[tuple[str, str | None]]:
    if isinstance(accounts, AsyncIterable):
        async for account in accounts:
            yield account, None
        return
    for number, account in enumerate(accounts):
        if not number % _TURN:
            await anyio.lowlevel.checkpoint()
        yield account, None
