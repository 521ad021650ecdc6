"""Changes at scale: plan them, apply the plan, and take it back."""

from phonesys.changes.change import (
    AccountShare,
    ChangeOutcome,
    ChangeRequest,
    ChangeResult,
    Concern,
    LeftOut,
    Plan,
    PlannedChange,
    Reading,
    Risk,
    RunState,
    RunSummary,
)
from phonesys.changes.journal import Journal, MemoryJournal
from phonesys.changes.reading import read_changes
from phonesys.changes.run import PlanRun

__all__ = [
    "AccountShare",
    "ChangeOutcome",
    "ChangeRequest",
    "ChangeResult",
    "Concern",
    "Journal",
    "LeftOut",
    "MemoryJournal",
    "Plan",
    "PlanRun",
    "PlannedChange",
    "Reading",
    "Risk",
    "RunState",
    "RunSummary",
    "read_changes",
]
