"""The suite itself: what it promises to tests, however it was started."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent

TESTS = """
import asyncio, signal, subprocess, sys
import pytest

# One long sleep would not notice a signal that comes just before it.
CHILD = [sys.executable, "-c", "import time; print(flush=True)\\nwhile True: time.sleep(0.05)"]

def test_interrupts_a_child():
    child = subprocess.Popen(CHILD, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    child.stdout.readline()
    child.send_signal(signal.SIGINT)
    assert child.wait() == -signal.SIGINT
    child.stdout.close()

def test_leaves_a_child():
    child = subprocess.Popen(CHILD, stdout=subprocess.DEVNULL)
    print("pid", child.pid)

@pytest.mark.asyncio
@pytest.mark.jumping
async def test_waits_for_hours():
    await asyncio.sleep(36_000)
"""


@pytest.mark.skipif(os.name != "posix", reason="shells elsewhere ignore no signals")
def test_a_run_in_the_background_is_a_run_like_any_other(tmp_path: Path) -> None:
    """Children can be interrupted although SIGINT is ignored, and none outlives its test."""
    (tmp_path / "test_it.py").write_text(TESTS)
    options = ["-n0", "-p", "no:cacheprovider", "-p", "tests.conftest", "--rootdir", str(tmp_path)]
    command = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", sys.executable, "-m", "pytest", *options]
    done = subprocess.run(  # noqa: S603 -- ourselves
        [*command, "-c", os.devnull, str(tmp_path / "test_it.py")],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert "1 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    assert "left running: " in done.stdout
    (pid,) = re.findall(r"^pid (\d+)$", done.stdout, re.MULTILINE)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_tasks_that_wait_for_one_another_fail_their_test(
    jumping: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, where no thread or socket could wake them."""
    monkeypatch.setattr(threading, "active_count", lambda: 1)

    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="every task waits"):
        jumping(main())


def collected(place: str, seed: int) -> list[str]:
    """Return the names of the tests that a process of its own collects, with sets in an order of its own."""
    command = [sys.executable, "-m", "pytest", "-n0", "--collect-only", "-q", place]
    done = subprocess.run(  # noqa: S603 -- ourselves
        command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": str(seed)},
        capture_output=True, text=True, check=True, timeout=PATIENCE,
    )  # fmt: skip
    return [line for line in done.stdout.splitlines() if "::" in line]


@pytest.mark.parametrize(
    "place",
    ["tests/http/test_http_transport_decompression.py", pytest.param("tests", marks=pytest.mark.long)],
)
def test_the_same_tests_are_collected_every_time(place: str) -> None:
    """Workers of one run must agree, whichever second it is and however sets are ordered.

    The short file has compressed bytes, which hold the time of day. Of all others, the workers of a run
    compare what they collected, and have a hash seed each.
    """
    names = collected(place, seed=1)
    assert len(names) > 1
    assert collected(place, seed=2) == names
