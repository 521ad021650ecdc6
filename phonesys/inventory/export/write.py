"""Writing an export in batches. The file is replaced once it is complete."""

from __future__ import annotations

from contextlib import aclosing, closing
from typing import TYPE_CHECKING

from anyio import to_thread

from phonesys._files import replace_atomically
from phonesys.errors import PhonesysError
from phonesys.inventory.export.columns import select_columns
from phonesys.inventory.export.formats import format_of, open_writer, parse_format
from phonesys.inventory.record import incomplete_accounts, record_batches

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterable, Iterable

    from phonesys.inventory.export.formats import Format
    from phonesys.inventory.record import AccountOutcome, Records

BATCH = 50_000
"""The number of records in memory, and of rows in a Parquet row group."""


class ExportFailed(PhonesysError):
    """The file could not be written. A previous file is unchanged."""


async def export(
    path: str | os.PathLike[str],
    records: Records,
    *,
    format: Format | str | None = None,  # noqa: A002 -- the usual name
    batch: int = BATCH,
    accounts: Iterable[AccountOutcome] | AsyncIterable[AccountOutcome] | None = None,
    bom: bool = False,
    columns: Iterable[str] | None = None,
) -> int:
    """Write records, or numbers of any backend, to a file, and return their number.

    The format follows from the file's suffix, unless `format` is given. `accounts` is read after the records.
    Parquet, Arrow and Excel files then name the accounts that are incomplete. With `bom`, CSV
    begins with a byte order mark, without which Excel does not read it as UTF-8. `columns` are the names of
    the columns to write, in this order, by default all.

    The file is replaced once everything is on disk. If reading the records fails, a previous file is
    unchanged and the error is raised as it is. Raises ExportFailed if writing fails.
    """
    chosen = format_of(path) if format is None else parse_format(format)
    selected = select_columns(columns)
    written = 0
    try:
        # An unclosed writer warns when it is collected, even if its file was abandoned.
        with (
            replace_atomically(path) as file,
            closing(open_writer(chosen, file, selected, bom=bom)) as writer,
        ):
            async with aclosing(record_batches(records, batch)) as reading:
                async for some in reading:
                    # In a thread, because compression would block the event loop.
                    await to_thread.run_sync(writer.write, some)
                    written += len(some)
            if accounts is not None:
                await to_thread.run_sync(writer.write_incomplete, await incomplete_accounts(accounts))
    except OSError as failure:
        raise ExportFailed(f"{path} was not written: {failure.strerror or failure}") from failure
    return written
