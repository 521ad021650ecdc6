"""The contents of a report, gathered in one pass over the records."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from phonesys.inventory.audit import Finding, Severity, all_rules
from phonesys.inventory.record import batches, record_batches
from phonesys.inventory.report.cost import CostSummary

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Iterable

    from phonesys.inventory.record import AccountKey, AccountOutcome, Records
    from phonesys.record import NumberRecord

UNKNOWN = ""
_BATCH = 256


class NumberSummary:
    """Counts all numbers, and keeps the rows of the first ones."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self.total = 0
        self.backends: Counter[str] = Counter()
        self.accounts: Counter[AccountKey] = Counter()
        self.countries: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.statuses_by_backend: Counter[tuple[str, str]] = Counter()
        self.cost = CostSummary()
        self.rows: list[list[Any]] = []
        self.account_names: dict[AccountKey, str] = {}
        self.words: dict[str, dict[str, int]] = {
            name: {} for name in ("country", "kind", "status", "findings")
        }
        self.account_index: dict[AccountKey, int] = {}

    @property
    def known_countries(self) -> int:
        """The number of countries, without `UNKNOWN`."""
        return len(self.countries) - (UNKNOWN in self.countries)

    async def counted(self, records: Records) -> AsyncGenerator[NumberRecord]:
        """Count records, and yield them."""
        async with aclosing(record_batches(records, _BATCH)) as reading:
            async for batch in reading:
                for record in batch:
                    self.add(record)
                    yield record

    async def add_all(self, records: Records) -> None:
        """Count all records."""
        async with aclosing(self.counted(records)) as records_:
            async for _ in records_:
                pass

    def add(self, record: NumberRecord) -> None:
        """Count a record."""
        account = record.backend, record.account
        self.total += 1
        self.backends[record.backend] += 1
        self.accounts[account] += 1
        if record.account_name is not None:
            self.account_names[account] = record.account_name
        self.countries[record.country or UNKNOWN] += 1
        self.statuses[record.status.value] += 1
        self.statuses_by_backend[record.backend, record.status.value] += 1
        self.cost.add(record)
        if len(self.rows) < self._max_rows:
            self.rows.append(self._row(record))

    def _row(self, record: NumberRecord) -> list[Any]:
        """Return a row. Its columns are named at the top of `page.js`."""
        return [
            self.account_index.setdefault((record.backend, record.account), len(self.account_index)),
            record.number,
            record.label or "",
            self.code("country", record.country or UNKNOWN),
            self.code("kind", record.kind.value),
            self.code("status", record.status.value),
            sum(
                1 << bit for bit, can in enumerate((record.voice, record.sms, record.mms, record.fax)) if can
            ),
            _route(record),
            record.assignee or "",
            record.pool_name or record.pool or "",
            record.id,
            record.monthly_amount or "",
            0,
        ]

    def code(self, name: str, word: str) -> int:
        """Return the index of a repeated word in its list."""
        words = self.words[name]
        return words.setdefault(word, len(words))

    def mark(self, found: FindingGroups) -> None:
        """Add to each row the findings of its number."""
        self.code("findings", "")
        for row in self.rows:
            row[-1] = self.code("findings", found.codes_of(row[_NUMBER]))


_CODED = ("country", "kind", "status", "findings")
_NUMBER = 1


def _route(record: NumberRecord) -> str:
    route = record.inbound or record.routing_summary or record.pool_route
    return route or ("none" if record.is_routed is False else "")


class Group(msgspec.Struct):
    """The findings of one rule: their count, and the first of them."""

    code: str
    severity: Severity
    summary: str
    advice: str
    count: int = 0
    findings: list[Finding] = msgspec.field(default_factory=list[Finding])


class FindingGroups:
    """Counts all findings, and keeps the first ones of every rule."""

    def __init__(self, max_per_rule: int, cost: CostSummary) -> None:
        self._max_per_rule = max_per_rule
        self._cost = cost
        self._groups: dict[tuple[str, str], Group] = {}
        self._summaries = {rule.code: rule.summary for rule in all_rules().values()}
        self._of_number: dict[str, dict[str, Severity]] = {}
        self.critical = 0
        self.total = 0
        self.by_account: Counter[tuple[AccountKey, bool]] = Counter()
        """The number of findings of each account, critical and others apart."""

    async def add_all(self, findings: Iterable[Finding] | AsyncIterable[Finding]) -> None:
        """Count all findings."""
        async with aclosing(batches(findings, _BATCH)) as reading:
            async for some in reading:
                for finding in some:
                    self.add(finding)

    def add(self, finding: Finding) -> None:
        """Count a finding."""
        is_critical = finding.severity is Severity.CRITICAL
        self.total += 1
        self.critical += is_critical
        for account in finding.accounts:
            self.by_account[account, is_critical] += 1
        if finding.number is not None:
            self._of_number.setdefault(finding.number, {})[finding.code] = finding.severity
        self._cost.add_finding(finding)
        group = self._group(finding)
        group.count += 1
        if len(group.findings) < self._max_per_rule:
            group.findings.append(finding)

    def _group(self, finding: Finding) -> Group:
        key = finding.code, finding.severity.value
        if key not in self._groups:
            summary = self._summaries.get(finding.code) or finding.code
            self._groups[key] = Group(finding.code, finding.severity, summary, finding.advice)
        return self._groups[key]

    def codes_of(self, number: str) -> str:
        """Return the worst severity and the codes of a number's findings, or an empty text."""
        found = self._of_number.get(number)
        if not found:
            return ""
        codes = sorted(found, key=lambda code: (found[code].rank, code))
        return " ".join([found[codes[0]].value, *codes])

    def groups(self) -> list[Group]:
        """Return the groups by severity, then by frequency."""
        return sorted(
            self._groups.values(), key=lambda group: (group.severity.rank, -group.count, group.code)
        )


class CachedOutcomes:
    """The outcomes of accounts, read once on first use."""

    def __init__(self, accounts: Iterable[AccountOutcome] | AsyncIterable[AccountOutcome]) -> None:
        self._accounts = accounts
        self._read: list[AccountOutcome] | None = None

    async def all(self) -> list[AccountOutcome]:
        """Return all outcomes."""
        if self._read is None:
            self._read = [one async for some in batches(self._accounts, _BATCH) for one in some]
        return self._read

    async def __aiter__(self) -> AsyncGenerator[AccountOutcome]:
        for one in await self.all():
            yield one
