"""The documentation's examples run as they stand, on a sandbox in the vendors' place."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import phonesys
from phonesys.sandbox import Sandbox
from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINKS = re.compile(r"\]\((?!https?:)([^)#]+)")


@pytest.fixture
def vendors() -> Iterator[Sandbox]:
    """A sandbox in a thread of its own: the examples run loops of theirs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    sandbox = Sandbox(locations=5, leadping=30, agents=20)
    asyncio.run_coroutine_threadsafe(sandbox.start(), loop).result(PATIENCE)
    yield sandbox
    asyncio.run_coroutine_threadsafe(sandbox.stop(), loop).result(PATIENCE)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def in_place_of(backend: Callable[..., Any], credential: str, key: str, url: str) -> Callable[..., Any]:
    """Make the backend as the example does, unless it says itself where to."""

    def make(*args: Any, **options: Any) -> Any:
        if "base_url" not in options and "auth" not in options:
            args, options = (), {**options, credential: key, "base_url": url}
        return backend(*args, **options)

    return make


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page: Path, vendors: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python block of a page runs, one after the other, in one namespace."""
    for name, credential, key, url in (
        ("LeadConnector", "token", vendors.leadconnector_token, vendors.leadconnector_url),
        ("Leadping", "api_key", vendors.leadping_key, vendors.leadping_url),
        ("AgentNumbers", "api_key", vendors.agents_key, vendors.agents_url),
    ):
        monkeypatch.setattr(phonesys, name, in_place_of(getattr(phonesys, name), credential, key, url))
    names = {name: getattr(phonesys, name) for name in phonesys.__all__ if name[0].isupper()}
    for block in BLOCKS.findall(page.read_text()):
        source = block.replace("ve9EPM428h8vShlRW1KT", vendors.location_ids[0])
        code = compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, names)  # noqa: S307 -- our own documentation
        if inspect.isawaitable(result):
            asyncio.run(_run(result))


async def _run(result: Any) -> None:
    await result


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that is there."""
    missing = [link for link in LINKS.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []


def test_the_error_tree_is_drawn_as_it_is() -> None:
    """The tree in the documentation is the one at the top of the module."""
    drawn = (ROOT / "docs" / "errors.md").read_text().split("```text\n")[1].split("```")[0]
    documented = phonesys.errors.__doc__ or ""
    assert re.findall(r"[├└]── (\w+)", drawn) == re.findall(r"[├└]── (\w+)", documented)
    for name in re.findall(r"(?:[├└]── |^)(\w+) {2,}", drawn):
        assert issubclass(getattr(phonesys.errors, name), phonesys.PhonesysError)
