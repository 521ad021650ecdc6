"""The console examples of the documentation, run in a shell against the sandbox."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from phonesys.cli.commands.auth import KEY_VARIABLE, SECRET_VARIABLE
from phonesys.cli.commands.auth import configuration as lines
from phonesys.cli.commands.sandbox import configuration
from phonesys.config import load_backends
from phonesys.oauth import new_key
from tests.cli.vendors import browse, call, environment, serving, write
from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phonesys.sandbox import Sandbox

CLIENT_ID = "66f0c0ffee0000000000beef-m1abcdef"
DOCS = Path(__file__).parent.parent.parent / "docs"
CLI, CONFIGURATION = DOCS / "reference" / "cli.md", DOCS / "reference" / "configuration.md"
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
TOML = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    lines = "".join(CONSOLE.findall(page.read_text())).splitlines()
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


PAGES = [page for page in sorted(DOCS.rglob("*.md")) if commands(page)]


@pytest.fixture
def vendors() -> Iterator[Sandbox]:
    """Serve fewer locations than `phonesys sandbox`, with the ids of the same seed."""
    with serving(locations=12, seed=1, enforce_limits=False) as sandbox:
        sandbox.oauth.client_id = CLIENT_ID
        yield sandbox


@pytest.fixture
def home(tmp_path: Path, vendors: Sandbox) -> Path:
    """A folder as `phonesys sandbox --write` leaves it."""
    write(tmp_path / "phonesys.toml", configuration(vendors, vendors.location_ids))
    return tmp_path


@pytest.fixture
def context(vendors: Sandbox, unused_port: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Options of a login for a person who consents at once."""
    monkeypatch.setenv(SECRET_VARIABLE, vendors.oauth.client_secret)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.setattr(webbrowser, "open", browse)
    there = {"base_url": vendors.leadconnector_url, "marketplace_url": vendors.leadconnector_url}
    login = {**there, "redirect_uri": f"http://localhost:{unused_port}/callback"}
    return {"default_map": {"auth": {"login": login}}}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_console_examples_work(
    page: Path, home: Path, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands that run one after the other in one folder end with status 0."""
    monkeypatch.chdir(home)
    for command in commands(page):
        if command.startswith("phonesys sandbox "):
            continue  # it would not end; the fixture has the same effect
        status, err = in_a_shell(command, home) if "|" in command else here(command, context)
        assert status == 0, (command, err)


def here(command: str, context: dict[str, Any]) -> tuple[int | None, str]:
    program, *arguments = shlex.split(command)
    assert program == "phonesys"
    done = call(*arguments, **context)
    return done.status, done.err


def in_a_shell(command: str, home: Path) -> tuple[int, str]:
    script = f'set -euo pipefail; phonesys() {{ "{sys.executable}" -m phonesys "$@"; }}; {command}'
    done = subprocess.run(  # noqa: S603 -- ourselves
        ["bash", "-c", script],  # noqa: S607 -- whichever bash there is
        cwd=home,
        env=environment(PYTHONPATH=str(DOCS.parent)),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("page", "nth", "expected"),
    [
        (
            CONFIGURATION,
            0,
            [("leadconnector", "leadconnector"), ("leadping", "leadping"), ("voice", "agents")],
        ),
        (CONFIGURATION, 1, [("leadconnector", "leadconnector")]),
        (CLI, 0, [("leadconnector", "leadconnector")]),
    ],
)
def test_an_example_configuration_is_one(
    page: Path, nth: int, expected: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file on the page makes the backends that it names."""
    text = TOML.findall(page.read_text())[nth]
    (tmp_path / "locations.txt").write_text("loc_1\n")
    for variable in variables(tomllib.loads(text)):
        monkeypatch.setenv(variable, new_key())
    made = load_backends(write(tmp_path / "p.toml", text))
    assert [(one.name, one.kind) for one in made] == expected
    assert not any(one.accounts_problem for one in made)


def variables(values: dict[str, Any]) -> Iterator[str]:
    """Yield the environment variables that a table names, at any depth."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from variables(value)
        elif key.endswith("_env"):
            yield value


def test_every_example_configuration_is_tried() -> None:
    """Every example on the pages has a case above."""
    assert [len(TOML.findall(page.read_text())) for page in (CLI, CONFIGURATION)] == [1, 2]


def test_the_page_shows_what_login_prints() -> None:
    """Page and program agree word for word."""
    (shown,) = TOML.findall(CLI.read_text())
    store = Path("/home/me/tokens.json")
    assert shown == lines(CLIENT_ID, "company/ve9EPM428h8vShlRW1KT", str(store), encrypted=False, url=None)
