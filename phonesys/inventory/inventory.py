"""The inventory: a database of sweeps."""

from __future__ import annotations

from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import msgspec

from phonesys._extras import require_extra
from phonesys.errors import InvalidArgument, NotOpen, UsageError
from phonesys.inventory.errors import NoSnapshot
from phonesys.inventory.shard import Shard, select_shard, validate_snapshot_name
from phonesys.inventory.snapshot import LISTED, NAMED, Snapshot
from phonesys.inventory.stored_sweep import RecordingReport, StoredSweep
from phonesys.system import keywords_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Iterable, Mapping
    from pathlib import Path

    from phonesys.changes import ChangeResult, Plan, RunState, RunSummary
    from phonesys.inventory.diff import Change, Comparison
    from phonesys.inventory.record import AccountKey
    from phonesys.inventory.store.database import Database
    from phonesys.inventory.store.runs import RunStore
    from phonesys.inventory.store.watch_rows import OpenFinding
    from phonesys.inventory.store.watching import WatchState
    from phonesys.inventory.store.writing import SweepWriter
    from phonesys.inventory.stored_run import StoredRun
    from phonesys.record import NumberRecord
    from phonesys.sweep import Accounts, SweepReport
    from phonesys.system import PhoneSystem
    from phonesys.writes import Write

_DAY = timedelta(days=1)


class Inventory:
    """Stores sweeps in a database: `async with Inventory("inventory.db") as inventory`.

    A path names an SQLite file, which is created if it does not exist. A URL names SQLite or PostgreSQL.
    Needs the extra `phonesys[inventory]` or `phonesys[postgres]`. A database of an older phonesys is migrated
    on opening, unless it is opened with `read_only=True`. Raises SchemaTooNew for a database of a newer one.

    Reading needs only the right to read. With `read_only=True` a missing file is an error, and nothing is
    created, migrated or written.
    """

    def __init__(self, where: str | Path, *, read_only: bool = False) -> None:
        self._where = where
        self._read_only = read_only
        self._opened: Database | None = None
        self._run_store: RunStore | None = None

    def __repr__(self) -> str:
        return f"<Inventory {_shown(self._where)!r}, {'closed' if self._opened is None else 'open'}>"

    async def __aenter__(self) -> Self:
        if self._opened is not None:
            raise UsageError("this Inventory is already open")
        require_extra("inventory", "sqlalchemy")
        # SQLAlchemy needs it for asyncio, but does not install it on every platform.
        require_extra("inventory", "greenlet")
        try:
            await self._connect()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def _connect(self) -> None:
        from phonesys.inventory.store.database import connect

        self._opened = await connect(self._where, read_only=self._read_only)

    async def _close(self) -> None:
        runs, self._run_store = self._run_store, None
        if runs is not None:
            await runs.close_all()
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()

    @property
    def _database(self) -> Database:
        if self._opened is None:
            raise NotOpen("an inventory is used inside its block: `async with Inventory(…) as inventory`")
        return self._opened

    @property
    def _runs(self) -> RunStore:
        from phonesys.inventory.store.runs import RunStore

        if self._run_store is None:
            self._run_store = RunStore(self._database)
        return self._run_store

    # Sweeps

    def sweep(
        self,
        phones: PhoneSystem,
        accounts: Mapping[str, Accounts] | None = None,
        *,
        resume: bool = True,
        resume_within: timedelta = _DAY,
        only: Iterable[str] | None = None,
        snapshot: str | None = None,
        shard: Shard | None = None,
        split_companies: bool = False,
        **options: Any,
    ) -> StoredSweep:
        """Sweep like `phones.sweep`, with its arguments, and store each page before yielding it.

        Resumes an unfinished sweep of the same backends: accounts that it read completely are not read
        again. An unfinished sweep is deleted instead with `resume=False`, or if it is older than
        `resume_within`, since a snapshot should show one point in time.

        - `snapshot`: a name, under which the sweep is always resumed. A finished one is not swept again.
        - `shard`: only this part of the accounts. Several processes sweep the shards of one name, each shard
          once, and the last one to finish makes the snapshot. Accounts of one company stay in one shard.
        - `split_companies`: they do not, for processes that share the company's tokens and its rate window.
        """
        names = phones.select(only)
        # The report lists every account, so that none is stored twice.
        if not options.pop("keep_done", True):
            raise InvalidArgument("keep_done: a stored sweep always keeps accounts that are done")
        extras = {name: options.pop(name) for name in list(options) if name in phones}
        sweep_keywords = keywords_of(phones.sweep)
        phones.check_names(options.keys() - set(sweep_keywords), keywords_of(phones.sweep, self.sweep))
        configured = {name: ids for name, ids in phones.configured_accounts.items() if name in names}
        named = {**configured, **(accounts or {}), **extras}
        report = RecordingReport()
        begin = _begin(_coverage(names, named), snapshot, shard, resume_within if resume else None)
        if shard is not None:
            named = select_shard(phones, names, named, shard, report, split_companies=split_companies)
        sweep = phones.sweep(named, only=names, report=report, **options)
        return StoredSweep(self._database, sweep, report, begin)

    def sweep_shard(
        self,
        phones: PhoneSystem,
        accounts: Mapping[str, Accounts | None],
        *,
        snapshot: str,
        shard: Shard,
        coverage: Mapping[str, str],
        **options: Any,
    ) -> StoredSweep:
        """Sweep exactly these accounts as one shard, for programs that divide the accounts themselves.

        - `accounts`: by backend; None for all that it lists. Other backends are not swept.
        - `coverage`: that of the snapshot, the same for all its shards.
        """
        report = RecordingReport()
        named = {name: those for name, those in accounts.items() if those is not None}
        sweep = phones.sweep(named, only=list(accounts), report=report, **options)
        return StoredSweep(
            self._database, sweep, report, _begin(encode_coverage(coverage), snapshot, shard, _DAY)
        )

    async def begun_snapshot(
        self, coverage: Mapping[str, str], name: str | None = None, *, within: timedelta = _DAY
    ) -> tuple[str, int] | None:
        """Return the name and the number of shards of a named sweep that was begun, or None.

        Without a name: the newest unfinished one with this coverage, if it began `within` this time.
        """
        from phonesys.inventory.store.sharding import find_begun

        return await find_begun(self._database, encode_coverage(coverage), name, within)

    async def collect(
        self, phones: PhoneSystem, accounts: Mapping[str, Accounts] | None = None, **options: Any
    ) -> SweepReport:
        """Sweep to the end, storing every page. Takes the arguments of `sweep`."""
        async with self.sweep(phones, accounts, **options) as sweep:
            async for _ in sweep:
                pass
        return sweep.report

    # Snapshots

    async def snapshots(self) -> list[Snapshot]:
        """Return all snapshots, the newest first."""
        from phonesys.inventory.store import reading, schema

        rows = await reading.find_sweeps(self._database, schema.sweeps.c.finished_at.is_not(None))
        return [Snapshot(self._database, row) for row in rows]

    async def snapshot(self, which: int | str | None = None) -> Snapshot:
        """Return a snapshot by its id or its name, or the newest. Raises NoSnapshot."""
        from phonesys.inventory.store import reading, schema

        column = schema.sweeps.c.name if isinstance(which, str) else schema.sweeps.c.id
        chosen = [] if which is None else [column == which]
        finished = schema.sweeps.c.finished_at.is_not(None)
        rows = await reading.find_sweeps(self._database, finished, *chosen, limit=1)
        if not rows:
            raise NoSnapshot(f"no snapshot{'' if which is None else f' {which}'} in the store")
        return Snapshot(self._database, rows[0])

    async def earlier(self, snapshot: Snapshot, /) -> list[Snapshot]:
        """Return the snapshots before this one, the newest first."""
        return [one for one in await self.snapshots() if one.id < snapshot.id]

    async def previous(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot before this one, preferably of the same backends. Raises NoSnapshot."""
        earlier = await self.earlier(snapshot)
        same = [one for one in earlier if one.coverage == snapshot.coverage]
        if not earlier:
            raise NoSnapshot(f"no snapshot before {snapshot.id} to compare it with")
        return (same or earlier)[0]

    async def diff(
        self, older: Snapshot | int | str | None = None, newer: Snapshot | int | str | None = None
    ) -> AsyncGenerator[Change]:
        """Yield the changes between two snapshots, by default the last two.

        An account that was not read completely in both yields one change of kind `unknown`, and none of its
        numbers. Raises NoSnapshot if there are no two snapshots.
        """
        from phonesys.inventory.diff.snapshots import compare_snapshots

        new = newer if isinstance(newer, Snapshot) else await self.snapshot(newer)
        if older is None:
            old = await self.previous(new)
        else:
            old = older if isinstance(older, Snapshot) else await self.snapshot(older)
        async with aclosing(compare_snapshots(self._database, old, new)) as found:
            async for change in found:
                yield change

    async def compare(
        self, older: Snapshot | int | str | None = None, newer: Snapshot | int | str | None = None
    ) -> Comparison:
        """Return all changes that `diff` yields, as a list that a notebook shows as a table."""
        from phonesys.inventory.diff import Comparison

        return Comparison([change async for change in self.diff(older, newer)])

    async def last_known(
        self, only: Iterable[str], named: Container[str] = (), *, until: int | None = None
    ) -> AsyncGenerator[tuple[AccountKey, list[NumberRecord] | None]]:
        """Yield each account of the newest snapshot of these backends, as it was last read completely.

        Yields ((backend, account), records), with None as the records of an account that never was.
        Snapshots with an id above `until` are not read.
        """
        from phonesys.inventory.store import reading

        scope = _coverage(only, named)
        async with aclosing(reading.last_complete_accounts(self._database, scope, until)) as rows:
            async for row in rows:
                if not row.is_complete:
                    yield row.key, None
                    continue
                yield row.key, await reading.records_of_account(self._database, row)

    # Watches

    def watch_state(self, only: Iterable[str], named: Container[str] = ()) -> WatchState:
        """Return what watches of these backends keep in the store."""
        from phonesys.inventory.store.watching import WatchState

        return WatchState(self._database, _coverage(only, named))

    async def open_findings(self) -> list[OpenFinding]:
        """Return the findings of watches that are not resolved, the oldest first.

        Empty without a watch that audits.
        """
        from phonesys.inventory.store.watching import open_findings

        found = (await open_findings(self._database)).values()
        return sorted(found, key=lambda one: one.found_at)

    async def prune(self, *, keep: int) -> int:
        """Delete all snapshots but the newest `keep`. Return the number of deleted snapshots."""
        from phonesys.inventory.store import schema
        from phonesys.inventory.store.writing import prune

        if keep < 0:
            raise InvalidArgument(f"keep: expected a whole number from 0, got {keep!r}")
        old = [snapshot.id for snapshot in (await self.snapshots())[keep:]]
        return await self._database.write(lambda connection: prune(connection, schema.sweeps.c.id.in_(old)))

    # Runs of plans: the methods of `phonesys.changes.Journal`, and those that show what they recorded

    async def open_run(self, plan: Plan, /) -> RunState:
        """Begin the run of a plan, or take up one that ended early. Raises RunInProgress.

        The run is locked until `close_run`, the end of the inventory's block or that of the process.
        """
        return await self._runs.open(plan)

    async def record_intent(self, run: RunState, position: int, write: Write, /) -> None:
        """Commit a write that is about to be sent. Raises RunSuperseded."""
        await self._runs.record_intent(run, position, write)

    async def record_result(self, run: RunState, result: ChangeResult, /) -> None:
        """Commit the outcome of a change. Raises RunSuperseded."""
        await self._runs.record_result(run, result)

    async def close_run(self, run: RunState, /, *, finished: bool) -> None:
        """Unlock a run. Raises RunSuperseded."""
        await self._runs.close(run, finished=finished)

    async def runs(self) -> list[RunSummary]:
        """Return the runs of all plans, the newest first."""
        return await self._runs.summaries()

    async def run(self, plan_id: str | None = None) -> StoredRun:
        """Return a run by its plan's id or the beginning of one, or the newest. Raises NoRun."""
        return await self._runs.find(plan_id)


def _begin(
    scope: str, snapshot: str | None, shard: Shard | None, resume_within: timedelta | None
) -> Callable[[Database], Awaitable[SweepWriter]]:
    """Return what claims the sweep. Raises InvalidArgument."""
    if snapshot is None:
        if shard is not None:
            raise InvalidArgument("shard: expected snapshot= too, the name that all shards share")
        from phonesys.inventory.store.writing import begin_sweep

        return lambda database: begin_sweep(database, scope, resume_within)
    from phonesys.inventory.store.sharding import begin_shard

    if resume_within is None:
        raise InvalidArgument("snapshot: a named sweep is always resumed; use another name")
    name, part = validate_snapshot_name(snapshot), shard or Shard(1, 1)
    return lambda database: begin_shard(database, name, part, scope)


def _coverage(names: Iterable[str], named: Container[str]) -> str:
    return encode_coverage({name: NAMED if name in named else LISTED for name in names})


def encode_coverage(coverage: Mapping[str, str]) -> str:
    """Return the coverage of a sweep as JSON. Sweeps with the same coverage are resumed and compared."""
    return msgspec.json.encode(coverage, order="sorted").decode()


def _shown(where: str | Path) -> str:
    """Return a path, or the scheme and host of a URL: its other parts may hold a password."""
    text = str(where)
    if "://" not in text or text.startswith("sqlite"):
        return text.partition("?")[0]
    scheme, _, rest = text.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
