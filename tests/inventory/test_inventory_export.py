"""Exports: the same rows in every format, whole or not at all."""
# ruff: noqa: S608, ASYNC240 -- DuckDB reads the files that these queries name; a test may wait for a disk

from __future__ import annotations

import csv
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
from phonesys.inventory.export import COLUMNS, ExportFailed, export
from phonesys.inventory.extras import MissingExtra
from phonesys.inventory.record import NumberRecord, records_of
from phonesys.model import NumberStatus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from phonesys.sandbox import Sandbox

duckdb = pytest.importorskip("duckdb")
polars = pytest.importorskip("polars")
pytest.importorskip("pyarrow")

DOCS = Path(__file__).parent.parent.parent / "docs" / "guides" / "export.md"
ALL = ("parquet", "arrow", "csv", "jsonl")


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
    """Read a file with DuckDB, told nothing but where it is."""
    if path.suffix == ".arrow":
        table: Any = polars.read_ipc(path).to_arrow()
        return list(table.to_pylist())
    rows = duckdb.sql(f"select * from '{path}' order by id")
    return [dict(zip(rows.columns, row, strict=True)) for row in rows.fetchall()]


@pytest.mark.parametrize("format_", ALL)
async def test_every_format_opens_elsewhere(tmp_path: Path, format_: str) -> None:
    """DuckDB or polars read the columns in their order, with text, booleans, times and nulls as they were."""
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
    """Parquet and Arrow bear the same schema, whatever is in the rows, and even without a row."""
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
    """Each is named in the documentation with its type, in the order that they have."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", DOCS.read_text(), re.MULTILINE)
    assert rows == [(column.name, column.type) for column in COLUMNS]


async def test_json_lines_are_records_again(tmp_path: Path) -> None:
    """They are exact: decoding them gives back what was written."""
    path = tmp_path / "numbers.jsonl"
    await export(path, [FULL, BARE])
    lines = path.read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=NumberRecord) for line in lines] == [FULL, BARE]


async def test_csv_disarms_formulas_and_leaves_numbers_alone(tmp_path: Path) -> None:
    """A spreadsheet must not run what somebody wrote, from whichever column; `+1 415…` is no formula."""
    path = tmp_path / "numbers.csv"
    await export(
        path, [number(0, label='=HYPERLINK("http://x")', pool_name="@SUM(A1)", vendor_status="-1+cmd|x")]
    )
    (row,) = csv.DictReader(io.StringIO(path.read_text()))
    assert (row["label"], row["pool_name"]) == ('\'=HYPERLINK("http://x")', "'@SUM(A1)")
    assert row["vendor_status"] == "'-1+cmd|x"
    assert row["number"] == "+14155550000"


async def test_a_sweep_is_exported_as_it_goes(tmp_path: Path, sandbox: Sandbox) -> None:
    """Straight from the sweep, in batches, without a list of it in between."""
    async with PhoneSystem(
        LeadConnector(token=sandbox.leadconnector_token, base_url=sandbox.leadconnector_url),
        Leadping(api_key=sandbox.leadping_key, base_url=sandbox.leadping_url),
        AgentNumbers(api_key=sandbox.agents_key, base_url=sandbox.agents_url),
    ) as phones:
        async with phones.sweep(leadconnector=sandbox.location_ids) as sweep:
            count = await export(tmp_path / "all.parquet", records_of(sweep), batch=50)
    assert count == sweep.report.numbers
    by_backend = duckdb.sql(
        f"select backend, count(*) from '{tmp_path / 'all.parquet'}' group by 1"
    ).fetchall()
    assert dict(by_backend) == sweep.report.numbers_by_provider


async def test_batches_are_written_as_they_come(tmp_path: Path) -> None:
    """No more than a batch is held: the generator is asked for more only once it was written."""
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


@pytest.mark.parametrize("format_", ALL)
async def test_a_failure_half_way_leaves_what_was_there(tmp_path: Path, format_: str) -> None:
    """The old file stays, no part of the new one does, and the error is the records' own."""
    path = tmp_path / f"numbers.{format_}"
    path.write_text("yesterday's")

    async def broken() -> AsyncIterator[NumberRecord]:
        yield FULL
        yield BARE
        raise KeyError("the vendor")

    with pytest.raises(KeyError):
        await export(path, broken(), batch=1)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "yesterday's"


async def test_a_file_that_is_replaced_keeps_its_mode_and_its_link(tmp_path: Path) -> None:
    """A new one is as open as the umask says; a link still leads to what was replaced."""
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


async def test_a_disk_that_fails_is_an_error_of_ours(tmp_path: Path) -> None:
    """A folder that is not there, for one, is named."""
    with pytest.raises(ExportFailed, match="nowhere"):
        await export(tmp_path / "nowhere" / "n.csv", [])


async def test_the_name_tells_the_format_unless_one_is_given(tmp_path: Path) -> None:
    """An ending that says nothing is refused before a record is read."""
    with pytest.raises(InvalidArgument, match=r"'\.xlsx'.*\.parquet"):
        await export(tmp_path / "n.xlsx", [])
    with pytest.raises(InvalidArgument, match="format"):
        await export(tmp_path / "n.csv", [], format="xlsx")
    await export(tmp_path / "n.txt", [BARE], format="jsonl")
    assert (tmp_path / "n.txt").read_bytes().startswith(b'{"provider":"acme"')


async def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CSV and JSON lines need none; the others say what to install, and leave no file."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    await export(tmp_path / "n.csv", [BARE])
    with pytest.raises(MissingExtra, match=r"pip install 'phonesys\[export\]'"):
        await export(tmp_path / "n.parquet", [BARE])
    assert [one.name for one in tmp_path.iterdir()] == ["n.csv"]


async def test_text_that_is_not_unicode_costs_no_export(tmp_path: Path) -> None:
    """A lone surrogate, which no file can hold, becomes a question mark in every format."""
    for format_ in ALL:
        path = tmp_path / f"n.{format_}"
        await export(path, [number(0, label="a\ud800b")])
        assert read(path)[0]["label"] == "a?b"
