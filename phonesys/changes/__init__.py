"""Changes at scale: plan them, apply the plan, and take it back."""

from phonesys.changes.change import (
    AccountShare,
    Change,
    ChangeOutcome,
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

__all__ = [
    "AccountShare",
    "Change",
    "ChangeOutcome",
    "ChangeResult",
    "Concern",
    "Journal",
    "LeftOut",
    "MemoryJournal",
    "Plan",
    "PlannedChange",
    "Reading",
    "Risk",
    "RunState",
    "RunSummary",
]
