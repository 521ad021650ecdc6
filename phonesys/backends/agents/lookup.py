"""What became of a write to agent numbers whose answer was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonesys.backends.reconcile import Candidate, gone, same_number, same_text, unclear
from phonesys.errors import NotFound
from phonesys.writes import WriteOutcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from phonesys.backends.agents.wire import AgentNumber, Rows
    from phonesys.backends.reconcile import OutcomeEvaluator
    from phonesys.writes import Reconciled

    Pages = Sequence[Rows[AgentNumber]]

_READINGS = 4


class AgentLookup:
    """Looks at what is assigned now: `get` one number, the `of_agent` pages, or `everything`."""

    def __init__(
        self,
        judge: OutcomeEvaluator,
        *,
        get: Callable[[str], Awaitable[AgentNumber]],
        of_agent: Callable[[str], Awaitable[Pages]],
        everything: Callable[[], Awaitable[Pages]],
    ) -> None:
        self._judge, self._write = judge, judge.write
        self._get, self._of_agent, self._everything = get, of_agent, everything

    async def __call__(self, last: bool) -> Reconciled[AgentNumber]:
        """Look once: at the agent's numbers, and the last time at all numbers."""
        if self._write.kind == "assign":
            found = self._assigned(await self._agents_pages(), whole=False)
            if found.outcome is WriteOutcome.DONE or not last:
                return found
            return await self._assigned_to_anybody()
        number = await self._number()
        if self._write.kind == "delete":
            return gone() if number is None else self._judge.of_left(number)
        if number is None:
            return unclear("it is not there any more")
        return self._judge.of_changed(number, as_wanted=self._as_wanted(number))

    async def _agents_pages(self) -> Pages:
        try:
            return await self._of_agent(str(self._write.wanted["agent_id"]))
        except NotFound:
            return ()  # no such agent, so that nothing is assigned to it

    async def _assigned_to_anybody(self) -> Reconciled[AgentNumber]:
        """Read the whole list until two readings are alike: rows that move meanwhile may hide one.

        Of two like readings each page was the same before the one ended and after the other began, hence all
        of them at that moment. Rows that are added at the end move no other.
        """
        before, pages = None, await self._everything()
        for _ in range(_READINGS):
            rows = [row.id for page in pages for row in page.rows]
            if len(pages) == 1 or (before is not None and rows[: len(before)] == before):
                return self._assigned(pages, whole=not any(page.rejected for page in pages))
            before, pages = rows, await self._everything()
        return self._assigned(pages, whole=False)

    def _assigned(self, pages: Pages, *, whole: bool) -> Reconciled[AgentNumber]:
        rows = [row for page in pages for row in page.rows if same_number(row.number, self._write.number)]
        for row in rows:
            row.account = self._write.account
        each = {row.row_id: row for row in rows if row.row_id is not None}.values()
        nameless = [row for row in rows if row.row_id is None]
        mine = [Candidate(row, self._as_wanted(row)) for row in (*each, *nameless)]
        return self._judge.of_new(mine, whole=whole)

    async def _number(self) -> AgentNumber | None:
        try:
            return await self._get(self._write.number_id or "")
        except NotFound:
            return None

    def _as_wanted(self, number: AgentNumber) -> bool:
        wanted = self._write.wanted
        state = wanted.get("status")
        return (
            ("agent_id" not in wanted or number.agent_id == wanted["agent_id"])
            and ("friendly_name" not in wanted or same_text(number.label, wanted["friendly_name"]))
            and (state is None or (number.state or "").casefold() == state.casefold())
        )
