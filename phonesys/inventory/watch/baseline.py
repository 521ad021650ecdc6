"""The state that a watch compares the next sweep with."""

from __future__ import annotations

import zlib
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from phonesys.inventory.diff import Change, Difference, MoveDetector, compare, unknown_account
from phonesys.inventory.record import COMPLETE_OUTCOMES, missing_reason
from phonesys.record import NumberRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from phonesys.inventory.inventory import Inventory
    from phonesys.inventory.record import AccountKey
    from phonesys.sweep import AccountReport, SweepReport

# A watch runs for weeks. Packed, its baseline is a tenth of the records' size, and an account without a
# change is recognized by its bytes.
_FAST = 1


def _pack(records: list[NumberRecord]) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(records), _FAST)


def _unpack(packed: bytes) -> list[NumberRecord]:
    return _decode(zlib.decompress(packed))


_decode = msgspec.msgpack.Decoder(list[NumberRecord]).decode
_NOTHING = _pack([])


class RoundPages:
    """The pages of one round, by account, until each account is complete."""

    def __init__(self) -> None:
        self.compared: set[AccountKey] = set()
        self._open: dict[AccountKey, tuple[int, list[NumberRecord]]] = {}

    def add(self, key: AccountKey, records: list[NumberRecord]) -> None:
        """Add a page."""
        pages, so_far = self._open.get(key, (0, []))
        self._open[key] = pages + 1, so_far + records if so_far else records

    def complete_records(self, key: AccountKey, result: AccountReport) -> list[NumberRecord] | None:
        """Return the records of an account once all its pages have arrived, and None before."""
        pages, records = self._open[key]
        if pages < result.pages or result.outcome not in COMPLETE_OUTCOMES:
            return None
        del self._open[key]
        self.compared.add(key)
        return records


class Baseline:
    """The last complete state of every account, and the accounts that cannot be read at present."""

    def __init__(self, listed: Iterable[str]) -> None:
        self._listed = frozenset(listed)
        self._known: dict[AccountKey, bytes] = {}
        self._unknown: set[AccountKey] = set()
        self._surveyed: set[str] = set()
        """Backends whose list of accounts has been read. An account that is new on the list was added."""

    @property
    def is_empty(self) -> bool:
        """True if no account is known."""
        return not (self._known or self._unknown)

    async def load(
        self, store: Inventory, only: Iterable[str], named: Mapping[str, Any], until: int | None
    ) -> None:
        """Start from the store's last sweep of the same backends, but from none after `until`."""
        async with aclosing(store.last_known(only, named, until=until)) as accounts:
            async for (backend, account), records in accounts:
                if records is None:
                    self._unknown.add((backend, account))
                elif account:
                    self._known[backend, account] = _pack(records)
        backends = {backend for backend, _ in (*self._known, *self._unknown)}
        self._surveyed = {name for name in self._listed & backends if (name, "") not in self._unknown}

    def update(
        self, key: AccountKey, result: AccountReport, records: list[NumberRecord], moves: MoveDetector
    ) -> list[Change]:
        """Compare an account with its last complete state. Return its changes, except possible moves."""
        problem = missing_reason(result.outcome, str(result.error) if result.error else None, result.rejected)
        if problem is not None:
            return self._mark_unknown(key, problem)
        was_unknown = key in self._unknown
        self._unknown.discard(key)
        known = self._known.get(key)
        packed = self._known[key] = _pack(records)
        if packed == known or (known is None and (was_unknown or key[0] not in self._surveyed)):
            return []  # nothing has changed, or the first sight of an account, which is its baseline
        return moves.add(compare(_unpack(known or _NOTHING), records))

    def _mark_unknown(self, key: AccountKey, reason: str) -> list[Change]:
        if key in self._unknown:
            return []
        self._unknown.add(key)
        return [unknown_account(*key, reason)]

    def drop_unlisted(self, report: SweepReport, moves: MoveDetector) -> None:
        """Remove the accounts that their backends no longer list."""
        unlisted = {failure.provider for failure in report.failures if failure.account is None}
        self._surveyed |= self._listed - unlisted
        for key in [key for key in (*self._known, *self._unknown) if key not in report.accounts]:
            if key[0] in self._listed and key[0] not in unlisted:
                self._unknown.discard(key)
                moves.add(Difference([], _unpack(self._known.pop(key, _NOTHING)), []))
