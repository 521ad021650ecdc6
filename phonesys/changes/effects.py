"""Effects of a change that a person should know before: what is final, what costs money, what moves calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from phonesys.changes.values import new_number_rule

if TYPE_CHECKING:
    from phonesys.change_rules import ChangeRules
    from phonesys.changes.change import PlannedChange
    from phonesys.writes import Value


def update_effects(change: PlannedChange, rules: ChangeRules, *, is_routed: bool | None) -> PlannedChange:
    """Return an update with its effects. `is_routed` is True if calls to the number have a route now."""
    reasons = {name: _irreversible(name, change, rules) for name in change.new}
    reroutes, unroutes = None, False
    if rules.route is not None and rules.route in change.new:
        before, after = change.old.get(rules.route), change.new[rules.route]
        reroutes = f"from {change.named(before) or 'no route'} to {change.named(after) or 'no route'}"
        unroutes = after is None and before is not None
    elif rules.switch is not None and rules.switch in change.new and is_routed is not False:
        if change.new[rules.switch] == rules.switched_off:
            reroutes, unroutes = "the number takes no calls any more", is_routed is True
        else:
            reroutes = "the number takes calls again"
    costs = [rules.fields[name].cost for name, value in change.new.items() if value is not False]
    return msgspec.structs.replace(
        change,
        irreversible={name: reason for name, reason in reasons.items() if reason is not None},
        cost="; ".join(filter(None, costs)) or None,
        reroutes=reroutes,
        unroutes=unroutes,
    )


def _irreversible(name: str, change: PlannedChange, rules: ChangeRules) -> str | None:
    """Return the reason why a field cannot get its earlier value back."""
    if name not in change.old:
        return "its value is not known"
    rule, old = rules.fields[name], change.old[name]
    if old is None:
        return None if rule.clearable else f"{rules.vendor} documents no way to clear it"
    if rule.words and old not in rule.words:
        return f"{rules.vendor} documents no way to set {old}"
    return None


def delete_effects(change: PlannedChange, rules: ChangeRules, *, is_routed: bool | None) -> PlannedChange:
    """Return a deletion with its effects."""
    reason = rules.delete_irreversible
    if reason is None:
        reason = _missing_for_creation(change.old, rules)
    return msgspec.structs.replace(
        change,
        irreversible={} if reason is None else {"number": reason},
        reroutes=None if is_routed is False else "the number takes no calls any more",
        unroutes=is_routed is True,
    )


def _missing_for_creation(old: dict[str, Value], rules: ChangeRules) -> str | None:
    if rules.create is None:
        return f"{rules.vendor} documents no way to create a number"
    missing = [name for name in rules.create.required if old.get(name) is None]
    return f"{rules.vendor} creates no number without {', '.join(missing)}" if missing else None


def create_effects(change: PlannedChange, rules: ChangeRules) -> PlannedChange:
    """Return a creation or a purchase with its effects. Its `cost` is the vendor's offer, if there is one."""
    rule = new_number_rule(rules, change.action)
    assert rule is not None  # noqa: S101 -- planned with it
    costs = [text for text in (change.cost, rule.cost) if text]
    receiver = change.new.get(rules.route) if rules.route is not None else None
    return msgspec.structs.replace(
        change,
        irreversible={} if rule.irreversible is None else {"number": rule.irreversible},
        cost="; ".join(costs) or None,
        reroutes=f"to {change.named(receiver)}" if receiver else None,
    )
