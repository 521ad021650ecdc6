"""A run of a plan, as the store keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from phonesys.changes import Plan, RunState


class StoredRun(NamedTuple):
    """A run of a plan: the plan, and the outcomes so far."""

    plan: Plan
    state: RunState
