"""Rules: what an audit looks for, ours and other people's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import msgspec

from phonesys.errors import InvalidArgument, PhonesysError, UsageError
from phonesys.inventory.audit.context import AuditContext
from phonesys.inventory.audit.finding import Place, Severity

if TYPE_CHECKING:
    from phonesys.inventory.record import NumberRecord

ENTRY_POINTS = "phonesys.audit"
"""The entry-point group under which rules register: each entry is a `Rule`."""

Look: TypeAlias = "Callable[[NumberRecord, AuditContext], str | None]"
"""Looks at one number and returns the evidence, or None where nothing is wrong."""


class Problem(msgspec.Struct, frozen=True):
    """What a rule between numbers found; the rule says the rest."""

    number: str | None
    accounts: tuple[Place, ...]
    evidence: str


class Check(Protocol):
    """One run of a rule between numbers: it sees all of them, and keeps what it needs, no more."""

    def see(self, record: NumberRecord, /) -> None:
        """Take note of one number."""

    def end(self) -> Iterable[Problem]:
        """Yield what is wrong, once all numbers were seen."""
        ...


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to look for: in every number by itself (`look`), or between numbers (`check`)."""

    code: str
    severity: Severity
    summary: str
    """What is wrong, in one line."""
    advice: str
    """What to do about it."""
    look: Look | None = None
    check: Callable[[AuditContext], Check] | None = None


class RuleFailed(PhonesysError):
    """A rule raised; it is at fault, and its own error is the `__cause__`."""


_CODE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*").fullmatch
_registered: dict[str, Rule] = {}


def make_rule(code: str, severity: Severity, *, advice: str) -> Callable[[Look], Rule]:
    """Make a rule of a function that looks at one number; its docstring says what is wrong.

    The rule is used where it is handed to `audit`, or installed as an entry point; `rule` registers it too.
    """

    def make(look: Look) -> Rule:
        return Rule(code=_checked(code), severity=severity, summary=_line(look), advice=advice, look=look)

    return make


def make_rule_across(
    code: str, severity: Severity, *, advice: str
) -> Callable[[Callable[[AuditContext], Check]], Rule]:
    """Make a rule of a class whose object sees all numbers of an audit; else as `make_rule`."""

    def make(check: Callable[[AuditContext], Check]) -> Rule:
        return Rule(code=_checked(code), severity=severity, summary=_line(check), advice=advice, check=check)

    return make


def rule(code: str, severity: Severity, *, advice: str) -> Callable[[Look], Rule]:
    """Make a rule of a function, and have every audit of this program use it."""
    return lambda look: register(make_rule(code, severity, advice=advice)(look))


def rule_across(
    code: str, severity: Severity, *, advice: str
) -> Callable[[Callable[[AuditContext], Check]], Rule]:
    """Make a rule of a class, and have every audit of this program use it."""
    return lambda check: register(make_rule_across(code, severity, advice=advice)(check))


def _checked(code: str) -> str:
    if not _CODE(code):
        raise InvalidArgument(f"rule: expected a code such as 'no-owner', got {code!r:.80}")
    return code


def _line(thing: Any) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0]


def register(rule: Rule) -> Rule:
    """Have every audit of this program use this rule; raises UsageError where its code is taken."""
    _add(rule, {**_built_in(), **_registered})
    _registered[rule.code] = rule
    return rule


def all_rules() -> dict[str, Rule]:
    """Return every rule by its code: ours, those that are installed, and those that were registered."""
    found = {**_built_in(), **_registered}
    for entry in entry_points(group=ENTRY_POINTS):
        installed = entry.load()
        if not isinstance(installed, Rule):
            raise UsageError(f"entry point {entry.name!r} of {ENTRY_POINTS} is no Rule: {installed!r:.80}")
        _add(installed, found)
    return found


def _add(rule: Rule, to: dict[str, Rule]) -> None:
    if to.setdefault(rule.code, rule) is not rule:
        raise UsageError(f"there is a rule {rule.code!r} already; codes tell findings apart")


def _built_in() -> dict[str, Rule]:
    # Those modules import this one.
    from phonesys.inventory.audit import inventory_rules, number_rules

    things = (*vars(number_rules).values(), *vars(inventory_rules).values())
    return {thing.code: thing for thing in things if isinstance(thing, Rule)}
