"""Lookup of writes to agent numbers whose response was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonesys.backends.agents.wire import AgentNumber
from phonesys.backends.reconcile import Candidate, WriteLookup, may_be_number, same_number, same_text
from phonesys.errors import NotFound
from phonesys.writes import WriteOutcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from phonesys.backends.agents.wire import Rows
    from phonesys.backends.reconcile import OutcomeEvaluator
    from phonesys.writes import Reconciled

    Pages = Sequence[Rows[AgentNumber]]

_MAX_PASSES = 4


class AgentLookup(WriteLookup[AgentNumber]):
    """Looks up one write among the agent's numbers, and the last time among all numbers."""

    def __init__(
        self,
        evaluator: OutcomeEvaluator,
        *,
        get: Callable[[str], Awaitable[AgentNumber]],
        of_agent: Callable[[str], Awaitable[Pages]],
        all_numbers: Callable[[], Awaitable[Pages]],
    ) -> None:
        super().__init__(evaluator, get)
        self._of_agent, self._all_numbers = of_agent, all_numbers

    async def _look_up_new(self, *, is_last: bool) -> Reconciled[AgentNumber]:
        found = self._evaluate_assigned(await self._numbers_of_agent(), complete=False)
        if found.outcome is WriteOutcome.DONE or not is_last:
            return found
        return await self._find_in_all_numbers()

    async def _numbers_of_agent(self) -> Pages:
        try:
            return await self._of_agent(str(self._write.wanted["agent_id"]))
        except NotFound:
            return ()  # no such agent, so that nothing is assigned to it

    async def _find_in_all_numbers(self) -> Reconciled[AgentNumber]:
        """Read the whole list until two passes agree: rows that move meanwhile may hide one.

        If two passes agree, each page was the same before the first pass ended and after the second began.
        At that moment the list was as read. Rows appended at the end move no other row.
        """
        previous, pages = None, await self._all_numbers()
        for _ in range(_MAX_PASSES):
            rows = [row.id for page in pages for row in page.rows]
            if len(pages) == 1 or (previous is not None and rows[: len(previous)] == previous):
                return self._evaluate_assigned(pages, complete=not any(page.rejected for page in pages))
            previous, pages = rows, await self._all_numbers()
        return self._evaluate_assigned(pages, complete=False)

    def _evaluate_assigned(self, pages: Pages, *, complete: bool) -> Reconciled[AgentNumber]:
        rows = [row for page in pages for row in page.rows if self._may_match(row)]
        with_id = {row.row_id: row for row in rows if row.row_id is not None}.values()
        without_id = [row for row in rows if row.row_id is None]
        candidates = [Candidate(row, self._matches_request(row)) for row in (*with_id, *without_id)]
        return self._evaluator.evaluate_created(candidates, complete=complete)

    def _may_match(self, row: AgentNumber) -> bool:
        name = self._write.wanted.get("friendly_name")
        return may_be_number(row.number, self._write.number) or (bool(name) and same_text(row.label, name))

    def _matches_request(self, number: AgentNumber) -> bool:
        wanted = self._write.wanted
        state = wanted.get("status")
        return (
            (self._write.number is None or same_number(number.number, self._write.number))
            and ("agent_id" not in wanted or number.agent_id == wanted["agent_id"])
            and ("friendly_name" not in wanted or same_text(number.label, wanted["friendly_name"]))
            and (state is None or (number.state or "").casefold() == state.casefold())
        )
