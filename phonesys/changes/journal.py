"""The journal of changes: the intents of a run, and their outcomes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

import msgspec

from phonesys.changes.change import ChangeOutcome, RunState
from phonesys.errors import InvalidArgument, RunSuperseded

if TYPE_CHECKING:
    from phonesys.changes.change import ChangeResult, Plan
    from phonesys.writes import Write


class Journal(Protocol):
    """Keeps the runs of plans, so that a run that was killed is taken up again.

    A plan has one run. Each method returns after what it records is durable.
    """

    async def open_run(self, plan: Plan, /) -> RunState:
        """Begin the run of a plan, or take up the one that the journal knows.

        The caller becomes the only writer: an earlier one is refused by the methods below. A journal that
        sees the earlier one at work refuses the caller instead. Raise InvalidArgument for a plan that was
        edited since its run began.
        """
        ...

    async def record_intent(self, run: RunState, position: int, write: Write, /) -> None:
        """Record a write that is about to be sent. Raise RunSuperseded."""
        ...

    async def record_result(self, run: RunState, result: ChangeResult, /) -> None:
        """Record the outcome of a change. Any but `unclear` ends its intent. Raise RunSuperseded."""
        ...

    async def close_run(self, run: RunState, /, *, finished: bool) -> None:
        """Stop writing, so that another process may take up the run. Raise RunSuperseded.

        `finished` if every change has an outcome other than `not_reached`.
        """
        ...


def check_same_plan(known: Plan, plan: Plan) -> None:
    """Raise InvalidArgument if a plan was edited since its run began: the outcomes are those of the first."""
    if known != plan:
        raise InvalidArgument(
            f"plan {plan.id} was edited after its run had begun; make a new plan of what is left to change"
        )


class MemoryJournal:
    """A journal that lasts as long as its object: for a run that is not taken up by another process."""

    def __init__(self) -> None:
        self._runs: dict[str, RunState] = {}
        self._plans: dict[str, Plan] = {}

    async def open_run(self, plan: Plan, /) -> RunState:
        """Begin or take up the run of a plan."""
        check_same_plan(self._plans.setdefault(plan.id, plan), plan)
        known = self._runs.get(plan.id) or RunState(plan_id=plan.id, writer="", started_at=datetime.now(UTC))
        self._runs[plan.id] = taken = msgspec.structs.replace(known, writer=uuid4().hex)
        # The caller's copy is its own: the journal's grows with each record.
        return msgspec.structs.replace(taken, intents=dict(taken.intents), results=dict(taken.results))

    async def record_intent(self, run: RunState, position: int, write: Write, /) -> None:
        """Record a write that is about to be sent."""
        self._known(run).intents[position] = write

    async def record_result(self, run: RunState, result: ChangeResult, /) -> None:
        """Record the outcome of a change."""
        known = self._known(run)
        known.results[result.position] = result
        if result.outcome is not ChangeOutcome.UNCLEAR:
            known.intents.pop(result.position, None)

    async def close_run(self, run: RunState, /, *, finished: bool) -> None:
        """Stop writing. If `finished`, record that every change has an outcome."""
        known = self._known(run)
        if finished:
            self._runs[run.plan_id] = msgspec.structs.replace(known, finished_at=datetime.now(UTC))

    def _known(self, run: RunState) -> RunState:
        known = self._runs[run.plan_id]
        if known.writer != run.writer:
            raise RunSuperseded(f"the run of plan {run.plan_id} was taken up by another process")
        return known
