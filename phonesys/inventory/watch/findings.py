"""Findings of a watch: those that are new, and those that are known to be resolved."""

from __future__ import annotations

import hashlib
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from phonesys.errors import PhonesysError
from phonesys.inventory.audit import AuditContext, audit
from phonesys.inventory.audit.run import select_rules
from phonesys.inventory.digits import number_key
from phonesys.inventory.record import missing_reason
from phonesys.inventory.watch.events import FindingEvent, FindingState
from phonesys.provider import ListsAgents

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from phonesys.inventory.audit import Finding, Rule
    from phonesys.inventory.record import AccountKey
    from phonesys.inventory.snapshot import Snapshot
    from phonesys.inventory.store.watch_rows import OpenFinding
    from phonesys.sweep import SweepReport
    from phonesys.system import PhoneSystem

_NEEDS_AGENTS = "assigned-to-missing"
_KEY_BYTES = 16


class FindingKeys:
    """Names findings, so that one is recognized in the next sweep.

    A finding is the same if its rule, its number and its account are: evidence such as "3 rows could not be
    read" may change. Between accounts it is the same if its rule and number are, in whichever accounts.
    """

    def __init__(self) -> None:
        self._count: dict[str, int] = {}

    def key(self, finding: Finding) -> str:
        """Return the key of the next finding of a sweep."""
        number = number_key(finding.number) if finding.number else ""
        accounts = finding.accounts if len(finding.accounts) == 1 or not number else ()
        name = msgspec.json.encode([finding.code, number or finding.id, accounts])
        key = hashlib.blake2b(name, digest_size=_KEY_BYTES).hexdigest()
        count = self._count[key] = self._count.get(key, 0) + 1
        return key if count == 1 else f"{key}-{count}"


class Coverage:
    """The accounts that a sweep has read completely, from its report."""

    def __init__(self, report: SweepReport, backends: Iterable[str], named: Collection[str]) -> None:
        self._report = report
        self._backends = frozenset(backends)
        self._named = named
        self._unlisted = {failure.provider for failure in report.failures if failure.account is None}

    @property
    def complete(self) -> bool:
        """True if every account was read completely."""
        return self._report.complete

    def includes(self, account: AccountKey) -> bool:
        """Return True if every number of the account is known, also if the account is gone."""
        result = self._report.accounts.get(account)
        if result is not None:
            return missing_reason(result.outcome, None, result.rejected) is None
        backend = account[0]
        is_listed = backend in self._backends and backend not in self._named
        return is_listed and backend not in self._unlisted


class SweepAudit:
    """Audits the snapshots of a watch, and compares their findings with those that are open."""

    def __init__(self, phones: PhoneSystem, rules: Iterable[Rule] | None, ignore: Collection[str]) -> None:
        self._phones = phones
        self._rules = {rule.code: rule for rule in select_rules(rules, ignore)}

    @property
    def codes(self) -> Collection[str]:
        """The codes of the rules."""
        return self._rules.keys()

    async def compare(
        self, snapshot: Snapshot, coverage: Coverage, known: dict[str, OpenFinding]
    ) -> tuple[dict[str, Finding], dict[str, OpenFinding]]:
        """Return the findings that are new, and those that were open and are resolved."""
        context, unknown = await self._context(snapshot.coverage)
        found = audit(
            snapshot.records(),
            context=context,
            rules=self._rules.values(),
            accounts=snapshot.accounts(),
        )
        keys, seen = FindingKeys(), set[str]()
        new: dict[str, Finding] = {}
        async with aclosing(found):
            async for finding in found:
                key = keys.key(finding)
                if key in known:
                    seen.add(key)
                else:
                    new[key] = finding
        gone = {
            key: one
            for key, one in known.items()
            if key not in seen and self._is_resolved(one.finding, coverage, unknown)
        }
        return new, gone

    def _is_resolved(self, finding: Finding, coverage: Coverage, unknown: Collection[str]) -> bool:
        """Return True if the sweep would have found it again, were it not resolved."""
        rule = self._rules.get(finding.code)
        if rule is None or not all(map(coverage.includes, finding.accounts)):
            return False
        if finding.code == _NEEDS_AGENTS and any(backend in unknown for backend, _ in finding.accounts):
            return False
        return rule.check_number is not None or rule.within_accounts or coverage.complete

    async def _context(self, backends: Iterable[str]) -> tuple[AuditContext, set[str]]:
        """Return the context with all agents, and the backends whose agents cannot be listed now."""
        agents: dict[str, tuple[Any, ...]] = {}
        unknown: set[str] = set()
        if _NEEDS_AGENTS in self._rules:
            for name in backends:
                if isinstance(provider := self._phones[name], ListsAgents):
                    try:
                        agents[name] = await provider.agents()
                    except PhonesysError:
                        unknown.add(name)
        return AuditContext(agents=agents), unknown


def new_event(finding: Finding, moment: datetime) -> FindingEvent:
    """Return the event of a finding that is new."""
    return FindingEvent(state=FindingState.NEW, finding=finding, found_at=moment)


def resolved_event(one: OpenFinding) -> FindingEvent:
    """Return the event of a finding that is resolved."""
    return FindingEvent(state=FindingState.RESOLVED, finding=one.finding, found_at=one.found_at)


def finding_events(
    new: dict[str, Finding], gone: dict[str, OpenFinding], moment: datetime
) -> list[FindingEvent]:
    """Return the events of a sweep, the worst first."""
    events = [new_event(one, moment) for one in new.values()]
    events.sort(key=lambda event: (event.finding.severity.rank, event.finding.code, event.finding.accounts))
    return events + [resolved_event(one) for one in gone.values()]


def now() -> datetime:
    """Return the time of day."""
    return datetime.now(UTC)
