"""Results of commands that return all their rows at once, or a single number."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from phonesys.cli import rows, tables
from phonesys.cli.output import Format, destination, write_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from phonesys.cli.output import Destination
    from phonesys.cli.rows import NumberRow

R = TypeVar("R", bound=msgspec.Struct)


async def write_rows(
    kind: type[R],
    found: list[R],
    format_: Format,
    to: Destination,
    *,
    table: Callable[[list[R]], RenderableType],
    bom: bool = False,
    columns: Sequence[str] = (),
) -> None:
    """Write rows as a table, which `table` makes of them, or as jsonl or csv; of these columns, or all."""
    if format_ is Format.TABLE:
        await write_table(tables.chosen(found, columns) if columns else table(found), to)
    else:
        await rows.write(kind, found, format_, to, bom=bom, columns=columns)


async def write_number(row: NumberRow, format_: Format) -> None:
    """Write one number to stdout."""
    with destination(None) as stdout:
        await write_rows(rows.NumberRow, [row], format_, stdout, table=tables.numbers)
