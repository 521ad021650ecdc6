"""Differences between two states of the inventory, as values."""

from phonesys.inventory.diff.changes import (
    TOPICS,
    Change,
    ChangeKind,
    Comparison,
    Difference,
    FieldChange,
    MoveDetector,
    compare,
    unknown_account,
)

__all__ = [
    "TOPICS",
    "Change",
    "ChangeKind",
    "Comparison",
    "Difference",
    "FieldChange",
    "MoveDetector",
    "compare",
    "unknown_account",
]
