"""`phonesys sweep`, as a program against a sandbox."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from phonesys.cli.rows import NumberRow
from phonesys.sandbox import status
from tests.cli.vendors import call, end, environment, run, serving, start, toml, write
from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phonesys.sandbox import Sandbox

COLUMNS = [
    "provider", "backend", "account", "id", "number", "label", "country", "kind", "status", "voice", "sms",
    "mms", "fax", "assignee", "pool", "created_at", "updated_at", "country_derived",
]  # fmt: skip


@pytest.fixture(scope="module")
def vendors() -> Iterator[Sandbox]:
    with serving(locations=12, not_connected=2, leadping=130, agents=40, enforce_limits=False) as sandbox:
        yield sandbox


@pytest.fixture
def home(tmp_path: Path, vendors: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in a folder with a configuration."""
    vendors.clear_script()
    monkeypatch.delenv("PHONESYS_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "phonesys.toml", toml(vendors))
    return tmp_path


def truth(sandbox: Sandbox) -> list[str]:
    return sorted(number for numbers in sandbox.truth.values() for number in numbers)


def listed(out: str) -> list[str]:
    return sorted(json.loads(line)["number"] for line in out.splitlines())


def test_the_first_command_of_all_sweeps_a_sandbox_of_its_own(tmp_path: Path) -> None:
    """The table has a row per backend, and the count is compared with the sandbox's own."""
    done = run("sweep", "--sandbox", "--latency", "0", "--locations", "40", cwd=tmp_path)
    assert done.status == 0, done
    for line in ("leadconnector        40", "leadping              1", "agents                1", "all   "):
        assert line in done.out
    assert "by country" in done.out
    assert done.err.endswith("they agree\n")
    assert not any(line != line.rstrip() for line in done.out.splitlines())


def test_jsonl_is_every_number_once(home: Path, vendors: Sandbox) -> None:
    """Each line is one object with the documented columns."""
    done = run("sweep", "--format", "jsonl", cwd=home)
    assert done.status == 0, done
    assert listed(done.out) == truth(vendors)
    assert {tuple(json.loads(line)) for line in done.out.splitlines()} == {tuple(COLUMNS)}
    assert list(NumberRow.__struct_fields__) == COLUMNS


def test_csv_keeps_numbers_as_they_are(home: Path, vendors: Sandbox) -> None:
    """There is a header and a record per number, with `+` in front."""
    done = call("sweep", "--format", "csv", "--backend", "leadping")
    records = list(csv.DictReader(io.StringIO(done.out, newline="")))
    assert sorted(record["number"] for record in records) == sorted(vendors.truth["leadping", "default"])
    assert list(records[0]) == COLUMNS
    assert records[0]["voice"] in {"true", "false", ""}


def test_pools_are_fetched_when_asked_for(home: Path) -> None:
    """The pool column is filled with --with-pools, and empty otherwise."""
    pools = [
        {json.loads(line)["pool"] for line in call(*arguments).out.splitlines()}
        for arguments in (
            ("sweep", "-f", "jsonl", "--backend", "leadconnector"),
            ("sweep", "-f", "jsonl", "--backend", "leadconnector", "--with-pools"),
        )
    ]
    assert pools[0] == {None}
    assert len(pools[1]) > 2


def test_a_file_appears_whole_and_with_ordinary_rights(home: Path, vendors: Sandbox) -> None:
    """--output replaces the file at the end, leaves nothing beside it, and follows a link."""
    write(home / "real.jsonl", "old")
    (home / "link.jsonl").symlink_to("real.jsonl")
    done = run("sweep", "-f", "jsonl", "-o", "link.jsonl", cwd=home)
    assert (done.status, done.out) == (0, ""), done
    assert (home / "link.jsonl").is_symlink()
    assert listed((home / "real.jsonl").read_text()) == truth(vendors)
    assert stat.S_IMODE((home / "real.jsonl").stat().st_mode) == 0o600
    assert sorted(path.name for path in home.iterdir()) == ["link.jsonl", "phonesys.toml", "real.jsonl"]


def test_failed_accounts_are_named_and_the_rest_is_written(home: Path, vendors: Sandbox) -> None:
    """Up to 20 are listed on stderr, the status is 1, and the file has all other numbers."""
    accounts = "\n".join([*vendors.location_ids, *(f"missing{n}" for n in range(23))])
    (home / "accounts.txt").write_text(f"# some of these are wrong\n\n{accounts}\n")
    done = call("sweep", "--accounts", "accounts.txt", "-f", "jsonl", "-o", "out.jsonl")
    assert done.status == 1, done
    assert "23 accounts failed" in done.err
    assert done.err.count("400 Invalid locationId") == 20
    assert "and 3 more" in done.err
    held = [n for (name, _), numbers in vendors.truth.items() if name == "leadconnector" for n in numbers]
    assert listed((home / "out.jsonl").read_text()) == sorted(held)


def test_the_first_failure_ends_it_when_asked_to(home: Path, vendors: Sandbox) -> None:
    """--on-error raise prints one line, exits with 1, and leaves the file alone."""
    vendors.script("leadping.list", status(403), repeat=True)
    write(home / "out.jsonl", "old")
    done = run("sweep", "--on-error", "raise", "-f", "jsonl", "-o", "out.jsonl", cwd=home)
    assert done.status == 1, done
    assert "phonesys: leadping list_numbers default: 403" in done.err
    assert "out.jsonl was not written" in done.err
    assert (home / "out.jsonl").read_text() == "old"
    assert "Traceback" not in done.err


def test_accounts_come_from_a_pipe_without_waiting_for_its_end(home: Path, vendors: Sandbox) -> None:
    """Rows are written while stdin is open, and Ctrl-C reports what was not reached."""
    held = {account: vendors.truth["leadconnector", account] for account in vendors.location_ids}
    account = next(account for account in held if len(held[account]) > 1)
    process = start("sweep", "--accounts", "-", "--format", "jsonl", cwd=home, stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{account}\r\n\n# that was one\nhalf-a-li".encode())
    first = [process.stdout.readline() for _ in held[account]]
    process.send_signal(signal.SIGINT)
    done = end(process)
    assert sorted(json.loads(line)["number"] for line in first) == sorted(held[account])
    assert done.status == 130, done
    assert "interrupted: the rest of stdin not reached, 1 account read" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_sweep_ends_cleanly(tmp_path: Path, number: int, expected: int) -> None:
    """Printed lines are whole, and accounts that were not reached are counted."""
    process = start(
        "sweep", "--sandbox", "--latency", "0.3", "--locations", "500", "-f", "jsonl", cwd=tmp_path
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(number)
    done = end(process)
    assert done.status == expected, done
    for line in (first, *done.out.encode().splitlines()):
        msgspec.json.decode(line, type=NumberRow)
    assert "accounts not reached" in done.err
    assert "Traceback" not in done.err


def test_a_reader_that_leaves_ends_the_sweep(tmp_path: Path) -> None:
    """`phonesys sweep | head -1` prints no traceback."""
    process = start("sweep", "--sandbox", "--latency", "0", "-f", "jsonl", cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(PATIENCE) == 1
    assert "Traceback" not in said
    assert "Exception ignored" not in said


def test_a_deadline_ends_it_with_what_was_read(tmp_path: Path) -> None:
    """The status is 1, and the table has the numbers read so far."""
    done = run(
        "sweep", "--sandbox", "--latency", "0.2", "--locations", "400", "--deadline", "0.7", cwd=tmp_path
    )
    assert done.status == 1, done
    assert "the deadline ended the sweep" in done.err
    assert "they" not in done.err
    assert "all " in done.out


def test_a_terminal_shows_progress_that_leaves_no_trace(tmp_path: Path) -> None:
    """A terminal shows bars during the sweep, and the table and two lines at its end."""
    import pty

    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "phonesys", "sweep", "--sandbox", "--latency", "0.1", "--locations", "64"],
        cwd=tmp_path,
        env=environment(TERM="xterm-256color", COLUMNS="100", PYTHONPATH=os.getcwd()),  # noqa: PTH109
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    seen = b""
    while chunk := _read(leader):
        seen += chunk
    os.close(leader)
    assert process.wait(PATIENCE) == 0
    text = seen.decode()
    assert "Sweeping" in text
    assert "━" in text
    assert text.rstrip().removesuffix("\x1b[0m").endswith("they agree")
    assert "sweeping leadconnector" not in text


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 2**16)
    except OSError:  # Linux says so at the end of a terminal
        return b""


_INTERRUPTED_WHILE_LOADING = """
import signal, sys

class Loading:
    def find_spec(self, name, path=None, target=None):
        if name == "phonesys.cli.app":
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                raise RuntimeError("some module's own words for it") from None

sys.meta_path.insert(0, Loading())
from phonesys.cli import main
main()
"""


def test_ctrl_c_while_the_program_is_loaded_is_quiet() -> None:
    """The status is 130, without a traceback of the module that was being imported."""
    done = subprocess.run(  # noqa: S603 -- ourselves
        [sys.executable, "-c", _INTERRUPTED_WHILE_LOADING],
        capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


_INTERRUPTED_OFTEN = """
import signal, sys
import anyio, typer
from phonesys.cli.running import run

async def work():
    for _ in range(int(sys.argv[1])):
        signal.raise_signal(signal.SIGINT)
    await anyio.sleep(60)

async def main():
    async with anyio.create_task_group() as group:
        group.start_soon(work)
    return 0

try:
    run(main)
except typer.Exit as end:
    sys.exit(end.exit_code)
"""


@pytest.mark.parametrize("times", ["1", "2", "3"])
def test_ctrl_c_may_be_pressed_again(times: str) -> None:
    """A second one, even between the tasks of a sweep, ends as cleanly as the first."""
    done = subprocess.run(  # noqa: S603 -- ourselves
        [sys.executable, "-W", "error", "-c", _INTERRUPTED_OFTEN, times],
        capture_output=True, text=True, check=False, env=environment(), timeout=PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


# Shards


def test_shards_make_one_snapshot(home: Path, vendors: Sandbox) -> None:
    """Each process says what is left, and the last one makes the snapshot that other commands read."""
    for index, message in enumerate(["1 other left: 2", "snapshot night is finished"], 1):
        done = call("sweep", "--store", "s.db", "--snapshot", "night", "--shard", f"{index}/2")
        assert done.status == 0, done.err
        assert message in done.err
    exported = call("export", "numbers.jsonl", "--store", "s.db")
    assert exported.status == 0, exported.err
    assert listed((home / "numbers.jsonl").read_text()) == truth(vendors)


def test_processes_sweep_like_one_process(home: Path, vendors: Sandbox) -> None:
    """The summary is that of one process, and the numbers are in a folder of Parquet files."""
    alone = call("sweep", "-o", "alone.txt")
    done = call("sweep", "-o", "several.txt", "--processes", "2", "--folder", "f", "--snapshot", "n")
    assert (alone.status, done.status) == (0, 0), done.err
    assert "snapshot n is finished" in done.err
    assert (home / "several.txt").read_text() == (home / "alone.txt").read_text()
    duckdb = pytest.importorskip("duckdb")
    found = duckdb.sql("SELECT number FROM 'f/n/*.parquet'").fetchall()
    assert sorted(number for (number,) in found) == truth(vendors)
    manifest = json.loads((home / "f/n/manifest.json").read_text())
    assert manifest["numbers"] == len(truth(vendors))
    assert manifest["incomplete_accounts"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shard", "1/2", "--store", "s.db"], "--shard: needs --snapshot NAME, which all shards share"),
        (["--snapshot", "n"], "--snapshot: needs --store or --folder"),
        (["--shard", "3/2", "--snapshot", "n", "--store", "s.db"], "shard: expected 1/2 to 2/2, got 3/2"),
        (["--shard", "x", "--snapshot", "n", "--store", "s.db"], "shard: expected INDEX/COUNT"),
        (["--snapshot", "../n", "--store", "s.db"], "snapshot: expected a name"),
        (["--snapshot", "n", "--no-resume", "--store", "s.db"], "--no-resume: a named snapshot is always"),
        (["--split-companies", "--store", "s.db"], "--split-companies: needs --shard"),
        (["--folder", "f", "--shard", "1/2"], "--folder: needs --snapshot NAME"),
        (["--folder", "f", "--snapshot", "n", "--store", "s.db"], "--folder: cannot be combined"),
        (["--processes", "2"], "need --store or --folder, where the workers write"),
        (["--processes", "2", "--folder", "f", "--store", "s.db"], "--folder: cannot be combined"),
        (["--processes", "2", "--store", "s.db", "--sandbox"], "--sandbox: cannot be combined with --proc"),
        (["--processes", "2", "--store", "s.db", "--shard", "1/2"], "--shard: cannot be combined"),
        (["--processes", "2", "--store", "s.db", "-f", "csv"], "--format: cannot be combined with --proc"),
        (["--processes", "2", "--dask", "tcp://x:1", "--store", "s.db"], "with the address of a scheduler"),
        (["--shards", "2", "--store", "s.db"], "--shards: only with --processes or --dask"),
    ],
)  # fmt: skip
def test_options_of_shards_are_checked(home: Path, arguments: list[str], message: str) -> None:
    """What does not fit together is one line, before any request."""
    done = call("sweep", *arguments)
    assert (done.status, done.out) == (2, "")
    assert message in done.err
