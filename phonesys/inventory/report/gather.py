"""The contents of a report, gathered in one pass over the records."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from phonesys.inventory.audit import Finding, Severity, all_rules
from phonesys.inventory.record import batches

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Iterable

    from phonesys.inventory.record import AccountOutcome, Records
    from phonesys.record import NumberRecord

UNKNOWN = ""
_BATCH = 256


class NumberSummary:
    """Counts all numbers, and keeps the rows of the first ones."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self.total = 0
        self.backends: Counter[str] = Counter()
        self.accounts: Counter[tuple[str, str]] = Counter()
        self.countries: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.rows: list[list[Any]] = []
        self.account_names: dict[tuple[str, str], str] = {}
        self._words: dict[str, dict[str, int]] = {name: {} for name in _CODED}

    @property
    def known_countries(self) -> int:
        """The number of countries, without `UNKNOWN`."""
        return len(self.countries) - (UNKNOWN in self.countries)

    async def counted(self, records: Records) -> AsyncGenerator[NumberRecord]:
        """Count records, and yield them."""
        async with aclosing(batches(records, _BATCH)) as reading:
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
        self.total += 1
        self.backends[record.backend] += 1
        self.accounts[record.backend, record.account] += 1
        if record.account_name is not None:
            self.account_names[record.backend, record.account] = record.account_name
        self.countries[record.country or UNKNOWN] += 1
        self.statuses[record.status.value] += 1
        if len(self.rows) < self._max_rows:
            self.rows.append(self._row(record))

    def _row(self, record: NumberRecord) -> list[Any]:
        return [
            self._code("backend", record.backend),
            self._code("account", record.account),
            record.number,
            record.label or "",
            self._code("country", record.country or UNKNOWN),
            self._code("kind", record.kind.value),
            self._code("status", record.status.value),
            sum(
                1 << bit for bit, can in enumerate((record.voice, record.sms, record.mms, record.fax)) if can
            ),
            _route(record),
            record.assignee or "",
            record.pool_name or record.pool or "",
            record.id,
            0,
        ]

    def _code(self, name: str, word: str) -> int:
        """Return the index of a repeated word in its list."""
        words = self._words[name]
        return words.setdefault(word, len(words))

    def flag(self, flags: dict[str, int]) -> None:
        """Mark the rows of numbers with findings."""
        for row in self.rows:
            row[-1] = flags.get(row[_NUMBER], 0)

    def data(self) -> str:
        """Return the rows as JSON without characters that HTML could parse as markup."""
        words = {name: list(words) for name, words in self._words.items()}
        names = {account: name for (_, account), name in self.account_names.items()}
        words["name"] = [names.get(account, "") for account in words["account"]]
        text = msgspec.json.encode({"words": words, "rows": self.rows}).decode()
        return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


_CODED = ("backend", "account", "country", "kind", "status")
_NUMBER = 2


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

    def __init__(self, max_per_rule: int) -> None:
        self._max_per_rule = max_per_rule
        self._groups: dict[tuple[str, str], Group] = {}
        self._summaries = {rule.code: rule.summary for rule in all_rules().values()}
        self.flags: dict[str, int] = {}
        """The worst severity of each number, where 1 is the worst."""

    async def add_all(self, findings: Iterable[Finding] | AsyncIterable[Finding]) -> None:
        """Count all findings."""
        async with aclosing(batches(findings, _BATCH)) as reading:
            async for some in reading:
                for finding in some:
                    self.add(finding)

    def add(self, finding: Finding) -> None:
        """Count a finding."""
        key = finding.code, finding.severity.value
        if key not in self._groups:
            summary = self._summaries.get(finding.code) or finding.code
            self._groups[key] = Group(finding.code, finding.severity, summary, finding.advice)
        group = self._groups[key]
        group.count += 1
        if len(group.findings) < self._max_per_rule:
            group.findings.append(finding)
        if finding.number is not None:
            rank = finding.severity.rank + 1
            self.flags[finding.number] = min(rank, self.flags.get(finding.number, rank))

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
