"""What became of a write at Leadping whose answer was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonesys.backends.leadping import calls
from phonesys.backends.leadping.requests import ListOptions
from phonesys.backends.reconcile import Candidate, gone, same_number, same_text, unclear
from phonesys.errors import NotFound

if TYPE_CHECKING:
    from phonesys.backends.leadping.provider import Leadping
    from phonesys.backends.leadping.wire import LeadpingNumber, LeadpingRow, Listing
    from phonesys.backends.reconcile import OutcomeEvaluator
    from phonesys.writes import Reconciled

_MOST_CANDIDATES = 20
"""Of more numbers of one name each would be fetched, to see when it was created."""


class LeadpingLookup:
    """Looks at what the organization holds now.

    `shared_name`: others were created under this name too, without saying which number it should be.
    """

    def __init__(self, backend: Leadping, judge: OutcomeEvaluator, *, shared_name: bool) -> None:
        self._backend = backend
        self._judge, self._write = judge, judge.write
        self._shared_name = shared_name

    async def __call__(self, _last: bool) -> Reconciled[LeadpingNumber]:
        """Look once."""
        if self._write.kind == "create":
            return await self._created()
        return await (self._updated() if self._write.kind == "update" else self._deleted())

    async def _created(self) -> Reconciled[LeadpingNumber]:
        rows, whole = await self._rows()
        if len(rows) > _MOST_CANDIDATES:
            return unclear(f"{len(rows)} numbers bear that name")
        numbers = [number for row in rows if (number := await self._full(row.id)) is not None]
        ambiguous = self._write.number is None and (len(rows) > 1 or self._shared_name)
        found = self._judge.of_new([Candidate(n, self._as_wanted(n)) for n in numbers], whole=whole)
        if found.number is not None and ambiguous:
            return unclear("several were created under that name, without a number", *numbers)
        return found

    async def _rows(self) -> tuple[list[LeadpingRow], bool]:
        """Find the rows that may be it; False where there may be another that cannot be read."""
        pages, whole = await self._pages()
        rows = [row for page in pages for row in page.rows if self._may_be(row)]
        whole = whole and not any(page.rejected for page in pages)
        each = {row.row_id: row for row in rows if row.row_id}
        return list(each.values()), whole and all(row.row_id for row in rows)

    async def _pages(self) -> tuple[list[Listing], bool]:
        """Search for the number, else for the name; False where the pages go in a circle."""
        write = self._write
        field, text = ("name", write.wanted["name"]) if write.number is None else ("number", write.number)
        options = ListOptions(search=text, search_fields=(field,))
        pages: list[Listing] = []
        seen: set[str | None] = set()
        token: str | None = None
        while token not in seen:
            seen.add(token)
            call = calls.list_numbers(continuation_token=token, options=options, account=write.account)
            pages.append(await self._backend.send(call))
            token = pages[-1].token
            if not token:
                return pages, True
        return pages, False

    def _may_be(self, row: LeadpingRow) -> bool:
        if self._write.number is None:
            return row.label is None or same_text(row.label, self._write.wanted["name"])
        return same_number(row.number, self._write.number)

    async def _full(self, number_id: str) -> LeadpingNumber | None:
        try:
            return await self._backend.get(number_id, account=self._write.account)
        except NotFound:
            return None  # deleted since

    async def _updated(self) -> Reconciled[LeadpingNumber]:
        number = await self._full(self._write.number_id or "")
        if number is None:
            return unclear("it is not there any more")
        return self._judge.of_changed(number, as_wanted=self._as_wanted(number))

    async def _deleted(self) -> Reconciled[LeadpingNumber]:
        number = await self._full(self._write.number_id or "")
        return gone() if number is None else self._judge.of_left(number)

    def _as_wanted(self, number: LeadpingNumber) -> bool:
        wanted = self._write.wanted
        owners = {owner.id for owner in (number.organization, number.business) if owner is not None}
        return (
            ("name" not in wanted or same_text(number.label, wanted["name"]))
            and ("number" not in wanted or same_number(number.number, wanted["number"]))
            and ("enabled" not in wanted or number.enabled == wanted["enabled"])
            and all(wanted[key] in owners for key in ("organization_id", "business_id") if key in wanted)
        )
