"""Changes by an assistant: a plan that is shown, and a second call that carries it out by its id."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from phonesys.changes import ChangeOutcome, ChangeRequest, MemoryJournal, Plan
from phonesys.errors import InvalidArgument, PlanError
from phonesys.inventory import Inventory
from phonesys.mcp import results
from phonesys.writes import Action

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from phonesys.changes import ChangeResult, Journal, PlannedChange
    from phonesys.system import PhoneSystem

_MAX_PLANS = 50
_MAX_SHARE = 0.5
_MAX_MISSING = 10
_UNFINISHED = frozenset({ChangeOutcome.NOT_REACHED, ChangeOutcome.UNCLEAR})


class Writer:
    """Plans changes, and applies the plans that it made.

    Runs are kept in the store, if there is one, so that an interrupted one is taken up by another call and
    `phonesys changes` lists it. Without a store, they last as long as the server.
    """

    def __init__(self, store: str | None, phones: PhoneSystem) -> None:
        self._store = store
        self._phones = phones
        self._plans: dict[str, Plan] = {}
        self._results: dict[str, list[ChangeResult]] = {}
        self._memory = MemoryJournal()

    async def plan_changes(self, arguments: results.PlanChanges) -> results.PlanResult:
        """Return the plan of some changes. Nothing is changed."""
        changes = [_change(one) for one in arguments.changes]
        try:
            plan = await self._phones.plan(changes)
        except PlanError as mistakes:
            raise InvalidArgument(f"nothing was planned: {'; '.join(map(str, mistakes.errors))}") from None
        return self._keep(plan)

    async def apply_plan(self, arguments: results.ApplyPlan) -> results.ApplyResult:
        """Carry out a plan that was made before."""
        plan = self._find(arguments.plan_id)
        found: list[ChangeResult] = []
        async with (
            self._journal() as journal,
            self._phones.apply(plan, journal=journal, max_share=_MAX_SHARE, allow=arguments.allow) as run,
        ):
            found.extend([result async for result in run])
        self._results[plan.id] = found
        outcomes = {outcome.value: count for outcome, count in run.outcomes.items()}
        is_finished = len(found) == len(plan.changes) and not any(one.outcome in _UNFINISHED for one in found)
        return results.ApplyResult(
            plan_id=plan.id,
            finished=is_finished,
            outcomes=outcomes,
            results=[_result_row(one) for one in sorted(found, key=lambda one: one.position)],
        )

    async def plan_undo(self, arguments: results.PlanUndo) -> results.PlanResult:
        """Return the plan that takes back what applying another one has changed. Nothing is changed."""
        plan = self._find(arguments.plan_id)
        if plan.id not in self._results:
            raise InvalidArgument("plan_id: this plan was not applied, so there is nothing to take back")
        return self._keep(self._phones.undo(plan, self._results[plan.id]))

    def _keep(self, plan: Plan) -> results.PlanResult:
        """Keep a plan for the call that applies it, and forget the oldest one."""
        self._plans[plan.id] = plan
        for old in list(self._plans)[:-_MAX_PLANS]:
            del self._plans[old]
            self._results.pop(old, None)
        return _plan_result(plan)

    def _find(self, plan_id: str) -> Plan:
        plan = self._plans.get(plan_id)
        if plan is None:
            raise InvalidArgument(
                f"plan_id: this server has made no plan {plan_id!r:.60}, or has forgotten it; plan again"
            )
        return plan

    @asynccontextmanager
    async def _journal(self) -> AsyncGenerator[Journal]:
        if self._store is None:
            yield self._memory
            return
        async with Inventory(self._store) as inventory:
            yield inventory


def _change(one: results.ChangeRequest) -> ChangeRequest:
    return ChangeRequest(
        action=Action(one.action),
        number=one.number,
        id=one.id,
        backend=one.backend,
        account=one.account,
        fields=one.fields,
    )


def _plan_result(plan: Plan) -> results.PlanResult:
    left_out = [f"{one.number or one.id}: {one.reason}" for one in plan.left_out]
    return results.PlanResult(
        plan_id=plan.id,
        complete=plan.reading.complete,
        missing=[*plan.reading.missing[:_MAX_MISSING]],
        unchanged=plan.unchanged,
        changes=[_planned_row(one) for one in plan.changes],
        concerns=[results.ConcernRow(one.risk.value, one.text) for one in plan.concerns(_MAX_SHARE)],
        left_out=left_out,
    )


def _planned_row(one: PlannedChange) -> results.PlannedRow:
    fields: list[Any] = [results.FieldRow(name, one.old.get(name), new) for name, new in one.new.items()]
    return results.PlannedRow(
        position=one.position,
        action=one.action.value,
        number=one.number,
        id=one.id,
        label=one.label,
        backend=one.backend,
        account=one.account,
        account_name=one.account_name,
        fields=fields,
        names=one.names,
        notes=list(one.notes),
    )


def _result_row(one: ChangeResult) -> results.OutcomeRow:
    return results.OutcomeRow(
        position=one.position,
        outcome=one.outcome.value,
        reason=one.reason,
        number=one.number,
        id=one.id,
        changed=one.written,
    )
