"""Tables for notebooks. All text is escaped: vendors and users wrote it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_ROWS = 50


def table(
    caption: str, headings: Sequence[str], rows: Sequence[Sequence[Any]], *, hide_empty: bool = False
) -> str:
    """Return a table of the first rows, and the number of the others.

    None is an empty cell, and numbers are to the right. Without rows it is the caption alone, or nothing.
    """
    if not rows:
        return "" if hide_empty else f"<p>{escape(caption)}</p>"
    head = "".join(f'<th style="text-align: left">{escape(str(one))}</th>' for one in headings)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows[:MAX_ROWS])
    more = f"<p>and {len(rows) - MAX_ROWS:,} more</p>" if len(rows) > MAX_ROWS else ""
    caption = f'<caption style="text-align: left">{escape(caption)}</caption>'
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _cell(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f'<td style="text-align: right">{value:,}</td>'
    return f'<td style="text-align: left">{"" if value is None else escape(str(value))}</td>'
