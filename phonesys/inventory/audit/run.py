"""Running an audit."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from phonesys.errors import InvalidArgument, PhonesysError
from phonesys.inventory.audit.context import AuditContext
from phonesys.inventory.audit.finding import Finding
from phonesys.inventory.audit.rule import Rule, RuleFailed, all_rules
from phonesys.inventory.diff.changes import WHOLE
from phonesys.inventory.record import AccountOutcome, batches

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Collection, Iterable, Iterator

    from phonesys.inventory.audit.rule import Check, Look, Problem
    from phonesys.inventory.record import NumberRecord, Records

_TURN = 256


async def audit(
    records: Records,
    *,
    known: AuditContext | None = None,
    rules: Iterable[Rule] | None = None,
    ignore: Collection[str] = (),
    accounts: Iterable[AccountOutcome] | AsyncIterable[AccountOutcome] = (),
) -> AsyncGenerator[Finding]:
    """Yield what is wrong: what one number shows at once, what is between numbers at the end.

    All rules there are by default, without those whose codes `ignore` names. `accounts` is read after the
    records, so that a sweep's outcomes are known by then: of accounts that were not read whole, nothing is
    said to be missing. Raises RuleFailed where a rule does.
    """
    known = known if known is not None else AuditContext()
    chosen = _chosen(rules, ignore)
    looks = [(rule, rule.look) for rule in chosen if rule.look is not None]
    checks = [(rule, rule.check(known)) for rule in chosen if rule.check is not None]
    async with aclosing(batches(records, _TURN)) as reading:
        async for batch in reading:
            for record in map(known.with_pool, batch):
                for finding in _looked_at(record, known, looks, checks):
                    yield finding
    async for some in batches(accounts, _TURN):
        known.incomplete.update((one[0], one[1]) for one in some if one[2] not in WHOLE)
    for rule, check in checks:
        for problem in _ended(rule, check):
            yield _between(rule, problem)


async def findings(
    records: Records,
    *,
    known: AuditContext | None = None,
    rules: Iterable[Rule] | None = None,
    ignore: Collection[str] = (),
    accounts: Iterable[AccountOutcome] | AsyncIterable[AccountOutcome] = (),
) -> list[Finding]:
    """Audit, and return all findings, the worst first."""
    found = [one async for one in audit(records, known=known, rules=rules, ignore=ignore, accounts=accounts)]
    return sorted(found, key=lambda one: (one.severity.rank, one.code, one.accounts, one.number or ""))


def _chosen(rules: Iterable[Rule] | None, ignore: Collection[str]) -> list[Rule]:
    chosen = {rule.code: rule for rule in (all_rules().values() if rules is None else rules)}
    for code in (ignore,) if isinstance(ignore, str) else ignore:
        if code not in chosen:
            raise InvalidArgument(f"ignore: there is no rule {code!r}; there are: {', '.join(chosen)}")
        del chosen[code]
    return list(chosen.values())


def _looked_at(
    record: NumberRecord,
    known: AuditContext,
    looks: list[tuple[Rule, Look]],
    checks: list[tuple[Rule, Check]],
) -> Iterator[Finding]:
    rule: Rule | None = None
    try:
        for rule, look in looks:
            if (evidence := look(record, known)) is not None:
                yield _found(rule, record, evidence)
        for rule, check in checks:  # noqa: B007 -- named where it fails
            check.see(record)
    except PhonesysError:
        raise
    except Exception as fault:
        raise _failed(rule, f"at {record.number!r:.40}", fault) from fault


def _ended(rule: Rule, check: Check) -> Iterator[Problem]:
    try:
        yield from check.end()
    except PhonesysError:
        raise
    except Exception as fault:
        raise _failed(rule, "at the end", fault) from fault


def _failed(rule: Rule | None, where: str, fault: Exception) -> RuleFailed:
    code = rule.code if rule is not None else "?"
    return RuleFailed(f"rule {code!r} failed {where}: {type(fault).__name__}: {fault}")


def _found(rule: Rule, record: NumberRecord, evidence: str) -> Finding:
    return Finding(
        code=rule.code,
        severity=rule.severity,
        number=record.number,
        accounts=((record.backend, record.account),),
        id=record.id,
        evidence=evidence,
        advice=rule.advice,
    )


def _between(rule: Rule, problem: Problem) -> Finding:
    return Finding(
        code=rule.code,
        severity=rule.severity,
        number=problem.number,
        accounts=problem.accounts,
        evidence=problem.evidence,
        advice=rule.advice,
    )
