"""A plan shown by a command: to stdout, to a file, and in a line on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonesys.cli.output import STDOUT, OutputFile, Stdout
from phonesys.cli.plans import MAX_SHARE, PlanFormat, summary_of, write_plan
from phonesys.cli.progress import pluralize
from phonesys.cli.running import USAGE
from phonesys.cli.terminal import print_error, print_info

if TYPE_CHECKING:
    from pathlib import Path

    from phonesys.changes import Plan
    from phonesys.errors import PlanError

_MAX_GAPS = 20


async def show_plan(
    plan: Plan, format_: PlanFormat, output: Path | None, *, is_to_apply: bool = True
) -> None:
    """Write a plan to stdout, and to a file if one is given, and its summary to stderr.

    One that is not to be applied is shown without what `apply` would ask for.
    """
    to_stdout = output is not None and str(output) == STDOUT
    with Stdout() as stdout:
        await write_plan(plan, PlanFormat.JSONL if to_stdout else format_, stdout)
    if output is not None and not to_stdout:
        with OutputFile(output) as file:
            await file.write([plan.to_jsonl()])
    if plan.ignored:
        print_info(f"ignored, because they follow from other columns: {', '.join(plan.ignored)}")
    for gap in plan.reading.missing[:_MAX_GAPS]:
        print_error(f"not read: {gap}")
    if (more := len(plan.reading.missing) - _MAX_GAPS) > 0:
        print_error(f"not read: {more:,} more")
    for concern in plan.concerns(MAX_SHARE) if is_to_apply else ():
        print_info(f"needs --allow {concern.risk}: {concern.text}", "yellow")
    print_info(summary_of(plan))
    if output is not None and not to_stdout and plan.changes:
        print_info(f"to carry it out: phonesys apply {output}")


def report_mistakes(mistakes: PlanError, name: str = "") -> int:
    """Print every mistake of a file, or of the options, and return the exit status."""
    for mistake in mistakes.errors:
        print_error(f"{name}, {mistake}" if mistake.line is not None else mistake.text)
    print_error(f"{pluralize(len(mistakes.errors), 'error')}; nothing was planned")
    return USAGE
