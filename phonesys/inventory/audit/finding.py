"""The findings of an audit."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from phonesys.inventory.record import AccountKey


class Severity(StrEnum):
    """The severity of a finding."""

    CRITICAL = "critical"
    """Calls or messages are being lost."""
    WARNING = "warning"
    """Something is wrong, or costs money without a use."""
    NOTICE = "notice"
    """Worth a look; it may be intended."""

    @property
    def rank(self) -> int:
        """The sort key: 0 is the worst."""
        return _ORDER.index(self)


_ORDER = (Severity.CRITICAL, Severity.WARNING, Severity.NOTICE)


class Finding(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One problem, with its evidence and advice."""

    code: str
    """The rule's code, which stays the same from version to version."""
    severity: Severity
    number: str | None
    """As the vendor writes it; None if the finding concerns a whole account."""
    accounts: tuple[AccountKey, ...]
    """The accounts concerned: more than one for a finding between accounts."""
    id: str | None = None
    """The vendor's id of the number, if the finding concerns one row."""
    evidence: str
    advice: str
