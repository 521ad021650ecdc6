"""The command that changes the code: what it would change, and what it makes of the result."""

from __future__ import annotations

import tomllib

import pytest

from tests.mutation import EQUIVALENT, ROOT, TARGETS, Mutants, changed_lines, main, outcomes


def test_every_target_is_there() -> None:
    """Modules and tests that were renamed are renamed here too."""
    named = {*TARGETS, *(tests for paths in TARGETS.values() for tests in paths)}
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_survivors_are_shown_and_counted() -> None:
    """With their diffs, and the share of the others."""
    found = outcomes("    a.x_f__mutmut_1: killed\n    a.x_f__mutmut_2: survived\n\n")
    assert found == {"a.x_f__mutmut_1": "killed", "a.x_f__mutmut_2": "survived"}
    mutants = Mutants("a.py", 3, {"a.x_f__mutmut_2": "-one\n+two\n"})
    assert str(mutants) == "-one\n+two\n\na.py: 3 of 4 noticed (75%)"


def test_equivalent_mutants_are_of_code_that_is_there() -> None:
    """Each names a line of its module, what it becomes, and why that makes no difference."""
    for mutant in tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))["mutant"]:
        lines = {line.strip() for line in (ROOT / mutant["module"]).read_text().splitlines()}
        assert mutant["was"] in lines
        assert mutant["was"] != mutant["is"]
        assert mutant["why"]


def test_equivalent_mutants_are_told_by_their_lines() -> None:
    """Wherever in the module they are."""
    diff = "--- a.py\n+++ a.py\n@@ -1,2 +1,2 @@\n def f():\n-    return 1\n+    return 2\n"
    assert changed_lines(diff) == ("return 1", "return 2")
    assert str(Mutants("a.py", 3, {}, 1)) == "a.py: 3 of 4 noticed (75%), 1 make no difference"


def test_a_module_without_tests_of_its_own_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is copied."""
    with pytest.raises(SystemExit):
        main(["phonesys/nowhere.py"])
    assert "not in TARGETS: phonesys/nowhere.py" in capsys.readouterr().err
