"""Description of the machine, without its owner."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = (
    "phonesys", "aiohttp", "msgspec", "anyio", "httpx", "pydantic", "gohighlevel-api-client", "leadping",
    "microsoft-kiota-http", "dlt", "uvloop",
)  # fmt: skip


def machine(cores: tuple[int | None, int | None]) -> dict[str, str]:
    """Describe processor, system and Python."""
    pinned = "server and clients pinned to one each" if cores[0] is not None else "nothing pinned"
    return {
        "processor": _processor(),
        "cores": f"{os.cpu_count()} ({pinned})",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def versions() -> dict[str, str]:
    """Name the versions of everything that is compared."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "unknown")
