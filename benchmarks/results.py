"""Samples of each client in each case, and the figures computed from them."""

from __future__ import annotations

from statistics import median
from typing import Literal, TypeAlias

import msgspec

from benchmarks.job import Outcome
from benchmarks.stats import spread

Figure: TypeAlias = Literal["seconds", "cpu"]


class Row(msgspec.Struct, kw_only=True):
    """One client in one case."""

    label: str
    units: float
    """The number of the case's units in one pass of the work."""
    ceiling: bool = False
    """True if it leaves out part of the work: no client could be faster."""
    note: str = ""
    samples: list[Outcome] = []

    def per_unit(self, figure: Figure = "seconds") -> float:
        """Return the median of what one unit took, in seconds."""
        return median(self._values(figure)) / self.units

    def spread(self, figure: Figure = "seconds") -> float:
        """Return how far the rounds are apart."""
        return spread(self._values(figure))

    def _values(self, figure: Figure) -> list[float]:
        return [sample.seconds if figure == "seconds" else sample.cpu for sample in self.samples]

    def peak_mib(self) -> float:
        """Return the median of the most memory held."""
        return median(sample.peak_kib for sample in self.samples) / 1024

    def other(self, name: str) -> float | None:
        """Return the median of a figure that only this case has."""
        values = [sample.extra[name] for sample in self.samples if name in sample.extra]
        return median(values) if values else None


class CaseResult(msgspec.Struct, kw_only=True):
    """One case: its clients, in the order in which they are shown."""

    name: str
    title: str
    unit: str
    bound: float | None = None
    """The least number of seconds that a run could take, where that is known."""
    loader: float | None = None
    """Requests per second that the loader got from the server."""
    rows: dict[str, Row] = {}

    def ratio(self, other: str, figure: Figure = "seconds", of: str = "phonesys") -> float | None:
        """Return the time of `other` as a multiple of that of `of`; None if either was not measured."""
        if other not in self.rows or of not in self.rows:
            return None
        mine, theirs = self.rows[of].per_unit(figure), self.rows[other].per_unit(figure)
        return theirs / mine if mine else None

    def server_margin(self) -> float | None:
        """Return the server's speed as a multiple of the fastest client's that does the whole work."""
        whole = [row for row in self.rows.values() if not row.ceiling]
        if self.loader is None or not whole:
            return None
        return self.loader * min(row.per_unit() for row in whole)


class Run(msgspec.Struct, kw_only=True):
    """Everything of one run."""

    machine: dict[str, str]
    versions: dict[str, str]
    rounds: int
    figure: Figure = "seconds"
    cases: dict[str, CaseResult] = {}
    skipped: list[str] = []
    """The measurements that were left out, and why."""
