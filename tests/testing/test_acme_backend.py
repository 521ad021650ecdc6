"""Somebody else's backend: packaged apart, installed apart, and found by its entry point."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ACME = Path(__file__).parents[2] / "examples" / "acme_numbers"

LOOK = """
from phonesys.provider import NumberProvider, installed, load
assert installed()["acme"].value == "acme_numbers:Acme"
made = load("acme")("key")
assert isinstance(made, NumberProvider), made
print(made.name)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the package is installed, beside all that is here."""
    place = tmp_path_factory.mktemp("acme")
    # With the build backend at hand, nothing has to be fetched.
    alone = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *alone, "--target", str(place)]
    subprocess.run([*command, str(ACME)], check=True, capture_output=True)  # noqa: S603 -- our own interpreter
    return {**os.environ, "PYTHONPATH": str(place)}


def run(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 -- our own interpreter
        [sys.executable, *arguments],
        env=environment, cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_found_by_its_entry_point(installed: dict[str, str]) -> None:
    """No import of it anywhere in phonesys."""
    assert run(installed, "-W", "error", "-c", LOOK) == "acme\n"


def test_it_passes_the_kit(installed: dict[str, str]) -> None:
    """In a process of its own, with its own pytest configuration."""
    configuration = ["-c", str(ACME / "pyproject.toml"), "--rootdir", str(ACME), "--import-mode=importlib"]
    # The kit brings its own event loop: no plugin is needed.
    without = ["-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:anyio"]
    out = run(installed, "-m", "pytest", "-q", *configuration, *without, str(ACME / "tests"))
    assert " passed" in out
    assert "failed" not in out
