"""Results of commands that return a single number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonesys.cli import rows, tables
from phonesys.cli.output import Format, destination, write_table

if TYPE_CHECKING:
    from phonesys.cli.rows import NumberRow


async def write_number(row: NumberRow, format_: Format) -> None:
    """Write one number to stdout."""
    with destination(None) as stdout:
        if format_ is Format.TABLE:
            await write_table(tables.numbers([row]), stdout)
        else:
            await rows.write(rows.NumberRow, [row], format_, stdout)
