"""`diff` and `snapshots` on the command line, and a stored sweep."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from phonesys import Forbidden, PhoneSystem
from phonesys.cli.app import app
from phonesys.cli.store import open_sweep
from phonesys.inventory import StoredSweep
from phonesys.sweep import Sweep
from tests.sweep.memory import Memory, number

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Store two sweeps: one number moves, one changes its label, one account fails."""
    where = str(tmp_path / "inventory.db")
    renamed = number(1)
    renamed.label = "Front desk"
    days: tuple[dict[str, list[Any]], ...] = (
        {"a": [[number(1), number(2)]], "b": [[]], "c": [[number(9, "c")]]},
        {"a": [[renamed]], "b": [[number(2, "b")]], "c": [Forbidden("no", status=403)]},
    )

    async def main() -> None:
        for pages in days:
            async with PhoneSystem(Memory(pages)) as phones, open_sweep(where, phones, {}) as sweep:
                assert isinstance(sweep, StoredSweep)
                async with sweep:
                    _ = [page async for page in sweep]
            async with PhoneSystem(Memory(pages)) as phones, open_sweep(None, phones, {}) as only:
                assert isinstance(only, Sweep)

    asyncio.run(main())
    return where


def test_a_diff_as_json_lines(store: str) -> None:
    """Each change is a line with its fields before and after."""
    done = CliRunner().invoke(app, ["diff", "--store", store, "--format", "jsonl"])
    assert done.exit_code == 0
    lines = {line["kind"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert set(lines) == {"moved", "changed", "unknown"}
    assert lines["changed"]["fields"] == [{"field": "label", "old": None, "new": "Front desk"}]
    assert (lines["moved"]["from_account"], lines["moved"]["account"]) == ("a", "b")
    assert lines["unknown"]["account"] == "c"


def test_a_diff_as_a_table(store: str) -> None:
    """The table shows fields before and after, and stderr the counts."""
    done = CliRunner().invoke(app, ["diff", "1", "2", "--store", store])
    assert done.exit_code == 0
    text = " ".join(done.stdout.split())
    assert "label: – → Front desk" in text  # noqa: RUF001
    assert "a → b" in text
    assert "3 changes: 1 moved, 1 changed, 1 unknown" in done.stderr


def test_snapshots_are_listed(store: str) -> None:
    """Snapshots are listed with the newest first."""
    done = CliRunner().invoke(app, ["snapshots", "--store", store, "-f", "csv"])
    assert [line.split(",")[0] for line in done.stdout.splitlines()] == ["id", "2", "1"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["diff", "--store", "nowhere.db"], "there is no such file"),
        (["diff", "--store", "STORE", "-f", "csv"], "use table or jsonl"),
        (["diff", "--store", "mysql://x"], "expected sqlite"),
    ],
)
def test_misuse_is_one_line(store: str, arguments: list[str], why: str) -> None:
    """Misuse exits with status 2 and one line."""
    done = CliRunner().invoke(app, [store if word == "STORE" else word for word in arguments])
    assert done.exit_code == 2
    assert why in " ".join(done.stderr.split())
