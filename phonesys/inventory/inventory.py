"""The inventory: a database of sweeps."""

from __future__ import annotations

from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import msgspec

from phonesys._concurrency import run_shielded
from phonesys.errors import InvalidArgument, NotOpen, UsageError
from phonesys.inventory.errors import NoSnapshot
from phonesys.inventory.extras import require_extra
from phonesys.inventory.snapshot import LISTED, NAMED, Snapshot
from phonesys.inventory.stored_sweep import StoredSweep

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Container, Iterable, Mapping
    from pathlib import Path

    from phonesys.inventory.diff.changes import Change
    from phonesys.inventory.record import NumberRecord
    from phonesys.inventory.store.database import Database
    from phonesys.sweep import Accounts, SweepReport
    from phonesys.system import PhoneSystem

_DAY = timedelta(days=1)


class Inventory:
    """Keeps sweeps in a database: `async with Inventory("inventory.db") as inventory`.

    A path is a file of SQLite's, made when there is none; a URL may name PostgreSQL too. Needs the extra
    `phonesys[inventory]`, or `phonesys[postgres]`. A database of an older phonesys is migrated when it is
    opened; raises SchemaTooNew for one of a newer.
    """

    def __init__(self, where: str | Path) -> None:
        self._where = where
        self._opened: Database | None = None

    async def __aenter__(self) -> Self:
        if self._opened is not None:
            raise UsageError("this Inventory is open already")
        require_extra("inventory", "sqlalchemy")
        require_extra(
            "inventory", "greenlet"
        )  # what SQLAlchemy needs for asyncio, and does not install by itself
        try:
            await run_shielded(self._connect())
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def _connect(self) -> None:
        from phonesys.inventory.store.database import connect

        self._opened = await connect(self._where)

    async def _close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()

    @property
    def _database(self) -> Database:
        if self._opened is None:
            raise NotOpen("an inventory is used inside of its block: `async with Inventory(…) as inventory`")
        return self._opened

    # Sweeps

    def sweep(
        self,
        phones: PhoneSystem,
        accounts: Mapping[str, Accounts] | None = None,
        *,
        resume: bool = True,
        resume_within: timedelta = _DAY,
        only: Iterable[str] | None = None,
        **options: Any,
    ) -> StoredSweep:
        """Sweep as `phones.sweep` does, with its arguments, and store each page before it is handed on.

        An unfinished sweep of the same backends is resumed: accounts that it read whole are not read again,
        those that it read partly or not at all are. It is forgotten, and a new one begun, with
        `resume=False`, or where it is older than `resume_within`, since a snapshot should be of one time.
        """
        names = list(phones) if only is None else [only] if isinstance(only, str) else list(only)
        # The report keeps every account, so that none is stored twice.
        if not options.pop("keep_done", True):
            raise InvalidArgument("keep_done: a sweep that is stored keeps what is done")
        extras = {name: options.pop(name) for name in list(options) if name in phones}
        named = {**(accounts or {}), **extras}
        sweep = phones.sweep(named, only=names, **options)
        return StoredSweep(self._database, sweep, _scope(names, named), resume_within if resume else None)

    async def collect(
        self, phones: PhoneSystem, accounts: Mapping[str, Accounts] | None = None, **options: Any
    ) -> SweepReport:
        """Sweep to the end, storing everything; takes what `sweep` takes."""
        async with self.sweep(phones, accounts, **options) as sweep:
            async for _ in sweep:
                pass
        return sweep.report

    # Snapshots

    async def snapshots(self) -> list[Snapshot]:
        """Return all finished sweeps, the newest first."""
        from phonesys.inventory.store import reading, schema

        rows = await reading.find_sweeps(self._database, schema.sweeps.c.finished_at.is_not(None))
        return [Snapshot(self._database, row) for row in rows]

    async def snapshot(self, sweep_id: int | None = None) -> Snapshot:
        """Return one finished sweep, the newest by default; raises NoSnapshot."""
        from phonesys.inventory.store import reading, schema

        table = schema.sweeps.c
        which = [table.finished_at.is_not(None)] + ([] if sweep_id is None else [table.id == sweep_id])
        rows = await reading.find_sweeps(self._database, *which, limit=1)
        if not rows:
            what = (
                "the store holds no finished sweep"
                if sweep_id is None
                else f"there is no finished sweep {sweep_id}"
            )
            raise NoSnapshot(what)
        return Snapshot(self._database, rows[0])

    async def previous(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot before this one: of the same backends, else of any; raises NoSnapshot."""
        every = await self.snapshots()
        place = next((i for i, one in enumerate(every) if one.id == snapshot.id), len(every))
        earlier = every[place + 1 :]
        same = [one for one in earlier if one.coverage == snapshot.coverage]
        if not earlier:
            raise NoSnapshot(f"there is no snapshot before {snapshot.id} to compare it with")
        return (same or earlier)[0]

    async def diff(
        self, older: Snapshot | int | None = None, newer: Snapshot | int | None = None
    ) -> AsyncGenerator[Change]:
        """Yield what changed between two snapshots, the last two by default.

        An account that was not read whole in one of them is one change of kind `unknown`; nothing is said of
        its numbers. Raises NoSnapshot where there are not two.
        """
        from phonesys.inventory.diff.snapshots import changes

        new = newer if isinstance(newer, Snapshot) else await self.snapshot(newer)
        if older is None:
            old = await self.previous(new)
        else:
            old = older if isinstance(older, Snapshot) else await self.snapshot(older)
        async with aclosing(changes(self._database, old, new)) as found:
            async for change in found:
                yield change

    async def last_known(
        self, only: Iterable[str], named: Container[str] = ()
    ) -> AsyncGenerator[tuple[tuple[str, str], list[NumberRecord] | None]]:
        """Yield what accounts held when they were last read whole, by backend and account.

        Of the accounts of the newest snapshot of these backends; None for one that never was. Each is in
        memory whole.
        """
        from phonesys.inventory.store import reading

        scope = _scope(only, named)
        async with aclosing(reading.last_known(self._database, scope)) as rows:
            async for row in rows:
                if not row.is_whole:
                    yield row.key, None
                    continue
                held = await reading.numbers_of_pages(self._database, dict.fromkeys(row.pages, row.key))
                yield row.key, [record for page in row.pages for record in held[page]]

    async def prune(self, *, keep: int) -> int:
        """Delete all snapshots but the newest `keep`, and what only they held; return how many."""
        from phonesys.inventory.store import schema
        from phonesys.inventory.store.writing import prune

        if keep < 0:
            raise InvalidArgument(f"keep: expected a whole number from 0, got {keep!r}")
        old = [snapshot.id for snapshot in (await self.snapshots())[keep:]]
        async with self._database.writing() as connection:
            return await prune(connection, schema.sweeps.c.id.in_(old))


def _scope(names: Iterable[str], named: Container[str]) -> str:
    """Describe what a sweep is of: only sweeps of the same are resumed, and compared by default."""
    scope = {name: NAMED if name in named else LISTED for name in names}
    return msgspec.json.encode(scope, order="sorted").decode()
