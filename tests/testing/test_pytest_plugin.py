"""The fixtures, in pytest runs of their own: with pytest-asyncio in both modes, with anyio, with neither."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

SYNC = """
import json, urllib.request

def test_any_client_will_do(phonesys_sandbox):
    here = phonesys_sandbox.location_ids[0]
    url = f"{phonesys_sandbox.leadconnector_url}/phone-system/numbers/location/{here}?skipNumberPool=false"
    headers = {"Authorization": f"Bearer {phonesys_sandbox.leadconnector_token}", "Version": "2021-07-28"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
        found = {row["phoneNumber"] for row in json.load(answer)["numbers"]}
    assert found == phonesys_sandbox.truth["leadconnector", here]
    assert len(phonesys_sandbox.requests) == 1
"""

ASYNC = """
import asyncio
import pytest
from phonesys.sandbox import faults
{mark}

async def test_the_client_is_ready(phonesys_client, phonesys_sandbox):
    assert set(phonesys_client) == {{"leadconnector", "leadping", "agents"}}
    numbers = await phonesys_client.numbers()
    assert len(numbers) == sum(map(len, phonesys_sandbox.truth.values()))

async def test_faults_can_be_switched_from_the_test(phonesys_client, phonesys_sandbox):
    phonesys_sandbox.faults.add(faults.Status(code=403, route="leadping.*"))
    with pytest.raises(Exception, match="403"):
        await phonesys_client["leadping"].page("default")
"""

OTHER_WORLD = """
import pytest

@pytest.fixture
def phonesys_sandbox_options():
    return {"locations": 2, "numbers": 3}

def test_the_world_is_mine(phonesys_sandbox):
    assert len(phonesys_sandbox.location_ids) == 2
"""


def run(place: Path, text: str, *arguments: str, config: str = "") -> str:
    (place / "test_it.py").write_text(text)
    (place / "pytest.ini").write_text(f"[pytest]\nfilterwarnings = error\n{config}")
    done = subprocess.run(  # noqa: S603 -- our own interpreter
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin(), *arguments, str(place)],
        capture_output=True, text=True, check=False, cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def plugin() -> list[str]:
    """Name it, unless it is installed with an entry point of its own."""
    from importlib.metadata import entry_points

    known = {entry.value for entry in entry_points(group="pytest11")}
    return [] if "phonesys.testing.plugin" in known else ["-p", "phonesys.testing.plugin"]


def test_a_test_that_is_not_async_has_a_sandbox(tmp_path: Path) -> None:
    """Without any async plugin: the sandbox has a thread of its own."""
    assert "1 passed" in run(tmp_path, SYNC, "-p", "no:asyncio", "-p", "no:anyio")


def test_the_world_can_be_another(tmp_path: Path) -> None:
    """By overriding a fixture."""
    assert "1 passed" in run(tmp_path, OTHER_WORLD, "-p", "no:asyncio", "-p", "no:anyio")


SCOPE = "asyncio_default_fixture_loop_scope = function\n"


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_the_client_works_with_pytest_asyncio(tmp_path: Path, mode: str) -> None:
    """In the loop of the test, in both its modes."""
    text = ASYNC.format(mark="pytestmark = pytest.mark.asyncio")
    assert "2 passed" in run(tmp_path, text, config=f"{SCOPE}asyncio_mode = {mode}\n")


def test_the_client_works_with_anyio(tmp_path: Path) -> None:
    """Beside pytest-asyncio in its strict mode."""
    mark = "pytestmark = pytest.mark.anyio\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    assert "2 passed" in run(tmp_path, ASYNC.format(mark=mark), config=SCOPE)


def test_the_client_works_with_anyio_alone(tmp_path: Path) -> None:
    """Where pytest-asyncio is not used at all."""
    mark = "pytestmark = pytest.mark.anyio\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    assert "2 passed" in run(tmp_path, ASYNC.format(mark=mark), "-p", "no:asyncio")


def test_the_plugin_imports_nothing_heavy() -> None:
    """What it needs for a sandbox is imported when a test asks for one."""
    code = (
        "import sys, phonesys; before = set(sys.modules); import phonesys.testing.plugin\n"
        "new = set(sys.modules) - before\n"
        "assert not [m for m in new if m.startswith(('aiohttp.web', 'phonesys.sandbox', 'jsonschema'))], new"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 -- our own interpreter


def test_the_kit_asks_for_pytest() -> None:
    """Without it, the rest of `phonesys.testing` is there, and the kit says what it needs."""
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "from phonesys.testing import BackendUnderTest, FailureMode\n"
        "try:\n    from phonesys.testing import ProviderConformance\n"
        "except ImportError as missing:\n    assert 'pip install pytest' in str(missing), missing\n"
        "else:\n    raise SystemExit('imported')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 -- our own interpreter


NOTHING_LOADED = """
import sys

def test_that_needs_no_fixture():
    ours = {name for name in sys.modules if name.partition(".")[0] == "phonesys"}
    assert ours == {"phonesys", "phonesys._version", "phonesys.testing", "phonesys.testing.plugin"}
    assert "aiohttp" not in sys.modules
"""


def test_the_plugin_imports_nothing_before_a_fixture_is_used(tmp_path: Path) -> None:
    """A session that does not use its fixtures pays nothing for it."""
    assert "1 passed" in run(tmp_path, NOTHING_LOADED, config=SCOPE)
