"""One account while it is read: every number once, and another pass if one is not consistent."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

import msgspec

from phonesys.errors import PhonesysError, RepeatedPage
from phonesys.model import Cursor
from phonesys.sweep.fetch import PageFetcher
from phonesys.sweep.report import AccountReport, Outcome
from phonesys.sweep.verify import (
    ListingPass,
    PassPage,
    SeenRows,
    form_one_list,
    identities_of,
    identity_of,
    number_of,
    with_rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonesys.model import Page, PhoneNumber

_MAX_PASSES = 3


class AccountProgress(msgspec.Struct, eq=False):
    """The state of an account so far.

    Most accounts have one consistent page, so the state that others need is made only for them.
    """

    fetcher: PageFetcher
    account: str
    overlapping: bool = False
    """True if its pages are requested so that they overlap."""
    unfetched: int = 1
    """Pages that were named and not fetched yet."""
    undelivered: int = 1
    """The same, and pages on their way to the consumer."""
    numbers: int = 0
    """Numbers, pages and unreadable rows that were handed to the consumer."""
    pages: int = 0
    rejected: int = 0
    duplicates: int = 0
    passes: int = 1
    max_passes: int = _MAX_PASSES
    waiting: int = 0
    """Calls that wait for a rate window or before a retry."""
    deferred: deque[Cursor | None] | None = None
    """Pages that are not requested while those calls wait."""
    error: PhonesysError | None = None
    inconsistency: str | None = None
    """The reason why the account may not have been read whole."""
    listing_pass: ListingPass | None = None
    failures: list[Exception] | None = None
    """The failures of pages that may be beyond the account's end."""
    previous: PreviousPasses | None = None

    def add(self, page: Page[PhoneNumber]) -> Page[PhoneNumber]:
        """Return the page without rows seen before. Raise RepeatedPage if none of its rows is new."""
        if self.listing_pass is None:
            if not page.next and _is_consistent_alone(page):
                return page
            identity = identity_of(self.fetcher.source.provider)
            self.listing_pass = ListingPass(identity, overlapping=self.overlapping)
        page = self.listing_pass.add(page)
        return page if self.previous is None else self.previous.unseen(page, self.listing_pass.identity)

    @property
    def has_checks(self) -> bool:
        """True if requests are to be made where pages meet."""
        return self.listing_pass is not None and bool(self.listing_pass.checks)

    @property
    def has_ended(self) -> bool:
        """True if pages that were named on a guess, and are not requested yet, lie beyond the end."""
        listing = self.listing_pass
        if listing is None or listing.last is None:
            return False
        listing.has_ended = listing.has_ended or (not listing.totals and listing.is_whole)
        return listing.has_ended

    def hold(self, failure: Exception) -> bool:
        """Hold the failure of a page until the pass has ended. Return False if it fails the account at once.

        Without a total, pages are requested on a guess, and vendors refuse or repeat pages beyond the end in
        many ways. Such a failure does not matter if the other pages prove to be the whole account.
        """
        listing = self.listing_pass
        if listing is None or listing.totals or not listing.by_start:
            return False
        if listing.sequential and not listing.ends_in_repetition:
            return False  # in order, a page that fails before the end is seen to be one of the account's
        self.failures = [*(self.failures or ()), failure]
        return True

    def end_pass(self) -> Exception | None:
        """Return the held failure that fails the account now that the pass has ended, if any does."""
        failures, self.failures = self.failures, None
        listing = self.listing_pass
        if not failures or listing is None or listing.is_whole:
            return None
        if all(isinstance(failure, RepeatedPage) for failure in failures):
            if self.fetcher.verify and not listing.sequential:
                listing.row_moved = True  # one page at a time shows which of them was repeated
                return None
            if listing.ends_in_repetition:
                return None
        return failures[0]

    def restart_if_inconsistent(self) -> bool:
        """Begin another pass if this one, whose pages are all read, is not consistent.

        Return False if another pass is not needed, or would not help; then set `inconsistency`.
        """
        listing, previous = self.listing_pass, self.previous
        if listing is None or not self.fetcher.verify or listing.is_consistent:
            return False
        if previous is not None and previous.fingerprints == listing.fingerprints():
            # Two passes agree, so no row moved, and the oddity is the vendor's.
            if not (self.overlapping and listing.row_moved):
                if listing.row_count < listing.total:
                    total, found = listing.total, listing.found
                    self.inconsistency = f"the vendor counts {total} numbers and lists {found}"
                return False
            self.fetcher.stop_overlapping()
        elif self.passes == self.max_passes:
            if previous is not None and form_one_list([*previous.pages, *listing.pages]):
                return False
            self.inconsistency = (
                f"rows moved between its pages each time that it was read, {self.passes} times"
            )
            return False
        self._begin_pass(listing)
        return True

    def _begin_pass(self, last: ListingPass) -> None:
        """Begin to read the account again: page after page, or first in pages that do not overlap."""
        self.previous = self.previous or PreviousPasses()
        self.previous.remember(last)
        self.duplicates = max(self.duplicates, last.duplicates)
        sequential = True
        if self.overlapping and not self.fetcher.overlaps:
            self.overlapping = sequential = False
            self.max_passes = self.passes + _MAX_PASSES
        self.passes += 1
        self.listing_pass = ListingPass(last.identity, sequential=sequential, overlapping=self.overlapping)

    def result(self, outcome: Outcome | None = None) -> AccountReport:
        """Return the account's report; without an outcome, as read whole."""
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
    """The pages of an account's earlier passes."""

    pages: list[PassPage] = msgspec.field(default_factory=list[PassPage])
    seen: SeenRows = msgspec.field(default_factory=SeenRows)
    unreadable: set[bytes] = msgspec.field(default_factory=set[bytes])
    fingerprints: Counter[int] = msgspec.field(default_factory=Counter[int])

    def remember(self, listing_pass: ListingPass) -> None:
        """Add a pass."""
        self.pages += listing_pass.pages
        for page in listing_pass.pages:
            self.seen.add(page)
        self.unreadable.update(listing_pass.unreadable)
        self.fingerprints = listing_pass.fingerprints()

    def unseen(self, page: Page[PhoneNumber], identity: Callable[[PhoneNumber], str]) -> Page[PhoneNumber]:
        """Return the page without the rows, readable or not, that were found before."""
        if page.rejected:
            rejected = tuple(row for row in page.rejected if row.raw not in self.unreadable)
            page = msgspec.structs.replace(page, rejected=rejected)
        ids, numbers, _ = identities_of(page.numbers, identity)
        return with_rows(page, self.seen.unseen(ids, numbers), identity)


def _is_consistent_alone(page: Page[PhoneNumber]) -> bool:
    """Return True if an account's only page holds no row twice, and as many as the vendor counts."""
    rows = len(page.numbers)
    if page.total is not None and page.total > rows + len(page.rejected):
        return False
    return len(set(map(number_of, page.numbers))) == rows
