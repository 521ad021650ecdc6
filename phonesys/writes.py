"""Writes as plain data, and what a look-up of one whose response was lost may show.

No vendor records which request made a change. So a look-up cannot tell if this very request was carried out.
It tells if the vendor holds what the request asked for, and if that came about since.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import msgspec

N_co = TypeVar("N_co", covariant=True)

GRACE_PERIOD = 60.0
"""Seconds after which a request whose response was lost is taken to be over, as gateways usually allow."""
CLOCK_SKEW = 60.0
"""Seconds by which the vendor's clock and this one may differ."""


Value: TypeAlias = str | bool | None
"""Value of a field that a change sets."""


class Action(StrEnum):
    """The kind of a change."""

    UPDATE = "update"
    """Set fields of a number that is held."""
    DELETE = "delete"
    CREATE = "create"
    """Register a number with a backend, or assign one that no agent has."""
    BUY = "buy"
    """Purchase a number, which costs money."""


class WriteOutcome(StrEnum):
    """Result of looking up a write."""

    DONE = "done"
    """The vendor holds what the write asked for. Do not repeat it."""
    NOT_DONE = "not_done"
    """The vendor does not hold it, and nothing suggests that it ever did. It may be repeated."""
    UNCLEAR = "unclear"
    """The state at the vendor may come from this write or from another one. A person must decide."""


class Reconciled(msgspec.Struct, Generic[N_co], frozen=True, kw_only=True):
    """Outcome of a write."""

    outcome: WriteOutcome
    number: N_co | None = None
    """The number that the write created or changed, as it is now. None unless done, and after a delete."""
    reason: str = ""
    """Grounds for the outcome, in words."""
    candidates: tuple[N_co, ...] = ()
    """Numbers that the write may have created or changed, if that is unclear."""


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """A write as plain data, from which its outcome can be looked up, in another process too."""

    kind: Literal["create", "assign", "purchase", "update", "delete"]
    account: str
    number: str | None = None
    """Number to create, assign or purchase, E.164."""
    number_id: str | None = None
    """Id of the number to update or delete."""
    wanted: dict[str, Any] = {}
    """Fields of the write, under the method's parameter names."""
    version: datetime | None = None
    """Time of the number's last change before the write, if it was fetched."""
    started_at: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    ended_at: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    """Time at which waiting for the response ended."""
