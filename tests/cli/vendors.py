"""Helpers of the command line's tests: vendors in a thread, and commands in this process or their own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from phonesys.cli.app import app
from phonesys.sandbox import Sandbox
from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

PROGRAM = (sys.executable, "-W", "error", "-m", "phonesys")


@contextmanager
def serving(**options: Any) -> Generator[Sandbox]:
    """Serve a sandbox in a thread, for commands that run event loops of their own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    sandbox = Sandbox(**options)
    try:
        asyncio.run_coroutine_threadsafe(sandbox.start(), loop).result(PATIENCE)
        yield sandbox
    finally:
        asyncio.run_coroutine_threadsafe(sandbox.stop(), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def toml(sandbox: Sandbox, accounts: Iterator[str] | tuple[str, ...] | None = None) -> str:
    """Return a configuration that points at the sandbox."""
    named = sandbox.location_ids if accounts is None else tuple(accounts)
    return f"""\
[leadconnector]
token = "{sandbox.leadconnector_token}"
base_url = "{sandbox.leadconnector_url}"
accounts = {list(named)!r}

[leadping]
api_key = "{sandbox.leadping_key}"
base_url = "{sandbox.leadping_url}"

[agents]
api_key = "{sandbox.agents_key}"
base_url = "{sandbox.agents_url}"
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def browse(address: str) -> bool:
    """Open an address as a browser would, redirects included."""
    with urllib.request.urlopen(address) as answer:  # noqa: S310 -- loopback
        return bool(answer.status == 200)


class Result:
    def __init__(self, status: int | None, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    def __repr__(self) -> str:
        return f"<{self.status}\n--- out\n{self.out}\n--- err\n{self.err}>"


def call(*arguments: str, stdin: str = "", **context: Any) -> Result:
    """Run a command in this process."""
    done = CliRunner().invoke(
        app, list(arguments), input=stdin, prog_name="phonesys", catch_exceptions=False, **context
    )
    return Result(done.exit_code, done.stdout, done.stderr)


def environment(**variables: str) -> dict[str, str]:
    """Return this environment without variables that configure phonesys or colour its output."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PHONESYS_", "FORCE_"))}
    return kept | variables


def start(
    *arguments: str, cwd: Path, variables: dict[str, str] | None = None, **options: Any
) -> subprocess.Popen[bytes]:
    """Start a command as a program. Its output is not buffered here, so that `end` gets all that is left."""
    return subprocess.Popen(  # noqa: S603 -- ourselves
        [*PROGRAM, *arguments],
        cwd=cwd,
        env=environment(**{"PYTHONPATH": os.getcwd()} | (variables or {})),  # noqa: PTH109
        bufsize=0,
        stdin=options.pop("stdin", subprocess.DEVNULL),
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=options.pop("stderr", subprocess.PIPE),
        **options,
    )


def end(process: subprocess.Popen[bytes], stdin: bytes | None = None) -> Result:
    """Wait for a program to end."""
    out, err = process.communicate(stdin, timeout=PATIENCE)
    return Result(process.returncode, (out or b"").decode(), err.decode())


def run(
    *arguments: str, cwd: Path, stdin: bytes | None = None, variables: dict[str, str] | None = None
) -> Result:
    """Run a command as a program."""
    pipe = subprocess.PIPE if stdin is not None else None
    return end(start(*arguments, cwd=cwd, stdin=pipe, variables=variables), stdin)
