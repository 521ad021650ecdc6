"""SQLite through aiosqlite, and checks of a file before it is opened."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import create_async_engine

from phonesys.inventory.errors import InventoryError

if TYPE_CHECKING:
    from sqlalchemy import Pool
    from sqlalchemy.ext.asyncio import AsyncEngine

ATTEMPT = 0.25
"""Seconds that SQLite waits for a lock. The callers repeat, so that they can be cancelled."""

_PRAGMAS = ("PRAGMA cache_size=-32768", "PRAGMA temp_store=FILE")
_CHECKS = 3


def create_engine(url: URL, *, poolclass: type[Pool] | None = None) -> AsyncEngine:
    """Create an engine."""
    # Parameters never appear in errors or logs.
    engine = create_async_engine(
        url, hide_parameters=True, connect_args={"timeout": ATTEMPT}, poolclass=poolclass
    )
    event.listen(engine.sync_engine, "connect", _prepare)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: Any) -> None:
    # `_begin` begins transactions instead of sqlite3.
    connection.isolation_level = None
    cursor = connection.cursor()
    with suppress(sqlite3.OperationalError):  # read-only, or locked: any other mode works too
        cursor.execute("PRAGMA journal_mode=WAL")
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin(connection: Any) -> None:
    # A writer locks the database first: one that has read already cannot wait for another writer.
    options = connection.get_execution_options()
    writes = options.get("phonesys_writes")
    if writes:
        # In WAL mode with NORMAL, a killed process loses no commit. Only a power cut can lose the last
        # commits, and it leaves the database consistent. With FULL, not even that loses one.
        level = "FULL" if options.get("phonesys_durable") else "NORMAL"
        connection.exec_driver_sql(f"PRAGMA synchronous={level}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
    if not writes:  # begins the snapshot, so that a locked database fails here
        connection.exec_driver_sql("SELECT 1 FROM sqlite_master LIMIT 1")


def check_file(url: URL, *, read_only: bool) -> URL:
    """Return the URL to open, for reading only if the file cannot be written.

    Raises InventoryError for files that are missing, or are no inventory. Does not change any file.

    Only SQLite opens the file: closing it in any other way would end the locks of all connections of this
    process to it, and another process might then delete their WAL ("How To Corrupt An SQLite Database File",
    2.2).
    """
    path = Path(str(url.database))
    if url.query:  # options of SQLite's own
        return url
    if not path.exists():
        if read_only:
            raise InventoryError(f"{path}: no such file")
        return _check_creatable(url, path)
    if path.is_dir():
        raise InventoryError(f"{path}: a folder, and not an SQLite database")
    _check_tables(path)
    return _read_only_url(url, path) if read_only or not os.access(path, os.W_OK) else url


def _check_creatable(url: URL, path: Path) -> URL:
    """Create the file with sqlite3, because a failing connection of aiosqlite leaves a thread behind."""
    try:
        sqlite3.connect(path).close()
    except sqlite3.Error as failure:
        raise InventoryError(f"{path}: {failure}") from failure
    return url


def _check_tables(path: Path) -> None:
    """Raise InventoryError if the file holds tables of another program."""
    tables = _table_names(path)
    if tables and "phonesys_schema" not in tables:
        raise InventoryError(f"{path}: the SQLite database of another program")


def _table_names(path: Path) -> set[str]:
    """Read the names immutable, so that not even a WAL is created beside another program's database.

    A full disk or a kill interrupts a checkpoint. The file is then whole only together with its WAL. Another
    process may end a checkpoint, and delete the WAL, between two looks.
    """
    query = "SELECT name FROM sqlite_master WHERE type = 'table'"
    options = "immutable=1"
    for _ in range(_CHECKS - 1):
        try:
            return _query(path, options, query)
        except InventoryError:
            options = "mode=ro" if _has_wal(path) else "immutable=1"
    return _query(path, options, query)


def _query(path: Path, options: str, query: str) -> set[str]:
    uri = f"file:{quote(str(path.absolute()))}?{options}"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=ATTEMPT)) as connection:
            return {str(row[0]) for row in connection.execute(query)}
    except (sqlite3.DatabaseError, UnicodeDecodeError) as failure:
        is_other = getattr(failure, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB
        reason = "not an SQLite database" if is_other else failure
        raise InventoryError(f"{path}: {reason}") from failure


def _read_only_url(url: URL, path: Path) -> URL:
    options = {"mode": "ro"}
    try:
        _query(path, "mode=ro", "SELECT count(*) FROM sqlite_master")
    except InventoryError as failure:
        code = getattr(failure.__cause__, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return _as_uri(url, path, options)  # the caller waits
        if code not in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
            raise
        # A WAL cannot be read without a file for its index, which a read-only disk does not take.
        if _has_wal(path):
            raise InventoryError(
                f"{path}: its last changes are in {path.name}-wal, "
                "which a read-only disk cannot open; copy both"
            ) from failure
        options = {"immutable": "1"}
    return _as_uri(url, path, options)


def _has_wal(path: Path) -> bool:
    """Return True if changes may be in the WAL that are not in the file."""
    wal = path.with_name(f"{path.name}-wal")
    return wal.exists() and wal.stat().st_size > 0


def _as_uri(url: URL, path: Path, options: dict[str, str]) -> URL:
    return url.set(database=f"file:{quote(str(path.absolute()))}", query={**options, "uri": "true"})
