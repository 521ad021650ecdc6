"""Every command but `sweep`, in this process, against a sandbox."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import __version__
from phonesys.cli.app import COMMANDS, load_command
from phonesys.sandbox import drop_after, status
from tests.cli.vendors import call, end, environment, run, serving, start, toml, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phonesys.sandbox import Sandbox


@pytest.fixture(scope="module")
def vendors() -> Iterator[Sandbox]:
    with serving(locations=6, leadping=30, agents=20, enforce_limits=False) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, vendors: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in a folder with a configuration that points at the sandbox."""
    vendors.clear_script()
    write(tmp_path / "phonesys.toml", toml(vendors))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PHONESYS_CONFIG", raising=False)


def rows(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


# Listing


def test_numbers_of_one_account(vendors: Sandbox) -> None:
    """Only the named account is read, and the table has each of its numbers."""
    account = max(vendors.location_ids, key=lambda one: len(vendors.truth["leadconnector", one]))
    done = call("numbers", "leadconnector", account)
    assert done.status == 0, done
    held = vendors.truth["leadconnector", account]
    assert set(re.findall(r"\+\d{7,15}", done.out)) == held
    assert f"{len(held)} numbers in 1 account" in done.err


def test_numbers_of_a_backend_as_csv(vendors: Sandbox) -> None:
    """Without an account, every account is read."""
    done = call("numbers", "agents", "-f", "csv")
    found = [record["number"] for record in csv.DictReader(io.StringIO(done.out, newline=""))]
    assert sorted(found) == sorted(vendors.truth["agents", "default"])


def test_a_key_that_reads_one_account_reads_no_other() -> None:
    """Naming another account is a usage error: it would only be a label."""
    done = call("numbers", "leadping", "org_of_somebody_else")
    assert (done.status, done.out) == (2, "")
    assert "its key reads one account" in done.err


def test_a_failure_is_status_1_and_one_row() -> None:
    """The row has the vendor's words, and there is no traceback."""
    done = call("numbers", "leadconnector", "loc_missing")
    assert done.status == 1
    assert "400 Invalid locationId" in done.err


def test_pools_in_all_formats(vendors: Sandbox) -> None:
    """A list of numbers is a list in jsonl and words in csv."""
    location = next(
        one for one in vendors.location_ids if rows(call("pools", "leadconnector", one, "-f", "jsonl").out)
    )
    pools = rows(call("pools", "leadconnector", location, "-f", "jsonl").out)
    assert all(isinstance(pool["numbers"], list) for pool in pools)
    records = list(csv.DictReader(io.StringIO(call("pools", "leadconnector", location, "-f", "csv").out)))
    assert [record["numbers"].split() for record in records] == [pool["numbers"] for pool in pools]
    assert pools[0]["id"] in call("pools", "leadconnector", location).out


def test_find_names_backend_and_account(vendors: Sandbox) -> None:
    """Every backend is read. A number that no account holds is not a failure."""
    (account, number) = next(
        (a, n) for (b, a), held in vendors.truth.items() if b == "leadconnector" for n in held
    )
    done = call("find", number, "--format", "jsonl")
    assert [(row["backend"], row["account"], row["number"]) for row in rows(done.out)] == [
        ("leadconnector", account, number)
    ]
    for spelling in (number[1:], f"tel:{number}", f"00{number[1:]}"):
        assert number in call("find", spelling, "--format", "jsonl").out
    assert call("find", " ").status == 2
    nowhere = call("find", "+14155552671")
    assert (nowhere.status, nowhere.out) == (0, "")
    assert "+14155552671 is in none of 8 accounts" in nowhere.err


def test_find_names_accounts_that_it_could_not_read(vendors: Sandbox) -> None:
    """Numbers that were found are printed, and the status is 1: the failed account may hold it too."""
    number = next(iter(vendors.truth["agents", "default"]))
    vendors.script("leadping.list", status(403), repeat=True)
    done = call("find", number, "-f", "jsonl")
    assert done.status == 1
    assert [row["number"] for row in rows(done.out)] == [number]
    assert "403" in done.err


@pytest.mark.parametrize(
    "command",
    [
        ("assign", "agents", "--number", "4155552671", "--agent", "a"),
        ("create", "leadping", "--name", "x", "--number", "0041"),
    ],
)
def test_a_number_that_is_not_e164_is_refused(command: tuple[str, ...], vendors: Sandbox) -> None:
    """The error shows the expected form, with status 2 and before any request."""
    before = sum(vendors.served.values())
    done = call(*command)
    assert (done.status, done.out) == (2, "")
    assert "expected '+', country code and number, as in +14155552671" in done.err
    assert done.err.count("\n") == 1
    assert sum(vendors.served.values()) == before


@pytest.mark.parametrize(
    ("command", "cannot"),
    [
        (("pools", "leadping", "x"), "list number pools"),
        (("create", "agents", "--name", "x"), "create numbers"),
        (("assign", "leadping", "--number", "+14155552671", "--agent", "a"), "assign numbers to agents"),
        (("delete", "leadconnector", "x", "--yes"), "delete numbers"),
        (("get", "leadconnector", "x"), "get a number"),
    ],
)
def test_a_missing_ability_is_one_line(command: tuple[str, ...], cannot: str, vendors: Sandbox) -> None:
    """The error lists the backend's abilities, with status 2 and no request."""
    before = sum(vendors.served.values())
    done = call(*command)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert f"cannot {cannot}; it can list numbers" in done.err
    assert sum(vendors.served.values()) == before


def test_providers_shows_state_and_abilities(tmp_path: Path) -> None:
    """Configured backends are listed, and installed ones without a section."""
    found = {row["name"]: row for row in rows(call("providers", "-f", "jsonl").out)}
    assert found["leadconnector"]["state"] == "ready: 6 accounts"
    assert "create numbers" in found["leadping"]["abilities"]
    write(tmp_path / "phonesys.toml", "")
    done = call("providers", "-f", "jsonl")
    bare = {row["name"]: row for row in rows(done.out)}
    assert done.status == 0
    assert bare["leadping"]["abilities"] == found["leadping"]["abilities"]
    assert "PHONESYS_LEADPING_API_KEY" in bare["leadping"]["state"]


# Changes


def test_a_number_is_created_changed_fetched_and_deleted(vendors: Sandbox) -> None:
    """Each step shows the number as the vendor has it now."""
    made = rows(call("create", "leadping", "--name", "Desk", "--number", "+14155550123", "-f", "jsonl").out)[
        0
    ]
    assert (made["number"], made["label"]) == ("+14155550123", "Desk")
    changed = call("update", "leadping", made["id"], "--name", "Front desk", "--disabled", "-f", "jsonl")
    assert [(row["label"], row["status"]) for row in rows(changed.out)] == [("Front desk", "inactive")]
    assert "Front desk" in call("get", "leadping", made["id"]).out
    deleted = call("delete", "leadping", made["id"], "--yes")
    assert (deleted.status, deleted.out) == (0, "")
    assert "+14155550123" not in vendors.truth["leadping", "default"]
    gone = call("get", "leadping", made["id"])
    assert (gone.status, gone.err.count("\n")) == (1, 1)
    assert "404" in gone.err


def test_a_number_is_assigned(vendors: Sandbox) -> None:
    """Options have the same names for every vendor."""
    agents = list(vendors.state.agents)
    made = call(
        "assign",
        "agents",
        "--number",
        "+14155550144",
        "--agent",
        agents[0],
        "--name",
        "Hotline",
        "-f",
        "jsonl",
    )
    row = rows(made.out)[0]
    assert (row["number"], row["assignee"], row["label"]) == ("+14155550144", agents[0], "Hotline")
    moved = rows(call("update", "agents", row["id"], "--agent", agents[1], "-f", "jsonl").out)[0]
    assert moved["assignee"] == agents[1]


def test_a_lost_response_names_the_command_that_finds_out(vendors: Sandbox) -> None:
    """The request is not repeated."""
    vendors.script("leadping.create", drop_after())
    before = len(vendors.created)
    done = call("create", "leadping", "--name", "Lost", "--number", "+14155550155")
    assert (done.status, done.out) == (1, "")
    assert "Find out with: phonesys find +14155550155" in done.err
    assert len(vendors.created) == before + 1
    assert call("find", "+14155550155").out


def test_an_option_without_a_field_is_refused(vendors: Sandbox) -> None:
    """The error lists the supported options, and nothing is sent."""
    before = sum(vendors.served.values())
    done = call("update", "leadping", "some-id", "--agent", "a")
    assert done.status == 2
    assert "--agent: not supported by update of backend 'leadping'; use --name, --number" in done.err
    assert call("update", "leadping", "some-id").status == 2
    assert sum(vendors.served.values()) == before


def test_delete_needs_yes_without_a_terminal(vendors: Sandbox) -> None:
    """Status 2, and nothing is sent."""
    before = sum(vendors.served.values())
    done = call("delete", "leadping", "some-id", stdin="y\n")
    assert (done.status, done.err) == (2, "phonesys: there is no terminal to ask on; expected --yes\n")
    assert sum(vendors.served.values()) == before


def test_delete_asks_on_a_terminal(vendors: Sandbox, tmp_path: Path) -> None:
    """Any reply but yes deletes nothing."""
    import os
    import pty

    number_id, record = next(iter(vendors.state.leadping.items()))
    leader, follower = pty.openpty()
    process = start("delete", "leadping", number_id, cwd=tmp_path, stdin=follower)
    os.close(follower)
    os.write(leader, b"\n")
    done = end(process)
    os.close(leader)
    assert done.status == 1, done
    assert f"Delete {record.number} ({record.name}) in default of leadping? (y/N)" in done.err
    assert number_id in vendors.state.leadping


# Setup


def test_the_sandbox_serves_until_a_signal(tmp_path: Path) -> None:
    """It writes a private configuration that works, and ends with status 0."""
    process = start(
        "sandbox", "--port", "0", "--locations", "9", "--latency", "0", "--write", "w.toml", cwd=tmp_path
    )
    assert process.stderr is not None
    announced = b"".join(iter(process.stderr.readline, b"w.toml points at it, with all locations\n")).decode()
    assert re.search(r"X-API-Key: ak_\w+", announced)
    assert (tmp_path / "w.toml").stat().st_mode & 0o077 == 0
    swept = call("sweep", "--config", "w.toml")
    assert swept.status == 0, swept
    assert re.search(r"leadconnector +9 ", swept.out)
    process.send_signal(signal.SIGTERM)
    done = end(process)
    assert (done.status, done.out) == (0, "")


def test_the_snippet_on_stdout_is_toml(tmp_path: Path) -> None:
    """It can be redirected to phonesys.toml, and Ctrl-C ends it with status 0; --quiet leaves only it."""
    process = start("sandbox", "--port", "0", "--quiet", cwd=tmp_path)
    assert process.stdout is not None
    snippet = b"".join(iter(process.stdout.readline, b"[agents]\n")).decode()
    process.send_signal(signal.SIGINT)
    done = end(process)
    assert (done.status, done.err) == (0, "")
    assert len(tomllib.loads(snippet)["leadconnector"]["accounts"]) == 3


def test_a_port_in_use_is_one_line(vendors: Sandbox, tmp_path: Path) -> None:
    """The status is 2."""
    port = vendors.url.rpartition(":")[2]
    done = run("sandbox", "--port", port, cwd=tmp_path)
    assert (done.status, done.err) == (2, f"phonesys: --port {port}: Address already in use\n")


def test_help_imports_neither_aiohttp_nor_the_backends() -> None:
    """The help of all commands costs about as much as typer."""
    code = """
import atexit, sys
sys.argv = ["phonesys", "--help"]
heavy = ("aiohttp", "msgspec", "rich.markdown", "phonesys.backends", "phonesys.http", "phonesys.sweep")
atexit.register(lambda: print("loaded:", sorted(set(heavy) & set(sys.modules))))
from phonesys.cli import main
main()
"""
    done = subprocess.run(  # noqa: S603 -- ourselves
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment()
    )
    assert "Snapshots and reports:" in done.stdout
    assert done.stdout.endswith("loaded: []\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("sweep", "--nope"), "No such option: --nope"),
        (("nope",), "No such command 'nope' (see `phonesys --help`)"),
        (("auth", "login"), "Missing option '--client-id' (see `phonesys auth login --help`)"),
        (("sweep", "--concurrency", "0"), "Invalid value for '--concurrency'"),
        (("numbers",), "Missing argument 'BACKEND' (see `phonesys numbers --help`)"),
    ],
)
def test_a_misused_option_is_one_line(arguments: tuple[str, ...], expected: str) -> None:
    """Like every other error, with status 2."""
    done = call(*arguments)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith(f"phonesys: {expected}")


def test_the_version_costs_no_library() -> None:
    """`phonesys --version` loads neither the HTTP library nor the extra, and needs neither."""
    absent = "import sys; sys.modules.update(dict.fromkeys(['aiohttp', 'anyio', 'msgspec', 'typer', 'rich']))"
    code = f"{absent}\nsys.argv = ['phonesys', '--version']\nfrom phonesys.cli import main; main()"
    done = subprocess.run(  # noqa: S603 -- ourselves
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment()
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"phonesys {__version__}\n", "")
    assert call("--version").out == done.stdout


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_there_is_one_line(missing: str) -> None:
    """The line names what to install, with status 2."""
    absent = f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['phonesys', 'providers']"
    code = f"{absent}\nfrom phonesys.cli import main; main()"
    done = subprocess.run(  # noqa: S603 -- ourselves
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment()
    )
    assert done.returncode == 2
    assert done.stderr == "phonesys: the command line is an extra: pip install 'phonesys[cli]'\n"


def test_the_library_does_not_load_the_command_line() -> None:
    """`from phonesys import *` costs neither typer nor rich."""
    code = "import sys; from phonesys import *; print({'typer', 'rich', 'phonesys.cli'} & set(sys.modules))"
    done = subprocess.run(  # noqa: S603 -- ourselves
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment()
    )
    assert done.stdout == "set()\n"


def test_verbose_logs_to_stderr(vendors: Sandbox) -> None:
    """-v logs requests and retries, and stdout has results only."""
    vendors.script("agents.list", status(503))
    done = call("numbers", "agents", "-f", "jsonl", "-v")
    assert done.status == 0
    assert len(rows(done.out)) >= 20
    assert "phonesys: agents list_numbers default: GET 503 after" in done.err
    assert "phonesys: agents list_numbers default: 503 without a message; retry 1 in" in done.err


@pytest.mark.parametrize("name", COMMANDS)
def test_the_listed_help_is_the_commands_own(name: str) -> None:
    """The help of all commands does not import them, and still agrees with each of them."""
    assert load_command(name).help.partition("\n")[0].strip() == COMMANDS[name].help
