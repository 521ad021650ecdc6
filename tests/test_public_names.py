from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import pytest
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

import phonesys
from phonesys import errors

OURS = "phonesys"


def loaded_by(program: str) -> set[str]:
    """The modules that a fresh interpreter holds after running this."""
    shown = f"{program}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(  # noqa: S603 -- our own interpreter
        [sys.executable, "-c", shown], check=True, capture_output=True, text=True
    )
    return set(json.loads(done.stdout))


def test_every_public_name_is_there() -> None:
    """And listed once, in order."""
    assert [name for name in phonesys.__all__ if not hasattr(phonesys, name)] == []
    assert phonesys.__all__ == sorted(set(phonesys.__all__))


def test_nothing_leaks() -> None:
    """A name is public because it is listed, not because an import left it lying there."""
    helpers = {"TYPE_CHECKING"}
    visible = {
        name
        for name in dir(phonesys)
        if not name.startswith("_") and not isinstance(getattr(phonesys, name), ModuleType)
    }
    assert visible - helpers == set(phonesys.__all__)


def test_type_checkers_see_what_programs_get() -> None:
    """Each name that is imported for type checkers only is the object that its module holds at run time."""
    tree = ast.parse(Path(phonesys.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if (node.module or "").startswith(OURS)]
    typed = {alias.name: import_module(node.module or "") for node in ours for alias in node.names}
    del typed["__version__"]
    assert sorted(typed) == phonesys.__all__
    assert [name for name in typed if getattr(phonesys, name) is not getattr(typed[name], name)] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As with any module."""
    with pytest.raises(AttributeError, match="module 'phonesys' has no attribute 'PhoneSystems'"):
        _ = phonesys.PhoneSystems  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name",
    [
        "AgentNumbers",
        "HttpOptions",
        "LeadConnector",
        "Leadping",
        "NumberProvider",
        "PhoneNumber",
        "PhoneSystem",
        "PhonesysError",
        "RateLimit",
        "PerAccount",
        "Bearer",
        "ApiKey",
    ],
)
def test_programs_import_from_the_package_itself(name: str) -> None:
    """The names that every program needs, wherever they are kept."""
    assert name in phonesys.__all__


def test_every_error_that_is_drawn_above_its_details_is_public() -> None:
    """All errors are, but for those that only say more than their public parent."""
    hidden = {
        cls.__name__
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, Exception) and cls.__name__ not in phonesys.__all__
    }
    assert hidden <= {"NotJson", "PermanentServerError", "RequestTimeout"}


def test_importing_loads_nothing_more_than_it_must() -> None:
    """Nothing but our own modules, the standard library, and aiohttp, msgspec, anyio with what those load."""
    base = loaded_by("import aiohttp, msgspec, anyio")
    more = loaded_by("from phonesys import *") - base
    foreign = {name for name in more if name.partition(".")[0] not in {OURS, *sys.stdlib_module_names}}
    assert foreign == set()
    assert not {
        name for name in more if name.startswith(("phonesys.cli", "phonesys.sandbox", "phonesys.testing"))
    }
    assert any(name == "phonesys.backends.agents" for name in more)


def test_importing_the_package_alone_loads_no_library() -> None:
    """Public names are loaded on first use."""
    loaded = loaded_by("import phonesys")
    assert not loaded & {"aiohttp", "anyio", "msgspec"}
    assert {name for name in loaded if name.startswith(OURS)} == {OURS, "phonesys._version"}


def test_the_version_has_one_source() -> None:
    """The build reads it from the package."""
    root = Path(phonesys.__file__).parent.parent
    assert ProjectMetadata(str(root), PluginManager()).version == phonesys.__version__


def test_what_the_package_registers_can_be_loaded() -> None:
    """Each backend under its name."""
    ours = [entry for entry in entry_points(group="phonesys.providers") if entry.value.startswith(OURS)]
    assert {entry.name: entry.load() for entry in ours} == {
        "agents": phonesys.AgentNumbers,
        "leadconnector": phonesys.LeadConnector,
        "leadping": phonesys.Leadping,
    }


@pytest.mark.parametrize(
    "package", ["phonesys", "phonesys.inventory", "phonesys.inventory.audit", "phonesys.http"]
)
def test_no_module_replaces_a_public_function(package: str) -> None:
    """A module sets its name in its package when it is imported, whenever that happens to be."""
    program = (
        f"import pkgutil, importlib, {package} as home\n"
        "for module in pkgutil.iter_modules(home.__path__):\n"
        "    if not module.name.startswith('_'):\n"
        "        importlib.import_module(f'{home.__name__}.{module.name}')\n"
        "kinds = {name for name in home.__all__ if type(getattr(home, name)) is type(home)}\n"
        "assert not kinds, kinds"
    )
    loaded_by(program)
