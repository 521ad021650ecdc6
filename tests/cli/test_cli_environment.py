"""Streams, signals, locales, variables and paths as they are where people run the program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.vendors import PROGRAM, call, end, environment, run, serving, start, toml, write
from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phonesys.sandbox import Sandbox

SANDBOX = ("sweep", "--sandbox", "--locations", "5", "--latency", "0")


@pytest.fixture(scope="module")
def vendors() -> Iterator[Sandbox]:
    with serving(locations=3, leadping=12, agents=6, enforce_limits=False) as sandbox:
        yield sandbox


@pytest.fixture
def home(tmp_path: Path, vendors: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in a folder with a configuration, which is the home directory too."""
    for name in ("PHONESYS_CONFIG", "PHONESYS_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "phonesys.toml", toml(vendors))
    return tmp_path


# Ctrl-C

INTERRUPTED_IMPORT = """
import builtins, signal, sys
from phonesys.cli import main

import_module, name = builtins.__import__, sys.argv.pop(1)

def interrupted(module, *arguments):
    if module == name:
        signal.raise_signal(signal.SIGINT)
    return import_module(module, *arguments)

builtins.__import__ = interrupted
main()
"""


@pytest.mark.parametrize("module", ["typer", "rich.console", "msgspec", "anyio", "aiohttp", "yarl"])
def test_an_interrupt_while_modules_are_imported_ends_at_once(module: str, home: Path) -> None:
    """No module sees an exception, and nothing is printed."""
    done = subprocess.run(  # noqa: S603 -- ourselves
        [sys.executable, "-c", INTERRUPTED_IMPORT, module, *SANDBOX],
        cwd=home, env=environment(PYTHONPATH=os.getcwd()), capture_output=True, check=False, timeout=PATIENCE,  # noqa: PTH109
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


# Streams


def shell(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603 -- ourselves
        ["/bin/sh", "-c", script, "sh", *PROGRAM],
        cwd=folder,
        env=environment(PYTHONPATH=os.getcwd(), **variables),  # noqa: PTH109
        capture_output=True,
        check=False,
        timeout=PATIENCE,
    )


def test_a_closed_stdout_is_one_line(home: Path) -> None:
    """Results have no place to go, unless they go to a file."""
    done = shell('"$@" sweep >&-', home)
    assert (done.returncode, done.stderr) == (2, b"phonesys: stdout is closed; expected --output FILE\n")
    done = shell('"$@" sweep -f jsonl -o out.jsonl >&-', home)
    assert (done.returncode, len((home / "out.jsonl").read_text().splitlines()) > 17) == (0, True), done


def test_closed_streams_are_never_given_to_a_file(home: Path) -> None:
    """With all three closed, the file has results only: no message is written into it."""
    done = shell('"$@" sweep -v -f jsonl -o out.jsonl <&- >&- 2>&-', home)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    for line in (home / "out.jsonl").read_text().splitlines():
        json.loads(line)


def test_a_full_disk_behind_stdout_is_one_line(home: Path) -> None:
    """The status is 1, and there is no traceback at the end either."""
    done = shell('"$@" sweep -q -f jsonl >/dev/full', home)
    assert (done.returncode, done.stderr) == (1, b"phonesys: [Errno 28] No space left on device\n")


@pytest.mark.parametrize("arguments", ["sweep -q", "sweep -q -f csv", "find +14155552671", "--help"])
def test_any_locale_will_do(home: Path, arguments: str) -> None:
    """Characters that it lacks are escaped on a terminal, and files are UTF-8."""
    (home / "phonesys.toml").write_text(
        (home / "phonesys.toml")
        .read_text()
        .replace("[agents]", '["\N{GREEK SMALL LETTER ALPHA}"]\nprovider = "agents"'),
        encoding="utf-8",
    )
    variables = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    done = shell(f'"$@" {arguments}', home, **variables)
    assert done.returncode == 0, done
    assert b"Traceback" not in done.stderr
    assert arguments != "sweep -q" or "\N{GREEK SMALL LETTER ALPHA}".encode() in done.stdout


def test_a_log_gets_no_live_display(home: Path) -> None:
    """FORCE_COLOR colours a log, but a log cannot be redrawn."""
    done = shell('"$@" sweep', home, FORCE_COLOR="1")
    assert done.returncode == 0, done
    assert b"sweeping leadconnector" in done.stderr
    assert b"\x1b[?25l" not in done.stderr
    assert b"\x1b[2K" not in done.stderr


@pytest.mark.parametrize("arguments", [SANDBOX, ("export", "numbers.csv", "--sandbox")])
def test_quiet_prints_results_and_errors_only(home: Path, arguments: tuple[str, ...]) -> None:
    """Nothing goes to stderr if nothing is wrong."""
    assert call(*arguments).err
    done = call(*arguments, "--quiet")
    assert (done.status, done.err) == (0, "")
    assert "there is no such file" in call("diff", "--store", "none.db", "--quiet").err


def test_a_hangup_ends_a_sweep_like_a_termination(tmp_path: Path) -> None:
    """Closing the terminal closes files and connections, and the status is 129."""
    process = start(
        "sweep", "--sandbox", "--latency", "0.3", "--locations", "500", "-f", "jsonl", cwd=tmp_path
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    done = end(process)
    assert done.status == 128 + signal.SIGHUP, done
    assert "accounts not reached" in done.err


def test_an_ignored_hangup_stays_ignored(tmp_path: Path) -> None:
    """As under nohup: the sweep goes on."""
    process = start(
        "sweep", "--sandbox", "--latency", "0.1", "--locations", "200", "-f", "jsonl", cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    assert end(process).status == 0


@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_an_export_may_go_to_stdout(home: Path, vendors: Sandbox, format_: str) -> None:
    """`-` is stdout, which needs a format."""
    done = call("export", "-", "--format", format_)
    held = sum(map(len, vendors.truth.values()))
    assert len(done.out.splitlines()) == held + (format_ == "csv")
    assert list(home.iterdir()) == [home / "phonesys.toml"]
    done = call("export", "-")
    assert (done.status, done.err) == (2, "phonesys: FILE: stdout has no ending; expected --format\n")


@pytest.mark.parametrize(
    "arguments", [("sweep",), ("numbers", "agents"), ("find", "+14155552671"), ("audit",), ("export", "-")]
)
def test_csv_begins_with_a_byte_order_mark_on_request(home: Path, arguments: tuple[str, ...]) -> None:
    """Without one, Excel reads UTF-8 as something else."""
    plain, marked = (call(*arguments, "--format", "csv", *more).out for more in ((), ("--bom",)))
    assert marked.startswith("\ufeff")
    assert not plain.startswith("\ufeff")
    assert marked[1:].splitlines()[0] == plain.splitlines()[0]


# Variables and paths


def test_the_sandbox_never_touches_the_store(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PHONESYS_STORE holds real numbers. Only --store stores generated ones."""
    monkeypatch.setenv("PHONESYS_STORE", "real.db")
    assert call(*SANDBOX).status == 0
    assert call("export", "numbers.csv", "--sandbox").status == 0
    assert not (home / "real.db").exists()
    assert call(*SANDBOX, "--store", "generated.db").status == 0
    assert (home / "generated.db").exists()


def test_every_command_reads_the_store_of_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PHONESYS_STORE stands in for --store, and ~ in it is the home directory."""
    monkeypatch.setenv("PHONESYS_STORE", "~/real.db")
    for _ in range(2):
        assert call("sweep").status == 0
    assert (home / "real.db").exists()
    (home / "phonesys.toml").unlink()
    for command in (("snapshots",), ("diff",), ("audit",), ("export", "numbers.csv"), ("report",)):
        done = call(*command)
        assert done.status == 0, done


@pytest.mark.parametrize("key", ['store = "real.db"', 'store_env = "REAL_STORE"'])
def test_the_configuration_may_name_the_store(key: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is relative to the file, a variable hides a password, and PHONESYS_STORE comes first."""
    config = home / "elsewhere" / "phones.toml"
    config.parent.mkdir()
    write(config, f"{key}\n{(home / 'phonesys.toml').read_text()}")
    store = config.parent / "real.db"
    monkeypatch.setenv("REAL_STORE", str(store))
    for _ in range(2):
        assert call("sweep", "--config", str(config)).status == 0
    assert store.exists()
    for command in (("snapshots",), ("diff",), ("audit",), ("export", "numbers.csv"), ("doctor",)):
        assert call(*command, "--config", str(config)).status == 0
    monkeypatch.setenv("PHONESYS_STORE", "none.db")
    assert "store none.db: there is no such file" in call("diff", "--config", str(config)).err


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('store = "a.db"\nstore_env = "A"', "phonesys.toml: store: expected this or store_env, and not both"),
        ("store = 7", "phonesys.toml: store: expected a string"),
        ('store_env = "UNSET"', "store_env: the environment variable UNSET is not set"),
        ('store_env = "postgresql://me:PLANTED@db/d"', "store_env: expected the name of an environment"),
        ('store = "postgresql://me:PLANTED@db/d"', "numbers go to a database only with a configuration that"),
        ('stores = "a.db"', "phonesys.toml: stores: expected a section named for a backend"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_line(keys: str, message: str, home: Path) -> None:
    """The line names the key, and never a password."""
    write(home / "phonesys.toml", f"{keys}\n{(home / 'phonesys.toml').read_text()}")
    done = call("sweep")
    assert (done.status, done.err.count("\n")) == (2, 1), done
    assert message in done.err
    assert "PLANTED" not in done.err


def test_commands_that_read_need_a_store(home: Path) -> None:
    """Without any, the error names the places to name it."""
    done = call("snapshots")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "neither PHONESYS_STORE nor the configuration names one" in done.err


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:PLANTED@db.invalid/phones",
        "postgres://me:PLA@NT/E?D@db.invalid/phones?sslmode=require",
        "postgresql+asyncpg://:PLANTED@db.invalid",
        "postgresql://db.invalid/phones?user=me&password=PLANTED",
        "postgresql://db.invalid/phones?sslpassword=PLANTED",
    ],
)
def test_a_password_is_refused_on_the_command_line(url: str, home: Path) -> None:
    """Every user can read it there. The error does not repeat it, and the same URL works in a variable."""
    for command in (
        ("sweep", "--store"), ("snapshots", "--store"), ("diff", "--store"),
        ("prune", "--keep", "1", "--store"), ("audit", "--store"), ("export", "numbers.csv", "--store"),
        ("report", "--store"), ("auth", "login", "--client-id", "a-b", "--token-store"),
    ):  # fmt: skip
        done = call(*command, url)
        assert (done.status, done.err.count("\n")) == (2, 1), done
        assert "every user of the machine can see a password" in done.err
        assert "PLANTED" not in done.err


def test_a_url_without_a_password_is_accepted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The password comes from a variable, and no error shows it."""
    refused = "postgresql://me@127.0.0.1:1/phones?application_name=a:b@c"
    monkeypatch.setenv("PGPASSWORD", "PLANTED")
    assert "cannot be reached" in call("snapshots", "--store", refused).err
    monkeypatch.setenv("PHONESYS_STORE", "postgresql://me:PLANTED@127.0.0.1:1/phones")
    done = call("snapshots")
    assert "postgresql://127.0.0.1:1/phones cannot be reached" in done.err
    assert "PLANTED" not in done.err


def test_a_tilde_is_the_home_directory(home: Path) -> None:
    """Also after `=` and in quotes, where the shell leaves it alone."""
    (home / "accounts").write_text("loc_missing\n")
    assert call("sweep", "--config=~/phonesys.toml", "--output=~/out.txt", "--store=~/s.db").status == 0
    assert "leadping" in (home / "out.txt").read_text()
    assert (home / "s.db").exists()
    assert "1 account failed" in call("sweep", "--accounts=~/accounts").err
    assert call("export", "~/numbers.csv", "--store=~/s.db").status == 0
    assert (home / "numbers.csv").exists()
    assert not (home / "~").exists()
    done = call("sweep", "--output=~no-such-user/x")
    assert (done.status, done.err.count("\n")) == (2, 1)


def test_a_sweep_that_goes_on_counts_what_it_had_read(home: Path) -> None:
    """Ctrl-C says how to go on, and the summary after that has every account."""
    slow = ("sweep", "--store", "s.db", "--sandbox", "--locations", "400", "--latency", "0.2", "-f", "jsonl")
    process = start(*slow, cwd=home)
    assert process.stdout is not None
    accounts: set[str] = set()
    while len(accounts) < 40:  # by then, the first ones were stored as read
        accounts.add(json.loads(process.stdout.readline())["account"])
    process.send_signal(signal.SIGINT)
    done = end(process)
    assert done.status == 130, done
    assert "run the same command again to resume the sweep" in done.err
    again = run(*slow[:-1], "table", cwd=home)
    assert again.status == 0, again
    assert "had been read before, and are counted" in again.err
    total = next(line for line in again.out.splitlines() if line.startswith("leadconnector"))
    assert total.split()[1] == "400"
