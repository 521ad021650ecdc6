"""Output: rows, files, pipes, tables, and text that cannot control a terminal."""

from __future__ import annotations

import csv
import io
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from phonesys.cli.output import OutputFile, _pieces
from phonesys.cli.progress import Progress, pluralize, render, summary_line
from phonesys.cli.rows import NumberRow, csv_line, json_line
from phonesys.cli.tables import columns
from phonesys.cli.terminal import escape_controls, render_text
from phonesys.model import NumberKind, NumberStatus
from phonesys.sweep import Outcome, SweepReport
from phonesys.sweep.report import AccountReport


def row(**changes: Any) -> NumberRow:
    values: dict[str, Any] = {
        "provider": "p", "backend": "b", "account": "a", "id": "i", "number": "+14155552671", "label": None,
        "country": None, "kind": NumberKind.LOCAL, "status": NumberStatus.ACTIVE, "voice": True, "sms": False,
        "mms": None, "fax": None, "assignee": None, "pool": None, "created_at": None, "updated_at": None,
    }  # fmt: skip
    return NumberRow(**(values | changes))


@pytest.mark.parametrize(
    ("label", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("@cmd", "'@cmd"),
        ("-1+cmd|' /C calc'!A0", "'-1+cmd|' /C calc'!A0"),
        ("\t=1", "'\t=1"),
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


def test_control_characters_are_shown_and_not_obeyed() -> None:
    """A vendor's text cannot clear the screen, ring, or turn the reading direction around."""
    assert escape_controls("a\x1b[2Jb\x07\u202e\r\nc é 中") == "a\\x1b[2Jb\\x07\\u202e\\r\\nc é 中"
    drawn = render_text(columns({"label": ["[bold]\x1b[31m"]})).decode()
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
    report.numbers, report.requests, report.waits, report.waiting, report.retries = 1000, 120, 7, 2, 1
    assert progress.line() == (
        "120/301 accounts · 1,000 numbers · 120 requests · 1 retry · 7 waits (2 now) · 0 failed · "
        "500 numbers/s"
    )
    now[0] += 2
    report.numbers = 1400
    assert progress.rate() == 200
    assert "120/300" in render_text(render(progress, "*")).decode()
    assert Progress(report, {"lc": None}).line().startswith("120 accounts · ")
    report.elapsed = 4.0
    assert summary_line(report) == "1,400 numbers in 4.0 s (350 numbers/s): 120 requests, 1 retry, 7 waits"
    assert pluralize(1, "retry", "retries") == "1 retry"
