"""Excel workbooks, in which every number is a text cell."""

from __future__ import annotations

from contextlib import suppress
from datetime import MAXYEAR, UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from phonesys._extras import require_extra
from phonesys.inventory.export.columns import row_getter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from phonesys.inventory.export.columns import Column
    from phonesys.inventory.record import AccountOutcome
    from phonesys.record import NumberRecord

MAX_ROWS = 1_048_576
"""Rows of one worksheet, by the format. Further numbers are on further worksheets."""
_MAX_TEXT = 32_767  # characters of one cell, by the format
_FIRST_YEAR = 1901  # Excel takes 1900 for a leap year
_NOT_FORMULAS = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}


class _Output:
    """File that ignores what comes after a failure.

    A ZipFile that could not be written writes its end when it is collected, to a file that is closed by then.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._failed = False

    def _call(self, method: Callable[..., int | None], *arguments: Any) -> int:
        if self._failed:
            return 0
        try:
            return method(*arguments) or 0
        except OSError:
            self._failed = True
            raise

    def write(self, data: bytes) -> int:
        return self._call(self._file.write, data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._call(self._file.seek, offset, whence)

    def tell(self) -> int:
        return self._call(self._file.tell)

    def flush(self) -> None:
        self._call(self._file.flush)


class Xlsx:
    """Writes numbers to worksheets. A second kind of worksheet names incomplete accounts."""

    def __init__(self, file: BinaryIO, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._to_row = row_getter(columns)
        library = require_extra("xlsx", "xlsxwriter")
        self._failed = library.exceptions.XlsxFileError
        # Rows go to temporary files, so that memory does not grow with their number.
        self._book = library.Workbook(_Output(file), {"constant_memory": True, **_NOT_FORMULAS})
        self._text = self._book.add_format({"num_format": "@"})
        self._time = self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        self._heading = self._book.add_format({"bold": True})
        self._sheets = 0
        self._add_sheet()

    def _add_sheet(self) -> None:
        self._sheets += 1
        name = "numbers" if self._sheets == 1 else f"numbers {self._sheets}"
        self._sheet = self._new_sheet(name, [column.name for column in self._columns])
        self._row = 1

    def _new_sheet(self, name: str, headings: Sequence[str]) -> Any:
        sheet = self._book.add_worksheet(name)
        sheet.freeze_panes(1, 0)
        for index, heading in enumerate(headings):
            sheet.write_string(0, index, heading, self._heading)
        return sheet

    def write(self, records: Sequence[NumberRecord], /) -> None:
        """Write a batch of records."""
        for record in records:
            if self._row >= MAX_ROWS:
                self._add_sheet()
            for index, (column, value) in enumerate(zip(self._columns, self._to_row(record), strict=True)):
                if value is not None:
                    self._write_cell(index, column, value)
            self._row += 1

    def _write_cell(self, index: int, column: Column, value: Any) -> None:
        if column.type == "flag":
            self._sheet.write_boolean(self._row, index, value)
        elif column.type == "decimal":
            self._sheet.write_number(self._row, index, float(value))
        elif column.type == "time":
            self._write_time(index, value)
        else:
            self._sheet.write_string(self._row, index, _to_cell(str(value)), self._text)

    def _write_time(self, index: int, value: datetime) -> None:
        with suppress(OverflowError):  # UTC has no date for it
            utc = value.astimezone(UTC)
            if _FIRST_YEAR <= utc.year < MAXYEAR:
                self._sheet.write_datetime(self._row, index, utc.replace(tzinfo=None), self._time)
                return
        self._sheet.write_string(self._row, index, value.isoformat(), self._text)

    def write_incomplete(self, accounts: Sequence[AccountOutcome], /) -> None:
        """Write a worksheet of incomplete accounts, if there are any."""
        if not accounts:
            return
        headings = ("backend", "account", "outcome", "unreadable rows", "reason")
        sheet = self._new_sheet("incomplete accounts", headings)
        for row, one in enumerate(accounts[: MAX_ROWS - 1], start=1):
            texts = {0: one.backend, 1: one.account, 2: one.outcome, 4: one.problem or ""}
            for index, text in texts.items():
                sheet.write_string(row, index, _to_cell(text), self._text)
            sheet.write_number(row, 3, one.rejected)

    def close(self) -> None:
        """Write the workbook to the file."""
        try:
            self._book.close()
        except self._failed as failure:
            raise OSError(str(failure)) from failure


def _to_cell(text: str) -> str:
    """Return text that a cell can hold: without halves of surrogate pairs, and cut visibly if too long."""
    text = text if text.isascii() else text.encode(errors="replace").decode()
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "\N{HORIZONTAL ELLIPSIS}"
