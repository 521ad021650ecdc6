"""The report of a sweep: what it counts, and how it says what is missing."""

from __future__ import annotations

import re

import pytest

from phonesys import AccountReport, Forbidden, Outcome, Page, SweepReport
from phonesys.model import MendedField, UnreadableRow
from phonesys.sweep.report import Failure
from tests.sweep.memory import number

REFUSAL = Forbidden("no scope", status=403)


def report() -> SweepReport:
    """A sweep of two backends that met everything."""
    made = SweepReport()
    made.record("one", "a", AccountReport(outcome=Outcome.DONE, numbers=1200, duplicates=2))
    made.record("one", "d", AccountReport(outcome=Outcome.DONE), keep=False)
    made.record("one", "b", AccountReport(outcome=Outcome.EMPTY, duplicates=1), keep=False)
    made.record("two", "a", AccountReport(outcome=Outcome.FAILED, error=REFUSAL), keep=False)
    made.record("two", "c", AccountReport(outcome=Outcome.NOT_REACHED), keep=False)
    made.numbers_by_provider.update({"one": 1200, "two": 34})
    made.numbers = 1234
    return made


def test_results_are_counted_by_outcome_and_backend() -> None:
    """Those of accounts that are done or empty are kept only if wanted."""
    made = report()
    assert made.outcomes == {"done": 2, "empty": 1, "failed": 1, "not_reached": 1}
    assert made.by_provider == {"one": {"done": 2, "empty": 1}, "two": {"failed": 1, "not_reached": 1}}
    assert set(made.accounts) == {("one", "a"), ("two", "a"), ("two", "c")}
    assert made.failures == [Failure("two", "a", REFUSAL)]
    assert made.duplicates == 3


def test_equal_results_are_one_object() -> None:
    """Thousands of accounts have the same few, and results are kept unless told otherwise."""
    made = SweepReport()
    for place in range(3):
        made.record("one", str(place), AccountReport(outcome=Outcome.DONE, numbers=7))
    assert len(made.accounts) == 3
    assert len({id(entry) for entry in made.accounts.values()}) == 1
    assert made.accounts["one", "0"].numbers == 7


def test_pages_are_counted() -> None:
    """With their rows, and with the fields that were of another type, by backend."""
    made = SweepReport()
    row = UnreadableRow(raw=b"x", reason="no")
    mended = MendedField(field="label", count=2, example=b"7")
    page = Page(account="a", provider="one", numbers=(number(1),), rejected=(row, row), mended=(mended,))
    for _ in range(2):
        made.add(page)
    assert (made.pages, made.numbers, made.rejected) == (2, 2, 4)
    assert made.mended == {("one", "label"): 4}


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({}, ""),
        ({"failures": [Failure("one", None, REFUSAL)]}, ", 1 failures"),
        ({"rejected": 1500}, ", 1,500 rows not read"),
        ({"timed_out": True}, ", timed out"),
    ],
)
def test_a_report_says_what_is_missing(change: dict[str, object], missing: str) -> None:
    """Nothing that is incomplete looks complete."""
    made = SweepReport(numbers=5)
    made.record("one", "a", AccountReport(outcome=Outcome.DONE))
    made.record("one", "b", AccountReport(outcome=Outcome.NOT_CONNECTED))
    for name, value in change.items():
        setattr(made, name, value)
    assert made.complete is (not missing)
    assert made.describe() == f"5 numbers in 2 accounts{missing}"
    word = "incomplete" if missing else "complete"
    assert repr(made) == f"<SweepReport: {word}, {made.describe()}>"


def test_accounts_that_were_not_reached_are_missing() -> None:
    """They do not count as read."""
    assert report().describe() == "1,234 numbers in 4 accounts, 1 failures, 1 accounts not reached"
    made = SweepReport()
    made.record("one", "a", AccountReport(outcome=Outcome.NOT_REACHED))
    assert not made.complete


def test_notebooks_show_a_table() -> None:
    """Of outcomes by backend, and of failures if there are any."""
    made = report()
    made.failures.append(Failure("two", None, Forbidden("no list", status=403)))
    words = re.sub(r"<[^>]*>", "|", made._repr_html_())
    for text in (
        "Incomplete: 1,234 numbers in 4 accounts",
        "|backend||accounts||done||empty||not connected||failed||not reached||numbers|",
        "|one||3||2||1||0||0||0||1,200|",
        "|two||2||0||0||0||1||1||34|",
        "|Failures|",
        "|backend||account||error|",
        "|two||a||403 no scope|",
        "|two||(list of accounts)||403 no list|",
    ):
        assert text in words
    made = SweepReport()
    made.record("one", "a", AccountReport(outcome=Outcome.EMPTY))
    assert "|Complete: 0 numbers in 1 accounts|" in re.sub(r"<[^>]*>", "|", made._repr_html_())
    assert "Failures" not in made._repr_html_()
