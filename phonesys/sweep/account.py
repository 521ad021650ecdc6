"""One account while it is read: every number once, and read again where a reading does not add up."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

import msgspec

from phonesys.errors import PhonesysError
from phonesys.model import Cursor
from phonesys.sweep.report import AccountReport, Outcome
from phonesys.sweep.source import Source
from phonesys.sweep.verify import Known, Reading, identity_of, number_of, told_apart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phonesys.model import Page, PhoneNumber

_MOST_READINGS = 3


class AccountProgress(msgspec.Struct, eq=False):
    """What is known of an account so far.

    Most accounts have one page that adds up, so what everything else needs is made only then.
    """

    source: Source
    account: str
    verify: bool = True
    fetching: int = 1
    """How many pages were named and are not dealt with."""
    pending: int = 1
    """The same, and how many are on their way to the consumer."""
    numbers: int = 0
    pages: int = 0
    rejected: int = 0
    duplicates: int = 0
    readings: int = 1
    waiting: int = 0
    """How many of its calls wait for their turn, or before a retry."""
    parked: deque[Cursor | None] | None = None
    """Pages that are left until those have had it."""
    error: PhonesysError | None = None
    doubt: str | None = None
    """Why it cannot be said that it was read whole."""
    reading: Reading | None = None
    earlier: Earlier | None = None

    def accept(self, page: Page[PhoneNumber]) -> Page[PhoneNumber]:
        """Return the page without what came before; raises RepeatedPage where nothing of it is new."""
        if self.reading is None:
            if not page.next and _adds_up_alone(page):
                return page
            self.reading = Reading(identity_of(self.source.provider))
        new = self.reading.take(page)
        if self.earlier is not None:
            page, new = self.earlier.unseen(page, new, self.reading.identity)
        return _only(page, new, self.reading.identity)

    def following(self, page: Page[PhoneNumber]) -> Iterable[Cursor]:
        """Name the cursors to fetch now that this page is read."""
        return page.next if self.reading is None else self.reading.following(page.next)

    def begin_again(self) -> bool:
        """Begin another reading if this one, all pages read, does not add up; say whether that was so.

        Where that would be no use, `doubt` says what does not add up.
        """
        reading = self.reading
        if reading is None or reading.adds_up or not self.verify:
            return False
        if self.earlier is not None and self.earlier.prints == reading.prints:
            # Two readings agree: what is odd about the list is the vendor's.
            if reading.rows < reading.total:
                self.doubt = f"the vendor counts {reading.total} numbers and lists {reading.found}"
            return False
        if self.readings == _MOST_READINGS:
            self.doubt = f"rows moved between its pages each time that it was read, {self.readings} times"
            return False
        self._next_reading(reading)
        return True

    def _next_reading(self, reading: Reading) -> None:
        self.readings += 1
        self.earlier = self.earlier or Earlier()
        self.earlier.remember(reading)
        self.duplicates = max(self.duplicates, reading.duplicates)
        self.reading = Reading(reading.identity, in_order=True)

    def result(self, outcome: Outcome | None = None) -> AccountReport:
        """Sum the account up; without an outcome, it was read whole."""
        if outcome is None:
            outcome = Outcome.DONE if self.numbers or self.rejected else Outcome.EMPTY
        return AccountReport(
            outcome=outcome,
            numbers=self.numbers,
            pages=self.pages,
            rejected=self.rejected,
            duplicates=max(self.duplicates, self.reading.duplicates if self.reading else 0),
            readings=self.readings,
            error=self.error,
        )


class Earlier(msgspec.Struct, eq=False):
    """What the earlier readings of an account found, and the pages of the last of them."""

    known: Known = msgspec.field(default_factory=Known)
    unreadable: set[bytes] = msgspec.field(default_factory=set[bytes])
    prints: Counter[int] = msgspec.field(default_factory=Counter[int])

    def remember(self, reading: Reading) -> None:
        """Add a reading."""
        self.known.add_all(reading.known)
        self.unreadable |= reading.unreadable
        self.prints = reading.prints

    def unseen(
        self, page: Page[PhoneNumber], new: set[str], identity: Callable[[PhoneNumber], str]
    ) -> tuple[Page[PhoneNumber], set[str]]:
        """Return the page without the unreadable rows, and the ids without those, that were found before."""
        rejected = tuple(row for row in page.rejected if row.raw not in self.unreadable)
        unknown = self.known.new(*told_apart(page.numbers, identity))
        return msgspec.structs.replace(page, rejected=rejected), new & unknown


def _adds_up_alone(page: Page[PhoneNumber]) -> bool:
    """Say whether the one page of an account holds no row twice, and as many as the vendor counts."""
    rows = len(page.numbers)
    if page.total is not None and page.total > rows + len(page.rejected):
        return False
    return len(set(map(number_of, page.numbers))) == rows


def _only(
    page: Page[PhoneNumber], ids: set[str], identity: Callable[[PhoneNumber], str]
) -> Page[PhoneNumber]:
    if len(ids) == len(page.numbers):
        return page
    once = {identity(number): number for number in page.numbers}
    return msgspec.structs.replace(page, numbers=tuple(once[id_] for id_ in once if id_ in ids))
