"""`audit`, `export` and `report` on the command line."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from phonesys import Leadping, PhoneSystem
from phonesys.cli.app import app
from phonesys.inventory import Inventory
from phonesys.sandbox import Sandbox

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("jinja2")
pytest.importorskip("phonenumbers")


def phonesys(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Store two sweeps, of which the second finds fewer numbers."""
    pytest.importorskip("sqlalchemy")
    path: Path = tmp_path_factory.mktemp("store") / "inventory.db"

    async def sweep(count: int) -> None:
        async with Sandbox(locations=1, leadping=count, agents=1, enforce_limits=False) as world:
            backend = Leadping(api_key=world.leadping_key, base_url=world.leadping_url)
            async with PhoneSystem(backend) as phones, Inventory(path) as inventory:
                await inventory.collect(phones)

    asyncio.run(sweep(30))
    asyncio.run(sweep(25))
    return path


def test_a_stored_sweep_is_audited(store: Path) -> None:
    """JSON lines and CSV have a row for each finding, and the summary goes to stderr."""
    lines = phonesys("audit", "--store", store, "--format", "jsonl")
    assert lines.exit_code == 0
    found: list[dict[str, Any]] = [json.loads(line) for line in lines.stdout.splitlines()]
    assert found
    assert found[0]["accounts"] == ["leadping:default"]
    assert f"{len(found)} findings" in lines.stderr
    rows = list(csv.DictReader(io.StringIO(phonesys("audit", "--store", store, "--format", "csv").stdout)))
    assert [row["code"] for row in rows] == [one["code"] for one in found]
    assert list(rows[0]) == list(found[0])


def test_the_exit_status_follows_fail_on(store: Path) -> None:
    """`--fail-on` sets the severity that exits with 1. `--ignore` takes codes of rules."""
    assert phonesys("audit", "--store", store, "--fail-on", "critical").exit_code == 0
    assert phonesys("audit", "--store", store, "--fail-on", "warning").exit_code == 1
    ignored = ("--ignore", "warmup-blocked", "--ignore", "ten-dlc-not-registered")
    assert phonesys("audit", "--store", store, "--fail-on", "warning", *ignored).exit_code == 0
    assert phonesys("audit", "--store", store, "--ignore", "nope").exit_code == 2


def test_a_stored_sweep_is_exported(store: Path, tmp_path: Path) -> None:
    """The format follows from the suffix."""
    done = phonesys("export", tmp_path / "n.jsonl", "--store", store)
    assert (done.exit_code, len((tmp_path / "n.jsonl").read_text().splitlines())) == (0, 25)


def test_a_stored_sweep_becomes_a_report_with_changes(store: Path, tmp_path: Path) -> None:
    """The report shows the numbers that were removed since the previous snapshot."""
    done = phonesys("report", tmp_path / "r.html", "--store", store, "--title", "Ours")
    page = (tmp_path / "r.html").read_text()
    assert done.exit_code == 0
    assert "<h1>Ours</h1>" in page
    assert '<span class="chip"><strong>5</strong> removed</span>' in page


def test_the_report_of_a_store_is_of_the_time_of_its_sweep(store: Path, tmp_path: Path) -> None:
    """The page bears the time of the snapshot, and a trend since earlier ones unless `--trend 0` hides it."""
    page = tmp_path / "r.html"
    assert phonesys("report", page, "--store", store).exit_code == 0
    snapshots = json.loads(
        phonesys("snapshots", "--store", store, "--format", "jsonl").output.splitlines()[0]
    )
    assert f'datetime="{snapshots["finished_at"][:19]}' in page.read_text()
    assert ">Trend<" in page.read_text()
    assert phonesys("report", page, "--store", store, "--trend", 0).exit_code == 0
    assert ">Trend<" not in page.read_text()


def test_without_a_store_a_sweep_is_made(tmp_path: Path) -> None:
    """Every number of the sandbox is exported."""
    done = phonesys("export", tmp_path / "n.csv", "--sandbox", "--backend", "agents")
    assert done.exit_code == 0
    assert "120 numbers" in done.stderr


def test_conflicting_options_are_refused(tmp_path: Path) -> None:
    """A store excludes backends and the sandbox, and it must exist."""
    assert phonesys("audit", "--store", "x.db", "--sandbox").exit_code == 2
    missing = phonesys("audit", "--store", tmp_path / "x.db")
    assert missing.exit_code == 2
    assert "no such file" in missing.stderr
    assert not (tmp_path / "x.db").exists()
