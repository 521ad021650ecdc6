"""The inventory as a dlt resource, into DuckDB, without a network."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import InvalidArgument, LeadConnector, Leadping, PhoneSystem
from phonesys._extras import MissingExtra
from phonesys.inventory.export.dlt import _read_in_thread, numbers
from phonesys.inventory.record import sweep_records
from phonesys.record import NumberRecord
from phonesys.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

pytest.importorskip("pyarrow")
duckdb = pytest.importorskip("duckdb")
# dlt's own dependencies warn on import and in use; what they say is not about us.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Path]:
    """Run a pipeline of one resource into a DuckDB file in this folder."""
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    monkeypatch.setenv("DLT_PROJECT_DIR", str(tmp_path))
    dlt = pytest.importorskip("dlt")

    def load(resource: Any) -> Path:
        path = tmp_path / "inventory.duckdb"
        pipeline = dlt.pipeline(
            "inventory",
            destination=dlt.destinations.duckdb(str(path)),
            dataset_name="phones",
            pipelines_dir=str(tmp_path / "pipelines"),
        )
        pipeline.run(resource)
        return path

    return load


def ask(path: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as database:
        answer: list[tuple[Any, ...]] = database.execute(query).fetchall()
        return answer


def number(n: int, **fields: Any) -> NumberRecord:
    return NumberRecord(
        provider="acme", backend="acme", account="a", id=str(n), number=f"+1415555{n:04}", **fields
    )


def test_a_sweep_goes_into_duckdb(run: Callable[[Any], Path]) -> None:
    """A sweep is opened and closed within dlt's run, and every number arrives once."""
    expected = []

    async def records() -> AsyncIterator[NumberRecord]:
        async with Sandbox(locations=5, leadping=120, enforce_limits=False) as world:
            async with PhoneSystem(
                LeadConnector(token=world.leadconnector_token, base_url=world.leadconnector_url),
                Leadping(api_key=world.leadping_key, base_url=world.leadping_url),
            ) as phones:
                async with phones.sweep(leadconnector=world.location_ids) as sweep:
                    async for record in sweep_records(sweep):
                        yield record
                expected.append(sweep.report.numbers)

    path = run(numbers(records, batch=50))
    assert ask(path, "select count(*), count(distinct (backend, account, id)) from phones.numbers") == [
        (expected[0], expected[0])
    ]
    types = dict(
        ask(
            path, "select column_name, data_type from information_schema.columns where table_name = 'numbers'"
        )
    )
    assert types["created_at"] == "TIMESTAMP WITH TIME ZONE"
    assert types["voice"] == "BOOLEAN"


def test_the_next_sweep_replaces_or_merges(run: Callable[[Any], Path]) -> None:
    """`replace` holds the last sweep only; `merge` updates rows by backend, account and id."""
    run(numbers(lambda: [number(1), number(2)]))
    path = run(numbers(lambda: [number(2, label="new"), number(3)], write_disposition="merge"))
    assert ask(path, "select id, label from phones.numbers order by id") == [
        ("1", None),
        ("2", "new"),
        ("3", None),
    ]
    path = run(numbers(lambda: [number(9)]))
    assert ask(path, "select id from phones.numbers") == [("9",)]


def test_closing_early_ends_the_sweep() -> None:
    """The block of the sweep is left in its own task before the generator is closed."""
    events = []

    async def records() -> AsyncIterator[NumberRecord]:
        try:
            for n in range(1000):
                yield number(n)
        finally:
            events.append("left")

    reading = _read_in_thread(records, 10)
    assert len(next(reading)) == 10
    reading.close()
    assert events == ["left"]


def test_an_error_in_the_sweep_fails_the_run() -> None:
    """The error is raised as it is, after the records that were read before."""

    async def broken() -> AsyncIterator[NumberRecord]:
        yield number(1)
        raise KeyError("the vendor")

    reading = _read_in_thread(broken, 1)
    assert next(reading) == [number(1)]
    with pytest.raises(KeyError):
        next(reading)


def test_a_running_sweep_is_refused() -> None:
    """A running sweep belongs to another event loop, so a function that opens one is required."""
    with pytest.raises(InvalidArgument, match="function"):
        numbers(records=[number(1)])  # type: ignore[arg-type]


def test_without_dlt_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "dlt", None)
    with pytest.raises(MissingExtra, match=r"pip install 'phonesys\[dlt\]'"):
        numbers(list)
