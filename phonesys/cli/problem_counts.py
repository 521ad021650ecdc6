"""Counts of rows and fields that could not be read, by account and reason."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

_MAX_GROUPS = 1000
"""Kinds of unreadable rows that are counted apart: memory must not grow with the sweep."""


class RowProblem(NamedTuple):
    """A reason why rows of an account could not be read."""

    backend: str
    account: str
    field: str
    reason: str


class ProblemCounts:
    """Problems of rows, counted by account, field and reason."""

    def __init__(self) -> None:
        self.counts: Counter[RowProblem] = Counter()
        self.examples: dict[RowProblem, str] = {}

    def add(self, problem: RowProblem, count: int, example: bytes) -> None:
        """Count rows with a problem, and keep the first example."""
        if problem in self.counts or len(self.counts) < _MAX_GROUPS:
            self.counts[problem] += count
            self.examples.setdefault(problem, example.decode(errors="replace"))
