"""One account while it is read: every number once, and read again where a reading does not add up."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

import msgspec

from phonesys.errors import PhonesysError
from phonesys.model import Cursor
from phonesys.sweep.report import AccountReport, Outcome
from phonesys.sweep.source import Source
from phonesys.sweep.verify import ListingPass, SeenRows, identity_of, ids_and_numbers, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phonesys.model import Page, PhoneNumber

_MAX_PASSES = 3


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
    passes: int = 1
    waiting: int = 0
    """How many of its calls wait for their turn, or before a retry."""
    deferred: deque[Cursor | None] | None = None
    """Pages that are left until those have had it."""
    error: PhonesysError | None = None
    inconsistency: str | None = None
    """Why it cannot be said that it was read whole."""
    listing_pass: ListingPass | None = None
    previous: PreviousPasses | None = None

    def accept(self, page: Page[PhoneNumber]) -> Page[PhoneNumber]:
        """Return the page without what came before; raises RepeatedPage where nothing of it is new."""
        if self.listing_pass is None:
            if not page.next and _is_consistent_alone(page):
                return page
            self.listing_pass = ListingPass(identity_of(self.source.provider))
        new = self.listing_pass.add(page)
        if self.previous is not None:
            page, new = self.previous.unseen(page, new, self.listing_pass.identity)
        return _only(page, new, self.listing_pass.identity)

    def following(self, page: Page[PhoneNumber]) -> Iterable[Cursor]:
        """Name the cursors to fetch now that this page is read."""
        return page.next if self.listing_pass is None else self.listing_pass.following(page.next)

    def restart_if_inconsistent(self) -> bool:
        """Begin another reading if this one, all pages read, does not add up; say whether that was so.

        Where that would be no use, `doubt` says what does not add up.
        """
        reading = self.listing_pass
        if reading is None or reading.is_consistent or not self.verify:
            return False
        if self.previous is not None and self.previous.fingerprints == reading.fingerprints:
            # Two readings agree: what is odd about the list is the vendor's.
            if reading.rows < reading.total:
                self.inconsistency = f"the vendor counts {reading.total} numbers and lists {reading.found}"
            return False
        if self.passes == _MAX_PASSES:
            self.inconsistency = (
                f"rows moved between its pages each time that it was read, {self.passes} times"
            )
            return False
        self._next_reading(reading)
        return True

    def _next_reading(self, reading: ListingPass) -> None:
        self.passes += 1
        self.previous = self.previous or PreviousPasses()
        self.previous.remember(reading)
        self.duplicates = max(self.duplicates, reading.duplicates)
        self.listing_pass = ListingPass(reading.identity, in_order=True)

    def result(self, outcome: Outcome | None = None) -> AccountReport:
        """Sum the account up; without an outcome, it was read whole."""
        if outcome is None:
            outcome = Outcome.DONE if self.numbers or self.rejected else Outcome.EMPTY
        return AccountReport(
            outcome=outcome,
            numbers=self.numbers,
            pages=self.pages,
            rejected=self.rejected,
            duplicates=max(self.duplicates, self.listing_pass.duplicates if self.listing_pass else 0),
            passes=self.passes,
            error=self.error,
        )


class PreviousPasses(msgspec.Struct, eq=False):
    """What the earlier readings of an account found, and the pages of the last of them."""

    seen: SeenRows = msgspec.field(default_factory=SeenRows)
    unreadable: set[bytes] = msgspec.field(default_factory=set[bytes])
    fingerprints: Counter[int] = msgspec.field(default_factory=Counter[int])

    def remember(self, reading: ListingPass) -> None:
        """Add a reading."""
        self.seen.update(reading.seen)
        self.unreadable |= reading.unreadable
        self.fingerprints = reading.fingerprints

    def unseen(
        self, page: Page[PhoneNumber], new: set[str], identity: Callable[[PhoneNumber], str]
    ) -> tuple[Page[PhoneNumber], set[str]]:
        """Return the page without the unreadable rows, and the ids without those, that were found before."""
        rejected = tuple(row for row in page.rejected if row.raw not in self.unreadable)
        unknown = self.seen.unseen(*ids_and_numbers(page.numbers, identity))
        return msgspec.structs.replace(page, rejected=rejected), new & unknown


def _is_consistent_alone(page: Page[PhoneNumber]) -> bool:
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
