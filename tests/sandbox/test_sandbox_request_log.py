from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from phonesys.sandbox import FaultPlan, Sandbox, Served, faults
from tests.sandbox.rawclient import RawClient

if TYPE_CHECKING:
    from pathlib import Path


async def test_each_request_is_a_line_of_json(tmp_path: Path) -> None:
    """Written when it is over, with what happened to it, and readable while the sandbox runs."""
    path = tmp_path / "requests.jsonl"
    plan = FaultPlan((faults.Reset(requests=(2,)),))
    async with Sandbox(locations=1, log_file=path, faults=plan) as sandbox:
        client = RawClient(sandbox)
        await client.numbers(pageSize=5)
        await client.numbers(pageSize=5)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["status"], line["fault"]) for line in lines] == [(200, None), (None, "reset")]
    assert lines[0]["path"].endswith("?pageSize=5")
    assert lines[0]["at"].startswith("20")
    assert sandbox.leadconnector_token not in path.read_text()


async def test_a_log_goes_on_where_it_was(tmp_path: Path) -> None:
    """A sandbox that is started again appends."""
    path = tmp_path / "requests.jsonl"
    sandbox = Sandbox(locations=1, log_file=str(path))
    for _ in range(2):
        async with sandbox:
            await RawClient(sandbox).numbers()
    assert len(path.read_text().splitlines()) == 2


async def test_a_log_can_go_to_what_is_open_already() -> None:
    """Which stays open."""
    out = io.StringIO()
    async with Sandbox(locations=1, log_file=out) as sandbox:
        await RawClient(sandbox).numbers()
    assert json.loads(out.getvalue())["route"] == "leadconnector.numbers"


async def test_a_callback_is_told() -> None:
    """Of every request, as it is in the log."""
    told: list[Served] = []
    async with Sandbox(locations=1, on_request=told.append) as sandbox:
        await RawClient(sandbox).numbers()
        assert told == list(sandbox.requests)
