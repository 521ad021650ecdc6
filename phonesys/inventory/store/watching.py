"""The state of watches: how far they are, the findings that are open, and alerts that are to be sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from phonesys.inventory.store.schema import alert_destinations, alerts, findings, watches
from phonesys.inventory.store.watch_rows import Alert, OpenFinding, Outbox

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    from phonesys.inventory.audit import Finding
    from phonesys.inventory.store.database import Database

MAX_ALERTS = 10_000
"""Alerts that wait for a destination. Older ones become one line with their number."""

_SEVERITY_OF_OLD = 9


class WatchState:
    """The state of watches of these backends in the store; made by `Inventory.watch_state`."""

    def __init__(self, database: Database, scope: str) -> None:
        self._database = database
        self._scope = scope

    async def last_sweep(self) -> int | None:
        """Return the id of the last sweep that was recorded."""
        async with self._database.reading() as connection:
            found = await connection.execute(select(watches.c.sweep_id).where(watches.c.scope == self._scope))
            return found.scalar()

    async def open_findings(self) -> dict[str, OpenFinding]:
        """Return the findings that are open, by key."""
        return await open_findings(self._database)

    async def record(
        self,
        sweep_id: int,
        *,
        new: Mapping[str, Finding],
        found_at: datetime,
        resolved: Collection[str] = (),
        lines: Iterable[Alert] = (),
    ) -> None:
        """Store the results of comparing a sweep, all or nothing."""
        rows = [
            {"key": key, "code": one.code, "found_at": found_at, "finding": msgspec.json.encode(one).decode()}
            for key, one in new.items()
        ]
        waiting = [_alert_row(alert) for alert in lines]

        async def store(connection: AsyncConnection) -> None:
            if resolved:
                gone = delete(findings).where(findings.c.key == bindparam("gone"))
                await connection.execute(gone, [{"gone": key} for key in resolved])
            if rows:
                await connection.execute(insert(findings), rows)
            if waiting:
                await connection.execute(insert(alerts), waiting)
                await _join_old(connection)
            kind = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
            mark = kind(watches).values(scope=self._scope, sweep_id=sweep_id)
            await connection.execute(
                mark.on_conflict_do_update(index_elements=["scope"], set_={"sweep_id": sweep_id})
            )

        await self._database.write(store)

    async def register(self, names: Collection[str]) -> None:
        """Add destinations, which receive what is found from now on, and forget all others."""

        async def store(connection: AsyncConnection) -> None:
            table = alert_destinations
            await connection.execute(delete(table).where(table.c.name.not_in(names)))
            known = set((await connection.execute(select(table.c.name))).scalars())
            last = (await connection.execute(select(func.coalesce(func.max(alerts.c.id), 0)))).scalar_one()
            for name in names:
                if name not in known:
                    await connection.execute(insert(table).values(name=name, sent_up_to=last, uncertain=0))
            await _delete_sent(connection)

        await self._database.write(store)

    async def outbox(self, name: str) -> Outbox:
        """Return the alerts for a destination.

        A message that was being sent when its program was killed may have arrived. Its alerts are not sent
        again, but counted.
        """
        return await self._database.write(lambda connection: _read_outbox(connection, name))

    async def begin_sending(self, name: str, up_to: int) -> None:
        """Record that a message with all alerts up to this one is about to be sent."""
        await self._update(name, sending_up_to=up_to)

    async def end_sending(self, name: str, up_to: int | None) -> None:
        """Record that it was sent with all alerts up to this one, or with None that it was not sent."""
        values: dict[str, Any] = {"sending_up_to": None}
        if up_to is not None:
            values |= {"sent_up_to": up_to, "sent_at": datetime.now(UTC), "uncertain": 0}
        await self._update(name, **values)

    async def skip(self, name: str, up_to: int) -> None:
        """Record that nothing up to this alert needs to be sent."""
        await self._update(name, sent_up_to=up_to)

    async def _update(self, name: str, **values: Any) -> None:
        async def store(connection: AsyncConnection) -> None:
            place = alert_destinations.c.name == name
            await connection.execute(update(alert_destinations).where(place).values(**values))
            await _delete_sent(connection)

        await self._database.write(store)


async def open_findings(database: Database) -> dict[str, OpenFinding]:
    """Return the findings that are open, by key."""
    columns = (findings.c.key, findings.c.found_at, findings.c.finding)
    async with database.reading() as connection:
        rows = (await connection.execute(select(*columns))).all()
    return {key: OpenFinding(found_at, encoded) for key, found_at, encoded in rows}


async def _read_outbox(connection: AsyncConnection, name: str) -> Outbox:
    place = alert_destinations.c.name == name
    row = (await connection.execute(select(alert_destinations).where(place))).one()
    uncertain, sent_up_to = int(row.uncertain), row.sent_up_to
    if row.sending_up_to is not None:
        lost = select(func.coalesce(func.sum(alerts.c.size), 0)).where(
            alerts.c.id > sent_up_to, alerts.c.id <= row.sending_up_to
        )
        uncertain += int((await connection.execute(lost)).scalar_one())
        sent_up_to = row.sending_up_to
        await connection.execute(
            update(alert_destinations)
            .where(place)
            .values(sent_up_to=sent_up_to, sending_up_to=None, uncertain=uncertain)
        )
    query = select(alerts).where(alerts.c.id > sent_up_to).order_by(alerts.c.id)
    found = [
        Alert(one.kind, one.text, int(one.severity), one.key, int(one.size), one.id)
        for one in await connection.execute(query)
    ]
    return Outbox(found, row.sent_at, uncertain)


def _alert_row(alert: Alert) -> dict[str, Any]:
    return {
        "kind": alert.kind,
        "key": alert.key,
        "severity": alert.severity,
        "size": alert.items,
        "text": alert.text.replace("\0", ""),
    }


async def _join_old(connection: AsyncConnection) -> None:
    """Replace all but the newest alerts with one, so that a dead destination fills no disk."""
    newest = select(alerts.c.id).order_by(alerts.c.id.desc()).offset(MAX_ALERTS - 1).limit(1)
    last = (await connection.execute(newest)).scalar()
    if last is None:
        return
    old = alerts.c.id <= last
    count = (await connection.execute(select(func.sum(alerts.c.size)).where(old))).scalar_one()
    await connection.execute(delete(alerts).where(alerts.c.id < last))
    joined = {"kind": "old", "key": None, "severity": _SEVERITY_OF_OLD, "size": int(count)}
    text = "of earlier sweeps, no longer listed one by one"
    await connection.execute(update(alerts).where(alerts.c.id == last).values(**joined, text=text))


async def _delete_sent(connection: AsyncConnection) -> None:
    """Delete the alerts that every destination has received."""
    received = (await connection.execute(select(func.min(alert_destinations.c.sent_up_to)))).scalar()
    everywhere = delete(alerts)
    await connection.execute(everywhere if received is None else everywhere.where(alerts.c.id <= received))
