"""`phonesys buy`: purchase a number."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from phonesys._validation import validate_e164
from phonesys.changes import ChangeOutcome
from phonesys.cli.groups import ConfigOptions, LogOptions  # noqa: TC001 -- typer reads the annotations
from phonesys.cli.options import (
    FIELDS,
    AccountOption,
    BackendArgument,
    DryRunOption,
    FormatOption,
)
from phonesys.cli.output import Format, destination
from phonesys.cli.plans import ResultRow, render_plan, result_row, results_table
from phonesys.cli.results import write_rows
from phonesys.cli.running import DONE, FAILED
from phonesys.cli.showing import report_mistakes
from phonesys.cli.single import plan_single, show_single
from phonesys.cli.terminal import confirm, print_error, print_info, print_table
from phonesys.errors import PlanError
from phonesys.model import NumberKind  # noqa: TC001 -- typer reads the annotations
from phonesys.system import PhoneSystem
from phonesys.writes import Action

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from phonesys.changes import Plan
    from phonesys.config import ConfiguredBackend


def buy(
    backend: BackendArgument,
    *,
    number: Annotated[
        str, typer.Option(metavar="NUMBER", help="E.164, as in +14155552671.", rich_help_panel=FIELDS)
    ],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Display name.", rich_help_panel=FIELDS)
    ] = None,
    country: Annotated[
        str | None, typer.Option(metavar="CC", help="Country of the number.", rich_help_panel=FIELDS)
    ] = None,
    kind: Annotated[
        NumberKind | None,
        typer.Option(
            metavar="KIND", help="Kind of the number: local, toll-free or mobile.", rich_help_panel=FIELDS
        ),
    ] = None,
    organization: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Organization that is to own the number.", rich_help_panel=FIELDS),
    ] = None,
    account: AccountOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Buy without confirmation.")] = False,
    dry_run: DryRunOption = False,
    origin: ConfigOptions,
    format_: FormatOption = Format.TABLE,
    log: LogOptions,
) -> None:
    """Buy a number, after confirmation.

    The request is never repeated on a guess. If its response is lost, the number is looked up.
    """

    def prepare() -> Coroutine[Any, Any, int] | int:
        options = {"--name": name, "--country": country, "--kind": kind, "--organization": organization}
        which = {"number": validate_e164(number), "account": account}
        if dry_run:
            return show_single(origin.load_backend(backend), Action.BUY, options, **which)
        try:
            plan = asyncio.run(plan_single(origin.load_backend(backend), Action.BUY, options, **which))
        except PlanError as mistakes:
            return report_mistakes(mistakes)
        if not plan.changes:
            print_info(f"{number} is held already")
            return DONE
        print_table(render_plan(plan), on_stderr=True)
        if not yes and not confirm(f"Buy {number}?"):
            print_error("nothing was bought")
            return FAILED
        return _buy(origin.load_backend(backend), plan, format_)

    log.run(prepare)


async def _buy(backend: ConfiguredBackend, plan: Plan, format_: Format) -> int:
    async with PhoneSystem(backend.provider) as phones, phones.apply(plan) as running:
        async for _ in running:
            pass
    found = [result_row(plan.id, one, running.results[one.position], sent=True) for one in plan.changes]
    with destination(None) as stdout:
        await write_rows(ResultRow, found, format_, stdout, table=results_table)
    return DONE if all(row.outcome is ChangeOutcome.DONE for row in found) else FAILED
