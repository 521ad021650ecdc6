"""An index of who holds which number, shared by the rules that compare accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonesys.inventory.digits import to_digits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phonesys.inventory.record import AccountKey
    from phonesys.record import NumberRecord


class Holders:
    """The accounts that hold each number.

    There may be a million numbers, so each costs two integers. Lists exist only for repeated numbers.
    """

    def __init__(self) -> None:
        self._accounts: dict[AccountKey, int] = {}
        self._first: dict[int, int] = {}
        self._repeated: dict[int, tuple[str, list[int]]] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._first

    @property
    def backends(self) -> list[str]:
        """The names of the backends, sorted."""
        return sorted({backend for backend, _ in self._accounts})

    def add(self, number: int, record: NumberRecord) -> None:
        """Add a record with this number."""
        account = self._accounts.setdefault((record.backend, record.account), len(self._accounts))
        if number in self._first:
            text_and_accounts = self._repeated.setdefault(number, (record.number, [self._first[number]]))
            text_and_accounts[1].append(account)
        else:
            self._first[number] = account

    def repeated(self) -> Iterator[tuple[str, list[AccountKey]]]:
        """Yield each number with several rows, and the account of every row."""
        accounts = list(self._accounts)
        for number, holders in self._repeated.values():
            yield number, [accounts[holder] for holder in holders]


class NumberIndex:
    """The holders of all numbers: carriers, and overlays such as voice agents on a carrier's number."""

    def __init__(self, overlays: frozenset[str]) -> None:
        self._overlays = overlays
        self.carriers = Holders()
        self.overlays = Holders()
        self.overlay_records: dict[int, NumberRecord] = {}

    def add(self, record: NumberRecord) -> None:
        """Add a record, if its number has digits."""
        number = to_digits(record.number)
        if number is None:
            return
        if record.provider in self._overlays:
            self.overlays.add(number, record)
            self.overlay_records.setdefault(number, record)
        else:
            self.carriers.add(number, record)
