"""One account while it is read: every number once, and another pass if one is not consistent."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

import msgspec

from phonesys.errors import PhonesysError
from phonesys.model import Cursor
from phonesys.sweep.report import AccountReport, Counts, Outcome
from phonesys.sweep.source import Source
from phonesys.sweep.verify import ListingPass, SeenRows, identity_of, ids_and_numbers, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phonesys.model import Page, PhoneNumber

_MAX_PASSES = 3


class AccountProgress(msgspec.Struct, eq=False):
    """The state of an account so far.

    Most accounts have one consistent page, so the state that others need is made only for them.
    """

    source: Source
    account: str
    verify: bool = True
    unfetched: int = 1
    """Pages that were named and not fetched yet."""
    undelivered: int = 1
    """The same, and pages on their way to the consumer."""
    counts: Counts = msgspec.field(default_factory=Counts)
    duplicates: int = 0
    passes: int = 1
    waiting: int = 0
    """Calls that wait for a rate window or before a retry."""
    deferred: deque[Cursor | None] | None = None
    """Pages that are not requested while those calls wait."""
    error: PhonesysError | None = None
    inconsistency: str | None = None
    """The reason why the account may not have been read whole."""
    listing_pass: ListingPass | None = None
    previous: PreviousPasses | None = None

    def add(self, page: Page[PhoneNumber]) -> Page[PhoneNumber]:
        """Return the page without rows seen before. Raise RepeatedPage if none of its rows is new."""
        if self.listing_pass is None:
            if not page.next and _is_consistent_alone(page):
                return page
            self.listing_pass = ListingPass(identity_of(self.source.provider))
        new = self.listing_pass.add(page)
        if self.previous is not None:
            page, new = self.previous.unseen(page, new, self.listing_pass.identity)
        return _with_rows(page, new, self.listing_pass.identity)

    def next_cursors(self, page: Page[PhoneNumber]) -> Iterable[Cursor]:
        """Return the cursors to fetch after this page."""
        return page.next if self.listing_pass is None else self.listing_pass.next_cursors(page.next)

    def restart_if_inconsistent(self) -> bool:
        """Begin another pass if this one, whose pages are all read, is not consistent.

        Return False if another pass is not needed, or would not help; then set `inconsistency`.
        """
        listing_pass = self.listing_pass
        if listing_pass is None or listing_pass.is_consistent or not self.verify:
            return False
        if self.previous is not None and self.previous.fingerprints == listing_pass.fingerprints:
            # Two passes agree, so the oddity is the vendor's and no row moved.
            if listing_pass.rows < listing_pass.total:
                total, found = listing_pass.total, listing_pass.found
                self.inconsistency = f"the vendor counts {total} numbers and lists {found}"
            return False
        if self.passes == _MAX_PASSES:
            self.inconsistency = (
                f"rows moved between its pages each time that it was read, {self.passes} times"
            )
            return False
        self._begin_pass(listing_pass)
        return True

    def _begin_pass(self, last: ListingPass) -> None:
        self.passes += 1
        self.previous = self.previous or PreviousPasses()
        self.previous.remember(last)
        self.duplicates = max(self.duplicates, last.duplicates)
        self.listing_pass = ListingPass(last.identity, sequential=True)

    def result(self, outcome: Outcome | None = None) -> AccountReport:
        """Return the account's report; without an outcome, as read whole."""
        counts = self.counts
        if outcome is None:
            outcome = Outcome.DONE if counts.numbers or counts.rejected else Outcome.EMPTY
        return AccountReport(
            outcome=outcome,
            numbers=counts.numbers,
            pages=counts.pages,
            rejected=counts.rejected,
            duplicates=max(self.duplicates, self.listing_pass.duplicates if self.listing_pass else 0),
            passes=self.passes,
            error=self.error,
        )


class PreviousPasses(msgspec.Struct, eq=False):
    """The rows of an account's earlier passes, and the pages of the last of them."""

    seen: SeenRows = msgspec.field(default_factory=SeenRows)
    unreadable: set[bytes] = msgspec.field(default_factory=set[bytes])
    fingerprints: Counter[int] = msgspec.field(default_factory=Counter[int])

    def remember(self, listing_pass: ListingPass) -> None:
        """Add a pass."""
        self.seen.update(listing_pass.seen)
        self.unreadable |= listing_pass.unreadable
        self.fingerprints = listing_pass.fingerprints

    def unseen(
        self, page: Page[PhoneNumber], new: set[str], identity: Callable[[PhoneNumber], str]
    ) -> tuple[Page[PhoneNumber], set[str]]:
        """Return the page without unreadable rows found before, and the ids without those found before."""
        rejected = tuple(row for row in page.rejected if row.raw not in self.unreadable)
        unknown = self.seen.unseen(*ids_and_numbers(page.numbers, identity))
        return msgspec.structs.replace(page, rejected=rejected), new & unknown


def _is_consistent_alone(page: Page[PhoneNumber]) -> bool:
    """Return True if an account's only page holds no row twice, and as many as the vendor counts."""
    rows = len(page.numbers)
    if page.total is not None and page.total > rows + len(page.rejected):
        return False
    return len(set(map(number_of, page.numbers))) == rows


def _with_rows(
    page: Page[PhoneNumber], ids: set[str], identity: Callable[[PhoneNumber], str]
) -> Page[PhoneNumber]:
    """Return the page with only these rows, each once."""
    if len(ids) == len(page.numbers):
        return page
    once = {identity(number): number for number in page.numbers}
    return msgspec.structs.replace(page, numbers=tuple(once[id_] for id_ in once if id_ in ids))
