"""Runs of plans in the store: nothing is lost, and one process at a time writes."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from phonesys import Action, ChangeOutcome, ChangeResult, Plan, PlannedChange, RunSuperseded, Write
from phonesys.changes import Journal, Reading
from phonesys.inventory import Inventory, NoRun, RunInProgress
from phonesys.inventory.store.runs import RunStore
from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 3, 4, 15, 6, 7, 891011, tzinfo=UTC)


def plan(count: int = 3, id_: str = "a" * 32, undoes: str | None = None) -> Plan:
    changes = tuple(
        PlannedChange(
            position=position,
            action=Action.UPDATE,
            backend="agents",
            account="default",
            id=f"num_{position}",
            number=f"+1415555267{position}",
            label='Tür \N{TELEPHONE RECEIVER} "quoted"\0',
            old={"assignee": "agent_1", "is_enabled": True},
            new={"assignee": None},
        )
        for position in range(1, count + 1)
    )
    return Plan(
        id=id_, created_at=NOW, reading=Reading(source="live", read_at=NOW), changes=changes, undoes=undoes
    )


def write(position: int) -> Write:
    return Write(
        kind="update",
        account="default",
        number_id=f"num_{position}",
        wanted={"agent_id": None, "enabled": True},
        version=NOW,
        started_at=NOW,
        ended_at=NOW,
    )


def result(position: int, outcome: ChangeOutcome = ChangeOutcome.DONE) -> ChangeResult:
    return ChangeResult(
        position=position, outcome=outcome, reason="Grund\0", now={"assignee": None}, written=True, at=NOW
    )


def test_an_inventory_is_a_journal(tmp_path: Path) -> None:
    """Its methods have the signatures of the protocol, which mypy checks."""
    journal: Journal = Inventory(tmp_path / "inventory.db")
    assert isinstance(journal, Inventory)


async def test_what_is_recorded_is_found(where: str) -> None:
    """A run is read back as it was written, by another program and by the beginning of its id."""
    async with Inventory(where) as inventory:
        run = await inventory.open_run(plan())
        assert (run.intents, run.results, run.finished_at) == ({}, {}, None)
        await inventory.record_intent(run, 1, write(1))
        await inventory.record_intent(run, 2, write(2))
        await inventory.record_result(run, result(2))
    async with Inventory(where) as inventory:
        found = await inventory.run("aaaa")
        assert found.plan == plan()
        assert found.state.intents == {1: write(1)}
        assert found.state.results == {2: result(2)}
        again = await inventory.open_run(plan())
        assert (again.intents, again.results) == ({1: write(1)}, {2: result(2)})
        assert again.writer != run.writer
        assert again.started_at == run.started_at


async def test_runs_are_counted(where: str) -> None:
    """What may have been sent is unclear, and what was not sent is not reached."""
    async with Inventory(where) as inventory:
        assert await inventory.runs() == []
        run = await inventory.open_run(plan(5))
        await inventory.record_intent(run, 1, write(1))
        await inventory.record_result(run, result(1))
        await inventory.record_intent(run, 2, write(2))
        await inventory.record_result(run, result(3, ChangeOutcome.NOT_REACHED))
        await inventory.open_run(plan(1, "b" * 32, undoes=run.plan_id))
        newest, oldest = await inventory.runs()
    assert (newest.plan_id, newest.undoes, newest.changes) == ("b" * 32, "a" * 32, 1)
    assert oldest.finished_at is None
    assert oldest.outcomes == {
        ChangeOutcome.DONE: 1,
        ChangeOutcome.UNCLEAR: 1,
        ChangeOutcome.NOT_REACHED: 3,
    }


async def test_a_change_that_is_tried_again_has_no_result_until_it_ends(where: str) -> None:
    """Otherwise a process killed meanwhile would believe the earlier result."""
    async with Inventory(where) as inventory:
        run = await inventory.open_run(plan())
        await inventory.record_result(run, result(1, ChangeOutcome.NOT_REACHED))
        await inventory.record_intent(run, 1, write(1))
        state = (await inventory.run(run.plan_id)).state
        assert (state.intents, state.results) == ({1: write(1)}, {})


async def test_a_run_is_finished_once(where: str) -> None:
    """A run that is given up is not finished."""
    async with Inventory(where) as inventory:
        run = await inventory.open_run(plan(1))
        await inventory.close_run(run, finished=False)
        assert (await inventory.run(run.plan_id)).state.finished_at is None
        run = await inventory.open_run(plan(1))
        await inventory.record_result(run, result(1))
        await inventory.close_run(run, finished=True)
        assert (await inventory.run(run.plan_id)).state.finished_at is not None


async def test_unknown_runs(where: str) -> None:
    """A beginning must be of one run. Without one, it is the newest."""
    async with Inventory(where) as inventory:
        with pytest.raises(NoRun, match="no run in the store"):
            await inventory.run()
        await inventory.open_run(plan(1, "a1" * 16))
        await inventory.open_run(plan(1, "a2" * 16))
        assert (await inventory.run("a2")).plan.id == (await inventory.run()).plan.id == "a2" * 16
        for beginning, reason in (("a", "several runs"), ("b", "no run"), ("%", "no run"), ("_", "no run")):
            with pytest.raises(NoRun, match=reason):
                await inventory.run(beginning)


async def test_one_process_at_a_time(where: str) -> None:
    """The second is refused before it sends anything, until the first gives the run up."""
    async with Inventory(where) as first, Inventory(where) as second:
        run = await first.open_run(plan())
        for inventory in (first, second):
            with pytest.raises(RunInProgress, match="another process"):
                await inventory.open_run(plan())
        await second.open_run(plan(1, "b" * 32))
        await first.record_intent(run, 1, write(1))
        await first.close_run(run, finished=False)
        taken = await second.open_run(plan())
        assert taken.intents == {1: write(1)}


async def test_a_process_that_lost_its_lock_writes_no_more(where: str) -> None:
    """As after a failover of the database: the newer writer wins, and the older one sends nothing."""
    async with Inventory(where) as first, Inventory(where) as second:
        run = await first.open_run(plan())
        await first._runs._unlock(run.plan_id)
        await second.open_run(plan())
        with pytest.raises(RunSuperseded):
            await first.record_intent(run, 1, write(1))
        with pytest.raises(RunSuperseded):
            await first.record_result(run, result(1))
        with pytest.raises(RunSuperseded):
            await first.close_run(run, finished=True)
        assert (await second.run(run.plan_id)).state.intents == {}


async def test_many_at_once(where: str) -> None:
    """Intents and results of concurrent changes do not disturb each other, nor readers."""
    async with Inventory(where) as inventory:
        run = await inventory.open_run(plan(100))

        async def change(position: int) -> None:
            await inventory.record_intent(run, position, write(position))
            await inventory.record_result(run, result(position))

        await asyncio.gather(*map(change, range(1, 101)), inventory.runs())
        assert len((await inventory.run(run.plan_id)).state.results) == 100


async def test_commits_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite syncs an intent before the request goes out; a page of a sweep need not."""
    levels: list[int] = []
    async with Inventory(tmp_path / "inventory.db") as inventory:
        record = RunStore._check_writer

        async def noting(self: RunStore, connection: object, run: object) -> object:
            levels.append(await connection.scalar(text("PRAGMA synchronous")))  # type: ignore[attr-defined]
            return await record(self, connection, run)  # type: ignore[arg-type]

        from sqlalchemy import text

        monkeypatch.setattr(RunStore, "_check_writer", noting)
        run = await inventory.open_run(plan())
        await inventory.record_intent(run, 1, write(1))
        async with inventory._database.writing() as connection:
            levels.append(await connection.scalar(text("PRAGMA synchronous")))
    assert levels == [2, 1]


KILLED = """
import asyncio, sys
from tests.inventory.test_inventory_runs import plan, write
from phonesys.inventory import Inventory

async def main():
    async with Inventory(sys.argv[1]) as inventory:
        run = await inventory.open_run(plan())
        await inventory.record_intent(run, 1, write(1))
        print("recorded", flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_a_killed_process_leaves_its_intents_and_no_lock(where: str) -> None:
    """Another one takes up the run at once."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, where, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE), Inventory(where) as inventory:
        assert await process.stdout.readline() == b"recorded\n"
        with pytest.raises(RunInProgress):
            await inventory.open_run(plan())
        process.kill()
        await process.wait()
        run = None
        while run is None:  # PostgreSQL has yet to notice that the connection is gone
            with suppress(RunInProgress):
                run = await inventory.open_run(plan())
        assert run.intents == {1: write(1)}
