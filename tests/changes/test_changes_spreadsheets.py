"""An export that a spreadsheet or a data frame opened and saved asks for nothing but what was edited."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from phonesys.changes import read_changes
from phonesys.inventory.export.formats import Format, open_writer
from phonesys.model import NumberKind, NumberStatus
from phonesys.record import NumberRecord
from tests.changes.test_changes_reading import is_held
from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

HELD = [
    NumberRecord(
        provider="agents",
        backend="voice",
        account="default",
        id=f"num_{index}",
        number=number,
        label=label,
        country=country,
        kind=NumberKind.LOCAL,
        status=NumberStatus.ACTIVE,
        voice=True,
        sms=index % 2 == 0,
        assignee="agent_9" if index % 3 else None,
        created_at=datetime(2026, 3, 4, 15, 6, index, 250_000 * (index % 2), tzinfo=UTC),
        forwarding_number="+4930123456789" if index % 2 else None,
        monthly_amount="1.15" if index % 2 else None,
    )
    for index, (number, label, country) in enumerate(
        [
            ("+14155552671", "Support, Köln", "US"),
            ("+4930123456789", "=1+1", "DE"),
            ("+390612345678", '"quoted"; semicolon', "IT"),
            ("+14155552672", "two\nlines", "US"),
            ("+442079460000", "007", "GB"),
            ("+14155552673", "+1 (415) 555-2673", "US"),
            ("+14155552674", "@home -now", "CA"),
            ("+81312345678", "東京 \N{TELEPHONE RECEIVER}", "JP"),
            ("12345", "1E5", "US"),
        ]
    )
]


def exported(path: Path, format_: Format) -> Path:
    with path.open("wb") as file:
        writer = open_writer(format_, file, bom=True)
        writer.write(HELD)
        writer.close()
    return path


def differences(data: bytes) -> dict[str, dict[str, Any]]:
    """Return what each number is asked to be that it is not."""
    changes = read_changes(data)
    assert [change.id for change in changes] == [record.id for record in HELD]
    found: dict[str, dict[str, Any]] = {}
    for change, record in zip(changes, HELD, strict=True):
        assert change.number in {None, record.number, record.number.removeprefix("+")}
        asked = {
            name: value
            for name, value in change.fields.items()
            if not is_held(value, getattr(record, name)) and name not in {"created_at", "provider"}
        }
        if asked:
            found[record.id] = asked
    return found


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_polars(tmp_path: Path, separator: str) -> None:
    """Types that polars infers turn numbers to integers and times to its own spelling."""
    polars: Any = pytest.importorskip("polars")
    frame = polars.read_csv(exported(tmp_path / "e.csv", Format.CSV), try_parse_dates=True)
    frame.write_csv(tmp_path / "saved.csv", separator=separator)
    assert differences((tmp_path / "saved.csv").read_bytes()) == {}


def test_openpyxl(tmp_path: Path) -> None:
    """A workbook that a program opened, edited and saved."""
    openpyxl: Any = pytest.importorskip("openpyxl")
    book = openpyxl.load_workbook(exported(tmp_path / "e.xlsx", Format.XLSX))
    book.active["F3"] = "Edited"
    book.save(tmp_path / "saved.xlsx")
    assert differences((tmp_path / "saved.xlsx").read_bytes()) == {"num_1": {"label": "Edited"}}


LANGUAGES = {"en-US": 1033, "de-DE": 1031, "fr-FR": 1036}


@pytest.mark.long
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("suffix", "saving"), [("csv", "csv"), ("csv", "xlsx"), ("xlsx", "csv"), ("xlsx", "xlsx")]
)
def test_libreoffice(tmp_path: Path, language: str, suffix: str, saving: str) -> None:
    """Calc takes cells for numbers, times and truth values, and saves them as its language has them."""
    program = shutil.which("soffice")
    if program is None:
        pytest.skip("needs LibreOffice")
    source = exported(tmp_path / f"e.{suffix}", Format(suffix))
    code = LANGUAGES[language]
    (tmp_path / "out").mkdir()
    subprocess.run(  # noqa: S603 -- LibreOffice
        [
            program,
            f"-env:UserInstallation=file://{tmp_path}/profile",
            "--headless",
            *([f"--infilter=Text - txt - csv (StarCalc):44,34,76,1,,{code},false,true"] * (suffix == "csv")),
            "--convert-to",
            f"csv:Text - txt - csv (StarCalc):59,34,76,1,,{code},false,true" if saving == "csv" else "xlsx",
            "--outdir",
            str(tmp_path / "out"),
            str(source),
        ],
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    assert differences((tmp_path / "out" / f"e.{saving}").read_bytes()) == {}


def test_the_comparison_notices_an_edit() -> None:
    """The tests above would fail otherwise."""
    records = [msgspec.structs.replace(HELD[0], label="Edited"), *HELD[1:]]
    lines = msgspec.json.Encoder().encode_lines(records)
    assert differences(lines) == {"num_0": {"label": "Edited"}}
