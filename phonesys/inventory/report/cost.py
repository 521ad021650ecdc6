"""The cost of the numbers, where a vendor tells it, and of those that are idle."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phonesys.inventory.audit import Finding
    from phonesys.inventory.record import AccountKey
    from phonesys.record import NumberRecord

IDLE_RULE = "billed-but-unused"
"""The audit rule whose findings are idle numbers."""


class CostSummary:
    """Sums the monthly amounts that vendors give. They name no currency, so backends are not added up."""

    def __init__(self) -> None:
        self._amounts: dict[tuple[AccountKey, str], Decimal] = {}
        self.by_account: dict[AccountKey, Decimal] = {}
        self.billed: Counter[str] = Counter()
        """By backend: the number of phone numbers that are charged for."""
        self.unpriced: Counter[str] = Counter()
        """By backend: those of them whose amount is unknown."""
        self.total: dict[str, Decimal] = {}
        """By backend: the monthly amount of all numbers."""
        self.idle: Counter[str] = Counter()
        """By backend: the number of idle numbers."""
        self.idle_total: dict[str, Decimal] = {}
        """By backend: the monthly amount of idle numbers."""

    def add(self, record: NumberRecord) -> None:
        """Count a record."""
        amount = _parse(record.monthly_amount)
        if amount is None:
            if record.billed:
                self.billed[record.backend] += 1
                self.unpriced[record.backend] += 1
            return
        account = record.backend, record.account
        self.billed[record.backend] += 1
        self._amounts[account, record.id] = amount
        self.total[record.backend] = self.total.get(record.backend, Decimal()) + amount
        self.by_account[account] = self.by_account.get(account, Decimal()) + amount

    def add_finding(self, finding: Finding) -> None:
        """Count an idle number, which is counted as a record before."""
        if finding.code != IDLE_RULE:
            return
        for account in finding.accounts:
            backend = account[0]
            amount = self._amounts.get((account, finding.id or ""), Decimal())
            self.idle[backend] += 1
            self.idle_total[backend] = self.idle_total.get(backend, Decimal()) + amount


def _parse(amount: str | None) -> Decimal | None:
    try:
        parsed = Decimal(amount) if amount else None
    except InvalidOperation:
        return None
    return parsed if parsed is not None and parsed.is_finite() else None


def format_amount(amount: Decimal) -> str:
    """Return an amount with two decimals, or with more if it has more."""
    decimals = max(2, -int(amount.normalize().as_tuple().exponent))
    return f"{amount:,.{decimals}f}"
