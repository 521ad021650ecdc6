"""The rows of an account that were found, told apart."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonesys.model import PhoneNumber
    from phonesys.provider import NumberProvider

number_of: Callable[[PhoneNumber], str] = attrgetter("number")
_id_of: Callable[[PhoneNumber], str] = attrgetter("id")


def identity_of(provider: NumberProvider) -> Callable[[PhoneNumber], str]:
    """Return what tells a backend's rows apart: the number where no two rows of an account share one."""
    return number_of if getattr(provider, "unique_numbers", False) else _id_of


class Known(msgspec.Struct, eq=False):
    """Rows by id and by number: a vendor may leave out a row's id at times, whose id then is the number."""

    ids: set[str] = msgspec.field(default_factory=set[str])
    numbers: set[str] = msgspec.field(default_factory=set[str])

    def __len__(self) -> int:
        return len(self.ids)

    def new(self, rows: dict[str, str]) -> set[str]:
        """Return the ids of those that are not known; rows are numbers by id."""
        fresh = rows.keys() - self.ids
        if not self.numbers:
            return fresh
        bare = {id_ for id_ in fresh if rows[id_] == id_}
        return {id_ for id_ in fresh - bare if rows[id_] not in self.ids} | (bare - self.numbers)

    def add(self, rows: dict[str, str], *, by_number: bool) -> None:
        """Add rows; their numbers need no set of their own where they are the ids."""
        self.ids |= rows.keys()
        if not by_number:
            self.numbers.update(rows.values())

    def add_all(self, others: Known) -> None:
        """Add what others know."""
        self.ids |= others.ids
        self.numbers |= others.numbers
