"""Lookup of purchases whose response was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonesys.backends.reconcile import same_number, unclear
from phonesys.writes import Reconciled, Write, WriteOutcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from phonesys.backends.leadconnector.wire import LeadConnectorNumber, LeadConnectorPage
    from phonesys.model import Cursor


class PurchaseLookup:
    """Looks up a purchase among the location's numbers.

    The vendor sells no number that a location holds. So a number that is held was purchased, whatever its
    date says: ported and hosted numbers keep that of their origin.
    """

    def __init__(
        self, write: Write, search: Callable[[str, str, Cursor | None], Awaitable[LeadConnectorPage]]
    ) -> None:
        self._write, self._search = write, search

    async def __call__(self, is_last: bool) -> Reconciled[LeadConnectorNumber]:
        """Look up the purchase once."""
        wanted = self._write.number or ""
        cursors: list[Cursor | None] = [None]
        complete = True
        for cursor in cursors:
            page = await self._search(self._write.account, wanted, cursor)
            for number in page.numbers:
                if same_number(wanted, number.number):
                    return Reconciled(
                        outcome=WriteOutcome.DONE, number=number, reason="the location holds the number"
                    )
            complete = complete and not page.rejected
            cursors += [following for following in page.next if following not in cursors]
        if not complete:
            return unclear("not every number that may be the requested one could be read")
        return Reconciled(outcome=WriteOutcome.NOT_DONE, reason="the location does not hold the number")
