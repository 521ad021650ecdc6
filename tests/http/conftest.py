"""Both ways through aiohttp."""

from __future__ import annotations

import pytest

from phonesys.http import transport


async def _closed(_session: object) -> str:
    return "a test goes the other way"


@pytest.fixture(params=["lean", "ordinary"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test twice: requests go the short way through aiohttp, and the ordinary one."""
    chosen: str = request.param
    if chosen == "ordinary":
        monkeypatch.setattr(transport, "unsupported_reason", _closed)
    return chosen
