"""One account while it is read: every number once, and no way to go in a circle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from phonesys.errors import PhonesysError, RepeatedPage
from phonesys.model import Cursor
from phonesys.sweep.report import AccountReport, Outcome
from phonesys.sweep.source import Source

if TYPE_CHECKING:
    from phonesys.model import Page, PhoneNumber

_MOST_EMPTY_PAGES = 100


class AccountProgress(msgspec.Struct, eq=False):
    """What is known of an account so far.

    Most accounts have one page, so what only several pages need is made with the second.
    """

    source: Source
    account: str
    pending: int = 1
    """How many pages were named and are not yet in the consumer's hands."""
    numbers: int = 0
    pages: int = 0
    rejected: int = 0
    duplicates: int = 0
    empty_pages: int = 0
    error: PhonesysError | None = None
    cursors: set[Cursor | None] | None = None
    seen: set[str] | None = None
    prints: set[int] | None = None

    def accept(self, page: Page[PhoneNumber]) -> Page[PhoneNumber]:
        """Return the page without what came before; raises RepeatedPage where nothing of it is new."""
        if page.next:
            self._name(page.next)
        if self.cursors is None:
            return page
        return self._unseen(page)

    def _name(self, following: tuple[Cursor, ...]) -> None:
        """Take note of the cursors that are named, none of them twice."""
        if self.cursors is None:
            self.cursors = {None}
        for cursor in following:
            if cursor in self.cursors:
                raise RepeatedPage(f"paging came back to cursor {cursor!r:.80}")
            self.cursors.add(cursor)

    def _unseen(self, page: Page[PhoneNumber]) -> Page[PhoneNumber]:
        if not page.numbers:
            return self._empty(page)
        ids = [number.id for number in page.numbers]
        print_ = hash(tuple(ids))
        if self.seen is None or self.prints is None:
            self.seen, self.prints = set(), set()
        fresh = set(ids) - self.seen
        if not fresh and (print_ in self.prints or page.next):
            raise RepeatedPage("a page came again: none of its numbers is new")
        self.prints.add(print_)
        self.seen |= fresh
        if len(fresh) == len(ids):
            return page
        return self._without_duplicates(page, fresh)

    def _without_duplicates(self, page: Page[PhoneNumber], fresh: set[str]) -> Page[PhoneNumber]:
        once: dict[str, PhoneNumber] = {number.id: number for number in page.numbers if number.id in fresh}
        self.duplicates += len(page.numbers) - len(once)
        return msgspec.structs.replace(page, numbers=tuple(once.values()))

    def _empty(self, page: Page[PhoneNumber]) -> Page[PhoneNumber]:
        self.empty_pages += 1
        if page.next and self.empty_pages > _MOST_EMPTY_PAGES:
            raise RepeatedPage(f"{self.empty_pages} pages without a number, and another one named")
        return page

    def result(self, outcome: Outcome | None = None) -> AccountReport:
        """Sum the account up; without an outcome, it was read whole."""
        if outcome is None:
            outcome = Outcome.DONE if self.numbers or self.rejected else Outcome.EMPTY
        return AccountReport(
            outcome=outcome,
            numbers=self.numbers,
            pages=self.pages,
            rejected=self.rejected,
            duplicates=self.duplicates,
            error=self.error,
        )
