"""Find words that the project does not use: `python -m tests.language [PATH...]`.

It reads the package, its documentation and the README, or only the files and folders that are named, and
reports docstrings with a banned opening, banned phrases in prose, names that were replaced by better ones,
and packages that export more or less than they list.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tokenize
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[1]

OPENINGS = (
    "What", "Who", "Whom", "Whose", "Whoever", "Whatever", "Which", "How", "However", "Whether", "Why",
    "Say", "Says", "Tell", "Tells", "Take", "Takes", "Let", "Make sure", "Give note", "Nobody", "Somebody",
)  # fmt: skip
"""Words that no docstring begins with: it begins with a noun or an imperative."""

PHRASES = ("whoever", "whomever", "nobody", "somebody", "anybody", "what is there", "anew", "of it")
"""Words that are in no docstring, comment, message or page: the thing has a name, and time an adverb."""

IDENTIFIERS = {
    "phonesys": """
        Scope Places LooksAgain still_at SETTLE settle facts_of Judge undisturbed is_deep came went
        Rejected TimedOut ConnectFailed BodyTooLarge Inconsistent Redirected Known
        harmless find_out about_write
        Answer not_data error_of scrubbed OneTry TooMuch Lost Ordinary Lean detour obstacle _rehearse
        Connections SilentConnector Windows TooLong Share Traces may_repeat next_delay
        FetchesCredentials sibling
        Crew staff overstaffed Handover bring_back adds_up displaced readings
        one_auth WHOLE_KEY MOST_PAGES _mine _believed one_by_one Doubtful expect_shallow
        Renewal Attached _Journal Seal precious
        TakenOver sweep_up record_of more_of columns_of
        World Switch objection Numbering Bench Trouble calm
    """,
    "phonesys.errors": "NotConnected about",
    "phonesys.http": "about at_once",
    "phonesys.sweep": "Lane parked Reading Earlier prints looks doubt",
    "phonesys.backends": "_of about",
}
"""By package: names that are not used in it any more, neither as a definition nor as a reference."""

DEFINITIONS = {
    "phonesys._concurrency": "take free ended",
    "phonesys._slot": "sent retried",
    "phonesys._validation": "checked",
    "phonesys.provider": "place",
    "phonesys.http": """
        Window Watch of lines merged translated replaced reader told nothing
        take turn give_back refused dismiss observe earn pay attach detach prepare
    """,
    "phonesys.http.call": "safe",
    "phonesys.http.ratelimit": "block",
    "phonesys.sweep": "scope",
    "phonesys.sweep.buffer": "give take room next end",
    "phonesys.backends": "given prepare attach detach refused",
    "phonesys.oauth": "single Document keep holder prepare",
    "phonesys.inventory": "between across extra",
    "phonesys.inventory.inventory": "forget",
    "phonesys.inventory.store": "forget",
    "phonesys.inventory.snapshot": "scope",
    "phonesys.inventory.stored_sweep": "before",
    "phonesys.testing": "asked",
}
"""By package: names that are not defined in it any more; elsewhere the word may be the right one."""

FUNCTIONS = "take settle given told checked refused"
"""Names of no function anywhere: each is a verb without its object."""

MODULES = """
    phonesys.scope phonesys.ending phonesys.nesting phonesys.e164
    phonesys.http.answer phonesys.http.head phonesys.http.address phonesys.http.wire phonesys.http.limits
    phonesys.oauth.code phonesys.oauth.single phonesys.inventory.resume
    phonesys.cli.audits phonesys.cli.inventory phonesys.cli.auth
"""
"""Modules that have moved."""

_PLUMBING = {"annotations", "TYPE_CHECKING"}
"""Names that a package's own imports leave behind, and that nobody exports."""

_OPENING = re.compile(rf"\s*({'|'.join(OPENINGS)})\b")
_PHRASE = re.compile(rf"\b({'|'.join(PHRASES)})\b".replace(" ", r"\s+"), re.IGNORECASE)


class Finding(NamedTuple):
    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        path = self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path
        return f"{path}:{self.line}: {self.text}"


# Prose


def openings(path: Path, tree: ast.Module) -> Iterator[Finding]:
    """Find docstrings, those of attributes included, that begin with a banned word."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            text = node.value.value
            if isinstance(text, str) and (found := _OPENING.match(text)):
                yield Finding(path, node.lineno, f"a docstring opens with {found[1]!r}")


def phrases(path: Path, text: str, line: int = 1) -> Iterator[Finding]:
    """Find banned phrases in a text that begins on that line of a file."""
    for found in _PHRASE.finditer(text):
        yield Finding(path, line + text.count("\n", 0, found.start()), f"{found[0]!r}")


def _code_phrases(path: Path, tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from phrases(path, node.value, node.lineno)
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type == tokenize.COMMENT:
                yield from phrases(path, token.string, token.start[0])


# Names


def _defined(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node defines."""
    match node:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            yield node.name
        case ast.arg():
            yield node.arg
        case ast.Name(ctx=ast.Store()):
            yield node.id
        case ast.Attribute(ctx=ast.Store()):
            yield node.attr
        case ast.alias():
            yield node.asname or node.name.partition(".")[0]


def _used(node: ast.AST) -> Iterator[str]:
    """Yield all the names in a node, its definitions among them."""
    match node:
        case ast.Name():
            yield node.id
        case ast.Attribute():
            yield node.attr
        case ast.keyword(arg=str(name)):
            yield name
        case ast.alias():
            yield from {node.name.rpartition(".")[2], node.asname or node.name.partition(".")[0]}
        case _:
            yield from _defined(node)


def _banned(table: dict[str, str], module: str) -> set[str]:
    return {
        name
        for package, names in table.items()
        if module == package or module.startswith(f"{package}.")
        for name in names.split()
    }


def names(path: Path, tree: ast.Module, module: str) -> Iterator[Finding]:
    """Find names that were replaced, in the module of that dotted name."""
    identifiers, definitions = _banned(IDENTIFIERS, module), _banned(DEFINITIONS, module)
    if module in MODULES.split():
        yield Finding(path, 1, f"the module {module} has moved")
    for node in ast.walk(tree):
        found = identifiers.intersection(_used(node)) | definitions.intersection(_defined(node))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found |= {node.name}.intersection(FUNCTIONS.split())
        for name in sorted(found):
            yield Finding(path, getattr(node, "lineno", 1), f"the name {name!r} was replaced")


# Exports


def exports(path: Path, package: ModuleType) -> Iterator[Finding]:
    """Find public names that a package does not list, and listed ones that it does not have."""
    listed = set(getattr(package, "__all__", ()))
    visible = {
        name
        for name in dir(package)
        if not name.startswith("_") and name not in _PLUMBING
        if not isinstance(getattr(package, name), ModuleType)
    }
    yield from (
        Finding(path, 1, f"exports {name!r}, which __all__ does not list")
        for name in sorted(visible - listed)
    )
    yield from (
        Finding(path, 1, f"lists {name!r} in __all__, and does not have it")
        for name in sorted(listed)
        if not hasattr(package, name)
    )


# All


def check(path: Path, root: Path = ROOT) -> Iterator[Finding]:
    """Check one file of the project at that root: a module or a page."""
    if path.suffix == ".md":
        yield from phrases(path, path.read_text(encoding="utf-8"))
        return
    tree = ast.parse(path.read_bytes())
    module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    yield from openings(path, tree)
    yield from _code_phrases(path, tree)
    yield from names(path, tree, module)
    if path.name == "__init__.py":
        yield from exports(path, importlib.import_module(module))


def files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the modules and pages in folders, and the files that are named themselves."""
    for path in paths:
        found = path.rglob("*") if path.is_dir() else [path]
        yield from sorted(file for file in found if file.suffix in {".py", ".md"})


def main(arguments: list[str]) -> int:
    paths = [Path(argument).resolve() for argument in arguments] or [
        ROOT / "phonesys",
        ROOT / "docs",
        ROOT / "README.md",
    ]
    found = sorted(finding for file in files(paths) for finding in set(check(file)))
    print(*found, sep="\n", end="\n" if found else "")  # noqa: T201
    print(f"{len(found)} finding{'s' * (len(found) != 1)}")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
