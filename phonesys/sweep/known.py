"""The rows of an account that were found, told apart."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from phonesys.model import PhoneNumber
    from phonesys.provider import NumberProvider

number_of: Callable[[PhoneNumber], str] = attrgetter("number")
_id_of: Callable[[PhoneNumber], str] = attrgetter("id")


def identity_of(provider: NumberProvider) -> Callable[[PhoneNumber], str]:
    """Return what tells a backend's rows apart: the number where no two rows of an account share one."""
    return number_of if getattr(provider, "unique_numbers", False) else _id_of


def told_apart(
    rows: Sequence[PhoneNumber], identity: Callable[[PhoneNumber], str]
) -> tuple[list[str], list[str]]:
    """Return the rows' ids and numbers: the same list twice where rows are told apart by number."""
    ids = list(map(identity, rows))
    return ids, ids if identity is number_of else list(map(number_of, rows))


class Known(msgspec.Struct, eq=False):
    """Rows by id and by number: a vendor may leave out a row's id at times, whose id then is the number."""

    ids: set[str] = msgspec.field(default_factory=set[str])
    numbers: set[str] = msgspec.field(default_factory=set[str])

    def __len__(self) -> int:
        return len(self.ids)

    def new(self, ids: list[str], numbers: list[str]) -> set[str]:
        """Return the ids of the rows that are not known; takes what `told_apart` returns, as `add` does."""
        # From set to set all the way: anything else beside a set that grows costs a copy of it.
        fresh = set(ids) - self.ids
        if numbers is ids:
            return fresh
        on_page = set(numbers)
        if on_page.isdisjoint(fresh) and on_page.isdisjoint(self.ids):
            return fresh  # every row has an id of its own, then as now
        rows = dict(zip(ids, numbers, strict=True))
        bare = {id_ for id_ in fresh if rows[id_] == id_}
        return {id_ for id_ in fresh - bare if rows[id_] not in self.ids} | (bare - self.numbers)

    def add(self, ids: list[str], numbers: list[str]) -> None:
        """Add rows."""
        self.ids.update(ids)
        if numbers is not ids:
            self.numbers.update(numbers)

    def add_all(self, others: Known) -> None:
        """Add what others know."""
        self.ids |= others.ids
        self.numbers |= others.numbers
