"""The plan that takes back a run."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from phonesys.changes.change import AccountShare, ChangeOutcome, LeftOut, Plan, PlannedChange, Reading
from phonesys.changes.effects import create_effects, delete_effects, update_effects
from phonesys.changes.values import same_value
from phonesys.writes import Action

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from phonesys.change_rules import ChangeRules
    from phonesys.changes.change import ChangeResult


def undo_plan(plan: Plan, results: Iterable[ChangeResult], rules: Mapping[str, ChangeRules]) -> Plan:
    """Return the plan that takes back what the run of a plan has changed, the last change first.

    The numbers are expected as the run left them: one that was changed since becomes a conflict.
    """
    by_position = {change.position: change for change in plan.changes}
    undoing = _Undo(rules)
    for result in sorted(results, key=lambda result: result.position, reverse=True):
        undoing.add(by_position[result.position], result)
    now = datetime.now(UTC)
    return Plan(
        created_at=now,
        reading=Reading(source="run", read_at=now),
        changes=tuple(undoing.changes),
        shares=_shares(plan, undoing.changes),
        undoes=plan.id,
        left_out=tuple(undoing.left_out),
    )


def _shares(plan: Plan, changes: list[PlannedChange]) -> tuple[AccountShare, ...]:
    """Return the shares of the accounts that are touched, of as many numbers as the plan had read."""
    touched = Counter((change.backend, change.account) for change in changes if change.id is not None)
    shares = [msgspec.structs.replace(one, touched=touched[one.backend, one.account]) for one in plan.shares]
    return tuple(one for one in shares if one.touched)


class _Undo:
    def __init__(self, rules: Mapping[str, ChangeRules]) -> None:
        self._rules = rules
        self.changes: list[PlannedChange] = []
        self.left_out: list[LeftOut] = []

    def add(self, change: PlannedChange, result: ChangeResult) -> None:
        """Add what takes back one change, if the run has made it."""
        if result.outcome is ChangeOutcome.UNCLEAR:
            self._leave_out(change, f"the outcome of its {change.action} is unclear: {result.reason}")
        if result.outcome is not ChangeOutcome.DONE or not result.written:
            return
        if (reason := change.irreversible.get("number")) is not None:
            self._leave_out(change, reason)
        elif change.action is Action.UPDATE:
            self._restore_fields(change, result)
        elif change.action is Action.DELETE:
            self._create_again(change)
        else:
            self._delete_again(change, result)

    def _restore_fields(self, change: PlannedChange, result: ChangeResult) -> None:
        for name, reason in change.irreversible.items():
            self._leave_out(change, f"{name}: {reason}")
        back = {name: change.old[name] for name in change.new if name not in change.irreversible}
        if back:
            undone = self._inverse(change, Action.UPDATE, id=change.id, old=result.now, new=back)
            rules = self._rules[change.backend]
            self.changes.append(update_effects(undone, rules, is_routed=None))

    def _create_again(self, change: PlannedChange) -> None:
        rules = self._rules[change.backend]
        assert rules.create is not None  # noqa: S101 -- otherwise the deletion was irreversible
        known = {name: value for name, value in change.old.items() if value is not None}
        new = {name: value for name, value in known.items() if name in rules.create.fields}
        undone = self._inverse(change, Action.CREATE, id=None, old={}, new=new)
        self.changes.append(create_effects(undone, rules))
        for name in known.keys() - new.keys():
            if not _is_default(name, known, rules):
                self._leave_out(change, f"{name}: it was {known[name]}, which a new number is not given")

    def _delete_again(self, change: PlannedChange, result: ChangeResult) -> None:
        rules = self._rules[change.backend]
        if result.id is None or not rules.deletes:
            self._leave_out(change, f"{rules.vendor} documents no way to delete it")
            return
        number = result.number or change.number
        undone = self._inverse(change, Action.DELETE, id=result.id, old=result.now, new={}, number=number)
        self.changes.append(delete_effects(undone, rules, is_routed=bool(change.reroutes)))

    def _inverse(self, change: PlannedChange, action: Action, **facts: object) -> PlannedChange:
        position = len(self.changes) + 1
        undone = msgspec.structs.replace(change, position=position, action=action, cost=None, line=None)
        return msgspec.structs.replace(undone, irreversible={}, reroutes=None, unroutes=False, **facts)

    def _leave_out(self, change: PlannedChange, reason: str) -> None:
        self.left_out.append(
            LeftOut(
                backend=change.backend,
                account=change.account,
                id=change.id,
                number=change.number,
                label=change.label,
                reason=reason,
            )
        )


def _is_default(name: str, values: Mapping[str, object], rules: ChangeRules) -> bool:
    """Return True for a field that a new number has anyway: it is not switched off."""
    return name == rules.switch and not same_value(values[name], rules.switched_off)  # type: ignore[arg-type]
