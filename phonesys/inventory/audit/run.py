"""Running an audit."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from phonesys.errors import InvalidArgument, PhonesysError
from phonesys.inventory.audit.context import AuditContext
from phonesys.inventory.audit.finding import Finding
from phonesys.inventory.audit.registry import all_rules
from phonesys.inventory.audit.rule import Rule, RuleFailed
from phonesys.inventory.record import AccountOutcome, batches, record_batches

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Collection, Iterable, Iterator

    from phonesys.inventory.audit.rule import CheckNumber, InventoryCheck, Problem
    from phonesys.inventory.record import Records
    from phonesys.record import NumberRecord

_BATCH = 256


async def audit(
    records: Records,
    *,
    context: AuditContext | None = None,
    rules: Iterable[Rule] | None = None,
    ignore: Collection[str] = (),
    accounts: Iterable[AccountOutcome] | AsyncIterable[AccountOutcome] = (),
) -> AsyncGenerator[Finding]:
    """Yield findings: those of single numbers while records are read, those between numbers at the end.

    Uses all rules by default, except those whose codes are in `ignore`. `accounts` is read after the
    records, when a sweep knows its outcomes. Nothing is reported as missing in an account that was not read
    completely. Raises RuleFailed if a rule raises.
    """
    context = context if context is not None else AuditContext()
    context.start()
    chosen = select_rules(rules, ignore)
    number_checks = [(rule, rule.check_number) for rule in chosen if rule.check_number is not None]
    inventory_checks = [
        (rule, rule.new_inventory_check(context)) for rule in chosen if rule.new_inventory_check is not None
    ]
    async with aclosing(record_batches(records, _BATCH)) as reading:
        async for batch in reading:
            for record in map(context.with_pool, batch):
                context.numbers.add(record)
                for finding in _check_record(record, context, number_checks, inventory_checks):
                    yield finding
    async for some in batches(accounts, _BATCH):
        context.incomplete.update(((one.backend, one.account), one.problem) for one in some if one.problem)
    for rule, check in inventory_checks:
        for problem in _finish(rule, check):
            yield _inventory_finding(rule, problem)


async def findings(
    records: Records,
    *,
    context: AuditContext | None = None,
    rules: Iterable[Rule] | None = None,
    ignore: Collection[str] = (),
    accounts: Iterable[AccountOutcome] | AsyncIterable[AccountOutcome] = (),
) -> list[Finding]:
    """Return all findings of an audit, the worst first."""
    found = [
        one async for one in audit(records, context=context, rules=rules, ignore=ignore, accounts=accounts)
    ]
    return sorted(found, key=lambda one: (one.severity.rank, one.code, one.accounts, one.number or ""))


def select_rules(rules: Iterable[Rule] | None, ignore: Collection[str]) -> list[Rule]:
    """Return these rules, all by default, without those to ignore. Raises InvalidArgument."""
    chosen = {rule.code: rule for rule in (all_rules().values() if rules is None else rules)}
    for code in (ignore,) if isinstance(ignore, str) else ignore:
        if code not in chosen:
            raise InvalidArgument(f"ignore: unknown rule {code!r}; the rules are {', '.join(chosen)}")
        del chosen[code]
    return list(chosen.values())


def _check_record(
    record: NumberRecord,
    context: AuditContext,
    number_checks: list[tuple[Rule, CheckNumber]],
    inventory_checks: list[tuple[Rule, InventoryCheck]],
) -> Iterator[Finding]:
    rule: Rule | None = None
    try:
        for rule, check_number in number_checks:
            if (evidence := check_number(record, context)) is not None:
                yield _number_finding(rule, record, evidence)
        for rule, check in inventory_checks:  # noqa: B007 -- `rule` is used if `add` raises
            check.add(record)
    except PhonesysError:
        raise
    except Exception as fault:
        raise _rule_failed(rule, f"at {record.number!r:.40}", fault) from fault


def _finish(rule: Rule, check: InventoryCheck) -> Iterator[Problem]:
    try:
        yield from check.problems()
    except PhonesysError:
        raise
    except Exception as fault:
        raise _rule_failed(rule, "at the end", fault) from fault


def _rule_failed(rule: Rule | None, where: str, fault: Exception) -> RuleFailed:
    code = rule.code if rule is not None else "?"
    return RuleFailed(f"rule {code!r} failed {where}: {type(fault).__name__}: {fault}")


def _number_finding(rule: Rule, record: NumberRecord, evidence: str) -> Finding:
    return Finding(
        code=rule.code,
        severity=rule.severity,
        number=record.number,
        accounts=((record.backend, record.account),),
        id=record.id,
        evidence=evidence,
        advice=rule.advice,
    )


def _inventory_finding(rule: Rule, problem: Problem) -> Finding:
    return Finding(
        code=rule.code,
        severity=rule.severity,
        number=problem.number,
        accounts=problem.accounts,
        evidence=problem.evidence,
        advice=rule.advice,
    )
