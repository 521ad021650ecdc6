"""The columns of an export: names, order and types."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from phonesys._extras import require_extra
from phonesys._validation import suggestion
from phonesys.errors import InvalidArgument
from phonesys.inventory.record import page_records
from phonesys.model import NumberKind, NumberStatus
from phonesys.record import NumberRecord, as_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from phonesys.inventory.record import AccountKey, AccountOutcome
    from phonesys.model import Page, PhoneNumber

VERSION = "1"
"""The version of the columns. It changes if a column is removed or changes its type."""

_BATCH = 50_000
"""Rows of a record batch of a table."""

Type: TypeAlias = Literal["text", "flag", "time", "decimal"]


class Column(msgspec.Struct, frozen=True):
    """One column."""

    name: str
    type: Type
    nullable: bool = True


def _columns() -> tuple[Column, ...]:
    """Derive the columns from NumberRecord."""
    fields = msgspec.structs.fields(NumberRecord)
    return tuple(Column(field.name, _type(field), nullable=not field.required) for field in fields)


def _type(field: msgspec.structs.FieldInfo) -> Type:
    if field.name == "monthly_amount":
        return "decimal"
    return {bool | None: "flag", datetime | None: "time"}.get(field.type, "text")  # type: ignore[return-value]


COLUMNS = _columns()

_BY_NAME = {column.name: column for column in COLUMNS}


def select_columns(names: Iterable[str] | None) -> tuple[Column, ...]:
    """Return the columns of these names, in this order, or all. Raises InvalidArgument for an unknown one."""
    if names is None:
        return COLUMNS
    chosen = tuple(dict.fromkeys(names))
    for name in chosen:
        if name not in _BY_NAME:
            raise InvalidArgument(f"columns: no such column {name!r:.60}{suggestion(name, _BY_NAME)}")
    if not chosen:
        raise InvalidArgument("columns: expected at least one")
    return tuple(_BY_NAME[name] for name in chosen)


def row_getter(columns: Sequence[Column]) -> Callable[[NumberRecord], tuple[Any, ...]]:
    """Return a function that returns the values of a record in the order of the columns."""
    if tuple(columns) == COLUMNS:
        return msgspec.structs.astuple
    if len(columns) == 1:
        one = attrgetter(columns[0].name)
        return lambda record: (one(record),)
    return attrgetter(*(column.name for column in columns))


def arrow_schema(columns: Sequence[Column] = COLUMNS) -> Any:
    """Return the columns as an Arrow schema. Needs the extra `export`."""
    pa = require_extra("export", "pyarrow")
    types = {
        "text": pa.string(),
        "flag": pa.bool_(),
        "time": pa.timestamp("us", tz="UTC"),
        "decimal": pa.decimal128(18, 6),
    }
    fields = [pa.field(one.name, types[one.type], nullable=one.nullable) for one in columns]
    return pa.schema(fields, metadata={"phonesys.columns": VERSION})


def arrow_table(numbers: Iterable[NumberRecord | PhoneNumber]) -> Any:
    """Return records, or numbers of any backend, as a `pyarrow.Table`. Needs the extra `export`."""
    pa = require_extra("export", "pyarrow")
    schema, records = arrow_schema(), map(as_record, numbers)
    some = iter(lambda: tuple(islice(records, _BATCH)), ())
    return pa.Table.from_batches([arrow_batch(batch, schema) for batch in some], schema=schema)


def arrow_records(batch: Any) -> list[NumberRecord]:
    """Return the records in an Arrow record batch of this schema."""
    cells = [_record_values(_BY_NAME[name], batch.column(name)) for name in batch.schema.names]
    names = batch.schema.names
    return [NumberRecord(**dict(zip(names, row, strict=True))) for row in zip(*cells, strict=True)]


_ENUMS: dict[str, dict[str, Any]] = {
    "kind": {one.value: one for one in NumberKind},
    "status": {one.value: one for one in NumberStatus},
}


def _record_values(column: Column, cells: Any) -> Sequence[Any]:
    if cells.null_count == len(cells):
        return (None,) * len(cells)
    if column.type == "time":  # without pyarrow's choice of a library for time zones
        naive = cells.cast(require_extra("export", "pyarrow").timestamp("us")).to_pylist()
        return [None if cell is None else cell.replace(tzinfo=UTC) for cell in naive]
    values: list[Any] = cells.to_pylist()
    if column.type == "decimal":
        return [None if cell is None else f"{cell.normalize():f}" for cell in values]
    if (members := _ENUMS.get(column.name)) is not None:
        return [members.get(cell, members["unknown"]) for cell in values]
    return values


def arrow_table_of_pages(
    pages: Iterable[Page[PhoneNumber]], names: Mapping[AccountKey, str] | None = None
) -> Any:
    """Return the numbers of pages as a `pyarrow.Table`. `names` are those of accounts."""
    return arrow_table(record for page in pages for record in page_records(page, names))


def incomplete_metadata(accounts: Sequence[AccountOutcome]) -> dict[str, str]:
    """Return metadata that names incomplete accounts."""
    listed = [{**account._asdict(), "problem": account.problem} for account in accounts]
    return {
        "phonesys.complete": "false" if listed else "true",
        "phonesys.incomplete": msgspec.json.encode(listed).decode(),
    }


def arrow_batch(records: Sequence[NumberRecord], schema: Any) -> Any:
    """Return records as an Arrow record batch."""
    try:
        return _batch(records, schema)
    except UnicodeEncodeError:
        return _batch([replace_surrogates(record) for record in records], schema)


def replace_surrogates(record: NumberRecord) -> NumberRecord:
    """Replace halves of surrogate pairs, which no file can hold, by question marks."""
    texts = {
        name: text for name in record.__struct_fields__ if isinstance(text := getattr(record, name), str)
    }
    clean = {
        name: text.encode(errors="replace").decode()
        for name, text in texts.items()
        if not _is_encodable(text)
    }
    return msgspec.structs.replace(record, **clean)


def _is_encodable(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _batch(records: Sequence[NumberRecord], schema: Any) -> Any:
    pa = require_extra("export", "pyarrow")
    columns = tuple(_BY_NAME[name] for name in schema.names)
    by_column = zip(*map(row_getter(columns), records), strict=True) if records else ((),) * len(columns)
    arrays = [
        pa.array(_arrow_values(column, cells), type=field.type)
        for column, cells, field in zip(columns, by_column, schema, strict=True)
    ]
    return pa.record_batch(arrays, schema=schema)


def _arrow_values(column: Column, cells: Sequence[Any]) -> Sequence[Any]:
    if column.type == "decimal":
        return [None if cell is None else Decimal(cell) for cell in cells]
    return cells
