"""Runs of plans in the database: the intent of each change before its request, and its outcome afterwards."""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from phonesys._concurrency import Semaphore
from phonesys.changes.change import ChangeOutcome, ChangeResult, Plan, RunState, RunSummary
from phonesys.changes.journal import check_same_plan
from phonesys.errors import RunSuperseded
from phonesys.inventory.errors import NoRun, RunInProgress
from phonesys.inventory.store.schema import change_results, change_runs
from phonesys.inventory.stored_run import StoredRun
from phonesys.oauth.lock import try_lock
from phonesys.oauth.private_files import create_private_folder
from phonesys.writes import Write

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from phonesys.inventory.store.database import Database

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode


class RunStore:
    """Keeps runs. A run that is open is locked, and the lock ends with its process however that ends.

    A lock in SQLite is one of a file beside the database; in PostgreSQL, an open transaction. Should a lock
    be lost while its process lives on, the token of the writer still refuses the earlier process.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = sqlite.insert if database.dialect == "sqlite" else postgresql.insert
        self._locks: dict[str, AsyncExitStack] = {}
        # In one process, writers take turns here instead of polling for the lock of the database.
        self._turn = Semaphore(1)

    async def open(self, plan: Plan) -> RunState:
        """Begin or take up the run of a plan. Raise RunInProgress if another process is at it."""
        async with AsyncExitStack() as stack:
            is_free = await stack.enter_async_context(self._try_lock(plan.id))
            if not is_free:
                raise RunInProgress(
                    f"another process is applying plan {plan.id}; wait for it to end, or end it first"
                )
            state = await self._write(lambda connection: self._claim(connection, plan))
            self._locks[plan.id] = stack.pop_all()
        return state

    async def record_intent(self, run: RunState, position: int, write: Write) -> None:
        """Commit a write that is about to be sent. A previous result of the change is none any more."""
        values = {"intent": _encode(write).decode(), "outcome": None, "result": None}
        await self._record(run, position, values)

    async def record_result(self, run: RunState, result: ChangeResult) -> None:
        """Commit the outcome of a change. Its intent stays, for people who look into the table."""
        values = {"outcome": result.outcome.value, "result": _encode(result).decode()}
        await self._record(run, result.position, values)

    async def close(self, run: RunState, *, finished: bool) -> None:
        """Unlock a run. One that is finished has an outcome for every change."""

        async def work(connection: AsyncConnection) -> None:
            mine = await self._check_writer(connection, run)
            await connection.execute(mine.values(finished_at=datetime.now(UTC)))

        try:
            if finished:
                await self._write(work)
        finally:
            await self._unlock(run.plan_id)

    async def close_all(self) -> None:
        """Unlock all runs."""
        for plan_id in list(self._locks):
            await self._unlock(plan_id)

    async def summaries(self) -> list[RunSummary]:
        """Return all runs, the newest first."""
        columns = [column for column in change_runs.c if column.name not in {"plan", "writer"}]
        counts = select(
            change_results.c.plan_id, change_results.c.outcome, func.count().label("counted")
        ).group_by(change_results.c.plan_id, change_results.c.outcome)
        async with self._database.reading() as connection:
            runs = await connection.execute(select(*columns).order_by(change_runs.c.started_at.desc()))
            counted: dict[str, dict[ChangeOutcome, int]] = {}
            for row in await connection.execute(counts):
                outcomes = counted.setdefault(row.plan_id, {})
                outcome = ChangeOutcome.UNCLEAR if row.outcome is None else ChangeOutcome(row.outcome)
                outcomes[outcome] = outcomes.get(outcome, 0) + row.counted
            return [_summary(row, counted.get(row.plan_id, {})) for row in runs]

    async def find(self, plan_id: str | None) -> StoredRun:
        """Return a run by the id of its plan or the unique beginning of one, or the newest. Raise NoRun."""
        newest_first = select(change_runs).order_by(change_runs.c.started_at.desc())
        if plan_id is None:
            query = newest_first.limit(1)
        else:
            query = newest_first.where(change_runs.c.plan_id.startswith(plan_id, autoescape=True)).limit(2)
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).all()
            if len(rows) != 1:
                several = f"several runs begin with {plan_id!r:.40}" if rows else "no run"
                which = "" if rows or plan_id is None else f" {plan_id!r:.40}"
                raise NoRun(f"{several}{which} in the store")
            return StoredRun(Plan.from_jsonl(rows[0].plan), await _state(connection, rows[0]))

    # In a transaction

    async def _claim(self, connection: AsyncConnection, plan: Plan) -> RunState:
        """Become the only writer of a run."""
        token = secrets.token_hex(8)
        mine = change_runs.c.plan_id == plan.id
        found = await connection.execute(update(change_runs).where(mine).values(writer=token))
        if found.rowcount == 0:
            await connection.execute(insert(change_runs).values(_run_values(plan, token)))
        row = (await connection.execute(select(change_runs).where(mine))).one()
        check_same_plan(Plan.from_jsonl(row.plan), plan)
        return await _state(connection, row)

    async def _record(self, run: RunState, position: int, values: dict[str, Any]) -> None:
        async def work(connection: AsyncConnection) -> None:
            await self._check_writer(connection, run)
            row = {"plan_id": run.plan_id, "position": position, **values}
            upsert = self._insert(change_results).values(row)
            keys = [change_results.c.plan_id, change_results.c.position]
            await connection.execute(upsert.on_conflict_do_update(index_elements=keys, set_=values))

        await self._write(work)

    async def _check_writer(self, connection: AsyncConnection, run: RunState) -> Any:
        """Return the statement that changes the run. Raise RunSuperseded."""
        row = select(change_runs.c.writer).where(change_runs.c.plan_id == run.plan_id)
        writer = await connection.scalar(row.with_for_update(read=True))
        if writer != run.writer:
            raise RunSuperseded(f"the run of plan {run.plan_id} was taken up by another process")
        return update(change_runs).where(change_runs.c.plan_id == run.plan_id)

    async def _write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        await self._turn.acquire()
        try:
            return await self._database.write(work, durable=True)
        finally:
            self._turn.release()

    # Locks

    @asynccontextmanager
    async def _try_lock(self, plan_id: str) -> AsyncGenerator[bool]:
        """Lock a run if it is free. Yield False if another process, or this one, holds it."""
        name = sha256(f"phonesys/apply/{plan_id}".encode()).digest()
        if self._database.dialect == "sqlite":
            file = Path(str(self._database.engine.url.database))
            folder = file.with_name(f"{file.name}.d")
            create_private_folder(folder)
            with try_lock(folder / f"apply-{name.hex()[:16]}") as is_free:
                yield is_free
            return
        number = int.from_bytes(name[:8], signed=True)
        async with self._database.writing() as connection:
            yield bool(await connection.scalar(text("SELECT pg_try_advisory_xact_lock(:id)"), {"id": number}))

    async def _unlock(self, plan_id: str) -> None:
        lock = self._locks.pop(plan_id, None)
        if lock is not None:
            await lock.aclose()


def _run_values(plan: Plan, writer: str) -> dict[str, Any]:
    return {
        "plan_id": plan.id,
        "plan": plan.to_jsonl().decode(),
        "writer": writer,
        "created_at": plan.created_at,
        "started_at": datetime.now(UTC),
        "changes": len(plan.changes),
        "undoes": plan.undoes,
    }


async def _state(connection: AsyncConnection, run: Row[Any]) -> RunState:
    mine = select(change_results).where(change_results.c.plan_id == run.plan_id)
    rows = (await connection.execute(mine.order_by(change_results.c.position))).all()
    return RunState(
        plan_id=run.plan_id,
        writer=run.writer,
        started_at=run.started_at,
        finished_at=run.finished_at,
        intents={
            row.position: msgspec.json.decode(row.intent, type=Write)
            for row in rows
            if row.intent is not None and row.outcome in {None, ChangeOutcome.UNCLEAR}
        },
        results={
            row.position: msgspec.json.decode(row.result, type=ChangeResult)
            for row in rows
            if row.result is not None
        },
    )


def _summary(row: Row[Any], outcomes: dict[ChangeOutcome, int]) -> RunSummary:
    missing = row.changes - sum(outcomes.values())
    if missing:
        outcomes[ChangeOutcome.NOT_REACHED] = outcomes.get(ChangeOutcome.NOT_REACHED, 0) + missing
    return RunSummary(
        plan_id=row.plan_id,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        changes=row.changes,
        outcomes=outcomes,
        undoes=row.undoes,
    )
