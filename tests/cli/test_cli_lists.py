"""Lists: accounts, agents, metrics, filters, columns, failures, and the oldest snapshots."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from phonesys.cli.rows import NumberRow
from phonesys.sandbox import body, status
from tests.cli.vendors import call, run, serving, toml, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phonesys.sandbox import Sandbox


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with serving(locations=6, seed=1, leadping=12, agents=8, enforce_limits=False) as sandbox:
        yield sandbox


@pytest.fixture
def vendors(server: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Run in a folder with a configuration that points at the sandbox."""
    for name in ("PHONESYS_CONFIG", "PHONESYS_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "phonesys.toml", toml(server))
    yield server
    server.clear_script()


def rows(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


# Accounts, agents, metrics


def test_accounts_are_listed_with_their_names(vendors: Sandbox, tmp_path: Path) -> None:
    """A vendor that lists accounts gives names. Configured accounts have none."""
    configured = rows(call("accounts", "--format", "jsonl").out)
    assert [row["account"] for row in configured if row["backend"] == "leadconnector"] == list(
        vendors.location_ids
    )
    assert {row["backend"] for row in configured} == {"leadconnector", "leadping", "agents"}
    text = re.sub("accounts = .*\n", "", toml(vendors))
    company = f'[leadconnector]\ncompany_id = "{vendors.oauth.company_id}"\n'
    write(tmp_path / "phonesys.toml", text.replace("[leadconnector]\n", company))
    listed = rows(call("accounts", "--backend", "leadconnector", "--format", "jsonl").out)
    assert {row["account"] for row in listed} == set(vendors.location_ids)
    assert all(row["name"] for row in listed)
    assert listed[0]["name"] in call("accounts").out


def test_agents_are_listed(vendors: Sandbox) -> None:
    """A backend without agents is a usage error."""
    listed = rows(call("agents", "agents", "--format", "jsonl").out)
    assert [row["id"] for row in listed] == list(vendors.state.agents)
    assert listed[0]["id"] in call("agents", "agents").out
    assert rows(call("agents", "--format", "jsonl").out) == listed  # the only backend with agents
    done = call("agents", "leadping")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "cannot list agents" in done.err


def test_the_backend_whose_agents_are_listed_is_certain(
    vendors: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several are named, and so is the lack of any."""
    key = f'api_key = "{vendors.agents_key}"\nbase_url = "{vendors.agents_url}"\n'
    write(tmp_path / "two.toml", f'[agents]\n{key}\n[voice]\nprovider = "agents"\n{key}')
    done = call("agents", "--config", str(tmp_path / "two.toml"))
    assert (done.status, done.err) == (
        2,
        "phonesys: BACKEND: expected one of agents, voice, which all list agents\n",
    )
    assert call("agents", "voice", "--config", str(tmp_path / "two.toml")).status == 0
    write(tmp_path / "none.toml", '[leadping]\napi_key = "sk_1"\n')
    done = call("agents", "--config", str(tmp_path / "none.toml"))
    assert (done.status, done.err) == (2, "phonesys: no configured backend can list agents\n")


def test_metrics_of_a_number_are_shown(vendors: Sandbox) -> None:
    """By number and by id, as a table of facts and as the vendor's object."""
    number = rows(call("numbers", "leadping", "--format", "jsonl").out)[0]
    by_number = call("status", "leadping", number["number"], "--days", "7", "--format", "jsonl")
    by_id = call("warmup", "leadping", number["id"], "--format", "jsonl")
    assert (by_number.status, by_id.status) == (0, 0), by_number
    assert rows(by_number.out)[0]["number"] == rows(by_id.out)[0]["number"] == number["number"]
    table = call("status", "leadping", number["number"], "--since", "2026-01-01").out
    assert any(line.split() == ["number", number["number"]] for line in table.splitlines())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("status", "agents", "+14155552671"), "backend 'agents' cannot show the status of a number"),
        (("status", "leadping", "4155552671"), "phone number: '4155552671' is not E.164"),
        (("warmup", "leadping", "x", "--format", "csv"), "--format csv: metrics are nested"),
        (("warmup", "leadping", "x", "--since", "yesterday"), "Invalid value for '--since'"),
    ],
)
def test_metrics_that_cannot_be_shown_are_one_line(
    vendors: Sandbox, arguments: tuple[str, ...], expected: str
) -> None:
    """The status is 2, and nothing is sent."""
    before = sum(vendors.served.values())
    done = call(*arguments)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith(f"phonesys: {expected}"), done
    assert sum(vendors.served.values()) == before


# Filters, columns, failures


COMMANDS = {
    "sweep": ("sweep",),
    "numbers": ("numbers", "leadping"),
    "find": ("find", "--numbers", "all.txt"),
}


@pytest.fixture
def everything(vendors: Sandbox, tmp_path: Path) -> None:
    """Write every number to a file, so that `find` lists them all."""
    numbers = sorted(number for held in vendors.truth.values() for number in held)
    (tmp_path / "all.txt").write_text("\n".join(numbers), encoding="utf-8")


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_statuses_are_filtered(command: tuple[str, ...]) -> None:
    """Several are allowed, in any case; a status that does not exist is a usage error."""
    every = rows(call(*command, "--format", "jsonl").out)
    wanted = {"active", "inactive"}
    filters = ("--status", "Active", "--status", "inactive")
    kept = rows(call(*command, *filters, "--format", "jsonl").out)
    expected = [row["id"] for row in every if row["status"] in wanted]
    assert sorted(row["id"] for row in kept) == sorted(expected)
    one = rows(call(*command, "--status", "inactive", "--format", "jsonl").out)
    assert 0 < len(one) < len(every)
    done = call(*command, "--status", "activ", "--format", "jsonl")
    assert (done.status, done.err) == (
        2,
        "phonesys: --status activ: no such status; did you mean 'active'?\n",
    )


def test_countries_are_filtered(vendors: Sandbox) -> None:
    """A number without a country is in none."""
    kept = rows(call("sweep", "--country", "us", "--format", "jsonl").out)
    assert kept
    assert {row["country"] for row in kept} == {"US"}


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("format_", ["jsonl", "csv"])
def test_columns_are_chosen(command: tuple[str, ...], format_: str) -> None:
    """They come in the order that was asked for."""
    done = call(*command, "--columns", "number, account,voice", "--format", format_)
    assert done.status == 0, done
    if format_ == "jsonl":
        assert {tuple(row) for row in rows(done.out)} == {("number", "account", "voice")}
    else:
        found = list(csv.reader(io.StringIO(done.out, newline="")))
        assert found[0] == ["number", "account", "voice"]
        assert {len(record) for record in found} == {3}


def test_a_table_has_the_columns_that_are_chosen(vendors: Sandbox) -> None:
    """Also those that a table does not have by default."""
    done = call("numbers", "leadping", "--columns", "number,created_at,sms")
    assert done.out.split("\n")[0].split() == ["number", "created_at", "sms"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("numbers", "leadping", "--columns", "numbr"), "--columns: no such column 'numbr'; did you mean"),
        (("numbers", "leadping", "--columns", ","), "--columns: expected names of columns"),
        (("sweep", "--columns", "number"), "--columns: needs --format jsonl or csv"),
        (("sweep", "--status", "active"), "--status: needs --format jsonl or csv"),
    ],
)  # fmt: skip
def test_columns_that_do_not_exist_are_one_line(
    vendors: Sandbox, arguments: tuple[str, ...], expected: str
) -> None:
    """The status is 2."""
    done = call(*arguments)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith(f"phonesys: {expected}")


def test_every_column_can_be_chosen(vendors: Sandbox) -> None:
    """Chosen columns have the values of complete rows."""
    columns = NumberRow.__struct_fields__
    chosen = call("numbers", "leadping", "--columns", ",".join(columns), "--format", "csv").out
    assert sorted(chosen.splitlines()) == sorted(call("numbers", "leadping", "-f", "csv").out.splitlines())


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_failures_are_written_to_a_file(vendors: Sandbox, tmp_path: Path, command: tuple[str, ...]) -> None:
    """Each failed account is a line, and so is each account with unreadable rows."""
    vendors.script("leadping.list", body('{"items": [{"number": {"e164": "+1"}}]}'), repeat=True)
    vendors.script("agents.list", status(403), repeat=True)
    done = call(*command, "--format", "jsonl", "--failures", "failures.jsonl")
    assert done.status == 1, done
    found = {row["backend"]: row for row in rows((tmp_path / "failures.jsonl").read_text())}
    assert (found["leadping"]["account"], found["leadping"]["outcome"]) == ("default", "unreadable")
    assert found["leadping"]["message"].endswith("could not be read")
    if command[0] != "numbers":
        assert (found["agents"]["error"], found["agents"]["outcome"]) == ("Forbidden", "failed")
    done = call(*command, "--format", "jsonl", "--failures", "no/where")
    assert "--failures no/where: No such file or directory" in done.err


# Snapshots and completion


def test_the_oldest_snapshots_are_pruned(vendors: Sandbox) -> None:
    """Without a terminal, --yes is required."""
    for _ in range(3):
        assert call("sweep", "--store", "s.db").status == 0
    done = call("prune", "--store", "s.db", "--keep", "1")
    assert (done.status, done.err) == (2, "phonesys: there is no terminal to ask on; expected --yes\n")
    done = call("prune", "--store", "s.db", "--keep", "1", "--yes")
    assert (done.status, done.err) == (0, "2 snapshots deleted\n")
    assert [row["id"] for row in rows(call("snapshots", "--store", "s.db", "-f", "jsonl").out)] == [3]
    assert call("prune", "--store", "none.db", "--keep", "1", "--yes").status == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("phonesys sna", "snapshots"),
        ("phonesys sweep --conc", "--concurrency"),
        ("phonesys auth lo", "login"),
        ("phonesys numbers le", "leadping"),
        ("phonesys sweep --backend ag", "agents"),
        ("phonesys export --columns number,sta", "number,status"),
        ("phonesys audit --columns sev", "severity"),
        ("phonesys find --status sus", "suspended"),
        ("phonesys audit --ignore unus", "unusable-status"),
        ("phonesys schema snap", "snapshots"),
    ],
)
def test_the_shell_completes_commands_options_and_values(words: str, expected: str) -> None:
    """As bash asks for it."""
    assert expected in call(env=asked_by_bash(words)).out.split()


def test_the_program_completes(tmp_path: Path) -> None:
    """As bash asks for it, in a process of its own."""
    assert run(cwd=tmp_path, variables=asked_by_bash("phonesys sna")).out.split() == ["snapshots"]


def asked_by_bash(words: str) -> dict[str, str]:
    return {
        "_PHONESYS_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
