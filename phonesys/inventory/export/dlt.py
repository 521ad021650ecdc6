"""The inventory as a dlt resource, for any destination of dlt. Needs the extra `dlt`."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import anyio
from anyio.from_thread import start_blocking_portal

from phonesys._extras import require_extra
from phonesys.errors import InvalidArgument
from phonesys.inventory.export.columns import arrow_batch, arrow_schema
from phonesys.inventory.record import record_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from phonesys.inventory.record import Records
    from phonesys.record import NumberRecord

_BATCH = 20_000

Disposition: TypeAlias = Literal["replace", "append", "merge"]


def numbers(
    records: Callable[[], Records],
    *,
    name: str = "numbers",
    write_disposition: Disposition = "replace",
    batch: int = _BATCH,
) -> Any:
    """Return a dlt resource of the records that `records()` yields, for `pipeline.run`.

    `records` is a function, such as an async generator function that opens a PhoneSystem and sweeps. It runs
    in an event loop of its own, because dlt has none. Rows are passed as Arrow tables with the types of the
    columns. `merge` updates rows with the same backend, account and id.
    """
    if not callable(records):
        raise InvalidArgument(f"records: expected a function that returns them, got {records!r:.80}")
    dlt = require_extra("dlt", "dlt")

    def read() -> Iterator[Any]:
        yield from _tables(records, batch)

    return dlt.resource(
        read, name=name, write_disposition=write_disposition, primary_key=("backend", "account", "id")
    )


def _tables(records: Callable[[], Records], size: int) -> Iterator[Any]:
    """Yield Arrow tables: at least one, so that the columns are created without records too."""
    pa, schema = require_extra("dlt", "pyarrow"), arrow_schema()
    is_empty = True
    for some in _read_in_thread(records, size):
        yield pa.Table.from_batches([arrow_batch(some, schema)])
        is_empty = False
    if is_empty:
        yield schema.empty_table()


def _read_in_thread(records: Callable[[], Records], size: int) -> Generator[list[NumberRecord]]:
    """Yield batches that an event loop in another thread reads, at most one batch ahead.

    dlt could run async generators itself, but it runs each step in another task, and a task group must be
    exited by the task that entered it.
    """
    send, receive = anyio.create_memory_object_stream["list[NumberRecord]"](1)
    with start_blocking_portal() as portal:
        reading = portal.start_task_soon(_read, records, size, send)
        try:
            while (some := portal.call(_next, receive)) is not None:
                yield some
            reading.result()
        finally:
            reading.cancel()
            portal.call(receive.aclose)


async def _read(
    records: Callable[[], Records], size: int, to: MemoryObjectSendStream[list[NumberRecord]]
) -> None:
    async with to, aclosing(record_batches(records(), size)) as reading:
        async for some in reading:
            await to.send(some)


async def _next(stream: MemoryObjectReceiveStream[list[NumberRecord]]) -> list[NumberRecord] | None:
    try:
        return await stream.receive()
    except anyio.EndOfStream:
        return None
