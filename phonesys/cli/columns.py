"""Tables that drop columns instead of splitting numbers and ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from phonesys._text import escape_controls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

_COUNTS = {"accounts", "done", "empty", "not connected", "failed", "not reached", "numbers", "rows"}
_WORDS = {
    "label", "name", "details", "evidence", "reason", "state", "abilities", "row", "backends", "scopes",
    "advice",
}  # fmt: skip
"""Columns that may be continued on another line. All others are kept in one piece."""

_MIN_WIDTH = 12
"""Least width of a column of words."""

_FIRST_TO_DROP = (
    "capabilities", "kind", "country", "pool", "row", "whisper", "recording", "active", "package", "assignee",
    "finished_at", "provider", "status", "empty", "done", "not connected", "label", "backend", "abilities",
    "evidence", "severity", "account",
)  # fmt: skip
"""Columns that a narrow terminal does without, the least important one first."""


class ColumnTable:
    """Columns of text. A narrow terminal gets fewer, never parts of a number.

    Empty columns are left out, unless `keep_empty` is True. With `total`, the last row is set apart.
    """

    def __init__(
        self,
        columns: Mapping[str, Sequence[str | Text]],
        *,
        keep_empty: bool = False,
        total: bool = False,
    ) -> None:
        self._cells = {
            name: [cell if isinstance(cell, Text) else Text(escape_controls(cell)) for cell in cells]
            for name, cells in columns.items()
            if keep_empty or any(cells)
        }
        self._total = total

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the columns that fit."""
        dropped = self._columns_to_drop(options.max_width)
        shown = {name: cells for name, cells in self._cells.items() if name not in dropped}
        table = Table(box=box.SIMPLE_HEAD, header_style="dim", padding=(0, 1, 0, 0), show_edge=False)
        for name in shown:
            table.add_column(
                _heading(name),
                justify="right" if name in _COUNTS else "left",
                vertical="bottom" if self._total else "top",
                overflow="fold",
                no_wrap=name not in _WORDS,
            )
        rows = list(zip(*shown.values(), strict=True))
        for number, cells in enumerate(rows, 1):
            table.add_row(*cells, end_section=self._total and number == len(rows) - 1)
        yield table
        if dropped:
            yield Text(f"not shown in {options.max_width} columns: {', '.join(dropped)}", "dim")

    def _columns_to_drop(self, width: int) -> list[str]:
        """Return columns to drop, so that the others fit the width without a number or an id being split."""
        widths = {name: self._least_width(name) for name in self._cells}
        candidates = [name for name in _FIRST_TO_DROP if name in widths]
        dropped: list[str] = []
        while sum(widths.values()) - 1 > width and candidates and len(widths) > 1:
            dropped.append(candidates.pop(0))
            del widths[dropped[-1]]
        return dropped

    def _least_width(self, name: str) -> int:
        """Return the width that the column needs, with the two spaces that follow it."""
        heading = max(map(cell_len, _heading(name).split("\n")))
        lines = (line for cell in self._cells[name] for line in cell.plain.split("\n"))
        widest = max(heading, *map(cell_len, lines))
        return 2 + (min(widest, max(_MIN_WIDTH, heading)) if name in _WORDS else widest)


def _heading(name: str) -> str:
    return name.replace(" ", "\n") if name in _COUNTS else name
