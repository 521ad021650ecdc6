"""Claims and leases in the database of a token store, by the clock of its server.

A claim is the right to fetch a token, and a lease is a slot of a rate window. Both are rows that end at a
time, so that those of a program that died, or lost its connection, end by themselves.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, text

from phonesys.http.ratelimit.leased import LeaseGrant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

TABLES = (
    """CREATE TABLE IF NOT EXISTS oauth_claims (
        key TEXT PRIMARY KEY, program TEXT NOT NULL, ends_at DOUBLE PRECISION NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS oauth_leases (
        id BIGINT PRIMARY KEY, name TEXT NOT NULL,
        begins_at DOUBLE PRECISION NOT NULL, ends_at DOUBLE PRECISION NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS oauth_programs (
        name TEXT NOT NULL, program TEXT NOT NULL, ends_at DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (name, program))""",
    "CREATE INDEX IF NOT EXISTS oauth_leases_by_name ON oauth_leases (name)",
)

_HORIZON = 1 / 10
"""Part of a window for which leases are given in advance."""

_CLOCK = {
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())::double precision",
}
_HELD = text("SELECT key FROM oauth_claims WHERE key IN :keys AND ends_at > :now").bindparams(
    bindparam("keys", expanding=True)
)
_CLAIM = text(
    "INSERT INTO oauth_claims (key, program, ends_at) VALUES (:key, :program, :ends_at) "
    "ON CONFLICT (key) DO UPDATE SET program = excluded.program, ends_at = excluded.ends_at"
)
_RENEW = text("UPDATE oauth_claims SET ends_at = :ends_at WHERE program = :program")
_RELEASE = text("DELETE FROM oauth_claims WHERE key IN :keys AND program = :program").bindparams(
    bindparam("keys", expanding=True)
)
_EXPIRE = text("DELETE FROM oauth_leases WHERE name = :name AND ends_at <= :now")
_SHORTEN = text("UPDATE oauth_leases SET ends_at = :latest WHERE name = :name AND ends_at > :latest")
_DROP = text("DELETE FROM oauth_leases WHERE id IN :ids").bindparams(bindparam("ids", expanding=True))
# Until a lease begins, its slot belongs to the request before it.
_RETURN = text("UPDATE oauth_leases SET ends_at = begins_at WHERE id IN :ids").bindparams(
    bindparam("ids", expanding=True)
)
_ENDING = text(
    "SELECT id, ends_at FROM oauth_leases WHERE name = :name AND ends_at <= :soon "
    "ORDER BY ends_at LIMIT :wanted"
)
_LEASE = text(
    "INSERT INTO oauth_leases (id, name, begins_at, ends_at) VALUES (:id, :name, :begins_at, :ends_at)"
)
_COUNT = text("SELECT count(*) FROM oauth_leases WHERE name = :name")
_FIRST = text("SELECT min(ends_at) FROM oauth_leases WHERE name = :name")
_SEEN = text(
    "INSERT INTO oauth_programs (name, program, ends_at) VALUES (:name, :program, :ends_at) "
    "ON CONFLICT (name, program) DO UPDATE SET ends_at = excluded.ends_at"
)
_FORGET = text("DELETE FROM oauth_programs WHERE name = :name AND ends_at <= :now")
_PROGRAMS = text("SELECT count(*) FROM oauth_programs WHERE name = :name")


async def read_clock(connection: AsyncConnection) -> float:
    """Return the server's time, in seconds since the epoch."""
    return float((await connection.exec_driver_sql(_CLOCK[connection.dialect.name])).scalar_one())


async def claim_keys(connection: AsyncConnection, keys: Iterable[str], program: str, hold: float) -> set[str]:
    """Claim keys for a program, and return those that no other claim holds."""
    now = await read_clock(connection)
    wanted = set(keys)
    rows = await connection.execute(_HELD, {"keys": sorted(wanted), "now": now})
    free = wanted - {key for (key,) in rows}
    if free:
        row = {"program": program, "ends_at": now + hold}
        await connection.execute(_CLAIM, [{"key": key, **row} for key in sorted(free)])
    return free


async def renew_claims(connection: AsyncConnection, program: str, hold: float) -> None:
    """Extend all claims of a program."""
    now = await read_clock(connection)
    await connection.execute(_RENEW, {"program": program, "ends_at": now + hold})


async def release_keys(connection: AsyncConnection, keys: Iterable[str], program: str) -> None:
    """End claims of a program."""
    await connection.execute(_RELEASE, {"keys": sorted(keys), "program": program})


async def trade(
    connection: AsyncConnection,
    name: str,
    program: str,
    *,
    requests: int,
    per: float,
    hold: float,
    wanted: int,
    completed: Mapping[int, float],
    unused: Sequence[int],
    unleased: Sequence[float],
) -> LeaseGrant:
    """Return leases of a window and get others, as `LeaseStore.trade_leases` describes."""
    now = await read_clock(connection)
    parameters = {"name": name, "now": now}
    if unused:
        await connection.execute(_RETURN, {"ids": list(unused)})
    for statement in (_EXPIRE, _FORGET):
        await connection.execute(statement, parameters)
    # A program without a lease may be waiting for one.
    await connection.execute(_SEEN, {"name": name, "program": program, "ends_at": now + hold})
    # Leases that end later than any can were given before the clock was set back.
    await connection.execute(_SHORTEN, {"name": name, "latest": now + _HORIZON * per + max(hold, per)})
    await _end_leases(connection, name, now, {**completed, **{_new_id(): age for age in unleased}}, per)
    granted = await _grant(connection, name, now, requests, now + _HORIZON * per, wanted)
    rows = [_row(id_, name, begins_at, begins_at + hold) for id_, begins_at in granted.items()]
    if rows:
        await connection.execute(_LEASE, rows)
    first = (await connection.execute(_FIRST, parameters)).scalar_one()
    programs = (await connection.execute(_PROGRAMS, parameters)).scalar_one()
    delays = {id_: begins_at - now for id_, begins_at in granted.items()}
    return LeaseGrant(delays, max(0.0, (first or now) - now - _HORIZON * per), programs)


async def _end_leases(
    connection: AsyncConnection, name: str, now: float, ages: Mapping[int, float], per: float
) -> None:
    """End leases one window after their responses, which arrived so many seconds ago."""
    if not ages:
        return
    await connection.execute(_DROP, {"ids": list(ages)})
    rows = [_row(id_, name, now - age, now - age + per) for id_, age in ages.items() if age < per]
    if rows:
        await connection.execute(_LEASE, rows)


async def _grant(
    connection: AsyncConnection, name: str, now: float, requests: int, soon: float, wanted: int
) -> dict[int, float]:
    """Return the ids of free leases, and the times at which they begin.

    Where none is free, those that end soon are followed by others, so that no program has to ask at the very
    moment.
    """
    count = (await connection.execute(_COUNT, {"name": name})).scalar_one()
    free = max(0, min(wanted, requests - count))
    granted = {_new_id(): now for _ in range(free)}
    if free < wanted and count <= requests:
        ending = (
            await connection.execute(_ENDING, {"name": name, "soon": soon, "wanted": wanted - free})
        ).all()
        if ending:
            await connection.execute(_DROP, {"ids": [id_ for id_, _ in ending]})
        granted |= {_new_id(): ends_at for _, ends_at in ending}
    return granted


def _new_id() -> int:
    return secrets.randbits(63)


def _row(id_: int, name: str, begins_at: float, ends_at: float) -> dict[str, Any]:
    return {"id": id_, "name": name, "begins_at": begins_at, "ends_at": ends_at}
