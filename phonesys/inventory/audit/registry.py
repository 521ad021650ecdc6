"""The rules of an audit: built in, installed by other packages, and registered by the program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonesys._entry_points import entry_points
from phonesys.errors import UsageError
from phonesys.inventory.audit import inventory_rules, number_rules
from phonesys.inventory.audit.rule import Rule, make_inventory_rule, make_rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonesys.inventory.audit.context import AuditContext
    from phonesys.inventory.audit.finding import Severity
    from phonesys.inventory.audit.rule import CheckNumber, InventoryCheck

ENTRY_POINTS = "phonesys.audit"
"""The entry-point group of installed rules. Each entry is a `Rule`."""

_BUILT_IN = {rule.code: rule for rule in (*number_rules.RULES, *inventory_rules.RULES)}
_registered: dict[str, Rule] = {}


def rule(code: str, severity: Severity, *, advice: str) -> Callable[[CheckNumber], Rule]:
    """Make a rule of a function, as `make_rule` does, and register it for every audit of this program."""
    return lambda check: register(make_rule(code, severity, advice=advice)(check))


def inventory_rule(
    code: str, severity: Severity, *, advice: str, within_accounts: bool = False
) -> Callable[[Callable[[AuditContext], InventoryCheck]], Rule]:
    """Make a rule of a class, as `make_inventory_rule` does, and register it."""
    make = make_inventory_rule(code, severity, advice=advice, within_accounts=within_accounts)
    return lambda check: register(make(check))


def register(rule: Rule) -> Rule:
    """Add a rule to every audit of this program. Raises UsageError if its code is taken."""
    _add(rule, {**_BUILT_IN, **_registered})
    _registered[rule.code] = rule
    return rule


def all_rules() -> dict[str, Rule]:
    """Return every rule by its code: built-in, registered and installed."""
    found = {**_BUILT_IN, **_registered}
    for entry in entry_points(ENTRY_POINTS):
        installed = entry.load()
        if not isinstance(installed, Rule):
            raise UsageError(f"entry point {entry.name!r} of {ENTRY_POINTS} is no Rule: {installed!r:.80}")
        _add(installed, found)
    return found


def _add(rule: Rule, to: dict[str, Rule]) -> None:
    if to.setdefault(rule.code, rule) is not rule:
        raise UsageError(f"the code {rule.code!r} belongs to another rule")
