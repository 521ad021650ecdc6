"""The tables, as the queries see them; `migrations` makes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine


PAGE = 1 << 32
"""A number's key is its page's id times this, and its place on the page."""


def in_utc(moment: datetime | None) -> datetime | None:
    """Write a moment in UTC; None for one that UTC has no date for, at the end or the beginning of time."""
    if moment is None or moment.tzinfo is UTC:
        return moment
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return None


def in_text(moment: datetime | None) -> str | None:
    """Write a moment for SQLite, so that its order is that of time."""
    if moment is None:
        return None
    return (moment if moment.tzinfo is UTC else moment.astimezone(UTC)).isoformat()


class Moment(TypeDecorator[datetime]):
    """A moment: a real one in PostgreSQL, RFC 3339 in UTC in SQLite, which has no type for it."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column's type."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Write it."""
        return in_text(value) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Read it."""
        return datetime.fromisoformat(value) if isinstance(value, str) else value


metadata = MetaData()
# 64 bits in PostgreSQL; in SQLite only a plain INTEGER counts up by itself.
_Serial = BigInteger().with_variant(Integer(), "sqlite")

version = Table("phonesys_schema", metadata, Column("version", Integer, nullable=False))

sweeps = Table(
    "sweeps",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("scope", Text, nullable=False),
    Column("writer", Text, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("numbers", BigInteger, nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("sweep_id", BigInteger, primary_key=True),
    Column("backend", String, primary_key=True),
    Column("account", String, primary_key=True),
    Column("outcome", String, nullable=False),
    Column("numbers", BigInteger, nullable=False),
    Column("pages", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
    Column("duplicates", BigInteger, nullable=False),
    Column("error", Text),
)

pages = Table(
    "pages",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("backend", String, nullable=False),
    Column("account", String, nullable=False),
    Column("digest", LargeBinary, nullable=False),
)

sweep_pages = Table(
    "sweep_pages",
    metadata,
    Column("sweep_id", BigInteger, primary_key=True),
    Column("backend", String, primary_key=True),
    Column("account", String, primary_key=True),
    Column("place", BigInteger, primary_key=True),
    Column("page_id", BigInteger, nullable=False),
)

numbers = Table(
    "numbers",
    metadata,
    Column("key", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("record", Text, nullable=False),
)

pools = Table(
    "pools",
    metadata,
    Column("page_id", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Text, primary_key=True),
    Column("name", Text),
    Column("more", Text, nullable=False),
)
