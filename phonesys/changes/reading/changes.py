"""Changes from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonesys.changes.change import ChangeRequest
from phonesys.changes.reading.cells import KINDS, clean, parse_cell
from phonesys.changes.reading.numbers import restore_number
from phonesys.changes.reading.sheet import Problem, Row, read_sheet
from phonesys.errors import InvalidArgument, LineError, PlanError
from phonesys.writes import Action

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from phonesys.changes.reading.sheet import Sheet

_ACTION = "action"
_IDENTITY = ("backend", "account", "id", "number")


def read_changes(
    source: str | os.PathLike[str] | bytes,
    *,
    words: Iterable[str] = (),
    assign: Mapping[str, str] | None = None,
) -> tuple[ChangeRequest, ...]:
    """Read desired states from the file at a path, or from its content.

    CSV, a workbook or lines of JSON, with the columns of an export, `action` and the `words` that backends
    add. An export that a spreadsheet saved is read as it was meant: any separator, encoding and spelling of
    truth values; numbers without `+`; guards against formulas. An empty cell clears its field.

    With `assign`, fields and their values for every row, any file with numbers or ids will do: of its other
    columns only the backend, the account and the country are read.

    Raise PlanError with all mistakes, each with its line.
    """
    data = source if isinstance(source, bytes) else _read_file(Path(source))
    columns = tuple(dict.fromkeys((*KINDS, _ACTION, *words)))
    if assign is None:
        sheet = read_sheet(data, columns)
        problems = [*sheet.problems, *_missing_columns(sheet.rows)]
    else:
        _check_fields(assign, columns)
        sheet = read_sheet(data, (*_IDENTITY, "country"), skip_others=True)
        problems = list(sheet.problems)
    changes: list[ChangeRequest] = []
    if len(problems) == len(sheet.problems):
        found = (_to_change(row, assign, sheet, problems) for row in sheet.rows)
        changes = [change for change in found if change is not None]
    if problems:
        raise PlanError(errors=[LineError(*problem) for problem in sorted(problems)])
    return tuple(changes)


def _check_fields(fields: Iterable[str], columns: Sequence[str]) -> None:
    for name in fields:
        if name not in columns or name in _IDENTITY:
            names = ", ".join(one for one in columns if one not in _IDENTITY)
            raise InvalidArgument(f"no field is named {name!r:.60}; the fields are {names}")


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as failure:
        raise InvalidArgument(f"{path}: {failure.strerror or failure}") from None


def _missing_columns(rows: Sequence[Row]) -> list[Problem]:
    """Return what no row can do without. It would be wrong with every row."""
    names = {name for row in rows for name in row.cells}
    if not rows:
        return []
    if not {"number", "id", _ACTION} & names:
        return [Problem(rows[0].line, "expected a column number or id")]
    if names <= set(_IDENTITY):
        message = "expected a column to set, such as assignee, label, status or is_enabled"
        return [Problem(rows[0].line, message)]
    return []


def _to_change(
    row: Row, assign: Mapping[str, str] | None, sheet: Sheet, problems: list[Problem]
) -> ChangeRequest | None:
    """Return the change of a row, or None after adding what is wrong with it to the problems."""
    before = len(problems)
    cells = {name: clean(cell) if isinstance(cell, str) else cell for name, cell in row.cells.items()}
    identity = {name: str(cells[name]) for name in _IDENTITY if cells.get(name) is not None}
    asked = row if assign is None else Row(row.line, dict(assign))
    action = _read_action(row.line, asked.cells.get(_ACTION), problems)
    if "number" in identity:
        try:
            identity["number"] = restore_number(identity["number"], cells.get("country"))
        except (ValueError, InvalidArgument) as mistake:
            if "id" in identity:  # identifies the number as well
                del identity["number"]
            else:
                problems.append(Problem(row.line, f"number: {mistake}"))
    elif "id" not in identity and action in {Action.UPDATE, Action.DELETE}:
        problems.append(Problem(row.line, "expected a number or an id"))
    fields = _read_fields(asked, sheet if assign is None else sheet._replace(is_exact=True), problems)
    if len(problems) > before:
        return None
    return ChangeRequest(**identity, fields=fields, action=action, line=row.line)


def _read_action(line: int, word: Any, problems: list[Problem]) -> Action:
    if not word:
        return Action.UPDATE
    try:
        return Action(str(word).casefold())
    except ValueError:
        problems.append(Problem(line, f"action: expected one of {', '.join(Action)}, got {word!r:.40}"))
        return Action.UPDATE


def _read_fields(row: Row, sheet: Sheet, problems: list[Problem]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, cell in row.cells.items():
        if name in _IDENTITY or name == _ACTION:
            continue
        try:
            fields[name] = parse_cell(
                name, cell, is_exact=sheet.is_exact, may_lack_characters=sheet.may_lack_characters
            )
        except ValueError as mistake:
            problems.append(Problem(row.line, f"{name}: {mistake}"))
    return fields
