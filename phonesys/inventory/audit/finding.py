"""What an audit finds."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

import msgspec

Place: TypeAlias = tuple[str, str]
"""A backend, by its name in the system, and one of its accounts."""


class Severity(StrEnum):
    """How bad it is."""

    CRITICAL = "critical"
    """Calls or messages are lost now."""
    WARNING = "warning"
    """Something is wrong, or costs money for nothing."""
    NOTICE = "notice"
    """Worth a look; it may be meant."""

    @property
    def rank(self) -> int:
        """Zero is the worst: what to sort by."""
        return _ORDER.index(self)


_ORDER = (Severity.CRITICAL, Severity.WARNING, Severity.NOTICE)


class Finding(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One thing that is wrong, how that is known, and what to do about it."""

    code: str
    """The rule's; it stays the same from version to version."""
    severity: Severity
    number: str | None
    """As the vendor writes it; None where it is about a whole account."""
    accounts: tuple[Place, ...]
    """Where it is so: more than one for what is between accounts."""
    id: str | None = None
    """What the vendor calls the number, where it is about one row."""
    evidence: str
    advice: str
