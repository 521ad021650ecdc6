"""Writing an export: in batches, as they come, into a file that appears only once it is whole."""

from __future__ import annotations

from contextlib import aclosing, closing
from typing import TYPE_CHECKING

from anyio import to_thread

from phonesys._files import replace_atomically
from phonesys.errors import PhonesysError
from phonesys.inventory.export.formats import format_of, named, writer_of
from phonesys.inventory.record import batches

if TYPE_CHECKING:
    import os

    from phonesys.inventory.export.formats import Format
    from phonesys.inventory.record import Records

BATCH = 50_000
"""Records in memory at once, and rows in a row group of Parquet."""


class ExportFailed(PhonesysError):
    """The file could not be written; what was there before is still there."""


async def export(
    path: str | os.PathLike[str],
    records: Records,
    *,
    format: Format | str | None = None,  # noqa: A002 -- the word for it
    batch: int = BATCH,
) -> int:
    """Write records to a file and return how many there were.

    The end of the name tells the format, unless `format` does. The file is replaced once everything is
    written and on disk: when the records fail half-way, what was there before is still there, and their
    error is raised as it is. Raises ExportFailed where the disk does.
    """
    chosen = format_of(path) if format is None else named(format)
    written = 0
    try:
        # A writer that is not closed complains when it is collected, also of a file that is given up.
        with replace_atomically(path) as file, closing(writer_of(chosen, file)) as writer:
            async with aclosing(batches(records, batch)) as reading:
                async for some in reading:
                    # Compressing takes long enough to be felt by whoever shares the loop.
                    await to_thread.run_sync(writer.write, some)
                    written += len(some)
    except OSError as failure:
        raise ExportFailed(f"{path} was not written: {failure.strerror or failure}") from failure
    return written
