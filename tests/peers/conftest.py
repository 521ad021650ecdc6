"""The vendors' own clients, of the group `peers`. `PHONESYS_REQUIRE_PEERS=1` fails tests that lack one."""

from __future__ import annotations

import importlib
import os
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from phonesys.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@pytest.fixture(scope="session")
def peer() -> Callable[[str], Any]:
    """Import a module of a vendor's client, or skip the test."""

    def find(name: str) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # theirs, on import
                return importlib.import_module(name)
        except ModuleNotFoundError as missing:
            if os.environ.get("PHONESYS_REQUIRE_PEERS") == "1":
                raise
            pytest.skip(f"{missing.name} is not installed; it comes with the dependency group `peers`")

    return find


@pytest.fixture
async def vendors() -> AsyncIterator[Sandbox]:
    async with Sandbox(locations=4, numbers=23, pools=(1, 2), not_connected=1, leadping=60, seed=11) as world:
        yield world
