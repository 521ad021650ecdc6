"""The documentation: programs run exactly as pasted, links lead somewhere, the reference is complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import PhonesysError, errors

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
REPOSITORY = "https://github.com/phonesys/phonesys"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
OTHERS = (
    "CHANGELOG.md",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "llms.txt",
    "benchmarks/README.md",
)
PROSE = [*PAGES, *(ROOT / name for name in OTHERS)]
FENCES = re.compile(r"^ *```(.*)\n((?:.*\n)*?) *```$", re.MULTILINE)
LINKS = re.compile(r"\]\(([^)\s]+)\)")
PROGRAM = re.compile(r'python(?: title="(\w+\.py)")?')
# What is not Python is a command that tests/cli runs (console), or cannot run here.
OTHER_LANGUAGES = {"console", "shell", "sql", "text", "toml", "yaml"}
DOCUMENTED = (
    "phonesys.changes",
    "phonesys.distributed",
    "phonesys",
    "phonesys.http",
    "phonesys.inventory",
    "phonesys.inventory.audit",
    "phonesys.inventory.export",
    "phonesys.inventory.report",
    "phonesys.mcp",
    "phonesys.oauth",
    "phonesys.sandbox",
    "phonesys.telemetry",
    "phonesys.telemetry.otel",
    "phonesys.testing",
)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def programs(page: Path) -> Iterator[tuple[str, str]]:
    """Yield the file name and source of each Python block, in order."""
    for number, (info, source) in enumerate(FENCES.findall(page.read_text())):
        if match := PROGRAM.fullmatch(info):
            yield match[1] or f"program_{number}.py", source


@pytest.mark.parametrize("page", [page for page in PAGES if [*programs(page)]], ids=name_of)
def test_programs_run_as_pasted(page: Path, tmp_path: Path) -> None:
    """Each block of a page, saved as a file, ends with status 0; tests among them pass."""
    for name, source in programs(page):
        (tmp_path / name).write_text(source)
        options = ["-m", "pytest", "-q"] if name.startswith("test_") else ["-W", "error"]
        done = subprocess.run(  # noqa: S603 -- our own documentation
            [sys.executable, *options, name],
            cwd=tmp_path,
            env=clean_environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{page.name}, {name}\n{done.stdout}\n{done.stderr}"


def clean_environment(home: Path) -> dict[str, str]:
    """Build the environment of a newcomer: no configuration, and nothing of the test run's own."""
    ours = ("PHONESYS_", "PYTEST_", "COV_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**inherited, "HOME": str(home), "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_every_block_has_a_language(page: Path) -> None:
    """A block is a program, a command that is run elsewhere, or says that it is neither."""
    infos = [info for info, _ in FENCES.findall(page.read_text())]
    assert [info for info in infos if not PROGRAM.fullmatch(info) and info not in OTHER_LANGUAGES] == []


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_placeholders_can_be_typed(page: Path) -> None:
    """No code on a page holds a character that a newcomer would have to replace to make it valid."""
    text = page.read_text()
    code = [source for info, source in FENCES.findall(text) if info != "text"]
    code += re.findall(r"`[^`\n]+`", FENCES.sub("", text))
    assert [piece for piece in code if "…" in piece or "\N{RIGHT SINGLE QUOTATION MARK}" in piece] == []


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to this project names a file that is there."""
    missing = []
    for link in LINKS.findall(FENCES.sub("", page.read_text())):
        target = link.partition("#")[0]
        if match := re.fullmatch(rf"{REPOSITORY}/(?:blob|tree)/main/(.*)", target):
            found = (ROOT / match[1]).exists()
        else:
            found = "://" in target or (page.parent / target).exists()
        if not found:
            missing.append(link)
    assert missing == []


def test_navigation_names_every_page() -> None:
    """A page that no reader could reach is not written; a page that is not written is not offered."""
    settings = tomllib.loads((ROOT / "zensical.toml").read_text())
    assert sorted(leaves(settings["project"]["nav"])) == sorted(
        str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")
    )


def leaves(tree: Any) -> Iterator[str]:
    for entry in tree:
        for value in entry.values():
            if isinstance(value, str):
                yield value
            else:
                yield from leaves(value)


def test_the_reference_is_complete() -> None:
    """Every public name is described once, and every name that is described exists."""
    described = [
        name
        for page in sorted((DOCS / "reference" / "api").glob("*.md"))
        for name in re.findall(r"^::: ([\w.]+)$", page.read_text(), re.MULTILINE)
    ]
    assert sorted(described) == sorted(set(described))
    objects = [resolve(name) for name in described]
    missing = [
        f"{module}.{name}"
        for module in DOCUMENTED
        for name in import_module(module).__all__
        if f"{module}.{name}" not in described
        and not any(resolve(f"{module}.{name}") is described_object for described_object in objects)
    ]
    assert missing == []


def resolve(path: str) -> Any:
    """Import what a dotted path names: a module, or an attribute of one."""
    module, _, name = path.rpartition(".")
    found = getattr(import_module(module), name, None)
    return import_module(path) if found is None else found


def test_the_error_tree_is_drawn_as_it_is() -> None:
    """The tree in the documentation is the one at the top of the module, and that of the classes."""
    drawn = (DOCS / "reference" / "errors.md").read_text().split("```text\n")[1].split("```")[0]
    documented = errors.__doc__ or ""
    assert re.findall(r"([├└]── \w+)", drawn) == re.findall(r"([├└]── \w+)", documented)
    for name in re.findall(r"(?:[├└]── |^)(\w+) {2,}", drawn):
        assert issubclass(getattr(errors, name), PhonesysError)
