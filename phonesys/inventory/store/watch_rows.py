"""Rows of watches, as their readers see them."""

from __future__ import annotations

from datetime import datetime

import msgspec

from phonesys.inventory.audit import Finding


class OpenFinding(msgspec.Struct, frozen=True):
    """A finding of the last sweep that could tell."""

    found_at: datetime
    encoded: str

    @property
    def finding(self) -> Finding:
        """The finding as it was first found."""
        return _decode(self.encoded)


_decode = msgspec.json.Decoder(Finding).decode


class Alert(msgspec.Struct, frozen=True):
    """One line of a message."""

    kind: str
    """`finding`, `resolved` or `change`."""
    text: str
    severity: int = 0
    """The sort key: 0 is the worst."""
    key: str | None = None
    """The key of its finding."""
    items: int = 1
    """The number of findings or changes that it stands for."""
    id: int | None = None
    """Its place in the order of all alerts, once it is stored."""


class Outbox(msgspec.Struct, frozen=True):
    """The alerts that a destination has not received."""

    alerts: list[Alert]
    sent_at: datetime | None
    """The time of its last message."""
    uncertain: int
    """The number of items in messages that may have been sent just before a program was killed."""
