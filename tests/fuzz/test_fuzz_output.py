"""Vendors' text on its way to a terminal, a log or a spreadsheet is text, and never instructions."""

from __future__ import annotations

import csv
import io
import logging
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonesys import CallError, InvalidArgument, LeadpingRow, NumberPool, Page
from phonesys._spreadsheet import escape_formula
from phonesys._text import escape_controls
from phonesys.cli import tables
from phonesys.cli.progress import Progress, render
from phonesys.cli.rows import csv_line, json_line, number_rows, pool_row
from phonesys.cli.running import log_to_stderr
from phonesys.cli.terminal import ERR, render_text
from phonesys.http.response import error_from_response
from phonesys.sweep import Failure, Outcome, SweepReport
from phonesys.sweep.report import AccountReport
from tests.fuzz.answers import VALUES
from tests.fuzz.drawn import always_the_same

if TYPE_CHECKING:
    from rich.console import RenderableType

TRICKS = tuple(value for value in VALUES if isinstance(value, str) and len(value) < 100)
MARKUP = (
    "[/red]",
    "[bold]",
    "[link=file:///etc/passwd]x[/link]",
    "[/]",
    "\\[red]",
    "[@click=quit]",
    ":smile:",
)
texts = (
    st.sampled_from((*TRICKS, *MARKUP)) | st.text() | st.text(st.characters(categories=["Cc", "Cf", "Zl"]))
)
ALLOWED = {"\n", "\N{EN DASH}", "\N{BOX DRAWINGS LIGHT HORIZONTAL}"}


def number(text: str) -> LeadpingRow:
    return LeadpingRow(number=text, row_id=text, label=text, type=text, account=text)


def drawn(what: RenderableType) -> str:
    """Return the drawn text, free of terminal control sequences."""
    text = render_text(what).decode()
    assert all(char in ALLOWED or char == escape_controls(char) for char in text)
    return text


@settings(always_the_same, max_examples=60)
@given(texts)
def test_tables_hold_text(text: str) -> None:
    """Numbers, pools, failures and the summary: nothing moves the cursor, and nothing is markup."""
    page: Page[Any] = Page(account=text, provider="leadping", numbers=(number(text),))
    pool = pool_row(NumberPool(id=text, name=text, numbers=(text,)), text, text)
    failed = Failure(
        text, text, error_from_response(500, {"X-Request-Id": text}, msgspec.json.encode({"message": text}))
    )
    report = SweepReport()
    report.record(text, text, AccountReport(outcome=Outcome.DONE))
    report.numbers = 1
    breakdown = tables.Breakdown()
    breakdown.add(page.numbers)
    for table in (
        tables.numbers(list(number_rows(page))),
        tables.pools([pool]),
        tables.failures(
            [failed, Failure(text, text, CallError(text)), Failure(text, None, InvalidArgument(text))]
        ),
        tables.summary(report, [text, "other"], breakdown),
        render(Progress(report, {text: 1}, clock=lambda: 0.0), ""),
    ):
        drawn(table)


@pytest.mark.parametrize("account", [*MARKUP, "loc [red]1[/red]"])
def test_an_account_in_square_brackets_is_shown_as_it_is(account: str) -> None:
    """Ids are the vendor's: they are not markup, which could be wrong and end the program that reports."""
    assert account in drawn(tables.failures([Failure("leadconnector", account, CallError("no"))]))
    report = SweepReport()
    report.record(account, "a", AccountReport(outcome=Outcome.DONE))
    assert account in drawn(tables.summary(report, [account], tables.Breakdown()))


def test_a_log_on_a_terminal_is_text_too(capsys: pytest.CaptureFixture[str]) -> None:
    """`--verbose` shows what vendors said, and a vendor may say how to clear a screen."""
    with log_to_stderr(), capsys.disabled(), ERR.capture() as captured:
        logging.getLogger("phonesys").debug("answer: %s", "\x1b[2J\r\nphonesys: all is well [bold]")
    assert captured.get() == "phonesys: answer: \\x1b[2J\\r\\nphonesys: all is well [bold]\n"


@always_the_same
@given(texts)
def test_lines_stay_lines_and_labels_stay_labels(text: str) -> None:
    """Jsonl is one line each; csv reads back, and no label is a formula."""
    (row,) = number_rows(Page(account=text, provider="leadping", numbers=(number(text),)))
    line = json_line(row)
    assert line.count(b"\n") == 1
    assert msgspec.json.decode(line)["label"] == text
    (record,) = csv.reader(io.StringIO(csv_line(row).decode(), newline=""))
    assert record[2] == record[5] == escape_formula(text)
    assert record[5].replace("'", "") == text.replace("'", "")
    assert record[5][:1] not in {"=", "@", "\t", "\r", "\n"}
