"""The command that searches for longer: what it needs, and how a finding is shown again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from phonesys.sandbox import FaultPlan
from tests.fuzz import guided, targets
from tests.fuzz.seeds import PLANS, SEEDS

if TYPE_CHECKING:
    import pytest


def test_each_target_begins_with_input_that_it_likes() -> None:
    """A search that begins nowhere finds nothing; none of the beginnings breaks a promise."""
    assert set(SEEDS) == set(targets.GROUPS) == set(guided.GROUPS)
    for group, promises in targets.GROUPS.items():
        for example in SEEDS[group]:
            for promise in promises:
                promise(example)
    assert [len(FaultPlan.parse(raw, form="json").faults) for raw in PLANS] == [2]


def test_without_atheris_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, and with the exit code of a usage error."""
    monkeypatch.setitem(sys.modules, "atheris", None)
    assert guided.main(["--target", "config"]) == 2
    assert "pip install --group fuzz" in capsys.readouterr().err


def test_a_finding_can_be_tried_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it was printed: what breaks a promise is shown with its traceback, what breaks none is said to."""
    assert guided.main(["--target", "oauth", "--replay", repr(SEEDS["oauth"][0])]) == 0
    assert "no promise was broken" in capsys.readouterr().out

    def broken(data: bytes) -> None:
        raise OverflowError(data.decode())

    monkeypatch.setitem(targets.GROUPS, "oauth", (broken,))
    assert guided.main(["--target", "oauth", "--replay", "b'caf\\xc3\\xa9'"]) == 1
    shown = capsys.readouterr().err
    assert "OverflowError: café" in shown
    assert "input: b'caf\\xc3\\xa9'" in shown
    assert "python -m tests.fuzz.guided --target oauth --replay" in shown
