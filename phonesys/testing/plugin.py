"""The pytest plugin: a sandbox, and a client over it, as fixtures.

Nothing heavy is imported before a test asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from phonesys import PhoneSystem
    from phonesys.sandbox import Sandbox

try:
    from pytest_asyncio import fixture as _asyncio_fixture  # loaded already, where it is installed
except ImportError:
    _asyncio_fixture: Callable[..., Any] = pytest.fixture  # type: ignore[no-redef]

_PATIENCE = 10.0


@pytest.fixture
def phonesys_sandbox_options() -> dict[str, Any]:
    """Return the options of `phonesys_sandbox`; override it for another sandbox."""
    return {"locations": 12, "numbers": (1, 9), "pools": (0, 2), "leadping": 60, "agents": 30}


@pytest.fixture
def phonesys_sandbox(phonesys_sandbox_options: dict[str, Any]) -> Iterator[Sandbox]:
    """Serve the three vendors on loopback, in a thread of their own: for any client, and any kind of test."""
    from phonesys.sandbox import Sandbox
    from phonesys.testing.thread import serving

    with serving(Sandbox(**phonesys_sandbox_options), _PATIENCE) as sandbox:
        yield sandbox


@pytest.fixture
def phonesys_client(request: pytest.FixtureRequest) -> PhoneSystem:
    """Open a PhoneSystem with all three backends over `phonesys_sandbox`, in the loop of the test.

    That loop is pytest-asyncio's, or that of anyio's plugin (with asyncio) for tests that it runs.
    """
    ran_by_anyio = "anyio_backend" in request.fixturenames
    name = "_phonesys_client_anyio" if ran_by_anyio else "_phonesys_client_asyncio"
    client: PhoneSystem = request.getfixturevalue(name)
    return client


@_asyncio_fixture
async def _phonesys_client_asyncio(phonesys_sandbox: Sandbox) -> AsyncIterator[PhoneSystem]:
    async with _client(phonesys_sandbox) as phones:
        yield phones


@pytest.fixture
async def _phonesys_client_anyio(
    anyio_backend: Any,  # noqa: ARG001 -- makes it a fixture that anyio runs
    phonesys_sandbox: Sandbox,
) -> AsyncIterator[PhoneSystem]:
    async with _client(phonesys_sandbox) as phones:
        yield phones


def _client(sandbox: Sandbox) -> PhoneSystem:
    from phonesys import AgentNumbers, LeadConnector, Leadping, PhoneSystem

    return PhoneSystem(
        LeadConnector(
            sandbox.leadconnector_token, base_url=sandbox.leadconnector_url, locations=sandbox.location_ids
        ),
        Leadping(sandbox.leadping_key, base_url=sandbox.leadping_url),
        AgentNumbers(sandbox.agents_key, base_url=sandbox.agents_url),
    )
