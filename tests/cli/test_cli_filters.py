"""Filters and columns: on every command that lists, over the sandbox and over a store."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from phonesys.cli.app import COMMANDS, load_command
from phonesys.errors import CallError
from phonesys.inventory import Inventory
from phonesys.inventory.audit import Severity
from phonesys.system import PhoneSystem
from tests.cli.vendors import call
from tests.sweep.memory import Memory, number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DATA = ("--sandbox", "--locations", "4", "--latency", "0", "--not-connected", "0")
LISTING = {
    "sweep",
    "numbers",
    "find",
    "accounts",
    "agents",
    "pools",
    "get",
    "available",
    "audit",
    "export",
    "diff",
    "snapshots",
}
READING = {
    "sweep",
    "numbers",
    "find",
    "accounts",
    "agents",
    "pools",
    "get",
    "available",
    "status",
    "warmup",
    "audit",
    "export",
    "report",
}
FILTERED = {"sweep", "find", "audit", "export", "report", "diff"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A snapshot of four locations, 250 Leadping numbers and the agents' numbers."""
    where = str(tmp_path_factory.mktemp("store") / "store.db")
    assert call("sweep", *DATA, "--store", where, "--quiet").status == 0
    return where


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def exported(*options: str) -> list[dict[str, Any]]:
    done = call("export", "-", "--format", "jsonl", *options)
    assert done.status == 0, done.err
    return rows(done.out)


def parameters() -> Iterator[tuple[str, Any]]:
    """Yield every parameter of every command, with the command's name."""

    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        for parameter in command.params:
            yield name, parameter
        for inner, nested in getattr(command, "commands", {}).items():
            yield from walk(f"{name} {inner}", nested)

    for name in COMMANDS:
        yield from walk(name, load_command(name))


def options_of(command: str) -> set[str]:
    return {option for name, one in parameters() if name == command for option in one.opts}


def test_every_value_has_a_name_of_our_own() -> None:
    """Names that Typer makes up change from one of its versions to the next."""
    unnamed = [
        (command, one.opts)
        for command, one in parameters()
        if one.metavar is None and not getattr(one, "is_flag", False) and not getattr(one, "count", False)
    ]
    assert unnamed == []


@pytest.mark.parametrize(
    ("commands", "options"),
    [
        (LISTING, {"--columns", "--quiet"}),
        (READING, {"--sandbox", "--locations", "--seed", "--not-connected", "--latency"}),
        (FILTERED, {"--backend", "--account", "--status"}),
        (FILTERED - {"find"}, {"--country"}),  # which is the country of the numbers to find
        ({"sweep", "numbers", "find", "audit", "export", "report"}, {"--failures", "--allow-incomplete"}),
    ],
    ids=["lists", "reads", "filters", "country", "failures"],
)
def test_every_command_of_a_kind_has_its_options(commands: set[str], options: set[str]) -> None:
    """Lists have columns, readers the sandbox, and so on."""
    missing = {command: options - options_of(command) for command in commands}
    assert {command: absent for command, absent in missing.items() if absent} == {}


@pytest.mark.parametrize("over", ["sandbox", "store"])
@pytest.mark.parametrize(
    ("options", "accepts"),
    [
        (("--status", "active"), lambda row: row["status"] == "active"),
        (("--country", "ca"), lambda row: row["country"] == "CA"),
        (("--backend", "agents"), lambda row: row["backend"] == "agents"),
        (
            ("--backend", "leadping", "--account", "default", "--country", "US"),
            lambda row: (row["backend"], row["account"], row["country"]) == ("leadping", "default", "US"),
        ),
    ],
    ids=["status", "country", "backend", "all"],
)
def test_an_export_holds_what_the_filters_accept(
    store: str, over: str, options: tuple[str, ...], accepts: Callable[[dict[str, Any]], bool]
) -> None:
    """No more and no less: the rows of the whole export that they accept."""
    where = DATA if over == "sandbox" else ("--store", store)
    everything = exported(*where)
    expected = [row for row in everything if accepts(row)]
    assert 0 < len(expected) < len(everything)
    found = exported(*where, *options)
    assert sorted(row["number"] for row in found) == sorted(row["number"] for row in expected)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "arrow", "xlsx"])
def test_an_export_has_the_columns_that_were_asked_for(store: str, ending: str, tmp_path: Path) -> None:
    """In every format, in their order; one column too."""
    import openpyxl  # type: ignore[import-untyped]

    for columns in (["status", "number"], ["number"]):
        file = tmp_path / f"numbers.{ending}"
        done = call("export", str(file), "--store", store, "--columns", ",".join(columns))
        assert done.status == 0, done.err
        if ending == "xlsx":
            sheet = openpyxl.load_workbook(file)["numbers"]
            assert [cell.value for cell in next(iter(sheet.rows))] == columns
        else:
            read: dict[str, Callable[[Path], pl.DataFrame]] = {
                "csv": pl.read_csv,
                "jsonl": pl.read_ndjson,
                "parquet": pl.read_parquet,
                "arrow": pl.read_ipc,
            }
            assert read[ending](file).columns == columns


def test_an_audit_is_of_the_filtered_numbers(store: str) -> None:
    """Its findings are about them, in the columns that were asked for."""
    done = call(
        "audit",
        "--store",
        store,
        "--backend",
        "leadping",
        "--format",
        "csv",
        "--columns",
        "code,accounts,number",
    )
    found = list(csv.DictReader(io.StringIO(done.out)))
    assert done.status == 0
    assert found
    assert {row["accounts"] for row in found} == {"leadping:default"}
    table = call("audit", "--store", store, "--columns", "code", "--status", "active")
    assert table.out.split()[0] == "code"
    assert str(Severity.WARNING) not in table.out


def test_changes_are_filtered_by_both_sides(tmp_path: Path) -> None:
    """A number that left its account is shown for that account."""
    where = str(tmp_path / "store.db")
    for seed in ("1", "2"):
        assert call("sweep", *DATA, "--seed", seed, "--store", where, "--quiet").status == 0
    everything = rows(call("diff", "--store", where, "--format", "jsonl").out)
    of_agents = rows(call("diff", "--store", where, "--format", "jsonl", "--backend", "agents").out)
    assert of_agents == [row for row in everything if row["backend"] == "agents"]
    assert 0 < len(of_agents) < len(everything)
    account = next(row["account"] for row in everything if row["kind"] == "removed")
    chosen = call("diff", "--store", where, "--account", account, "--columns", "kind,number")
    assert chosen.out.split()[:2] == ["kind", "number"]
    assert "removed" in chosen.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("find", "+14155552671", *DATA, "--account", "loc_9"), "--account loc_9: no backend has it"),
        (("export", "-", "-f", "csv", *DATA, "--columns", "nmber"), "did you mean 'number'?"),
        (("audit", *DATA, "--columns", "number,status"), "no such column 'status'"),
        (("audit", *DATA, "--status", "activ"), "did you mean 'active'?"),
        (("accounts", "--locations", "3"), "--locations: only with --sandbox"),
        (("numbers", "leadping", "--sandbox", "--config", "x.toml"), "--config: cannot be combined"),
        (("export", "-", "-f", "csv", "--store", "x.db", "--seed", "3"), "--seed: only with --sandbox"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_before_any_request(arguments: tuple[str, ...], message: str) -> None:
    """With status 2, and the nearest word where there is one."""
    done = call(*arguments)
    assert done.status == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1


def test_one_account_of_a_sweep_is_all_that_is_read() -> None:
    """Of several backends only those that have it are asked."""
    account = call(
        "accounts", *DATA, "--backend", "leadconnector", "--columns", "account", "-f", "csv"
    ).out.split()[1]
    done = call("sweep", *DATA, "--account", account, "--format", "jsonl")
    assert done.status == 0, done.err
    assert {(row["backend"], row["account"]) for row in rows(done.out)} == {("leadconnector", account)}


def test_failures_of_a_snapshot_are_written(tmp_path: Path) -> None:
    """An export of a store with an account that could not be read names it, as a sweep does."""

    async def collect() -> None:
        async with (
            PhoneSystem(Memory({"a": [[number(1)]], "b": [CallError("no")]})) as phones,
            Inventory(tmp_path / "store.db") as inventory,
        ):
            await inventory.collect(phones)

    asyncio.run(collect())
    file = tmp_path / "failures.jsonl"
    done = call(
        "export", str(tmp_path / "x.csv"), "--store", str(tmp_path / "store.db"), "--failures", str(file)
    )
    assert done.status == 1
    (row,) = rows(file.read_text())
    assert (row["backend"], row["account"], row["outcome"]) == ("memory", "b", "failed")
