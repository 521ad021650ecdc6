"""The formats of an export. Each has a writer of batches."""

from __future__ import annotations

import codecs
import csv
import io
from enum import StrEnum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import msgspec

from phonesys._extras import require_extra
from phonesys._spreadsheet import escape_formula
from phonesys.errors import InvalidArgument
from phonesys.inventory.export.columns import (
    COLUMNS,
    arrow_batch,
    arrow_schema,
    incomplete_metadata,
    replace_surrogates,
    row_getter,
)
from phonesys.inventory.export.xlsx import Xlsx

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from phonesys.inventory.export.columns import Column
    from phonesys.inventory.record import AccountOutcome
    from phonesys.record import NumberRecord


class Format(StrEnum):
    """The format of an export, by default that of the file name's suffix."""

    PARQUET = "parquet"
    ARROW = "arrow"
    """Arrow's file format (IPC, or Feather 2)."""
    CSV = "csv"
    JSONL = "jsonl"
    XLSX = "xlsx"
    """An Excel workbook with text cells."""


_SUFFIXES = {
    ".parquet": Format.PARQUET, ".pq": Format.PARQUET,
    ".arrow": Format.ARROW, ".ipc": Format.ARROW, ".feather": Format.ARROW,
    ".csv": Format.CSV,
    ".xlsx": Format.XLSX,
    ".jsonl": Format.JSONL, ".ndjson": Format.JSONL,
}  # fmt: skip


def format_of(path: str | os.PathLike[str]) -> Format:
    """Return the format of a file name's suffix."""
    suffix = PurePath(path).suffix.lower()
    if suffix not in _SUFFIXES:
        raise InvalidArgument(
            f"{PurePath(path).name}: unknown suffix {suffix!r}; expected one of "
            f"{', '.join(_SUFFIXES)}, or format="
        )
    return _SUFFIXES[suffix]


def parse_format(format_: str) -> Format:
    """Return the format with this name."""
    if format_ not in set(Format):
        raise InvalidArgument(f"format: expected one of {', '.join(Format)}, got {format_!r:.80}")
    return Format(format_)


class Writer(Protocol):
    """Writes one export."""

    def write(self, records: Sequence[NumberRecord], /) -> None:
        """Write a batch of records."""

    def write_incomplete(self, accounts: Sequence[AccountOutcome], /) -> None:
        """Write which accounts are incomplete, if the format has a place for it."""

    def close(self) -> None:
        """Complete the file."""


def open_writer(
    format_: Format, file: BinaryIO, columns: Sequence[Column] = COLUMNS, *, bom: bool = False
) -> Writer:
    """Return a writer of this format. Raises MissingExtra before it writes anything."""
    if bom and format_ is Format.CSV:
        file.write(codecs.BOM_UTF8)
    makers: dict[Format, type[Writer]] = {
        Format.PARQUET: _Parquet,
        Format.ARROW: _Arrow,
        Format.CSV: _Csv,
        Format.JSONL: _JsonLines,
        Format.XLSX: Xlsx,
    }
    make: Any = makers[format_]
    writer: Writer = make(file, columns)
    return writer


class _Tables:
    """Writes record batches with pyarrow."""

    _out: Any
    _schema: Any

    def write(self, records: Sequence[NumberRecord], /) -> None:
        self._out.write_batch(arrow_batch(records, self._schema))

    def close(self) -> None:
        self._out.close()


class _Parquet(_Tables):
    def __init__(self, file: BinaryIO, columns: Sequence[Column]) -> None:
        self._schema = arrow_schema(columns)
        parquet = require_extra("export", "pyarrow.parquet")
        self._out = parquet.ParquetWriter(file, self._schema, compression="zstd")

    def write_incomplete(self, accounts: Sequence[AccountOutcome], /) -> None:
        self._out.add_key_value_metadata(incomplete_metadata(accounts))


class _Arrow(_Tables):
    def __init__(self, file: BinaryIO, columns: Sequence[Column]) -> None:
        self._schema = arrow_schema(columns)
        ipc = require_extra("export", "pyarrow.ipc")
        options = ipc.IpcWriteOptions(compression="zstd")
        self._out = ipc.new_file(file, self._schema, options=options)

    def write_incomplete(self, accounts: Sequence[AccountOutcome], /) -> None:
        # Metadata of the schema is at the beginning of the file, but outcomes are known at the end.
        batch = arrow_batch((), self._schema)
        self._out.write_batch(batch, custom_metadata=incomplete_metadata(accounts))


class _JsonLines:
    def __init__(self, file: BinaryIO, columns: Sequence[Column]) -> None:
        self._file = file
        self._names = tuple(column.name for column in columns)
        self._row = None if tuple(columns) == COLUMNS else row_getter(columns)
        self._encode = msgspec.json.Encoder().encode_lines

    def write(self, records: Sequence[NumberRecord], /) -> None:
        try:
            self._file.write(self._encode(self._rows(records)))
        except UnicodeEncodeError:
            self._file.write(self._encode(self._rows([replace_surrogates(record) for record in records])))

    def _rows(self, records: Sequence[NumberRecord]) -> Sequence[Any]:
        if (row := self._row) is None:
            return records
        return [dict(zip(self._names, row(record), strict=True)) for record in records]

    def write_incomplete(self, accounts: Sequence[AccountOutcome], /) -> None:
        """Do nothing: the format has rows only."""

    def close(self) -> None:
        """Do nothing: the file has no end mark."""


class _Csv:
    def __init__(self, file: BinaryIO, columns: Sequence[Column]) -> None:
        self._file = file
        self._to_row = row_getter(columns)
        self._rows([[column.name for column in columns]])

    def write(self, records: Sequence[NumberRecord], /) -> None:
        self._rows([_cell(value) for value in self._to_row(record)] for record in records)

    def write_incomplete(self, accounts: Sequence[AccountOutcome], /) -> None:
        """Do nothing: the format has rows only."""

    def close(self) -> None:
        """Do nothing: the file has no end mark."""

    def _rows(self, rows: Iterable[list[str]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerows(rows)
        self._file.write(text.getvalue().encode(errors="replace"))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return escape_formula(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    text: str = msgspec.to_builtins(value)
    return text
