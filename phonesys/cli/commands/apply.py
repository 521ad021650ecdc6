"""`phonesys apply`: carry out a plan."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from pathlib import Path  # noqa: TC003 -- typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from phonesys.changes import ChangeOutcome, Plan, Risk
from phonesys.cli import plans, rows
from phonesys.cli.groups import ConfigOptions, LogOptions  # noqa: TC001 -- typer reads the annotations
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    FormatOption,
    JournalOption,
    OutputOption,
    SandboxOption,
)
from phonesys.cli.output import STDOUT, Format, destination, write_table
from phonesys.cli.phones import open_phones
from phonesys.cli.progress import show_line
from phonesys.cli.running import DONE, FAILED
from phonesys.cli.store import VARIABLE, default_store, expand_store
from phonesys.cli.terminal import confirm, confirm_word, print_error, print_info, stderr_is_live
from phonesys.config.paths import expand
from phonesys.errors import InvalidArgument, UsageError
from phonesys.writes import GRACE_PERIOD

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine
    from typing import Any

    from phonesys.changes import ChangeResult, PlanRun, RunState
    from phonesys.cli.output import Destination
    from phonesys.inventory import Inventory


def _parse_share(text: str) -> float:
    number = text.strip()
    try:
        share = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise typer.BadParameter(f"expected a part such as 50% or 0.5, got {text!r:.40}")
    return share


def apply(
    file: Annotated[Path, typer.Argument(metavar="PLAN", help="Plan of `phonesys plan`; - reads stdin.")],
    *,
    store: JournalOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Apply without confirmation.")] = False,
    max_failures: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Stop after N changes that are not done.")
    ] = None,
    max_share: Annotated[
        float,
        typer.Option(
            parser=_parse_share,
            metavar="PART",
            help="Ask once more if a plan touches more than this part of an account's numbers.",
        ),
    ] = "50%",  # type: ignore[assignment]  # the parser's argument
    allow: Annotated[
        list[Risk] | None,
        typer.Option(metavar="RISK", help="Permit a risk without asking. May be repeated."),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, metavar="N", help="Changes under way at a time.")] = 16,
    grace_period: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Time for which a request may still be carried out after its response was lost.",
        ),
    ] = GRACE_PERIOD,
    sandbox: SandboxOption = False,
    origin: ConfigOptions,
    format_: FormatOption = Format.TABLE,
    output: OutputOption = None,
    log: LogOptions,
) -> None:
    """Carry out a plan, after confirmation.

    Before it changes a number it looks whether that is still as planned. If the program ends early, the same
    command goes on: what is done is not repeated, and what is unknown is looked up. Without a terminal, --yes
    is required.
    """

    def prepare() -> Coroutine[Any, Any, int] | int:
        plan = _read_plan(file)
        journal = None if sandbox else _journal_of(store, origin.config)
        if not plan.changes:
            print_info("nothing to change")
            return DONE
        state = None if journal is None else asyncio.run(_find_run(journal, plan))
        is_finished = state is not None and _is_finished(state)
        allowed = set(Risk if is_finished else allow or ())
        if is_finished:
            print_info("this plan was carried out already, and nothing is left to do")
        elif not _is_confirmed(plan, state, max_share, allowed, yes=yes):
            print_error("nothing was changed")
            return FAILED
        options = {
            "max_failures": max_failures,
            "max_share": max_share,
            "allow": allowed,
            "concurrency": concurrency,
            "grace_period": grace_period,
        }
        return _apply(plan, journal, options, command=_command(file, store, origin))

    async def _apply(plan: Plan, journal: str | None, options: dict[str, Any], command: str) -> int:
        names = {change.backend: None for change in plan.changes}
        async with _open_journal(journal) as inventory, open_phones(origin, names, sandbox=sandbox) as phones:
            running = phones.apply(plan, journal=inventory, **options)
            with destination(output) as to:
                writer = _ResultWriter(plan, format_, to)
                try:
                    await _carry_out(running, writer)
                except asyncio.CancelledError:
                    print_info(f"interrupted: {_progress(running)}; go on with: {command}")
                    raise
                await writer.close()
        return _finish(running, command, keeps_run=inventory is not None)

    log.run(prepare)


def _read_plan(file: Path) -> Plan:
    try:
        data = sys.stdin.buffer.read() if str(file) == STDOUT else expand(file, "PLAN").read_bytes()
    except OSError as failure:
        raise UsageError(f"{file}: {failure.strerror or failure}") from None
    try:
        return Plan.from_jsonl(data)
    except InvalidArgument as mistake:
        raise UsageError(f"{file}: {mistake}") from None


def _journal_of(store: str | None, config: Path | None) -> str:
    """Return the store in which the run is kept. A file is created if it does not exist."""
    store = store or default_store(config)
    if store is None:
        raise UsageError(
            "--store: expected a file or a URL, such as inventory.db, that keeps the run, so that it can be "
            f"taken up again; neither {VARIABLE} nor the configuration names one"
        )
    return expand_store(store)


def _command(file: Path, store: str | None, origin: ConfigOptions) -> str:
    """Return the command that takes the run up."""
    given = {"--store": store, "--config": origin.config, "--token-store": origin.token_store}
    options = [f"{name} {value}" for name, value in given.items() if value is not None]
    return " ".join(["phonesys apply", str(file), *options])


async def _find_run(store: str, plan: Plan) -> RunState | None:
    """Return the run of the plan that ended early or is finished, if there is one."""
    from phonesys.inventory import Inventory, NoRun

    async with Inventory(store) as inventory:
        try:
            return (await inventory.run(plan.id)).state
        except NoRun:
            return None


def _is_finished(state: RunState) -> bool:
    """Return True if nothing would be sent or looked up again."""
    unclear = any(result.outcome is ChangeOutcome.UNCLEAR for result in state.results.values())
    return state.finished_at is not None and not unclear


def _is_confirmed(
    plan: Plan, state: RunState | None, max_share: float, allowed: set[Risk], *, yes: bool
) -> bool:
    """Ask for what needs a permission, and then once for all. Add what is permitted to `allowed`."""
    for concern in plan.concerns(max_share):
        if concern.risk not in allowed:
            if not confirm_word(concern.text, concern.risk, f"--allow {concern.risk}: {concern.text}"):
                return False
            allowed.add(concern.risk)
    results = state.results.values() if state else ()
    done = sum(result.outcome is ChangeOutcome.DONE for result in results)
    return yes or confirm(plans.question_of(plan, done))


@asynccontextmanager
async def _open_journal(store: str | None) -> AsyncGenerator[Inventory | None]:
    if store is None:
        yield None
        return
    from phonesys.inventory import Inventory  # needs an extra

    async with Inventory(store) as inventory:
        yield inventory


class _ResultWriter:
    """Writes results as lines when they arrive, or at the end as a table of those that are not done."""

    def __init__(self, plan: Plan, format_: Format, to: Destination) -> None:
        self._run = plan.id
        self._changes = {change.position: change for change in plan.changes}
        self._format, self._to = format_, to
        self._not_done: list[plans.ResultRow] = []
        self._line = rows.csv_line if format_ is Format.CSV else rows.json_line
        self._header = [rows.csv_header(plans.ResultRow)] if format_ is Format.CSV else []

    async def write(self, result: ChangeResult) -> None:
        """Write one result, or keep it for the table."""
        row = plans.result_row(self._run, self._changes[result.position], result, sent=True)
        if self._format is not Format.TABLE:
            await self._to.write([*self._header, self._line(row)])
            self._header = []
        elif result.outcome is not ChangeOutcome.DONE:
            self._not_done.append(row)

    async def close(self) -> None:
        """Write the table."""
        if self._not_done:
            await write_table(plans.results_table(self._not_done), self._to)


async def _carry_out(running: PlanRun, writer: _ResultWriter) -> None:
    async with running, show_line(lambda: _progress(running), live=stderr_is_live()):
        async for result in running:
            await writer.write(result)


def _progress(running: PlanRun) -> str:
    done = f"{len(running.results):,}/{len(running.plan.changes):,} changes"
    return " · ".join(filter(None, (done, plans.outcome_counts(running.outcomes))))


def _finish(running: PlanRun, command: str, *, keeps_run: bool) -> int:
    """Print the outcomes and what can be done next, and return the exit status."""
    outcomes, run_id = running.outcomes, running.plan.id[: plans.SHORT_ID]
    print_info(plans.outcome_counts(outcomes))
    if outcomes[ChangeOutcome.NOT_REACHED] or outcomes[ChangeOutcome.UNCLEAR]:
        print_info(f"to go on: {command}")
    if keeps_run and any(result.written for result in running.results.values()):
        print_info(f"to take it back: phonesys undo {run_id} --output undo.jsonl")
    return DONE if outcomes[ChangeOutcome.DONE] == len(running.plan.changes) else FAILED
