"""Output: rows, files, pipes, tables, and text that cannot control a terminal."""

from __future__ import annotations

import csv
import io
import os
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from phonesys._spreadsheet import escape_formula
from phonesys._text import escape_controls
from phonesys.cli.columns import ColumnTable
from phonesys.cli.output import OutputFile, _pieces
from phonesys.cli.progress import Progress, pluralize, render, summary_line
from phonesys.cli.rows import NumberRow, csv_line, json_line
from phonesys.cli.terminal import escape_output, render_text
from phonesys.model import NumberKind, NumberStatus
from phonesys.sweep import Outcome, SweepReport
from phonesys.sweep.report import AccountReport
from phonesys.telemetry import WaitEnded, WaitReason, WaitStarted


def row(**changes: Any) -> NumberRow:
    values: dict[str, Any] = {
        "provider": "p", "backend": "b", "account": "a", "id": "i", "number": "+14155552671", "label": None,
        "country": None, "kind": NumberKind.LOCAL, "status": NumberStatus.ACTIVE, "voice": True, "sms": False,
        "mms": None, "fax": None, "assignee": None, "pool": None, "created_at": None, "updated_at": None,
        "country_derived": None,
    }  # fmt: skip
    return NumberRow(**(values | changes))


@pytest.mark.parametrize(
    ("label", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("@cmd", "'@cmd"),
        ("-1+cmd|' /C calc'!A0", "'-1+cmd|' /C calc'!A0"),
        ("\t=1", "'\t'=1"),
        ("+1 (415) 555-2671", "+1 (415) 555-2671"),
        ('Front, "desk"\nsecond line', 'Front, "desk"\nsecond line'),
        (None, ""),
    ],
)
def test_a_label_cannot_become_a_formula(label: str | None, cell: str) -> None:
    """A text that a spreadsheet would run gets an apostrophe in csv. Everything else is unchanged."""
    record = next(csv.reader(io.StringIO(csv_line(row(label=label)).decode(), newline="")))
    assert record[5] == cell
    assert record[4] == "+14155552671"
    assert record[9:12] == ["true", "false", ""]
    if label:
        assert label.encode() in json_line(row(label=label)) or "\\" in json_line(row(label=label)).decode()


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("=1", "'=1"),
        ("  =1", "'  =1"),
        ("desk;=1", "desk;'=1"),
        ("desk; @x;\t+y", "desk;' @x;\t'+y"),
        ("desk\n-rm", "desk\n'-rm"),
        ("\N{FULLWIDTH EQUALS SIGN}1", "'\N{FULLWIDTH EQUALS SIGN}1"),
        ("a;\N{FULLWIDTH COMMERCIAL AT}x", "a;'\N{FULLWIDTH COMMERCIAL AT}x"),
        ("\N{FULLWIDTH PLUS SIGN}1", "'\N{FULLWIDTH PLUS SIGN}1"),
        ("\N{FULLWIDTH HYPHEN-MINUS}1", "'\N{FULLWIDTH HYPHEN-MINUS}1"),
        ("+14155552671", "+14155552671"),
        ("+1415;=1", "'+1415;'=1"),
        ("-2+3", "'-2+3"),
        ("a-b=c", "a-b=c"),
        ("", ""),
    ],
)
def test_no_cell_begins_a_formula_in_any_locale(text: str, escaped: str) -> None:
    """A semicolon or a tab begins a cell in some locales, and full-width signs begin a formula in others."""
    assert escape_formula(text) == escaped


@pytest.mark.parametrize(
    "column", ["provider", "backend", "account", "id", "number", "label", "assignee", "pool"]
)
def test_every_text_column_is_escaped(column: str) -> None:
    """Ids and accounts are vendors' texts too."""
    record = next(csv.reader(io.StringIO(csv_line(row(**{column: "=1"})).decode(), newline="")))
    assert record[NumberRow.__struct_fields__.index(column)] == "'=1"


def test_a_terminal_gets_lines_without_control_characters() -> None:
    """JSON stays valid, with the same value."""
    label = 'a\x1b[2J\x9b31m\u202e"\U000e0001é'
    line = json_line(row(label=label))
    shown = escape_output(line)
    assert msgspec.json.decode(shown) == msgspec.json.decode(line)
    printed = escape_output(csv_line(row(label="a\x1b[2J\rb"))).decode()
    assert (printed.count("\n"), printed.isprintable()) == (1, False)
    for text in (shown.decode(), printed):
        assert all(char == "\n" or char == escape_controls(char) for char in text)


def numbers_at(width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(
        ColumnTable(
            {
                "backend": ["leadconnector"] * 2,
                "account": ["0yC5RnKUo0OLtFhQr6I7", "short"],
                "number": ["+14155552671", "+528150244994"],
                "label": ["The front desk of the main building", ""],
                "kind": ["toll-free", "local"],
                "id": ["PN0123456789abcdef0123456789abcdef", "x"],
            }
        )
    )
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_numbers_and_ids_are_never_split(width: int) -> None:
    """A narrow terminal gets fewer columns, and a line that names the others."""
    text = numbers_at(width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "+14155552671" in text
    assert "PN0123456789abcdef0123456789abcdef" in text
    assert ("0yC5RnKUo0OLtFhQr6I7" in text) != ("not shown in" in text and "account" in text.splitlines()[-1])
    assert ("not shown in" in text) == (width < 110)


def test_control_characters_are_shown_and_not_obeyed() -> None:
    """A vendor's text cannot clear the screen, ring, or turn the reading direction around."""
    assert escape_controls("a\x1b[2Jb\x07\u202e\r\nc é 中") == "a\\x1b[2Jb\\x07\\u202e\\r\\nc é 中"
    drawn = render_text(ColumnTable({"label": ["[bold]\x1b[31m"]})).decode()
    assert "[bold]\\x1b[31m" in drawn


def test_a_pipe_gets_whole_lines() -> None:
    """Pieces fit a pipe, and end where lines end."""
    lines = [bytes([65 + n % 26]) * (n * 37 % 900) + b"\n" for n in range(200)] + [b"x" * 9000 + b"\n"]
    pieces = list(_pieces(lines))
    assert b"".join(pieces) == b"".join(lines)
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert all(len(piece) <= 4096 for piece in pieces[:-1])


async def test_a_file_is_left_alone_on_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A part is never visible, and no other file is left."""
    with pytest.raises(KeyError):
        await _fail(tmp_path / "out")
    assert os.listdir(tmp_path) == []  # noqa: PTH208
    assert "was not written" in capsys.readouterr().err


async def _fail(path: Path) -> None:
    with OutputFile(path) as file:
        await file.write([b"half"])
        raise KeyError


async def test_a_new_file_has_the_rights_that_any_has(tmp_path: Path) -> None:
    """They follow the umask, not those of a temporary file."""
    mask = os.umask(0o027)
    try:
        with OutputFile(tmp_path / "out") as file:
            await file.write([b"all\n"])
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640
    assert (tmp_path / "out").read_bytes() == b"all\n"


async def test_a_device_is_not_replaced() -> None:
    """`--output /dev/null` writes to it."""
    with OutputFile(Path("/dev/null")) as file:
        await file.write([b"gone"])
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)  # noqa: PTH116


def test_progress_in_words() -> None:
    """Accounts of all, numbers, requests, waits, failures and the rate of the last seconds."""
    now = [100.0]
    report = SweepReport()
    progress = Progress(report, {"lc": 300, "lp": 1}, clock=lambda: now[0])
    now[0] += 2
    for n in range(120):
        report.record("lc", str(n), AccountReport(outcome=Outcome.DONE))
    report.numbers, report.requests, report.waits, report.retries = 1000, 120, 7, 1
    call = {"backend": "lc", "account": "1", "operation": "read"}
    for reason in (WaitReason.RATE_LIMIT, WaitReason.RATE_LIMIT, WaitReason.RETRY, WaitReason.CREDENTIAL):
        progress.waits(WaitStarted(**call, reason=reason))
    progress.waits(WaitEnded(**call, reason=WaitReason.CREDENTIAL, duration=1.0))
    assert progress.line() == (
        "120/301 accounts · 1,000 numbers · 120 requests · 1 retry · "
        "7 waits (now 2 for a rate window, 1 for a retry) · 0 failed · 500 numbers/s"
    )
    now[0] += 2
    report.numbers = 1400
    assert progress.rate() == 200
    assert "120/300" in render_text(render(progress, "*")).decode()
    assert Progress(report, {"lc": None}).line().startswith("120 accounts · ")
    report.elapsed = 4.0
    assert summary_line(report) == "1,400 numbers in 4.0 s (350 numbers/s): 120 requests, 1 retry, 7 waits"
    assert pluralize(1, "retry", "retries") == "1 retry"
