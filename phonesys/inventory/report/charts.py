"""The geometry of the charts, which `page.html` draws as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from datetime import datetime

    from phonesys.inventory.report.trend import TrendPoint

WIDTH, HEIGHT = 320.0, 96.0
"""The size of a chart in the units of its `viewBox`."""
_MARGIN = 8.0
_MAX_BAR = 34.0


class Bar(msgspec.Struct, frozen=True):
    """A rectangle of a bar chart."""

    kind: str
    """The CSS class, which gives the colour."""
    x: float
    y: float
    width: float
    height: float
    title: str


class Dot(msgspec.Struct, frozen=True):
    """A point of a line chart."""

    x: float
    y: float
    title: str
    complete: bool


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """One measure over time."""

    name: str
    latest: str
    """The newest value."""
    change: str
    """The difference from the value before, or an empty text."""
    top: str
    """The label of the upper edge."""
    bottom: str
    """The label of the lower edge."""
    dots: Sequence[Dot] = ()
    bars: Sequence[Bar] = ()
    baseline: float = HEIGHT
    """The height at which bars begin."""

    @property
    def line(self) -> str:
        """The corners of the line, as SVG writes them."""
        return " ".join(f"{dot.x},{dot.y}" for dot in self.dots)


def trend_charts(points: Sequence[TrendPoint]) -> list[Chart]:
    """Return the charts of numbers, findings and changes. Two points at least make a trend."""
    return [_numbers(points), _findings(points), _changes(points)]


def day(moment: datetime) -> str:
    """Return a day in words."""
    return f"{moment.day} {moment:%b %Y}"


def _numbers(points: Sequence[TrendPoint]) -> Chart:
    # A line may leave out zero: what matters is how much it rises or falls.
    values = [point.numbers for point in points]
    low, high = min(values), max(values)
    span = (high - low) or 1
    dots = [
        Dot(
            x,
            _round(HEIGHT - _MARGIN - (point.numbers - low) / span * (HEIGHT - 2 * _MARGIN)),
            f"{day(point.as_of)}: {point.numbers:,} numbers{'' if point.complete else ', incomplete'}",
            point.complete,
        )
        for x, point in zip(_positions(len(points)), points, strict=True)
    ]
    top, bottom = f"{high:,}", f"{low:,}" if low != high else ""
    change = _signed(values[-1] - values[-2])
    return Chart(name="Numbers", latest=f"{values[-1]:,}", change=change, top=top, bottom=bottom, dots=dots)


def _findings(points: Sequence[TrendPoint]) -> Chart:
    totals = [(point.critical or 0) + (point.other_findings or 0) for point in points]
    high = max(totals) or 1
    scale = (HEIGHT - _MARGIN) / high
    bars: list[Bar] = []
    for x, point in zip(_positions(len(points)), points, strict=True):
        critical, others = point.critical or 0, point.other_findings or 0
        title = f"{day(point.as_of)}: {critical:,} critical and {others:,} other findings"
        bars.append(_bar("other", x, HEIGHT - others * scale, others * scale, len(points), title))
        top = HEIGHT - (others + critical) * scale
        bars.append(_bar("critical", x, top, critical * scale, len(points), title))
    change = _signed(totals[-1] - totals[-2])
    return Chart(
        name="Findings", latest=f"{totals[-1]:,}", change=change, top=f"{high:,}", bottom="0", bars=bars
    )


def _changes(points: Sequence[TrendPoint]) -> Chart:
    most_added = max(point.added or 0 for point in points)
    most_removed = max(point.removed or 0 for point in points)
    scale = (HEIGHT - 2 * _MARGIN) / ((most_added + most_removed) or 1)
    baseline = _round(_MARGIN + most_added * scale)
    bars: list[Bar] = []
    for x, point in zip(_positions(len(points)), points, strict=True):
        added, removed = point.added or 0, point.removed or 0
        title = f"{day(point.as_of)}: {added:,} added, {removed:,} removed"
        bars.append(_bar("added", x, baseline - added * scale, added * scale, len(points), title))
        bars.append(_bar("removed", x, baseline, removed * scale, len(points), title))
    last = points[-1]
    return Chart(
        name="Added and removed",
        latest=f"+{last.added or 0:,} \N{MINUS SIGN}{last.removed or 0:,}",
        change="",
        top=f"+{most_added:,}",
        bottom=f"\N{MINUS SIGN}{most_removed:,}",
        bars=bars,
        baseline=baseline,
    )


def _bar(kind: str, x: float, y: float, height: float, count: int, title: str) -> Bar:
    width = min(_MAX_BAR, (WIDTH - 2 * _MARGIN) / count * 0.6)
    return Bar(kind, _round(x - width / 2), _round(y), _round(width), _round(height), title)


def _positions(count: int) -> list[float]:
    step = (WIDTH - 2 * _MARGIN) / count
    return [_round(_MARGIN + step * (position + 0.5)) for position in range(count)]


def _signed(difference: int) -> str:
    if not difference:
        return "no change"
    sign = "+" if difference > 0 else "\N{MINUS SIGN}"
    return f"{sign}{abs(difference):,}"


def _round(value: float) -> float:
    return round(value, 1)


class Segment(msgspec.Struct, frozen=True):
    """A part of a stacked bar, in percent."""

    kind: str
    start: float
    width: float
    title: str


def stacked(counts: Sequence[tuple[str, int]]) -> list[Segment]:
    """Return the parts of a bar that is 100 wide."""
    total = sum(count for _, count in counts) or 1
    parts: list[Segment] = []
    start = 0.0
    for kind, count in counts:
        width = 100 * count / total
        parts.append(Segment(kind, round(start, 2), round(width, 2), f"{count:,} {kind}"))
        start += width
    return parts
