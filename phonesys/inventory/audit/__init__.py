"""Audits: rules that find problems in the inventory, built in and your own."""

from phonesys.inventory.audit.context import AuditContext
from phonesys.inventory.audit.finding import Finding, Severity
from phonesys.inventory.audit.registry import all_rules, inventory_rule, register, rule
from phonesys.inventory.audit.rule import (
    InventoryCheck,
    Problem,
    Rule,
    RuleFailed,
    make_inventory_rule,
    make_rule,
)
from phonesys.inventory.audit.run import audit, findings

__all__ = [
    "AuditContext",
    "Finding",
    "InventoryCheck",
    "Problem",
    "Rule",
    "RuleFailed",
    "Severity",
    "all_rules",
    "audit",
    "findings",
    "inventory_rule",
    "make_inventory_rule",
    "make_rule",
    "register",
    "rule",
]
