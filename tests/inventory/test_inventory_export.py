"""Exports: the same rows in every format, complete or not at all."""
# ruff: noqa: S608, ASYNC240 -- DuckDB reads the files that these queries name; a test may wait for a disk

from __future__ import annotations

import csv
import errno
import gc
import io
import os
import re
import stat
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from phonesys import AgentNumbers, InvalidArgument, LeadConnector, Leadping, PhoneSystem
from phonesys._extras import MissingExtra
from phonesys.inventory.export import COLUMNS, ExportFailed, export
from phonesys.inventory.export.xlsx import Xlsx
from phonesys.inventory.record import AccountOutcome, sweep_records
from phonesys.model import NumberStatus
from phonesys.record import NumberRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from phonesys.sandbox import Sandbox

duckdb = pytest.importorskip("duckdb")
polars = pytest.importorskip("polars")
pytest.importorskip("pyarrow")

DOCS = Path(__file__).parent.parent.parent / "docs" / "guides" / "export.md"
ALL = ("parquet", "arrow", "csv", "jsonl")
FORMATS = (*ALL, "xlsx")


def number(n: int, **fields: Any) -> NumberRecord:
    usual: dict[str, Any] = {"provider": "acme", "backend": "acme", "account": "a", "id": str(n)}
    return NumberRecord(**(usual | {"number": f"+1415{5550000 + n}"} | fields))


FULL = number(
    0,
    label='Günther\'s, "front" desk\nsecond line',
    country="US",
    status=NumberStatus.SUSPENDED,
    voice=True,
    sms=False,
    created_at=datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC),
    billed=True,
    monthly_amount="2.50",
)
BARE = number(1)


def read(path: Path) -> list[dict[str, Any]]:
    """Read a file with DuckDB, or with polars for Arrow."""
    if path.suffix == ".arrow":
        table: Any = polars.read_ipc(path).to_arrow()
        return list(table.to_pylist())
    rows = duckdb.sql(f"select * from '{path}' order by id")
    return [dict(zip(rows.columns, row, strict=True)) for row in rows.fetchall()]


@pytest.mark.parametrize("format_", ALL)
async def test_every_format_opens_elsewhere(tmp_path: Path, format_: str) -> None:
    """DuckDB and polars read the columns in order, with their text, booleans, times and nulls."""
    path = tmp_path / f"numbers.{format_}"
    assert await export(path, [FULL, BARE]) == 2
    full, bare = read(path)
    assert list(full) == [column.name for column in COLUMNS] == list(NumberRecord.__struct_fields__)
    assert (full["label"], full["status"], full["voice"], full["sms"]) == (
        FULL.label,
        "suspended",
        True,
        False,
    )
    assert full["created_at"] in {FULL.created_at, "2024-02-29T12:30:15.123456Z"}
    assert Decimal(str(full["monthly_amount"])) == Decimal("2.5")
    assert (bare["number"], bare["label"], bare["voice"], bare["created_at"]) == (
        BARE.number,
        None,
        None,
        None,
    )


async def test_the_typed_formats_keep_the_types(tmp_path: Path) -> None:
    """Parquet and Arrow have the same schema for any rows, and without rows."""
    for name, records in (("a.parquet", [FULL]), ("b.parquet", []), ("c.arrow", [BARE])):
        await export(tmp_path / name, records)
    schemas = [
        polars.read_parquet(tmp_path / "a.parquet").schema,
        polars.read_parquet(tmp_path / "b.parquet").schema,
        polars.read_ipc(tmp_path / "c.arrow").schema,
    ]
    assert schemas[0] == schemas[1] == schemas[2]
    assert schemas[0]["created_at"] == polars.Datetime("us", "UTC")
    assert schemas[0]["monthly_amount"] == polars.Decimal(18, 6)
    assert schemas[0]["voice"] == polars.Boolean
    row = duckdb.sql(f"select monthly_amount, created_at from '{tmp_path / 'a.parquet'}'").fetchall()
    assert row == [(Decimal("2.500000"), FULL.created_at)]


def test_the_columns_are_documented() -> None:
    """The documentation names each column and its type in order."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", DOCS.read_text(), re.MULTILINE)
    assert rows == [(column.name, column.type) for column in COLUMNS]


async def test_json_lines_decode_to_the_records(tmp_path: Path) -> None:
    """Decoding JSON lines returns equal records."""
    path = tmp_path / "numbers.jsonl"
    await export(path, [FULL, BARE])
    lines = path.read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=NumberRecord) for line in lines] == [FULL, BARE]


async def test_csv_escapes_formulas_but_not_numbers(tmp_path: Path) -> None:
    """A formula in any text column is escaped. A phone number is not."""
    path = tmp_path / "numbers.csv"
    await export(
        path, [number(0, label='=HYPERLINK("http://x")', pool_name="@SUM(A1)", vendor_status="-1+cmd|x")]
    )
    (row,) = csv.DictReader(io.StringIO(path.read_text()))
    assert (row["label"], row["pool_name"]) == ('\'=HYPERLINK("http://x")', "'@SUM(A1)")
    assert row["vendor_status"] == "'-1+cmd|x"
    assert row["number"] == "+14155550000"


async def test_a_running_sweep_is_exported(tmp_path: Path, sandbox: Sandbox) -> None:
    """Records are written in batches while the sweep runs."""
    async with PhoneSystem(
        LeadConnector(token=sandbox.leadconnector_token, base_url=sandbox.leadconnector_url),
        Leadping(api_key=sandbox.leadping_key, base_url=sandbox.leadping_url),
        AgentNumbers(api_key=sandbox.agents_key, base_url=sandbox.agents_url),
    ) as phones:
        async with phones.sweep(leadconnector=sandbox.location_ids) as sweep:
            count = await export(tmp_path / "all.parquet", sweep_records(sweep), batch=50)
    assert count == sweep.report.numbers
    by_backend = duckdb.sql(
        f"select backend, count(*) from '{tmp_path / 'all.parquet'}' group by 1"
    ).fetchall()
    assert dict(by_backend) == sweep.report.numbers_by_provider


async def test_batches_are_written_as_they_come(tmp_path: Path) -> None:
    """Each batch is written before the next one is read."""
    alive: list[int] = []

    def some() -> Iterator[NumberRecord]:
        for n in range(1000):
            alive.append(n)
            yield number(n)

    await export(tmp_path / "n.parquet", some(), batch=100)
    groups = duckdb.sql(
        f"select count(distinct row_group_id) from parquet_metadata('{tmp_path / 'n.parquet'}')"
    ).fetchall()
    assert (len(alive), groups) == (1000, [(10,)])


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_failure_keeps_the_previous_file(tmp_path: Path, format_: str) -> None:
    """The previous file is unchanged, and the error of the records is raised as it is."""
    path = tmp_path / f"numbers.{format_}"
    path.write_text("previous")

    async def broken() -> AsyncIterator[NumberRecord]:
        yield FULL
        yield BARE
        raise KeyError("the vendor")

    with pytest.raises(KeyError):
        await export(path, broken(), batch=1)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "previous"


async def test_a_replaced_file_keeps_its_mode_and_link(tmp_path: Path) -> None:
    """A new file has the mode of the umask. A replaced file keeps its mode, and a link its target."""
    target, link = tmp_path / "real.csv", tmp_path / "link.csv"
    await export(target, [])
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask
    target.chmod(0o640)
    link.symlink_to(target)
    await export(link, [BARE])
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert BARE.number in target.read_text()


async def test_a_failing_disk_is_an_export_error(tmp_path: Path) -> None:
    """The error names a folder that does not exist."""
    with pytest.raises(ExportFailed, match="nowhere"):
        await export(tmp_path / "nowhere" / "n.csv", [])


async def test_the_format_follows_from_the_suffix(tmp_path: Path) -> None:
    """An unknown suffix is refused before a record is read, unless a format is given."""
    with pytest.raises(InvalidArgument, match=r"'\.ods'.*\.parquet"):
        await export(tmp_path / "n.ods", [])
    with pytest.raises(InvalidArgument, match="format"):
        await export(tmp_path / "n.csv", [], format="ods")
    await export(tmp_path / "n.txt", [BARE], format="jsonl")
    assert (tmp_path / "n.txt").read_bytes().startswith(b'{"provider":"acme"')


async def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parquet and Arrow name the extra and leave no file. CSV and JSON lines need none."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    await export(tmp_path / "n.csv", [BARE])
    with pytest.raises(MissingExtra, match=r"pip install 'phonesys\[export\]'"):
        await export(tmp_path / "n.parquet", [BARE])
    assert [one.name for one in tmp_path.iterdir()] == ["n.csv"]


async def test_half_of_a_surrogate_pair_is_replaced(tmp_path: Path) -> None:
    """Half of a surrogate pair, which no file can hold, becomes a question mark in every format."""
    for format_ in ALL:
        path = tmp_path / f"n.{format_}"
        await export(path, [number(0, label="a\ud800b")])
        assert read(path)[0]["label"] == "a?b"


# Excel


def cells(path: Path) -> dict[str, list[list[Any]]]:
    """Read the cells of every worksheet with openpyxl."""
    book = pytest.importorskip("openpyxl").load_workbook(path)
    return {sheet.title: [[cell.value for cell in row] for row in sheet.iter_rows()] for sheet in book}


async def test_a_workbook_has_text_cells(tmp_path: Path) -> None:
    """Numbers and formulas are text, and flags, times and amounts have their types."""
    path = tmp_path / "n.xlsx"
    formula = number(2, label="=1+1", pool_name="https://example.com", vendor_status="007")
    assert await export(path, [FULL, BARE, formula]) == 3
    heading, full, bare, third = cells(path)["numbers"]
    assert heading == [column.name for column in COLUMNS]
    row = dict(zip(heading, full, strict=True))
    assert (row["number"], row["label"], row["voice"], row["sms"]) == (FULL.number, FULL.label, True, False)
    assert row["created_at"] == datetime(2024, 2, 29, 12, 30, 15, 123000)  # noqa: DTZ001 -- Excel has no zones
    assert (row["monthly_amount"], row["billed"], row["updated_at"]) == (2.5, True, None)
    assert dict(zip(heading, bare, strict=True))["label"] is None
    book = pytest.importorskip("openpyxl").load_workbook(path)
    for name, text in (("label", "=1+1"), ("pool_name", "https://example.com"), ("vendor_status", "007")):
        cell = book["numbers"].cell(4, heading.index(name) + 1)
        assert (cell.value, cell.data_type, cell.number_format, cell.hyperlink) == (text, "s", "@", None)
    assert third[heading.index("number")] == formula.number


async def test_a_workbook_holds_any_text_and_time(tmp_path: Path) -> None:
    """Control characters, halves of surrogate pairs, long texts and odd times do not fail the export."""
    path = tmp_path / "n.xlsx"
    odd = [
        number(0, label="a\ud800b\x01c"),
        number(1, label="x" * 40_000, created_at=datetime(1850, 1, 1, tzinfo=UTC)),
        number(2, created_at=datetime.max.replace(tzinfo=UTC)),
    ]
    await export(path, odd)
    heading, *rows = cells(path)["numbers"]
    labels = [row[heading.index("label")] for row in rows]
    assert labels[0].startswith("a?b")
    assert (len(labels[1]), labels[1][-1]) == (32_767, "\N{HORIZONTAL ELLIPSIS}")
    assert rows[1][heading.index("created_at")] == "1850-01-01T00:00:00+00:00"
    assert len(rows) == 3


class _FullDisk(io.BytesIO):
    def write(self, data: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_workbook_on_a_full_disk_fails_once() -> None:
    """No second error is printed when the workbook is collected, after its file was closed."""
    with _FullDisk() as file:
        workbook = Xlsx(file, COLUMNS)
        with pytest.raises(OSError, match="No space left"):
            workbook.close()
    del workbook
    gc.collect()


async def test_a_full_worksheet_is_continued_on_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers beyond the last row of a worksheet are on a further one."""
    monkeypatch.setattr("phonesys.inventory.export.xlsx.MAX_ROWS", 4)
    await export(tmp_path / "n.xlsx", [number(n) for n in range(7)])
    sheets = cells(tmp_path / "n.xlsx")
    assert {name: len(rows) for name, rows in sheets.items()} == {
        "numbers": 4,
        "numbers 2": 4,
        "numbers 3": 2,
    }


async def test_a_workbook_names_incomplete_accounts(tmp_path: Path) -> None:
    """Incomplete accounts are on a worksheet of their own, which a complete export does not have."""
    incomplete = [
        AccountOutcome("acme", "a", "done", rejected=2),
        AccountOutcome("acme", "b", "failed", "401 no"),
    ]
    await export(tmp_path / "n.xlsx", [BARE], accounts=incomplete)
    assert cells(tmp_path / "n.xlsx")["incomplete accounts"][1:] == [
        ["acme", "a", "done", 2, "2 rows could not be read"],
        ["acme", "b", "failed", 0, "401 no"],
    ]
    await export(tmp_path / "n.xlsx", [BARE], accounts=[AccountOutcome("acme", "a", "done")])
    assert list(cells(tmp_path / "n.xlsx")) == ["numbers"]


async def test_without_xlsxwriter_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra, and no file is left."""
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    with pytest.raises(MissingExtra, match=r"pip install 'phonesys\[xlsx\]'"):
        await export(tmp_path / "n.xlsx", [BARE])
    assert list(tmp_path.iterdir()) == []
