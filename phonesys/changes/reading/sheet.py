"""Rows of a CSV file, of lines of JSON or of a workbook, under the names of the columns of an export."""

from __future__ import annotations

import csv
import difflib
import io
import re
import warnings
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from phonesys._extras import require_extra
from phonesys._validation import is_object
from phonesys.changes.reading.encoding import DamagedText, decode_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

_SEPARATORS = ",;\t|"
_WORKBOOK = b"PK\x03\x04"
_PLAN = "phonesys_plan"  # in the first line of a plan
_NOT_WORD = re.compile(r"[\W_]+")
_MEANT = {
    "agent": "assignee", "agentid": "assignee", "user": "assignee", "assignedto": "assignee",
    "name": "label", "friendlyname": "label", "enabled": "is_enabled", "disabled": "is_enabled",
    "phone": "number", "phonenumber": "number", "location": "account", "locationid": "account",
}  # fmt: skip
"""Columns by the vendors' words for them, and by people's."""
_is_separator_line = re.compile(r'"?sep=(.)"?;*', re.IGNORECASE).fullmatch


class Problem(NamedTuple):
    """A mistake in a file, and its line there, from 1."""

    line: int
    message: str


class Row(NamedTuple):
    """A row: its line in the file, from 1, and its cells by column. None is an empty cell."""

    line: int
    cells: dict[str, Any]


class Sheet(NamedTuple):
    """Rows and mistakes of a file."""

    rows: list[Row]
    problems: list[Problem]
    is_exact: bool = False
    """True for JSON, which no spreadsheet has rewritten."""
    may_lack_characters: bool = False
    """True if the file's encoding holds few characters, so that others were replaced when it was saved."""


def read_sheet(data: bytes, columns: Collection[str], *, skip_others: bool = False) -> Sheet:
    """Read a file. Its format shows in its content: lines of JSON, a workbook, or else CSV.

    Headings may be in any case, with spaces or dashes for underscores. Other columns are mistakes, unless
    they are skipped.
    """
    known = _Columns(columns, skip_others=skip_others)
    if data.startswith(_WORKBOOK):
        return _read_workbook(data, known)
    try:
        decoded = decode_text(data)
    except DamagedText as damage:
        return Sheet([], [Problem(damage.line, str(damage))])
    if decoded.text.lstrip()[:1] in {"{", "["}:
        return _read_json(decoded.text, known)
    sheet = _read_table(_csv_records(decoded.text, known), known)
    return sheet._replace(may_lack_characters=decoded.may_lack_characters)


class _Columns:
    """The columns that a file may have, and their names in whatever spelling."""

    def __init__(self, names: Collection[str], *, skip_others: bool) -> None:
        self._names = names
        self._by_key = {name.replace("_", ""): name for name in names}
        self.skip_others = skip_others

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def name_of(self, heading: Any) -> str:
        """Return the column of a heading, or the heading itself."""
        text = str(heading).strip().strip("'\"").strip()
        return self._by_key.get(_NOT_WORD.sub("", text).casefold(), text)

    def refusal(self, heading: str) -> str:
        """Return the message about a column that does not exist, with the nearest one that does."""
        name = self.name_of(heading)
        meant = _MEANT.get(_NOT_WORD.sub("", name).casefold())
        near = [meant] if meant else difflib.get_close_matches(name, self._names, n=1)
        advice = f"did you mean {near[0]}?" if near else "expected the columns of an export, and action"
        return f"unknown column {heading!r:.60}; {advice}"


class _Malformed(Exception):
    """A record that ends the reading of a file."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def _read_table(records: Iterable[tuple[int, Sequence[Any]]], columns: _Columns) -> Sheet:
    """Read records whose first one names the columns. Records of empty cells are skipped."""
    sheet = Sheet([], [])
    heading: list[str | None] | None = None
    try:
        for line, cells in records:
            if not any(map(_is_filled, cells)):
                continue
            if heading is None:
                heading = _read_heading(line, cells, columns, sheet.problems)
                if sheet.problems:
                    return sheet
                continue
            if any(map(_is_filled, cells[len(heading) :])):
                sheet.problems.append(
                    Problem(line, f"{len(cells)} cells under {len(heading)} headings; is a quote missing?")
                )
                continue
            padded = [*cells, *[None] * (len(heading) - len(cells))]
            row = {
                name: cell if _is_filled(cell) else None
                for name, cell in zip(heading, padded, strict=False)
                if name is not None
            }
            sheet.rows.append(Row(line, row))
    except _Malformed as malformed:
        sheet.problems.append(Problem(malformed.line, str(malformed)))
    if heading is None and not sheet.problems:
        sheet.problems.append(Problem(1, "the file is empty; expected a heading such as number,assignee"))
    return sheet


def _is_filled(cell: Any) -> bool:
    return cell is not None and (not isinstance(cell, str) or bool(cell.strip()))


def _read_heading(
    line: int, cells: Sequence[Any], columns: _Columns, problems: list[Problem]
) -> list[str | None]:
    """Return the columns that the headings name; None for empty ones at the end."""
    names = [columns.name_of(cell) if _is_filled(cell) else None for cell in cells]
    while names and names[-1] is None:
        names.pop()
    if all(name is None or name not in columns for name in names):
        problems.append(Problem(line, f"expected a heading such as number,assignee, got {_shown(cells)}"))
        return names
    for position, (name, cell) in enumerate(zip(names, cells, strict=False), 1):
        if columns.skip_others and name not in columns:
            names[position - 1] = None
        elif name is None:
            problems.append(Problem(line, f"column {position} has no heading"))
        elif name not in columns:
            problems.append(Problem(line, columns.refusal(str(cell))))
        elif name in names[: position - 1]:
            problems.append(Problem(line, f"two columns are named {name}"))
    return names


def _shown(cells: Sequence[Any]) -> str:
    return repr(",".join("" if cell is None else str(cell) for cell in cells))[:60]


# CSV


def _csv_records(text: str, columns: _Columns) -> Iterator[tuple[int, Sequence[str]]]:
    separator, skipped = _find_separator(text, columns)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 0
    try:
        for record in reader:
            if line >= skipped:
                yield line + 1, record
            line = reader.line_num
    except csv.Error as failure:
        raise _Malformed(line + 1, f"not CSV: {failure}") from None


def _find_separator(text: str, columns: _Columns) -> tuple[str, int]:
    """Return the separator under which most headings are columns, and the lines before the heading.

    Excel writes `sep=;` before the heading, where a country's habit differs.
    """
    for skipped, line in enumerate(io.StringIO(text)):
        if match := _is_separator_line(line.strip()):
            return match[1], skipped + 1
        if line.strip(f"{_SEPARATORS} \n"):
            return max(_SEPARATORS, key=lambda one: _count_columns(line, one, columns)), skipped
    return _SEPARATORS[0], 0


def _count_columns(line: str, separator: str, columns: _Columns) -> int:
    return sum(columns.name_of(heading) in columns for heading in line.strip().split(separator))


# JSON


def _read_json(text: str, columns: _Columns) -> Sheet:
    """Read lines of JSON. A name that is no column is reported once."""
    sheet = Sheet([], [], is_exact=True)
    unknown: set[str] = set()
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as failure:
            sheet.problems.append(Problem(number, f"not a line of JSON: {failure}"))
            continue
        if not is_object(values):
            sheet.problems.append(
                Problem(number, f"expected an object, got {line.strip()!r:.40}; jq -c '.[]' splits a list")
            )
            continue
        if _PLAN in values:
            message = "this is a plan already, and not a file of desired states; apply it"
            return Sheet([], [Problem(number, message)])
        row: dict[str, Any] = {}
        for name, value in values.items():
            column = columns.name_of(name)
            if column not in columns:
                if name not in unknown and not columns.skip_others:
                    sheet.problems.append(Problem(number, columns.refusal(name)))
                    unknown.add(name)
                continue
            if isinstance(value, list | dict):
                sheet.problems.append(Problem(number, f"{column}: expected text, got a list or an object"))
            row[column] = _to_text(value)
        sheet.rows.append(Row(number, row))
    return sheet


# Workbooks


def _read_workbook(data: bytes, columns: _Columns) -> Sheet:
    openpyxl = require_extra("xlsx", "openpyxl")
    try:
        with warnings.catch_warnings(action="ignore"):  # about styles and validations, which do not matter
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            return _read_table(_workbook_records(book.worksheets), columns)
    except Exception as failure:  # noqa: BLE001 -- a damaged archive or XML raises errors of many libraries
        return Sheet([], [Problem(1, f"not an Excel workbook: {type(failure).__name__}: {failure!s:.100}")])


def _workbook_records(sheets: Sequence[Any]) -> Iterator[tuple[int, Sequence[Any]]]:
    """Yield the rows of the first worksheet, and of those that continue it under the same headings."""
    heading: list[Any] | None = None
    for sheet in sheets:
        for line, values in enumerate(sheet.iter_rows(values_only=True), 1):
            cells = [_to_text(value) for value in values]
            if line == 1 and heading is not None:
                if cells != heading:
                    break
                continue
            if heading is None and any(map(_is_filled, cells)):
                heading = cells
            yield line, cells


def _to_text(value: Any) -> Any:
    """Return a value as a cell of CSV would have it. Truth values and None stay."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
