"""Both transports through aiohttp."""

from __future__ import annotations

import pytest

from phonesys.http.transport import select


async def _unsupported(_session: object) -> str:
    return "this test uses the session"


@pytest.fixture(params=["direct", "session"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test twice: with the direct transport, and through aiohttp's session."""
    name: str = request.param
    if name == "session":
        monkeypatch.setattr(select, "unsupported_reason", _unsupported)
    return name
