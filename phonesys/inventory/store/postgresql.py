"""PostgreSQL through asyncpg, also behind a pooler that switches servers between transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.ext.asyncio import create_async_engine

from phonesys.inventory.store.urls import connect_arguments, schema_of

if TYPE_CHECKING:
    from sqlalchemy import Pool
    from sqlalchemy.ext.asyncio import AsyncEngine

_LOCK_TIMEOUT = "250ms"  # one attempt; `Database.write` repeats it
_DIALECT = "postgresql.phonesys"


class Dialect(PGDialect_asyncpg):
    """SQLAlchemy's dialect without queries on connection.

    A pooler in transaction mode may answer them from several servers. They set up JSON codecs, which are not
    needed: JSON is read and written as text.
    """

    supports_statement_cache = True

    async def setup_asyncpg_json_codec(self, conn: Any) -> None:
        """Do nothing."""

    async def setup_asyncpg_jsonb_codec(self, conn: Any) -> None:
        """Do nothing."""


registry.register(_DIALECT, __name__, Dialect.__name__)


def create_engine(url: URL, *, poolclass: type[Pool] | None = None) -> AsyncEngine:
    """Create an engine that leaves no prepared statements and no settings on the server."""
    arguments = connect_arguments(url) | {
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
        # The unnamed statement lasts until the next one.
        "prepared_statement_name_func": str,
    }
    plain = url.set(drivername=_DIALECT.replace(".", "+"), query={})
    # Parameters never appear in errors or logs.
    engine = create_async_engine(
        plain, hide_parameters=True, pool_pre_ping=True, connect_args=arguments, poolclass=poolclass
    )
    schema = schema_of(url)

    def begin(connection: Any) -> None:
        writes = connection.get_execution_options().get("phonesys_writes")
        if not writes:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        # Local settings end with the transaction, as a pooler requires.
        if writes:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        if schema is not None:
            connection.exec_driver_sql(f"SET LOCAL search_path TO {quote(schema)}")

    event.listen(engine.sync_engine, "begin", begin)
    return engine


def quote(name: str) -> str:
    """Return an identifier in quotes."""
    return '"' + name.replace('"', '""') + '"'
