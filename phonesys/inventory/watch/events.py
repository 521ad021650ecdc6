"""Events of a watch, beside changes."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

import msgspec

from phonesys.inventory.audit import Finding
from phonesys.inventory.diff import Change
from phonesys.inventory.record import AccountOutcome


class FindingState(StrEnum):
    """The state of a finding, compared with the sweep before."""

    NEW = "new"
    RESOLVED = "resolved"


class FindingEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A finding that is new, or that has been resolved."""

    state: FindingState
    finding: Finding
    found_at: datetime
    """The time at which it was first found."""


class SweepEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a sweep."""

    sweep_id: int | None
    """The id of its snapshot, if the watch has a store."""
    numbers: int
    accounts: int
    complete: bool
    elapsed: float
    """Seconds."""
    unread_accounts: int = 0
    """The number of accounts, or lists of accounts, that were not read completely."""
    unread: tuple[AccountOutcome, ...] = ()
    """The first of them, with the reasons."""
    open_findings: int | None = None
    """The number of findings that are open now, or None if the watch has no audit."""
    pruned: int = 0
    """The number of old snapshots that were deleted after it."""


class AlertEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt to send a message to one destination."""

    destination: str
    """Its name, which says nothing about its address."""
    sent: bool
    items: int
    """The number of findings and changes in the message."""
    problem: str | None = None
    """The reason why it was not sent."""
    uncertain: int = 0
    """The number of items in earlier messages that may not have arrived, and are not sent again."""


WatchEvent: TypeAlias = Change | FindingEvent | SweepEvent | AlertEvent
"""Everything that `Watch.events` yields."""
