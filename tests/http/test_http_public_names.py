"""Public names of `phonesys.http`, for the authors of backends."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from phonesys import http


def test_every_public_name_is_there() -> None:
    """And listed once, in order."""
    assert [name for name in http.__all__ if not hasattr(http, name)] == []
    assert http.__all__ == sorted(set(http.__all__))


def test_no_other_name_is() -> None:
    """A name is public because it is listed."""
    visible = {
        name
        for name in dir(http)
        if not name.startswith("_") and not isinstance(getattr(http, name), ModuleType)
    }
    assert visible - {"TYPE_CHECKING", "annotations"} == set(http.__all__)


def test_type_checkers_see_what_programs_get() -> None:
    """Each name that is imported for type checkers only is the object that its module holds at run time."""
    tree = ast.parse(Path(http.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if (node.module or "").startswith("phonesys")]
    typed = {alias.name: import_module(node.module or "") for node in ours for alias in node.names}
    assert sorted(typed) == http.__all__
    assert [name for name in typed if getattr(http, name) is not getattr(typed[name], name)] == []


def test_every_public_name_is_documented() -> None:
    """A class or function has a docstring of its own."""
    assert [name for name in http.__all__ if not vars(http)[name].__doc__] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As with any module."""
    with pytest.raises(AttributeError, match=r"module 'phonesys\.http' has no attribute 'Client'"):
        http.Client  # type: ignore[attr-defined]  # noqa: B018


def test_calls_and_options_load_no_http_library() -> None:
    """A backend's pure functions are imported and tested without aiohttp."""
    program = (
        "from phonesys.http import Call, HttpOptions, RateLimit, RateLimitHeaders, Bearer, json_decoder\n"
        "import sys, json; print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(  # noqa: S603 -- our own interpreter
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert "aiohttp" not in json.loads(done.stdout)
