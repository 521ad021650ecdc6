"""Incomplete results: what is missing is named on stderr, and the exit status is 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from phonesys.cli.problems import UnreadableRows
from phonesys.model import Page, UnreadableRow
from phonesys.sandbox import body, status
from tests.cli.vendors import call, serving, toml, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phonesys.sandbox import Sandbox

COMMANDS = {
    "sweep": ("sweep", "--format", "jsonl"),
    "numbers": ("numbers", "agents", "--format", "jsonl"),
    "find": ("find", "+14155552671", "--format", "jsonl"),
    "audit": ("audit", "--format", "jsonl"),
    "export": ("export", "numbers.csv"),
    "report": ("report", "page.html"),
}


UNREADABLE = body('{"data": [{"phoneNumber": {"e164": "+14155552671"}}]}')
"""A row without a number and without an id."""


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with serving(locations=4, pools=(1, 2), leadping=12, agents=6, enforce_limits=False) as sandbox:
        yield sandbox


@pytest.fixture
def vendors(server: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Run in a folder with a configuration that points at the sandbox."""
    monkeypatch.delenv("PHONESYS_CONFIG", raising=False)
    monkeypatch.delenv("PHONESYS_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "phonesys.toml", toml(server))
    yield server
    server.clear_script()


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_unreadable_rows_are_named(vendors: Sandbox, command: tuple[str, ...]) -> None:
    """The table has account, field, reason and the row itself. Every command exits with 1."""
    vendors.script("agents.list", UNREADABLE, repeat=True)
    done = call(*command)
    assert done.status == 1, done
    assert "phonesys: 1 row could not be read" in done.err
    row = next(line for line in done.err.splitlines() if line.startswith("agents"))
    assert row.split()[:4] == ["agents", "default", "1", "phoneNumber"]
    assert '{"phoneNumber": {"e164"' in row


def test_fields_of_another_type_are_named(vendors: Sandbox) -> None:
    """The number is there without them, so that the result is complete."""
    vendors.script("agents.list", body('{"data": [{"id": "1", "friendlyName": [7]}]}'), repeat=True)
    done = call("numbers", "agents", "--format", "jsonl")
    assert done.status == 0, done
    assert json.loads(done.out)["label"] is None
    row = next(line for line in done.err.splitlines() if line.startswith("agents"))
    assert row.split()[:4] == ["agents", "default", "1", "friendlyName"]
    assert row.endswith("[7]")
    assert call("numbers", "agents", "--quiet").err == ""


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_an_incomplete_result_may_be_allowed(vendors: Sandbox, command: tuple[str, ...]) -> None:
    """--allow-incomplete changes the status, and not what is printed."""
    vendors.script("agents.list", status(403), repeat=True)
    refused, allowed = call(*command), call(*command, "--allow-incomplete")
    assert (refused.status, allowed.status) == (1, 0), allowed
    assert "1 account failed" in refused.err
    assert "1 account failed" in allowed.err


@pytest.mark.parametrize("command", [("audit",), ("export", "n.csv"), ("report", "page.html")])
def test_an_incomplete_snapshot_says_so(vendors: Sandbox, command: tuple[str, ...]) -> None:
    """The accounts of a stored sweep that were not read completely are named, with the reason."""
    vendors.script("agents.list", status(403), repeat=True)
    vendors.script("leadping.list", body('{"items": [{"number": {"e164": "+1"}}]}'), repeat=True)
    assert call("sweep", "--store", "inventory.db").status == 1
    done = call(*command, "--store", "inventory.db")
    assert done.status == 1, done
    assert "snapshot 1 is incomplete: 2 accounts not read completely" in done.err
    assert "1 row could not be read" in done.err
    assert "403" in done.err
    assert call(*command, "--store", "inventory.db", "--allow-incomplete").status == 0
    vendors.clear_script()
    assert call("sweep", "--store", "inventory.db").status == 0
    assert "incomplete" not in call(*command, "--store", "inventory.db").err


READS = {name: command for name, command in COMMANDS.items() if name not in {"numbers", "find"}}


@pytest.mark.parametrize("command", READS.values(), ids=READS)
def test_no_pools_is_obeyed(vendors: Sandbox, command: tuple[str, ...]) -> None:
    """With --no-pools, no command fetches a pool, even if pools are configured."""
    text = toml(vendors).replace("[leadconnector]\n", "[leadconnector]\nwith_pools = true\n")
    write(Path("phonesys.toml"), text)
    counts = [_pool_requests(vendors, *command, *more) for more in ((), ("--no-pools",))]
    assert counts[0] > 0
    assert counts[1] == 0


@pytest.mark.parametrize("name", ["audit", "export", "report"])
def test_configured_pools_are_obeyed(vendors: Sandbox, name: str) -> None:
    """Audits and files fetch pools by default, unless the configuration says not to."""
    assert _pool_requests(vendors, *COMMANDS[name]) > 0
    text = toml(vendors).replace("[leadconnector]\n", "[leadconnector]\nwith_pools = false\n")
    write(Path("phonesys.toml"), text)
    assert _pool_requests(vendors, *COMMANDS[name]) == 0


def test_no_pools_is_obeyed_in_the_sandbox() -> None:
    """The embedded sandbox has pools, which are left out too."""
    arguments = ("sweep", "--sandbox", "--locations", "20", "--latency", "0", "--format", "jsonl")
    pools = [
        {json.loads(line)["pool"] for line in call(*arguments, *more).out.splitlines()}
        for more in ((), ("--no-pools",))
    ]
    assert len(pools[0]) > 1
    assert pools[1] == {None}


def _pool_requests(vendors: Sandbox, *command: str) -> int:
    before = vendors.served["leadconnector.pools", 200]
    done = call(*command)
    assert done.status == 0, done
    return vendors.served["leadconnector.pools", 200] - before


def test_endless_kinds_of_unreadable_rows_are_counted_in_bounded_memory() -> None:
    """A vendor with a different reason in every row cannot fill the memory."""
    unreadable = UnreadableRows()
    for n in range(3000):
        row = UnreadableRow(raw=b"{}", reason=f"reason {n} - at `$.field`")
        unreadable.add(Page(account="a", provider="lc", numbers=(), rejected=(row, row)))
    assert len(unreadable.rows.counts) == 1000
    (problem, count), *_ = unreadable.rows.counts.most_common(1)
    assert (problem.field, problem.reason.startswith("reason"), count) == ("field", True, 2)
