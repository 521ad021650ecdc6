"""Goals, as ratios of medians of one run. They are never tests, since machines are noisy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from benchmarks.cases import REQUESTS, SIZES
from benchmarks.results import CaseResult, Run

if TYPE_CHECKING:
    from collections.abc import Iterator


class Verdict(msgspec.Struct):
    """One goal, what was measured, and whether that is enough."""

    goal: str
    measured: float
    target: float
    met: bool


class Goal(msgspec.Struct):
    """A goal of a case. `measure` returns None if the run did not measure it."""

    case: str
    text: str
    target: float
    measure: Callable[[CaseResult, Run], float | None]
    most: bool = False
    """True if the target is a ceiling and not a floor."""

    def verdict(self, run: Run) -> Verdict | None:
        """Judge a run."""
        case = run.cases.get(self.case)
        measured = self.measure(case, run) if case is not None else None
        if measured is None:
            return None
        met = measured <= self.target if self.most else measured >= self.target
        return Verdict(self.text, measured, self.target, met)


def verdicts(run: Run) -> Iterator[Verdict]:
    """Judge every goal that the run measured."""
    for goal in GOALS:
        verdict = goal.verdict(run)
        if verdict is not None:
            yield verdict


def faster_than(other: str) -> Callable[[CaseResult, Run], float | None]:
    """Measure how many times as fast as another client phonesys is."""
    return lambda case, run: case.ratio(other, run.figure)


def cost_beside(other: str) -> Callable[[CaseResult, Run], float | None]:
    """Measure phonesys's cost as a multiple of another client's."""
    return lambda case, run: _inverse(case.ratio(other, run.figure))


def _inverse(ratio: float | None) -> float | None:
    return 1 / ratio if ratio else None


def _beside_bound(case: CaseResult, _run: Run) -> float | None:
    row = case.rows.get("phonesys")
    return row.per_unit() * row.units / case.bound if row is not None and case.bound else None


def _seconds(case: CaseResult, _run: Run) -> float | None:
    row = case.rows.get("phonesys")
    return row.per_unit() * row.units if row is not None else None


def _extra(name: str, key: str = "phonesys") -> Callable[[CaseResult, Run], float | None]:
    return lambda case, _run: case.rows[key].other(name) if key in case.rows else None


def _memory(of: str, beside: str) -> Callable[[CaseResult, Run], float | None]:
    def measure(case: CaseResult, _run: Run) -> float | None:
        if of not in case.rows or beside not in case.rows:
            return None
        return case.rows[of].peak_mib() / case.rows[beside].peak_mib()

    return measure


def _speed_up(workers: str) -> Callable[[CaseResult, Run], float | None]:
    """Measure how many times as fast as one process several workers are."""
    return lambda case, _run: _inverse(case.ratio(workers))


def _more_cpu(workers: str) -> Callable[[CaseResult, Run], float | None]:
    return lambda case, _run: case.ratio(workers, "cpu")


GOALS = (
    Goal("small", "small locations: speed beside the loop by hand", 1.4, faster_than("by_hand")),
    Goal("small", "small locations: speed beside the official SDK", 15.0, faster_than("highlevel")),
    Goal("big", "big pages: speed beside the loop by hand", 1.15, faster_than("by_hand")),
    Goal("big", "big pages: speed beside the official SDK", 5.0, faster_than("highlevel")),
    *(
        Goal(
            case,
            f"{label}: peak memory beside the loop by hand",
            1.5,
            _memory("phonesys", "by_hand"),
            most=True,
        )
        for case, label in (("big", "big pages"), ("several", "several big pages"))
    ),
    *(
        Goal(
            case,
            f"{label}: cost of a sweep beside a loop over pages",
            1.15,
            cost_beside("by_page"),
            most=True,
        )
        for case, label in (
            ("several", "several big pages"),
            ("paged", "small pages"),
            ("organization", "Leadping lists"),
        )
    ),
    Goal("several", "several big pages: speed beside the loop by hand", 1.0, faster_than("by_hand")),
    Goal("organization", "Leadping lists: speed beside the loop by hand", 1.15, faster_than("by_hand")),
    Goal("organization", "Leadping lists: speed beside the official SDK", 4.0, faster_than("leadping")),
    Goal(
        "decode", "decode and unify: cost beside bare msgspec, tuned", 1.04, cost_beside("tuned"), most=True
    ),
    Goal("decode", "decode and unify: speed beside pydantic", 6.0, faster_than("httpx")),
    *(
        Goal("requests", f"requests: {entry.label}", float(most), _extra("requests", entry.key), most=True)
        for entry, (_, _, _, _, most) in zip(REQUESTS.entries, SIZES, strict=True)
    ),
    Goal("deep", "deep location: time beside the best possible", 1.1, _beside_bound, most=True),
    Goal("deep", "deep location: seconds", 0.7, _seconds, most=True),
    Goal("deep", "deep location: more requests than pages", 25.0, _extra("wasted"), most=True),
    Goal("limited", "rate-limited: share of the allowed requests used", 0.97, _extra("used")),
    Goal("limited", "rate-limited: requests refused with 429", 0.0, _extra("refused"), most=True),
    Goal(
        "scale",
        "cost per request: 100 000 locations beside 1 000",
        1.05,
        lambda case, run: case.ratio("phonesys_100k", run.figure, of="phonesys_1k"),
        most=True,
    ),
    Goal(
        "scale",
        "peak memory: 100 000 locations beside 1 000 (keep_done=False)",
        1.05,
        _memory("phonesys_100k", beside="phonesys_1k"),
        most=True,
    ),
    *(
        goal
        for key, label in (("processes", "two processes"), ("dask", "two Dask workers"))
        for goal in (
            Goal(
                "shards",
                f"{label}: speed beside one process",
                1.5,
                _speed_up(key),
            ),
            Goal(
                "shards",
                f"{label}: CPU time of a request beside one process",
                1.15,
                _more_cpu(key),
                most=True,
            ),
        )
    ),
    Goal("import", "import time beside aiohttp, msgspec and anyio", 1.15, cost_beside("needs"), most=True),
)
