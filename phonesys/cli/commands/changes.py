"""`phonesys changes` and `undo`: runs of plans in a store, and the plans that take them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from phonesys.changes import ChangeOutcome
from phonesys.cli import plans
from phonesys.cli.groups import (  # noqa: TC001 -- typer reads the annotations
    ConfigOptions,
    LogOptions,
    RowOptions,
)
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    ConfigOption,
    PlanFormatOption,
    PlanOutputOption,
    RequiredStoreOption,
)
from phonesys.cli.phones import open_phones
from phonesys.cli.progress import pluralize
from phonesys.cli.running import DONE
from phonesys.cli.showing import show_plan
from phonesys.cli.store import existing_store
from phonesys.cli.terminal import print_info
from phonesys.inventory import Inventory

if TYPE_CHECKING:
    from phonesys.inventory import StoredRun

_LAST = "last"


def changes(
    run_id: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="Show the changes of this run: the beginning of its id, or `last`. "
            "[dim]Default: list all runs[/dim]",
            show_default=False,
        ),
    ] = None,
    *,
    outcome: Annotated[
        list[ChangeOutcome] | None,
        typer.Option(metavar="OUTCOME", help="With RUN: only changes with this outcome. May be repeated."),
    ] = None,
    store: RequiredStoreOption = None,
    config: ConfigOption = None,
    rows: RowOptions,
    log: LogOptions,
) -> None:
    """List the runs of plans with their outcomes, or the changes of one run."""

    async def main() -> int:
        rows.check(plans.RunRow if run_id is None else plans.ResultRow)
        async with Inventory(existing_store(store, config), read_only=True) as inventory:
            if run_id is None:
                found = [plans.run_row(one) for one in await inventory.runs()]
                await rows.write(plans.RunRow, found, table=plans.runs_table)
                print_info(pluralize(len(found), "run"))
                return DONE
            stored = await inventory.run(None if run_id == _LAST else run_id)
            every = _rows_of(stored)
            chosen = [row for row in every if outcome is None or row.outcome in outcome]
            await rows.write(plans.ResultRow, chosen, table=plans.results_table)
        counts = {one: sum(row.outcome is one for row in every) for one in ChangeOutcome}
        print_info(f"run {stored.plan.id[: plans.SHORT_ID]}: {plans.outcome_counts(counts)}")
        return DONE

    log.run(main)


def _rows_of(stored: StoredRun) -> list[plans.ResultRow]:
    plan, state = stored
    return [
        plans.result_row(
            plan.id, change, state.results.get(change.position), sent=change.position in state.intents
        )
        for change in plan.changes
    ]


def undo(
    run_id: Annotated[
        str,
        typer.Argument(metavar="RUN", help="Run to take back: the beginning of its id."),
    ] = _LAST,
    *,
    store: RequiredStoreOption = None,
    origin: ConfigOptions,
    format_: PlanFormatOption = plans.PlanFormat.TABLE,
    output: PlanOutputOption = None,
    log: LogOptions,
) -> None:
    """Show the plan that takes a run back, as far as the vendors allow, and keep it.

    Nothing is changed. `phonesys apply` carries the plan out.
    """

    async def main() -> int:
        async with Inventory(existing_store(store, origin.config), read_only=True) as inventory:
            plan, state = await inventory.run(None if run_id == _LAST else run_id)
        names = {change.backend: None for change in plan.changes}
        async with open_phones(origin, names, sandbox=False) as phones:
            await show_plan(phones.undo(plan, state.results.values()), format_, output)
        return DONE

    log.run(main)
