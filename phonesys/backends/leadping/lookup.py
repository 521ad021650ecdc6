"""Lookup of writes at Leadping whose response was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonesys.backends.leadping import calls
from phonesys.backends.leadping.requests import ListOptions
from phonesys.backends.leadping.wire import LeadpingNumber
from phonesys.backends.reconcile import Candidate, WriteLookup, same_number, same_text, unclear

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from phonesys.backends.leadping.wire import LeadpingRow, Listing
    from phonesys.backends.reconcile import OutcomeEvaluator
    from phonesys.http.call import Call
    from phonesys.writes import Reconciled

_MAX_CANDIDATES = 20
"""Each candidate is fetched for its time of creation; more than this many stay unfetched."""


class LeadpingLookup(WriteLookup[LeadpingNumber]):
    """Looks up one write among the organization's numbers.

    `shared_name`: other numbers were created under the same name, also without saying which number.
    """

    def __init__(
        self,
        evaluator: OutcomeEvaluator,
        *,
        get: Callable[[str], Awaitable[LeadpingNumber]],
        list_numbers: Callable[[Call[Listing]], Awaitable[Listing]],
        shared_name: bool,
    ) -> None:
        super().__init__(evaluator, get)
        self._list_numbers = list_numbers
        self._shared_name = shared_name

    async def _look_up_new(self, *, is_last: bool) -> Reconciled[LeadpingNumber]:
        rows, complete = await self._matching_rows()
        if len(rows) > _MAX_CANDIDATES:
            return unclear(f"{len(rows)} numbers bear that name")
        numbers = [number for row in rows if (number := await self._get_or_none(row.id)) is not None]
        ambiguous = self._write.number is None and (len(rows) > 1 or self._shared_name)
        candidates = [Candidate(number, self._matches_request(number)) for number in numbers]
        found = self._evaluator.evaluate_created(candidates, complete=complete)
        if found.number is not None and ambiguous:
            return unclear("several were created under that name, without a number", *numbers)
        return found

    async def _matching_rows(self) -> tuple[list[LeadpingRow], bool]:
        """Return the rows that may match, and False if there may be another that cannot be read."""
        pages, complete = await self._matching_pages()
        rows = [row for page in pages for row in page.rows if self._may_match(row)]
        complete = complete and not any(page.rejected for page in pages)
        with_id = {row.row_id: row for row in rows if row.row_id}
        return list(with_id.values()), complete and all(row.row_id for row in rows)

    async def _matching_pages(self) -> tuple[list[Listing], bool]:
        """Search for the number, else for the name. Return False if the pages go in a circle."""
        write = self._write
        field, text = ("name", write.wanted["name"]) if write.number is None else ("number", write.number)
        options = ListOptions(search=text, search_fields=(field,))
        pages: list[Listing] = []
        seen: set[str | None] = set()
        token: str | None = None
        while token not in seen:
            seen.add(token)
            call = calls.list_numbers(continuation_token=token, options=options, account=write.account)
            pages.append(await self._list_numbers(call))
            token = pages[-1].token
            if not token:
                return pages, True
        return pages, False

    def _may_match(self, row: LeadpingRow) -> bool:
        if self._write.number is None:
            return row.label is None or same_text(row.label, self._write.wanted["name"])
        return same_number(row.number, self._write.number)

    def _matches_request(self, number: LeadpingNumber) -> bool:
        wanted = self._write.wanted
        owners = {owner.id for owner in (number.organization, number.business) if owner is not None}
        return (
            ("name" not in wanted or same_text(number.label, wanted["name"]))
            and ("number" not in wanted or same_number(number.number, wanted["number"]))
            and ("enabled" not in wanted or number.enabled == wanted["enabled"])
            and all(wanted[key] in owners for key in ("organization_id", "business_id") if key in wanted)
        )
