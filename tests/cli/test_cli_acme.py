"""A backend of another package is configured, swept, stored and exported like the built-in ones."""

from __future__ import annotations

import csv
import json
import os
import sys
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from tests.cli.vendors import Result, run, write

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).parents[2] / "examples" / "acme_numbers"
KEY = "acme-key-0123456789"
LINES = {"paris": ["+14155550000", "+14155550001"], "oslo": ["+14155550100"]}


class Acme(BaseHTTPRequestHandler):
    """Acme's API, with two offices."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.headers["X-API-Key"] != KEY:
            self.answer(401, {"message": "unknown key"})
        elif self.path == "/offices":
            self.answer(200, {"offices": list(LINES)})
        else:
            rows = [{"e164": line, "id": f"line-{line}"} for line in LINES[self.path.split("/")[2]]]
            self.answer(200, {"lines": rows})

    def answer(self, status: int, body: object) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        """Keep stderr clean."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Acme)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def installed(tmp_path: Path) -> str:
    """A PYTHONPATH on which the example is installed, with the entry points of its own pyproject."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    metadata = tmp_path / "site" / "acme_numbers-0.1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (metadata / "entry_points.txt").write_text("".join(groups))
    return os.pathsep.join([str(metadata.parent), str(EXAMPLE), os.getcwd()])  # noqa: PTH109


def phonesys(folder: Path, path: str, *arguments: str, **variables: str) -> Result:
    return run(*arguments, cwd=folder, variables={"PYTHONPATH": path, **variables})


def test_acme_is_configured_swept_stored_and_exported(tmp_path: Path, url: str, installed: str) -> None:
    """Its class says what can be configured. No list of backends had to be edited for it."""
    write(
        tmp_path / "phonesys.toml",
        f'[branch]\nprovider = "acme"\napi_key = "{KEY}"\nbase_url = "{url}"\nhttp = {{ retries = 0 }}\n',
    )
    done = phonesys(tmp_path, installed, "providers")
    assert "acme-numbers 0.1.0" in done.out
    assert "ready: lists its own accounts" in done.out
    done = phonesys(tmp_path, installed, "sweep", "--store", "inventory.db", "--format", "jsonl")
    assert done.status == 0, done
    found = [(row["provider"], row["backend"], row["account"], row["number"]) for row in rows(done)]
    assert sorted(found) == [("acme", "branch", office, n) for office in sorted(LINES) for n in LINES[office]]
    done = phonesys(tmp_path, installed, "export", "numbers.csv", "--store", "inventory.db")
    assert done.status == 0, done
    with (tmp_path / "numbers.csv").open(newline="") as file:
        assert sorted(row["number"] for row in csv.DictReader(file)) == sorted(
            n for held in LINES.values() for n in held
        )


def rows(done: Result) -> list[dict[str, str]]:
    return [json.loads(line) for line in done.out.splitlines()]


def test_a_variable_of_its_name_configures_acme(tmp_path: Path, url: str, installed: str) -> None:
    """Like the variables of the built-in backends; no file is needed."""
    variables = {"PHONESYS_ACME_API_KEY": KEY, "PHONESYS_ACME_BASE_URL": url}
    done = phonesys(tmp_path, installed, "numbers", "acme", "oslo", "--format", "jsonl", **variables)
    assert [row["number"] for row in rows(done)] == LINES["oslo"]


def test_acmes_mistakes_are_one_clear_line(tmp_path: Path, installed: str) -> None:
    """Keys are checked, and a credential may differ from one account to the next."""
    write(tmp_path / "phonesys.toml", '[acme]\napi_kee = "x"\n')
    done = phonesys(tmp_path, installed, "sweep")
    assert (done.status, done.err) == (
        2,
        "phonesys: phonesys.toml: acme.api_kee: no such key; did you mean 'api_key'?\n",
    )
    write(tmp_path / "phonesys.toml", '[acme]\napi_keys = { oslo = "x", paris = "y" }\n')
    assert "ready: 2 accounts" in phonesys(tmp_path, installed, "providers").out


def test_the_example_is_not_installed_by_itself() -> None:
    """Otherwise the tests above would prove nothing."""
    assert not any(EXAMPLE.samefile(path) for path in filter(os.path.isdir, sys.path))
