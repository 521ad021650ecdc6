"""What is wrong with the inventory, by rules, ours and yours."""

from phonesys.inventory.audit.context import AuditContext
from phonesys.inventory.audit.finding import Finding, Place, Severity
from phonesys.inventory.audit.rule import (
    Check,
    Problem,
    Rule,
    RuleFailed,
    all_rules,
    make_rule,
    register,
    rule,
    rule_across,
)
from phonesys.inventory.audit.run import audit, findings

__all__ = [
    "AuditContext",
    "Check",
    "Finding",
    "Place",
    "Problem",
    "Rule",
    "RuleFailed",
    "Severity",
    "all_rules",
    "audit",
    "findings",
    "make_rule",
    "register",
    "rule",
    "rule_across",
]
