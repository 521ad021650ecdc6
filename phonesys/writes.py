"""What is kept of a write whose answer was lost, and what looking it up may show.

No vendor says who wrote what. So the question that can be answered is not whether this very request was
carried out, but whether the vendor holds what it asked for, and whether that came about since.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar

import msgspec

N_co = TypeVar("N_co", covariant=True)

GRACE_PERIOD = 60.0
"""Seconds after which a request whose answer was lost is taken to be over: what gateways usually allow."""
CLOCK_SKEW = 60.0
"""How many seconds the vendor's clock and this one may be apart."""


class WriteOutcome(StrEnum):
    """What looking it up has shown."""

    DONE = "done"
    """The vendor holds what the write asked for: it need not be repeated."""
    NOT_DONE = "not_done"
    """The vendor does not, and nothing suggests that it ever did: it may be repeated."""
    UNCLEAR = "unclear"
    """What is there may be this write's work or somebody else's: for people to decide."""


class Reconciled(msgspec.Struct, Generic[N_co], frozen=True, kw_only=True):
    """What became of a write."""

    outcome: WriteOutcome
    number: N_co | None = None
    """What it made or changed, as it is now; None unless done, and for what was deleted."""
    reason: str = ""
    """What the outcome rests on, in words."""
    candidates: tuple[N_co, ...] = ()
    """The numbers that may be what it made or changed, where that is unclear."""


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """A write as plain facts, from which its outcome can be looked up: in another process too."""

    kind: Literal["create", "assign", "update", "delete"]
    account: str
    number: str | None = None
    """The number that was to be created or assigned, E.164."""
    number_id: str | None = None
    """The number that was to be updated or deleted."""
    wanted: dict[str, Any] = {}
    """The fields that were given, under the names that the method has for them."""
    version: datetime | None = None
    """When the number was last changed before, where it was fetched for that."""
    started_at: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    ended_at: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    """When the answer was given up."""
