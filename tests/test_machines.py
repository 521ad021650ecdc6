"""Situations that every machine can be in, and the report of those that this one cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.machines import __main__ as command
from tests.machines.machine import MOUNTS, NEEDS, NETWORK, POSIX, POSTGRESQL, USERS
from tests.machines.situations import SITUATIONS, Situation

if TYPE_CHECKING:
    from pathlib import Path

ORDINARY = [one for one in SITUATIONS if set(one.needs) <= {POSIX}]


@pytest.mark.parametrize("situation", ORDINARY, ids=lambda one: one.name.replace(" ", "-"))
def test_an_ordinary_machine(situation: Situation, tmp_path: Path) -> None:
    """Each situation that needs nothing special holds its claim."""
    if reason := NEEDS[POSIX]():
        pytest.skip(reason)
    situation.run(tmp_path)


@pytest.fixture(autouse=True)
def _forgotten() -> None:
    command.missing.cache_clear()


def test_what_cannot_run_is_reported_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is no failure, and nothing is started for it."""
    for need in (MOUNTS, USERS, NETWORK, POSTGRESQL):
        monkeypatch.setitem(NEEDS, need, lambda: "Operation not permitted")
    monkeypatch.setattr(command, "SITUATIONS", [one for one in SITUATIONS if one not in ORDINARY])
    assert command.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    special = len(SITUATIONS) - len(ORDINARY)
    assert lines[-1] == f"0 held, 0 FAILED, {special} not run"
    assert len(lines) == special + 1
    assert (
        "not run  a full disk while a token is saved: needs a private mount (Operation not permitted)"
        in lines
    )


def test_a_command_that_the_system_lacks_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason names the command."""
    if reason := NEEDS[POSIX]():
        pytest.skip(reason)
    monkeypatch.setenv("PATH", "/nowhere")
    assert NEEDS[MOUNTS]() == "unshare: No such file or directory"


def test_a_situation_that_fails_is_the_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report holds the error, and each round counts."""
    unknown = Situation("on the moon", (), "It works there too.", lambda folder: None)
    monkeypatch.setattr(command, "SITUATIONS", [unknown])
    assert command.main(["--rounds", "2"]) == 1
    out = capsys.readouterr().out
    assert "FAILED   on the moon: status 1" in out
    assert out.endswith("0 held, 2 FAILED, 0 not run\n")


def test_each_situation_has_a_name_and_a_claim_of_its_own() -> None:
    """Claims are full sentences, and needs are known."""
    assert len({one.name for one in SITUATIONS}) == len({one.claim for one in SITUATIONS}) == len(SITUATIONS)
    assert all(one.claim.endswith(".") for one in SITUATIONS)
    assert {need for one in SITUATIONS for need in one.needs} == set(NEEDS)
