"""The project's words, and that the checker finds those that are not."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import pytest

from tests import language

HERE = Path("module.py")


@pytest.mark.parametrize("path", ["phonesys", "docs", "README.md"])
def test_only_the_projects_words_are_used(path: str) -> None:
    """In docstrings, comments, messages, names and pages; and what is exported is listed."""
    found = [finding for file in language.files([language.ROOT / path]) for finding in language.check(file)]
    assert not found, "\n".join(map(str, found))


@pytest.mark.parametrize("docstring", ["What it does.", "Let go.", "\n    Make sure of it.", "Tell whether."])
def test_a_docstring_that_opens_with_a_banned_word_is_found(docstring: str) -> None:
    """Of a module, a class, a function or an attribute."""
    for source in ('"""{}"""', 'class A:\n    """{}"""', 'def f():\n    """{}"""', 'a = 1\n"""{}"""'):
        assert len(list(language.openings(HERE, ast.parse(source.format(docstring))))) == 1


@pytest.mark.parametrize(
    "docstring", ["Whatsit that counts.", "Lets a sweep observe.", "Letter of a word.", ""]
)
def test_other_openings_are_fine(docstring: str) -> None:
    """Only whole words are compared."""
    assert not list(language.openings(HERE, ast.parse(f'"""{docstring}"""')))


def test_phrases_are_found_in_prose_and_nowhere_else(tmp_path: Path) -> None:
    """In docstrings, comments, messages and pages, with their lines; names are another matter."""
    module = tmp_path / "module.py"
    module.write_text('"""One.\n\nNobody knows."""\nnobody = f"{1} somebody"  # begins anew\n')
    found = [(finding.line, finding.text) for finding in language.check(module, tmp_path)]
    assert sorted(found) == [(3, "'Nobody'"), (4, "'anew'"), (4, "'somebody'")]
    page = tmp_path / "page.md"
    page.write_text("# Title\n\nIt shows what is\nthere, and the rest of its items.\n")
    assert [(finding.line, finding.text) for finding in language.check(page)] == [(3, "'what is\\nthere'")]


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("phonesys.anything", "class Crew: ...", ["Crew"]),
        ("phonesys.anything", "from a import b as Crew", ["Crew"]),
        ("phonesys.anything", "from a import Crew", ["Crew"]),
        ("phonesys.anything", "call(settle=1)\nx.still_at()", ["settle", "still_at"]),
        ("phonesys.anything", "def take(): ...", ["take"]),
        ("phonesys.anything", "take = 1\nsafe = 2", []),
        ("phonesys.http.call", "class Call:\n    safe: bool", ["safe"]),
        ("phonesys.http.call", "quote(part, safe='')", []),
        ("phonesys.httpish", "class Window: ...", []),
        ("phonesys.http.ratelimit.window", "class Window: ...", ["Window"]),
        ("phonesys.http.client", "import sandbox\nsandbox.Window()", []),
    ],
)
def test_replaced_names_are_found(module: str, source: str, found: list[str]) -> None:
    """Everywhere, or where they are defined in the package that has a better word."""
    findings = language.names(HERE, ast.parse(source), module)
    assert [finding.text for finding in findings] == [f"the name {name!r} was replaced" for name in found]


def test_a_module_that_has_moved_is_found() -> None:
    """By its old place."""
    (finding,) = language.names(HERE, ast.parse(""), "phonesys.http.answer")
    assert finding.text == "the module phonesys.http.answer has moved"


def test_what_a_package_exports_is_what_it_lists() -> None:
    """Modules, private names and what annotations need do not count."""
    package = ModuleType("package")
    package.__dict__.update(listed=1, leaked=2, _private=3, TYPE_CHECKING=False, module=ModuleType("module"))
    package.__dict__["__all__"] = ["listed", "missing"]
    assert [finding.text for finding in language.exports(HERE, package)] == [
        "exports 'leaked', which __all__ does not list",
        "lists 'missing' in __all__, and does not have it",
    ]


def test_the_command_reports_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a line for each finding, and status 1; without any, 0."""
    page = tmp_path / "page.md"
    page.write_text("Whoever reads this.\n")
    assert language.main([str(page)]) == 1
    assert capsys.readouterr().out == f"{page}:1: 'Whoever'\n1 finding\n"
    page.write_text("Readers.\n")
    assert language.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == "0 findings\n"
