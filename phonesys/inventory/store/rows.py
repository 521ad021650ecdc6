"""A number as a row, and back: the columns that people ask for, and all else as JSON.

What is new on NumberRecord goes to `more`, and needs no migration.
"""

from __future__ import annotations

from hashlib import blake2b
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from phonesys.inventory.record import NumberRecord, record_of
from phonesys.inventory.store import schema
from phonesys.model import NumberPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from phonesys.model import Page, PhoneNumber

COLUMNS = tuple(
    str(column.name) for column in schema.numbers.c if column.name not in {"page_id", "place", "more"}
)
_REST = tuple(name for name in NumberRecord.__struct_fields__ if name not in {*COLUMNS, "backend", "account"})
_columns_of = attrgetter(*COLUMNS)
_rest_of = attrgetter(*_REST)
# What is None is left out.
_More = msgspec.defstruct("_More", [(name, Any, None) for name in _REST], omit_defaults=True, gc=False)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def records_of(page: Page[PhoneNumber], backend: str) -> list[NumberRecord]:
    """Take down a page's numbers."""
    return [record_of(number, backend) for number in page.numbers]


def rows_of(
    page_id: int, records: Sequence[NumberRecord], moment: Callable[[Any], Any] | None
) -> Iterator[tuple[Any, ...]]:
    """Write records as rows of `numbers`, the columns in the table's order."""
    for place, record in enumerate(records):
        *head, kind, status, created, updated = _columns_of(record)
        if moment is not None:
            created, updated = moment(created), moment(updated)
        more = _encode(_More(*_rest_of(record))).decode()
        # Drivers are slow with enumerations.
        yield (page_id, place, *head, kind._value_, status._value_, created, updated, more)


def record_from(backend: str, account: str, row: Sequence[Any]) -> NumberRecord:
    """Read a record from the columns of COLUMNS and `more`."""
    *columns, more = row
    fields = dict(zip(COLUMNS, columns, strict=True), backend=backend, account=account)
    if more != "{}":
        fields |= _decode(more)
    return msgspec.convert(fields, NumberRecord, strict=False)


def pools_of(page: Page[PhoneNumber]) -> dict[str, NumberPool]:
    """Find the pools that the numbers say they sit in."""
    found: dict[str, NumberPool] = {}
    for number in page.numbers:
        pool = getattr(number, "pool", None)
        if isinstance(pool, NumberPool):
            found[pool.id] = pool
    return found


def pool_row(page_id: int, pool: NumberPool) -> dict[str, Any]:
    """Write a pool as a row of `pools`."""
    return {"page_id": page_id, "id": pool.id, "name": pool.name, "more": _encode(pool).decode()}


def pool_from(account: str, more: str) -> NumberPool:
    """Read a pool."""
    pool = msgspec.json.decode(more, type=NumberPool)
    return pool if pool.account else msgspec.structs.replace(pool, account=account)


def _release() -> bytes:
    try:
        return installed("phonesys").encode()
    except PackageNotFoundError:  # run from a tree that was never installed
        return b""


# Another release may make another record of the same number.
_RELEASE = _release() + repr(NumberRecord.__struct_fields__).encode()


class Printed(msgspec.Struct):
    """A page's content: equal digests mean equal numbers, and nothing to write."""

    digest: bytes
    needs_cleaning: bool
    """Whether a text holds what PostgreSQL cannot: a zero, or half of a surrogate pair."""


def printed(page: Page[PhoneNumber]) -> Printed:
    """Take a page's digest: of the vendor's own structs if it has such, since records cost ten times that."""
    try:
        content = _encode(page.numbers)
    except (TypeError, ValueError):
        return _printed_records(page)
    return Printed(_digest(content), b"\\u0000" in content)


def _printed_records(page: Page[PhoneNumber]) -> Printed:
    records = [clean(record) for record in records_of(page, "")]
    return Printed(_digest(_encode(records)), needs_cleaning=True)


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16, key=blake2b(_RELEASE, digest_size=32).digest()).digest()


def clean(record: NumberRecord) -> NumberRecord:
    """Replace in every text what a database cannot hold."""
    changes = {
        name: _clean(value)
        for name, value in msgspec.structs.asdict(record).items()
        if type(value) is str and _clean(value) != value
    }
    return msgspec.structs.replace(record, **changes) if changes else record


def _clean(text: str) -> str:
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
