"""The plot: what one unit of work takes, phonesys beside the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.report import FIGURES, duration

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.results import CaseResult, Figure, Row, Run

_PANELS = ("small", "big", "organization", "exchange", "tls", "gzip", "file", "decode")
_SHORT = {
    "small": "Small locations, 8 numbers each",
    "big": "Big pages, 999 numbers each",
    "organization": "Leadping lists, 100 rows each",
    "exchange": "A token exchange per location",
    "tls": "Small locations over TLS",
    "gzip": "Big pages, gzip",
    "file": "A million numbers to a file",
    "decode": "Decode and unify",
}
_NAMES = {
    "phonesys": "phonesys",
    "by_hand": "aiohttp + msgspec\nby hand",
    "httpx": "httpx + pydantic",
    "highlevel": "official HighLevel SDK",
    "leadping": "official Leadping SDK",
    "dlt": "dlt rest_api",
    "tuned": "bare msgspec, tuned",
    "untyped": "msgspec into dicts",
}
_DECODING = {"by_hand": "bare msgspec", "httpx": "pydantic"}
_MOST_BARS = 5
_OURS, _OTHERS, _CEILING = "#0b6e4f", "#9aa5b1", "#d8dee5"


def draw(run: Run, folder: Path) -> bool:
    """Write `plot.png` and `plot.svg`; False where matplotlib is not installed, or there is nothing."""
    cases = [run.cases[name] for name in _PANELS if name in run.cases and run.cases[name].rows]
    if not cases:
        return False
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams.update({"font.size": 9, "svg.hashsalt": "phonesys", "svg.fonttype": "path"})
    columns = min(2, len(cases))
    rows = -(-len(cases) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(5.6 * columns, 1.95 * rows + 0.5), squeeze=False)
    for axis, case in zip(axes.flat, cases, strict=False):
        _panel(axis, case, run.figure)
    for axis in list(axes.flat)[len(cases) :]:
        axis.set_visible(False)
    figure.suptitle(
        f"What one unit of work takes ({FIGURES[run.figure]}): shorter is faster. "
        "“2 x” is twice as long as phonesys.",
        fontsize=12,
        x=0.02,
        ha="left",
    )
    figure.tight_layout(rect=(0, 0, 1, 0.985), h_pad=1.6, w_pad=2.0)
    figure.savefig(folder / "plot.png", dpi=150)
    figure.savefig(folder / "plot.svg", metadata={"Date": None})
    plt.close(figure)
    return True


def _panel(axis: Any, case: CaseResult, figure: Figure) -> None:
    shown = [(key, row) for key, row in case.rows.items() if key in _NAMES or row.ceiling]
    values = [row.per_unit(figure) for _, row in shown]
    names = [_name(case, key) for key, _ in shown]
    bars = axis.barh(range(len(shown)), values, color=[_color(*pair) for pair in shown], height=0.68)
    labels = [_label(case, key, value, figure) for (key, _), value in zip(shown, values, strict=True)]
    axis.bar_label(bars, labels, padding=4, fontsize=8.5)
    axis.set_yticks(range(len(shown)), names)
    for tick, (key, _) in zip(axis.get_yticklabels(), shown, strict=True):
        tick.set_fontweight("bold" if key == "phonesys" else "normal")
    axis.set_ylim(max(_MOST_BARS, len(shown)) - 0.5, -0.5)
    axis.set_xlim(0, max(values) * 1.32)
    axis.set_title(f"{_SHORT[case.name]}  (per {case.unit})", loc="left", fontsize=10, fontweight="bold")
    axis.xaxis.set_visible(False)
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.tick_params(axis="y", length=0)


def _name(case: CaseResult, key: str) -> str:
    special = _DECODING.get(key) if case.name == "decode" else None
    return special or _NAMES.get(key, "bytes read only (ceiling)")


def _color(key: str, row: Row) -> str:
    return _OURS if key == "phonesys" else _CEILING if row.ceiling else _OTHERS


def _label(case: CaseResult, key: str, value: float, figure: Figure) -> str:
    ratio = case.ratio(key, figure)
    if key == "phonesys" or ratio is None:
        return duration(value)
    return f"{duration(value)}   {ratio:.2f} x"
