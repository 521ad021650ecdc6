"""The report of a run: a table for the terminal, Markdown for the README, JSON for everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from rich.table import Table

from benchmarks.goals import Verdict, verdicts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console

    from benchmarks.results import CaseResult, Figure, Row, Run

HEADINGS = ("client", "time", "spread", "CPU", "peak memory", "phonesys is", "more")
FIGURES: dict[Figure, str] = {"seconds": "wall time", "cpu": "CPU time"}
_FAST_ENOUGH = 3.0

_EXTRAS = {
    "requests": "{:.0f} requests",
    "wasted": "{:.0f} more requests than pages",
    "used": "{:.1%} of the allowed requests used",
    "refused": "{:.0f} refused with 429",
    "tasks_left": "{:.0f} tasks left",
}
_SHOWN = {
    "deep": ("wasted",),
    "limited": ("used", "refused"),
    "stop": ("tasks_left",),
    "several": ("wasted",),
    "requests": ("requests",),
}


def show(run: Run, console: Console, *, goals: bool = True) -> None:
    """Print every case, the goals, and what was skipped."""
    for case in run.cases.values():
        table = Table(*HEADINGS, title=f"{case.title} (per {case.unit})", title_justify="left")
        for cells in lines(case, run.figure):
            table.add_row(*cells)
        console.print(table)
        if (said := about_server(case)) is not None:
            console.print(said)
        console.print()
    if goals:
        console.print(_goals(run))
    for reason in run.skipped:
        console.print(f"skipped: {reason}")


def _goals(run: Run) -> Table:
    table = Table(
        "goal",
        "measured",
        "target",
        "",
        title=f"Goals: ratios of medians, {FIGURES[run.figure]}",
        title_justify="left",
    )
    for verdict in verdicts(run):
        table.add_row(*_goal(verdict))
    return table


def lines(case: CaseResult, figure: Figure) -> Iterator[tuple[str, ...]]:
    """Yield the cells of a case, a line for each client; `figure` is what is compared."""
    for key, row in case.rows.items():
        yield (
            row.label + (f" ({row.note})" if row.note else ""),
            duration(row.per_unit()),
            f"{row.spread():.0%}",
            duration(row.per_unit("cpu")) if row.per_unit("cpu") else "",
            f"{row.peak_mib():.0f} MiB" if row.peak_mib() else "",
            _beside(case, key, figure),
            "; ".join(_extras(case, row)),
        )


def _beside(case: CaseResult, key: str, figure: Figure) -> str:
    ratio = case.ratio(key, figure)
    return "" if ratio is None or key.startswith("phonesys") else f"{ratio:.2f} x as fast"


def _extras(case: CaseResult, row: Row) -> Iterator[str]:
    if case.bound and not row.ceiling and row.other("wasted") is not None:
        yield f"{row.other('requests'):.0f} requests"
    for name in _SHOWN.get(case.name, ()):
        value = row.other(name)
        if value is not None:
            yield _EXTRAS[name].format(value)


def about_server(case: CaseResult) -> str | None:
    """Describe how much faster the server is than the fastest client."""
    margin = case.server_margin()
    if case.loader is None or margin is None:
        return None
    enough = "" if margin >= _FAST_ENOUGH else ", which is too little for it not to count"
    return (
        f"The loader (wrk, in C) got {case.loader:,.0f} requests a second from the server: "
        f"{margin:.1f} x the fastest client{enough}."
    )


def _goal(verdict: Verdict) -> tuple[str, str, str, str]:
    met = "met" if verdict.met else "MISSED"
    return verdict.goal, f"{verdict.measured:.3g}", f"{verdict.target:g}", met


def duration(seconds: float) -> str:
    """Write a time for people."""
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.0f} µs" if seconds >= 1e-5 else f"{seconds * 1e6:.2g} µs"  # noqa: PLR2004


def markdown(run: Run) -> str:
    """Write the same as Markdown."""
    parts = [
        "; ".join(f"{name} {value}" for name, value in {**run.machine, **run.versions}.items()) + ".",
        f"{run.rounds} interleaved rounds; medians; ratios of {FIGURES[run.figure]}.",
        "Spread is the distance between the quartiles of the time.",
    ]
    for case in run.cases.values():
        table = _table(HEADINGS, lines(case, run.figure))
        parts += [f"### {case.title}", f"Per {case.unit}.", table, about_server(case) or ""]
    parts += ["### Goals", _table(("goal", "measured", "target", ""), map(_goal, verdicts(run)))]
    parts += [f"Skipped: {reason}." for reason in run.skipped]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(headings: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    ruled = [headings, tuple("---" for _ in headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in ruled)


def write(run: Run, folder: Path) -> None:
    """Write `results.json` and `results.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {**msgspec.to_builtins(run), "goals": [msgspec.to_builtins(v) for v in verdicts(run)]}
    (folder / "results.json").write_bytes(
        msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"
    )
    (folder / "results.md").write_text(markdown(run), encoding="utf-8")
