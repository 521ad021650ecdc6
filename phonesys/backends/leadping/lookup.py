"""Lookup of writes at Leadping whose response was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonesys.backends.leadping import calls
from phonesys.backends.leadping.requests import ListOptions
from phonesys.backends.leadping.wire import LeadpingNumber
from phonesys.backends.reconcile import Candidate, WriteLookup, may_be_number, same_number, same_text, unclear
from phonesys.errors import DecodeError

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
        rows, complete = await self._matching_rows(by_name=self._write.number is None or is_last)
        if len(rows) > _MAX_CANDIDATES:
            return unclear(f"{len(rows)} numbers bear that name")
        numbers, readable = await self._fetch(rows)
        ambiguous = self._write.number is None and (len(rows) > 1 or self._shared_name)
        candidates = [Candidate(number, self._matches_request(number)) for number in numbers]
        found = self._evaluator.evaluate_created(candidates, complete=complete and readable)
        if found.number is not None and ambiguous:
            return unclear("several were created under that name, without a number", *numbers)
        return found

    async def _fetch(self, rows: list[LeadpingRow]) -> tuple[list[LeadpingNumber], bool]:
        """Fetch the rows with all their fields. Return False if one of them cannot be decoded."""
        numbers: list[LeadpingNumber] = []
        readable = True
        for row in rows:
            try:
                number = await self._get_or_none(row.id)
            except DecodeError:
                readable = False
            else:
                numbers += [] if number is None else [number]
        return numbers, readable

    async def _matching_rows(self, *, by_name: bool) -> tuple[list[LeadpingRow], bool]:
        """Return the rows that may match, and False if there may be another that cannot be read.

        The last search is by name too: the number may be listed in another spelling, or not yet.
        """
        write = self._write
        searches = [("number", write.number)] if write.number else []
        searches += [("name", name)] if by_name and (name := write.wanted.get("name")) else []
        rows: list[LeadpingRow] = []
        complete = True
        for field, text in searches:
            pages, ended = await self._matching_pages(field, text)
            rows += [row for page in pages for row in page.rows if self._may_match(row)]
            complete = complete and ended and not any(page.rejected for page in pages)
        with_id = {row.row_id: row for row in rows if row.row_id}
        return list(with_id.values()), complete and all(row.row_id for row in rows)

    async def _matching_pages(self, field: str, text: str) -> tuple[list[Listing], bool]:
        """Search a field. Return False if the pages go in a circle."""
        options = ListOptions(search=text, search_fields=(field,))
        pages: list[Listing] = []
        seen: set[str | None] = set()
        token: str | None = None
        while token not in seen:
            seen.add(token)
            call = calls.list_numbers(continuation_token=token, options=options, account=self._write.account)
            pages.append(await self._list_numbers(call))
            token = pages[-1].token
            if not token:
                return pages, True
        return pages, False

    def _may_match(self, row: LeadpingRow) -> bool:
        name = self._write.wanted.get("name")
        bears_name = bool(name) and same_text(row.label, name)
        if self._write.number is None:
            return row.label is None or bears_name
        return bears_name or may_be_number(row.number, self._write.number)

    def _matches_request(self, number: LeadpingNumber) -> bool:
        wanted = self._write.wanted
        owners = {owner.id for owner in (number.organization, number.business) if owner is not None}
        return (
            (self._write.number is None or same_number(number.number, self._write.number))
            and ("name" not in wanted or same_text(number.label, wanted["name"]))
            and ("number" not in wanted or same_number(number.number, wanted["number"]))
            and ("enabled" not in wanted or number.enabled == wanted["enabled"])
            and wanted.get("number_health_enabled") in {None, number.number_health_enabled}
            and all(wanted[key] in owners for key in ("organization_id", "business_id") if key in wanted)
        )
