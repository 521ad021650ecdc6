"""The tables of the newest schema, for queries. `migrations` creates them."""

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


KEYS_PER_PAGE = 1 << 32
"""The key of a number is the id of its page times this, plus its position on the page."""


def to_utc(time: datetime | None) -> datetime | None:
    """Return a time in UTC, or None if it is out of range there."""
    if time is None or time.tzinfo is UTC:
        return time
    try:
        return time.astimezone(UTC)
    except OverflowError:
        return None


def to_text(time: datetime | None) -> str | None:
    """Return a time as text that sorts by time."""
    if time is None:
        return None
    return (time if time.tzinfo is UTC else time.astimezone(UTC)).isoformat()


class Timestamp(TypeDecorator[datetime]):
    """A time: `timestamptz` in PostgreSQL, and RFC 3339 text in UTC in SQLite, which has no such type."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the column."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Encode a time."""
        return to_text(value) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Decode a time."""
        if value is None or isinstance(value, datetime):
            return value
        if not isinstance(value, str):
            raise TypeError(f"expected a time, got {value!r:.40}")
        return datetime.fromisoformat(value)


metadata = MetaData()
# 64 bits in PostgreSQL. In SQLite only a plain INTEGER increments by itself.
_Serial = BigInteger().with_variant(Integer(), "sqlite")

version = Table("phonesys_schema", metadata, Column("version", Integer, nullable=False))

sweeps = Table(
    "sweeps",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("scope", Text, nullable=False),
    Column("writer", Text, nullable=False),
    Column("started_at", Timestamp, nullable=False),
    Column("finished_at", Timestamp),
    Column("numbers", BigInteger, nullable=False),
    Column("name", Text),
    Column("shards", BigInteger),
)

shards = Table(
    "shards",
    metadata,
    Column("sweep_id", BigInteger, primary_key=True),
    Column("shard", BigInteger, primary_key=True, autoincrement=False),
    Column("writer", Text, nullable=False),
    Column("numbers", BigInteger, nullable=False),
    Column("finished_at", Timestamp),
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
    Column("name", Text),
    Column("shard", BigInteger),
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

change_runs = Table(
    "change_runs",
    metadata,
    Column("plan_id", String, primary_key=True),
    Column("plan", Text, nullable=False),
    Column("writer", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("started_at", Timestamp, nullable=False),
    Column("finished_at", Timestamp),
    Column("changes", BigInteger, nullable=False),
    Column("undoes", Text),
)

change_results = Table(
    "change_results",
    metadata,
    Column("plan_id", String, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("intent", Text),
    Column("outcome", Text),
    Column("result", Text),
)

watches = Table(
    "watches",
    metadata,
    Column("scope", String, primary_key=True),
    Column("sweep_id", BigInteger, nullable=False),
)

findings = Table(
    "findings",
    metadata,
    Column("key", String, primary_key=True),
    Column("code", Text, nullable=False),
    Column("found_at", Timestamp, nullable=False),
    Column("finding", Text, nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("key", Text),
    Column("severity", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
)

alert_destinations = Table(
    "alert_destinations",
    metadata,
    Column("name", String, primary_key=True),
    Column("sent_up_to", BigInteger, nullable=False),
    Column("sending_up_to", BigInteger),
    Column("sent_at", Timestamp),
    Column("uncertain", BigInteger, nullable=False),
)
