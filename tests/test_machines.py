"""Situations that every machine can be in, and the report of those that this one cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.machines import __main__ as command
from tests.machines.machine import MOUNTS, NEEDS, NETWORK, POSIX, POSTGRESQL, USERS
from tests.machines.situations import SITUATIONS, Situation

ORDINARY = [one for one in SITUATIONS if set(one.needs) <= {POSIX}]
ALSO_TESTED = {
    "a closed stdout": "cli/test_cli_environment::test_a_closed_stdout_is_one_line",
    "a locale without unicode": "cli/test_cli_environment::test_any_locale_will_do",
    "a reader that leaves early": "cli/test_cli_sweep::test_a_reader_that_leaves_ends_the_sweep",
    "a stored sweep that is killed": (
        "inventory/test_inventory_resume::test_a_killed_sweep_ends_with_the_truth"
    ),
    "signals in the middle of a sweep": "cli/test_cli_sweep::test_an_interrupted_sweep_ends_cleanly",
}
"""The tests of every run that make the same claims of the same program on any machine."""


@pytest.mark.parametrize(
    "situation",
    [
        pytest.param(one, id=one.name.replace(" ", "-"), marks=[pytest.mark.long] * (one.name in ALSO_TESTED))
        for one in ORDINARY
    ],
)
def test_an_ordinary_machine(situation: Situation, tmp_path: Path) -> None:
    """Each situation that needs nothing special holds its claim."""
    if reason := NEEDS[POSIX]():
        pytest.skip(reason)
    situation.run(tmp_path)


@pytest.mark.parametrize(("situation", "test"), ALSO_TESTED.items())
def test_what_every_run_leaves_out_is_also_tested_elsewhere(situation: str, test: str) -> None:
    """The other test is there."""
    assert situation in {one.name for one in ORDINARY}
    file, _, name = test.partition("::")
    assert f"def {name}(" in (Path(__file__).parent / f"{file}.py").read_text()


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
