"""Rules: one problem to look for, in each number alone or between numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import msgspec

from phonesys.errors import InvalidArgument, PhonesysError
from phonesys.inventory.audit.context import AuditContext
from phonesys.inventory.audit.finding import Severity
from phonesys.inventory.record import AccountKey

if TYPE_CHECKING:
    from phonesys.record import NumberRecord

CheckNumber: TypeAlias = "Callable[[NumberRecord, AuditContext], str | None]"
"""Returns the evidence of a problem with one number, or None."""


class Problem(msgspec.Struct, frozen=True):
    """A problem between numbers; the rule adds its severity and advice."""

    number: str | None
    accounts: tuple[AccountKey, ...]
    evidence: str


class InventoryCheck(Protocol):
    """One run of a rule between numbers. It sees every record and should keep only what it needs."""

    def add(self, record: NumberRecord, /) -> None:
        """Look at one record."""

    def problems(self) -> Iterable[Problem]:
        """Yield the problems, after the last record."""
        ...


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One problem to look for, with `check_number` or with `new_inventory_check`."""

    code: str
    severity: Severity
    summary: str
    """The problem in one line."""
    advice: str
    """The way to solve it."""
    check_number: CheckNumber | None = None
    new_inventory_check: Callable[[AuditContext], InventoryCheck] | None = None
    within_accounts: bool = False
    """True if a problem between numbers depends on the accounts that it names, and on no others. A watch
    then knows that it is solved once these accounts have been read."""


class RuleFailed(PhonesysError):
    """A rule raised an exception, which is the `__cause__`."""


_CODE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*").fullmatch


def make_rule(code: str, severity: Severity, *, advice: str) -> Callable[[CheckNumber], Rule]:
    """Make a rule of a function that checks one number. Its docstring is the summary.

    Pass the rule to `audit`, or install it as an entry point. `rule` also registers it.
    """

    def make(check: CheckNumber) -> Rule:
        return Rule(
            code=_validate_code(code),
            severity=severity,
            summary=_first_line(check),
            advice=advice,
            check_number=check,
        )

    return make


def make_inventory_rule(
    code: str, severity: Severity, *, advice: str, within_accounts: bool = False
) -> Callable[[Callable[[AuditContext], InventoryCheck]], Rule]:
    """Make a rule of an `InventoryCheck` class. Its docstring is the summary.

    `within_accounts` is described at `Rule`.
    """

    def make(check: Callable[[AuditContext], InventoryCheck]) -> Rule:
        return Rule(
            code=_validate_code(code),
            severity=severity,
            summary=_first_line(check),
            advice=advice,
            new_inventory_check=check,
            within_accounts=within_accounts,
        )

    return make


def _validate_code(code: str) -> str:
    if not _CODE(code):
        raise InvalidArgument(f"rule: expected a code such as 'no-owner', got {code!r:.80}")
    return code


def _first_line(documented: Any) -> str:
    return (documented.__doc__ or "").strip().partition("\n")[0]
