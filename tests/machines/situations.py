"""Situations of real machines: each a function that has a need, runs the program, and holds a claim."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from phonesys.cli.sandbox import create_sandbox
from phonesys.oauth import FileTokenStore
from tests.cli.vendors import PROGRAM, Result, end, environment, run, serving, start, toml, write
from tests.conftest import PATIENCE
from tests.inventory import postgres
from tests.machines import machine
from tests.machines.machine import MOUNTS, NETWORK, OTHER_USER, POSIX, POSTGRESQL, ROOT, USERS
from tests.oauth.agencies import refreshes, store_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from phonesys.sandbox import Sandbox

CONFIGURED = ("sweep", "--config", "phonesys.toml", "-q")
GENERATED = ("sweep", "--sandbox", "--latency", "0")
SLOW = ("sweep", "--sandbox", "--locations", "400", "--latency", "0.2", "-f", "jsonl")
FEW = 30
"""Locations of a sweep that is slow only until it is killed."""
NO_SPACE = "No space left on device", "disk is full"
CROWDED = 64
"""Files that a program may have open, its connections among them."""


class Situation(NamedTuple):
    name: str
    needs: tuple[str, ...]
    claim: str
    run: Callable[[Path], None]
    """Raises if the claim does not hold. Its argument is an empty folder."""


SITUATIONS: list[Situation] = []


def situation(*needs: str) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    def register(function: Callable[[Path], None]) -> Callable[[Path], None]:
        name, claim = function.__name__.replace("_", " "), (function.__doc__ or "").splitlines()[0]
        SITUATIONS.append(Situation(name, needs, claim, function))
        return function

    return register


# The program, its configuration and its results


@contextmanager
def vendors(folder: Path, **options: Any) -> Generator[Sandbox]:
    """Serve the vendors, with a configuration for them in the folder."""
    chosen = {"locations": 12, "leadping": 60, "agents": 30, "enforce_limits": False, **options}
    with serving(**chosen) as sandbox:
        write(folder / "phonesys.toml", toml(sandbox))
        yield sandbox


@contextmanager
def agency(folder: Path, store: Path) -> Generator[Sandbox]:
    """Serve the vendors, with the configuration of an app whose token has expired."""
    with serving(locations=3, leadping=0, agents=0, enforce_limits=False) as sandbox:
        asyncio.run(store_of(sandbox, FileTokenStore(store), expired=True))
        shutil.rmtree(store.with_name(f"{store.name}.d"), ignore_errors=True)
        app = {
            "client_id": sandbox.oauth.client_id,
            "client_secret": sandbox.oauth.client_secret,
            "company_id": sandbox.oauth.company_id,
            "store": str(store),
        }
        table = ", ".join(f"{key} = {json.dumps(value)}" for key, value in app.items())
        text = f'[leadconnector]\nbase_url = "{sandbox.leadconnector_url}"\noauth = {{ {table} }}\n'
        write(folder / "phonesys.toml", text)
        yield sandbox


def program(*arguments: str, folder: Path, **variables: str) -> Result:
    return run(*arguments, cwd=folder, variables={"PYTHONPATH": str(ROOT), **variables})


def expect_success(done: Result) -> Result:
    assert done.status == 0, done
    return done


def expect_error(done: Result, *words: str) -> None:
    """Check that the command failed, and that its message has one of the words."""
    assert done.status not in {0, None}, done
    assert any(word in done.err for word in words), done
    assert "Traceback" not in done.err, done
    assert "Exception ignored" not in done.err, done


def truth(sandbox: Sandbox) -> Counter[str]:
    return Counter(number for numbers in sandbox.truth.values() for number in numbers)


def numbers(text: str) -> Counter[str]:
    return Counter(json.loads(line)["number"] for line in text.splitlines())


def stored_numbers(folder: Path, store: Path) -> Counter[str]:
    return numbers(
        expect_success(program("export", "-", "-f", "jsonl", "--store", str(store), folder=folder)).out
    )


def expect_intact(store: Path) -> None:
    with closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as database:
        assert database.execute("pragma integrity_check").fetchall() == [("ok",)]


# Tokens


@situation(MOUNTS)
def a_token_file_that_is_a_mount_point(folder: Path) -> None:
    """The refresh token is not spent, and the error is one line that names the remedy."""
    (folder / "container").mkdir()
    mounted = folder / "container" / "tokens.json"
    mounted.touch()
    with agency(folder, folder / "host.json") as sandbox:
        machine.command("mount", "--bind", folder / "host.json", mounted)
        text = (folder / "phonesys.toml").read_text().replace("/host.json", "/container/tokens.json")
        write(folder / "phonesys.toml", text)
        before = mounted.read_bytes()
        done = program(*CONFIGURED, folder=folder)
        expect_error(done, "mount its folder instead")
        assert done.err.count("\n") == 1, done
        assert (refreshes(sandbox), mounted.read_bytes()) == (0, before)


@situation(USERS)
def a_token_folder_made_by_another_user(folder: Path) -> None:
    """The refresh token is not spent, and nothing is written for the other user to read."""
    trap = folder / "tokens.json.d"
    with agency(folder, folder / "tokens.json") as sandbox:
        trap.mkdir(mode=0o777)
        shutil.chown(trap, OTHER_USER)
        done = program(*CONFIGURED, folder=folder)
        expect_error(done, "belongs to another user")
        assert done.err.count("\n") == 1, done
        assert (refreshes(sandbox), list(trap.iterdir())) == (0, [])


@situation(MOUNTS)
def a_full_disk_while_a_token_is_saved(folder: Path) -> None:
    """The refresh token is not spent, the stored one stays as it was, and it works once there is room."""
    disk = machine.mount_memory(folder / "disk", "64k")
    with agency(folder, disk / "tokens.json") as sandbox:
        before, filler = (disk / "tokens.json").read_bytes(), machine.fill(disk)
        expect_error(program(*CONFIGURED, folder=folder), *NO_SPACE)
        assert (refreshes(sandbox), (disk / "tokens.json").read_bytes()) == (0, before)
        filler.unlink()
        expect_success(program(*CONFIGURED, folder=folder))
        assert refreshes(sandbox) == 1


# Disks


@situation(MOUNTS)
def a_full_disk_while_a_sweep_is_stored(folder: Path) -> None:
    """The error is clear, the database is intact, and the sweep resumes once there is room."""
    disk = machine.mount_memory(folder / "disk", "256k")
    store = disk / "inventory.db"
    with vendors(folder, locations=300) as sandbox:
        expect_error(program("sweep", "--store", str(store), folder=folder), *NO_SPACE)
        expect_intact(store)
        machine.resize(disk, "64m")
        expect_success(program("sweep", "--store", str(store), folder=folder))
        assert stored_numbers(folder, store) == truth(sandbox)
        expect_intact(store)


@situation(MOUNTS)
def a_full_disk_while_an_export_is_written(folder: Path) -> None:
    """The error is clear, the file keeps what it had, and nothing is left beside it."""
    disk = machine.mount_memory(folder / "disk", "16k")
    with vendors(folder, locations=200):
        for ending in ("csv", "jsonl", "xlsx", "parquet", "arrow"):
            file = disk / f"numbers.{ending}"
            file.write_text("old")
            expect_error(program("export", str(file), folder=folder), *NO_SPACE)
            assert (file.read_text(), list(disk.iterdir())) == ("old", [file])
            file.unlink()


@situation(MOUNTS)
def a_store_on_a_read_only_disk(folder: Path) -> None:
    """Snapshots, diff, report and export work, and a sweep names the reason why it cannot write."""
    disk = folder / "disk"
    disk.mkdir()
    store = disk / "inventory.db"
    with vendors(folder) as sandbox:
        for _ in range(2):
            expect_success(program("sweep", "--store", str(store), folder=folder))
        machine.mount_read_only(disk)
        for command in (("snapshots",), ("diff",), ("report", "report.html")):
            expect_success(program(*command, "--store", str(store), folder=folder))
        assert stored_numbers(folder, store) == truth(sandbox)
        expect_error(
            program("sweep", "--store", str(store), folder=folder), "readonly", "read-only", "Read-only"
        )


@situation(MOUNTS)
def a_machine_whose_disks_are_all_read_only(folder: Path) -> None:
    """A sweep needs no file: not in the current folder, the home folder or the temporary one."""
    machine.command("mount", "-o", "remount,bind,ro", "/")
    machine.mount_read_only(folder)
    done = expect_success(program(*GENERATED, folder=folder, HOME=str(folder), TMPDIR=str(folder)))
    assert done.err.endswith("they agree\n"), done


# Databases

READING = (("snapshots",), ("diff",), ("audit",), ("export", "numbers.csv"), ("report", "report.html"))
"""Commands that only read a store. The numbers of a sandbox are full of findings, and that is status 0."""


def execute(url: str, *statements: str) -> list[Any]:
    """Execute statements, and return the rows of the last one."""
    import asyncpg  # type: ignore[import-untyped]

    async def run() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return list(await connection.fetch(statements[-1]))
        finally:
            await connection.close()

    return asyncio.run(run())


def read_everything(folder: Path, url: str, sandbox: Sandbox) -> None:
    for command in READING:
        expect_success(program(*command, "--store", url, folder=folder))
    expect_success(program("doctor", folder=folder, PHONESYS_STORE=url))
    lines = expect_success(program("export", "-", "-f", "jsonl", "--store", url, folder=folder)).out
    assert numbers(lines) == truth(sandbox)


@situation(POSTGRESQL)
def a_role_that_may_only_select(folder: Path) -> None:
    """Every command that reads works, and a sweep is refused in one line."""
    with vendors(folder) as sandbox, postgres.server(programs_of_postgresql()) as primary:
        url = primary.url.format(database="postgres")
        for _ in range(2):
            expect_success(program("sweep", "--store", url, folder=folder))
        grant = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"
        execute(url, "CREATE ROLE reader LOGIN", grant, "SELECT 1")
        reader = url.replace("//tests@", "//reader@")
        read_everything(folder, reader, sandbox)
        done = program("sweep", "-q", "--store", reader, folder=folder)
        expect_error(done, "permission denied")
        assert done.err.count("\n") == 1, done


@situation(POSTGRESQL)
def a_hot_standby(folder: Path) -> None:
    """Every command that reads works on a server that follows another one, also for a role with SELECT."""
    programs = programs_of_postgresql()
    with vendors(folder) as sandbox, postgres.server(programs) as primary:
        url = primary.url.format(database="postgres")
        expect_success(program("sweep", "--store", url, folder=folder))
        with postgres.server(programs, primary) as standby:
            copy = standby.url.format(database="postgres")
            grant = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"
            execute(url, "CREATE ROLE reader LOGIN", grant, "SELECT 1")
            expect_success(program("sweep", "--store", url, folder=folder))  # streamed while both run
            (written,) = execute(url, "SELECT pg_current_wal_flush_lsn()::text AS lsn")
            reached = f"SELECT pg_last_wal_replay_lsn() >= '{written['lsn']}'::pg_lsn AS yes"
            while not execute(copy, reached)[0]["yes"]:
                time.sleep(0.05)
            assert execute(copy, "SELECT pg_is_in_recovery() AS yes")[0]["yes"]
            for role in ("tests", "reader"):
                read_everything(folder, copy.replace("//tests@", f"//{role}@"), sandbox)
            done = program("sweep", "-q", "--store", copy, folder=folder)
            expect_error(done, "read-only")
            assert done.err.count("\n") == 1, done


def programs_of_postgresql() -> Path:
    programs = postgres.installed()
    assert programs is not None  # the need of these situations
    return programs


# Limits, streams, locales


@situation(POSIX)
def few_open_files(folder: Path) -> None:
    """A sweep uses fewer connections, and no account fails."""
    import resource  # not on Windows

    limit = (CROWDED, CROWDED)
    process = start(
        *GENERATED, cwd=folder, variables={"PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit),
    )  # fmt: skip
    done = expect_success(end(process))
    assert done.err.endswith("they agree\n"), done


@situation(POSIX)
def a_closed_stdout(folder: Path) -> None:
    """Results that have no place to go are an error of one line; a file takes them."""
    for more, status in (((), 2), (("-f", "jsonl", "-o", "out.jsonl"), 0)):
        process = start(
            *GENERATED, "-q", *more, cwd=folder, variables={"PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL, preexec_fn=lambda: os.close(1),
        )  # fmt: skip
        done = end(process)
        assert (done.status, done.err.count("\n")) == (status, int(status > 0)), done
    assert numbers((folder / "out.jsonl").read_text())


@situation(POSIX)
def a_reader_that_leaves_early(folder: Path) -> None:
    """The program ends without a word, as others do in a pipe that was closed."""
    process = start(*GENERATED, "-q", "-f", "jsonl", cwd=folder, variables={"PYTHONPATH": str(ROOT)})
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        json.loads(process.stdout.readline())
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode != 0, said) == (True, b""), (process.returncode, said)


@situation(POSIX)
def a_locale_without_unicode(folder: Path) -> None:
    """Tables, lines and help are printed, and characters that the locale lacks cost nothing."""
    poor = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    with vendors(folder) as sandbox:
        for locale in ("C", "POSIX"):
            lines = expect_success(
                program("sweep", "-f", "jsonl", folder=folder, **poor | {"LC_ALL": locale})
            )
            assert numbers(lines.out) == truth(sandbox)
            for command in (("sweep",), ("--help",), ("export", "numbers.csv")):
                done = expect_success(program(*command, folder=folder, **poor | {"LC_ALL": locale}))
                assert "Traceback" not in done.err, done


# Other users


def as_user(user: str | int, *arguments: str, folder: Path) -> Result:
    """Run a command as another user, in a folder of that user's, without HOME."""
    variables = environment(PYTHONPATH=str(ROOT))
    del variables["HOME"]
    done = subprocess.run(  # noqa: S603 -- ourselves
        [*PROGRAM, *arguments],
        cwd=folder, env=variables, capture_output=True, check=False, timeout=PATIENCE,
        user=user, group=65534, extra_groups=[],
    )  # fmt: skip
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def use_as(user: str | int, folder: Path) -> None:
    machine.open_program_to_others()
    home = folder / "theirs"
    home.mkdir()
    folder.chmod(0o755)
    with vendors(home) as sandbox:
        for path in (home, home / "phonesys.toml"):
            shutil.chown(path, user)
        for _ in range(2):
            expect_success(as_user(user, "sweep", "--store", "inventory.db", folder=home))
        for command in (("snapshots",), ("diff",)):
            expect_success(as_user(user, *command, "--store", "inventory.db", folder=home))
        done = expect_success(
            as_user(user, "export", "-", "-f", "jsonl", "--store", "inventory.db", folder=home)
        )
        assert numbers(done.out) == truth(sandbox)
        assert {path.stat().st_uid for path in home.iterdir()} == {home.stat().st_uid}


@situation(USERS)
def another_user_without_a_home(folder: Path) -> None:
    """Sweeps, snapshots, diffs and exports work without HOME, and files belong to that user."""
    use_as(OTHER_USER, folder)


@situation(USERS)
def a_user_without_a_name(folder: Path) -> None:
    """The same for an id that no user has, as with `docker run --user 54321`."""
    use_as(54321, folder)
    done = as_user(54321, "sweep", "--store", "~/inventory.db", folder=folder / "theirs")
    expect_error(done, "home")
    assert done.err.count("\n") == 1, done


# Signals


def interrupted(number: signal.Signals, folder: Path, *arguments: str, accounts: int = 1) -> Result:
    """Send a signal once numbers of so many accounts were printed."""
    process = start(*arguments, cwd=folder, variables={"PYTHONPATH": str(ROOT)})
    assert process.stdout is not None
    seen: set[str] = set()
    while len(seen) < accounts:
        seen.add(json.loads(process.stdout.readline())["account"])
    process.send_signal(number)
    return end(process)


@situation(POSIX)
def signals_in_the_middle_of_a_sweep(folder: Path) -> None:
    """SIGHUP and SIGTERM end it with whole lines, a count of what is missing, and their status."""
    for number in (signal.SIGHUP, signal.SIGTERM):
        done = interrupted(number, folder, *SLOW)
        assert done.status == 128 + number, done
        assert numbers(done.out)
        expect_error(done, "accounts not reached")
    assert list(folder.iterdir()) == []


@situation(POSIX)
def a_stored_sweep_that_is_killed(folder: Path) -> None:
    """The database is intact, and the sweep resumes with what was stored, without loss or repetition."""
    store = folder / "inventory.db"
    sweep = ("sweep", "--sandbox", "--locations", str(FEW), "--store", str(store), "-f", "jsonl")
    slowly = (*sweep, "--latency", "0.2", "--concurrency", "4")
    assert interrupted(signal.SIGKILL, folder, *slowly, accounts=5).status == -signal.SIGKILL
    expect_intact(store)
    again = expect_success(program(*sweep, "--latency", "0", folder=folder))
    assert "had been read before, and are counted" in again.err, again
    assert stored_numbers(folder, store) == truth(create_sandbox(locations=FEW))


# Networks

UNREACHABLE = '[agents]\napi_key = "x"\nbase_url = "https://dashboard.example.com/api/v1"\n'


@situation(NETWORK)
def no_network_but_loopback(folder: Path) -> None:
    """The sandbox works, and a vendor that cannot be reached is a failed account and not a traceback."""
    machine.command("ip", "link", "set", "lo", "up")
    done = expect_success(program(*GENERATED, folder=folder))
    assert done.err.endswith("they agree\n"), done
    write(folder / "phonesys.toml", UNREACHABLE)
    expect_error(program(*CONFIGURED, folder=folder), "1 account failed")


@situation(NETWORK)
def no_network_at_all(folder: Path) -> None:
    """Not even the sandbox can be reached, which is an error without a traceback."""
    expect_error(
        program(*GENERATED, "--locations", "2", "--deadline", "20", folder=folder), "failed", "unreachable"
    )
