"""`phonesys sandbox`, with what goes wrong from a file and its requests in one."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("typer")
COMMAND = [sys.executable, "-m", "phonesys", "sandbox", "--port", "0"]


def test_faults_come_from_a_file_and_requests_go_to_one(tmp_path: Path) -> None:
    """The plan is followed, and each request is a line."""
    plan, log = tmp_path / "faults.toml", tmp_path / "requests.jsonl"
    plan.write_text('[[fault]]\nkind = "status"\ncode = 502\nroute = "leadping.*"\n')
    arguments = ["--seed", "5", "--locations", "3", "--faults", str(plan), "--log", str(log)]
    process = subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)  # noqa: S603
    assert process.stderr is not None
    said = b"".join(iter(process.stderr.readline, b"\n")).decode()
    url = re.findall(r"http://[0-9.:]+", said)[0]
    assert "3 locations, seed 5" in said
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{url}/leadping/phone-numbers/x")  # noqa: S310 -- loopback
    with caught.value as answer:
        assert answer.code == 502
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    (line,) = map(json.loads, log.read_text().splitlines())
    assert (line["route"], line["status"], line["fault"]) == ("leadping.get", 502, "status")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--faults", "nowhere.toml"], "nowhere.toml: No such file"),
        (["--faults", "bad.toml"], "bad.toml: .*there are: latency"),
        (["--log", "no/such/folder.jsonl"], "--log no/such/folder.jsonl: No such file"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, arguments: list[str], says: str) -> None:
    """With status 2, before anything is served."""
    (tmp_path / "bad.toml").write_text('[[fault]]\nkind = "nonsense"\n')
    done = subprocess.run(  # noqa: S603 -- our own interpreter
        [*COMMAND, *arguments], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert re.search(says, done.stderr)
