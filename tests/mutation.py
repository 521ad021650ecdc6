"""Change the code in small ways, one at a time, and see which changes the tests notice.

    python -m pip install -e '.[test]' --group mutation
    python -m tests.mutation phonesys/sweep/verify.py

A module takes minutes; without one, all of `TARGETS` are worked through. It prints how many changes were
noticed, and the others as diffs. Each of those is a missing test, or a change that makes no difference. The
latter are listed with their reasons in `equivalent_mutants.toml`, and are not shown again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.toml")

_SWEEP = ("tests/sweep/test_sweep_run.py", "tests/sweep/test_sweep.py")
_BACKENDS = (
    "tests/backends/test_backend_options.py",
    "tests/backends/test_backend_reads.py",
    "tests/backends/test_backend_writes.py",
    "tests/backends/test_backend_lost_writes.py",
)
_PAGES = (
    "tests/backends/test_backend_pages.py",
    "tests/backends/test_backend_paging.py",
    "tests/backends/test_windows.py",
)
_APPS = (
    "tests/oauth/test_oauth_agency.py",
    "tests/oauth/test_oauth_renewal.py",
    "tests/oauth/test_oauth_wire.py",
)
_FILES = (
    "tests/oauth/test_oauth_files.py",
    "tests/oauth/test_oauth_store.py",
    "tests/oauth/test_oauth_private_files.py",
    "tests/oauth/test_oauth_single_flight.py",
)
TARGETS: dict[str, tuple[str, ...]] = {
    "phonesys/sweep/verify.py": ("tests/sweep/test_sweep_verify.py", "tests/sweep/test_sweep_moving.py"),
    "phonesys/sweep/account.py": ("tests/sweep/test_sweep_account.py", "tests/sweep/test_sweep_moving.py"),
    "phonesys/sweep/run.py": (
        *_SWEEP,
        "tests/sweep/test_sweep_account.py",
        "tests/sweep/test_sweep_large.py",
    ),
    "phonesys/sweep/sweep.py": _SWEEP,
    "phonesys/sweep/fetch.py": ("tests/sweep/test_sweep_run.py", "tests/sweep/test_sweep_moving.py"),
    "phonesys/sweep/queue.py": ("tests/sweep/test_sweep_queue.py",),
    "phonesys/sweep/buffer.py": ("tests/sweep/test_sweep_queue.py",),
    "phonesys/sweep/workers.py": (
        "tests/sweep/test_sweep_queue.py",
        "tests/sweep/test_sweep.py",
        "tests/sweep/test_sweep_large.py",
    ),
    "phonesys/sweep/report.py": ("tests/sweep/test_sweep_report.py",),
    "phonesys/http/ratelimit/window.py": (
        "tests/http/test_http_ratelimit_slots.py",
        "tests/http/test_http_ratelimit_window.py",
    ),
    "phonesys/http/ratelimit/adaptive.py": ("tests/http/test_http_ratelimit_adaptive.py",),
    "phonesys/http/ratelimit/history.py": ("tests/http/test_http_ratelimit_history.py",),
    "phonesys/http/ratelimit/quota.py": ("tests/http/test_http_ratelimit_quota.py",),
    "phonesys/http/ratelimit/headers.py": ("tests/http/test_http_ratelimit_headers.py",),
    "phonesys/http/ratelimit/registry.py": ("tests/http/test_http_ratelimit_registry.py",),
    "phonesys/http/ratelimit/leased.py": ("tests/http/test_http_ratelimit_leased.py",),
    "phonesys/http/ratelimit/limiter.py": (
        "tests/http/test_http_ratelimit_limiter.py",
        "tests/http/test_http_ratelimit_leased.py",
    ),
    "phonesys/http/retry.py": ("tests/http/test_http_retry.py",),
    "phonesys/http/auth.py": ("tests/http/test_http_auth.py",),
    "phonesys/oauth/token.py": ("tests/oauth/test_oauth_token.py",),
    "phonesys/oauth/cache.py": ("tests/oauth/test_oauth_cache.py", *_APPS),
    "phonesys/oauth/refresh.py": ("tests/oauth/test_oauth_refresh.py",),
    "phonesys/oauth/store.py": _FILES,
    "phonesys/oauth/codec.py": ("tests/oauth/test_oauth_codec.py",),
    "phonesys/oauth/cache_file.py": _FILES,
    "phonesys/oauth/durable_file.py": _FILES,
    "phonesys/oauth/file.py": _FILES,
    "phonesys/oauth/single_flight.py": _FILES,
    "phonesys/oauth/lock.py": ("tests/oauth/test_oauth_lock.py",),
    "phonesys/oauth/private_files.py": _FILES,
    "phonesys/backends/windows.py": _PAGES,
    "phonesys/backends/paging.py": _PAGES,
    "phonesys/backends/agents/provider.py": (
        *_PAGES,
        *_BACKENDS,
        "tests/backends/test_agents_lists.py",
        "tests/backends/test_agents_provider.py",
    ),
    "phonesys/backends/leadconnector/provider.py": (
        *_PAGES,
        *_BACKENDS,
        "tests/backends/test_leadconnector_provider.py",
    ),
    "phonesys/backends/leadconnector/oauth/credential.py": _APPS,
    "phonesys/backends/leadconnector/oauth/agency.py": _APPS,
    "phonesys/backends/leadconnector/oauth/authorization_code.py": (
        "tests/oauth/test_oauth_authorization_code.py",
    ),
    "phonesys/backends/leadconnector/oauth/discovery.py": ("tests/oauth/test_oauth_discovery.py",),
    "phonesys/backends/leadping/provider.py": (
        *_PAGES,
        *_BACKENDS,
        "tests/backends/test_leadping_provider.py",
    ),
}
"""The modules whose arithmetic decides what is believed, and the tests that must notice a change in it."""

_COPIED = (
    "phonesys",
    "tests",
    "examples",
    "benchmarks",
    "docs",
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
)
_SETTINGS = """
[tool.mutmut]
source_paths = ["phonesys"]
only_mutate = [{module!r}]
also_copy = {copied!r}
pytest_add_cli_args = ["-n0", "-x", "-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = {tests!r}
timeout_multiplier = 4.0
track_dependencies = false
use_git_change_detection = false
"""
_NOTICED = {"killed", "timeout", "segfault", "caught by type check"}


class Mutants(NamedTuple):
    """The changes of one module, by whether a test has noticed them."""

    module: str
    noticed: int
    survivors: dict[str, str]
    """Each with its diff."""
    equivalent: int = 0
    """Further survivors that are known to make no difference."""

    def __str__(self) -> str:
        total = self.noticed + len(self.survivors) + self.equivalent
        share = f" ({self.noticed / total:.0%})" if total else ""
        known = f", {self.equivalent} make no difference" if self.equivalent else ""
        return "\n".join(
            [*self.survivors.values(), f"{self.module}: {self.noticed} of {total} noticed{share}{known}"]
        )


def equivalents(module: str) -> set[tuple[str, str]]:
    """Return the changes of a module that make no difference: the line before, and after."""
    known = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))["mutant"]
    return {(mutant["was"], mutant["is"]) for mutant in known if mutant["module"] == module}


def changed_lines(diff: str) -> tuple[str, str]:
    """Return the line that a mutant changes, and the line that it makes of it."""
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    was, now = ([line[1:].strip() for line in lines if line.startswith(sign)] for sign in "-+")
    return " ".join(was), " ".join(now)


def outcomes(listing: str) -> dict[str, str]:
    """Read the outcome of each mutant from `mutmut results`."""
    lines = (line.strip().partition(": ") for line in listing.splitlines())
    return {name: outcome for name, colon, outcome in lines if colon}


def _mutmut(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: S603


def mutate(module: str, processes: int) -> Mutants:
    """Change a copy of the module in every way that mutmut knows, and run its tests on each."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in _COPIED:
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, folder / name)
        with (folder / "pyproject.toml").open("a", encoding="utf-8") as settings:
            copied = [name for name in _COPIED if name not in {"phonesys", "tests", "pyproject.toml"}]
            settings.write(_SETTINGS.format(module=module, copied=copied, tests=list(TARGETS[module])))
        _mutmut(folder, "run", "--max-children", str(processes))
        found = outcomes(_mutmut(folder, "results", "--all", "true"))
        left = [name for name, outcome in found.items() if outcome not in _NOTICED]
        known, shown = equivalents(module), {name: _mutmut(folder, "show", name) for name in left}
        missed = {name: diff for name, diff in shown.items() if changed_lines(diff) not in known}
        return Mutants(module, len(found) - len(left), missed, len(left) - len(missed))


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "modules", nargs="*", metavar="MODULE", help="paths of TARGETS; all of them by default"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    if unknown := set(options.modules) - TARGETS.keys():
        parser.error(f"not in TARGETS: {', '.join(sorted(unknown))}")
    for module in options.modules or TARGETS:
        print(mutate(module, options.processes), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
