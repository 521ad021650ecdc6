"""A short version of the long check, and that the check itself sees what is wrong."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from phonesys import Action, ChangeOutcome, ChangeResult, Plan, PlannedChange
from phonesys.changes import Reading, RunState
from phonesys.sandbox import Sandbox
from tests.chaos.apply import Scene, apply_and_undo, holdings

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_plan_is_carried_out_once_however_often_it_is_killed(tmp_path: Path) -> None:
    """A few changes of each kind, two kills, a second time, and the undo: every claim holds."""
    tally = asyncio.run(apply_and_undo(25, 2, 5, tmp_path))
    assert tally.broken == []
    assert tally.outcomes == {ChangeOutcome.DONE: 25}
    assert tally.writes == 25
    assert tally.kills > 0
    assert tally.faulty > 0


@pytest.mark.parametrize(
    ("times", "outcome", "written"),
    [(2, "done", True), (0, "done", True), (1, "rejected", False), (1, "done", False), (1, None, False)],
)
async def test_the_check_sees_an_outcome_that_is_not_true(
    tmp_path: Path, times: int, outcome: str | None, written: bool
) -> None:
    """A write too many, one that is missing, and one that the journal knows nothing about."""
    async with Sandbox(locations=1) as sandbox:
        scene = Scene(sandbox, tmp_path, 1)
        row = next(iter(sandbox.state.assignments.values()))
        for _ in range(times):
            row.updated_at = "2026-01-01T00:00:00Z"
        change = PlannedChange(
            position=1, action=Action.UPDATE, backend="agents", account="default", id=row.id
        )
        plan = Plan(created_at=NOW, reading=Reading(source="live", read_at=NOW), changes=(change,))
        results = {}
        if outcome is not None:
            results[1] = ChangeResult(position=1, outcome=ChangeOutcome(outcome), written=written, at=NOW)
        scene.check_outcomes(plan, RunState(plan_id=plan.id, writer="", started_at=NOW, results=results))
        assert len(scene.tally.broken) == 1


async def test_the_check_sees_a_state_that_differs(tmp_path: Path) -> None:
    """A number that is missing, and one that was changed."""
    async with Sandbox(locations=1) as sandbox:
        scene, before = Scene(sandbox, tmp_path, 1), holdings(sandbox)
        first, second, *_ = list(sandbox.state.assignments.values())
        first.friendly_name = "other"
        del sandbox.state.assignments[second.id]
        scene.compare(holdings(sandbox), before, "now")
        assert len(scene.tally.broken) == 2
        assert scene.ledger.deletes == {second.id: 1}
