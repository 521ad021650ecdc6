"""Reading numbers with a sweep: the accounts, the progress, the results, and what failed."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Protocol

from phonesys.cli import rows, tables
from phonesys.cli.accounts import AccountLines
from phonesys.cli.output import Format
from phonesys.cli.progress import Progress, plural, watching
from phonesys.cli.running import DONE, FAILED
from phonesys.cli.terminal import ERR, as_text, complain, show
from phonesys.errors import ConfigError
from phonesys.sweep import Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rich.console import RenderableType

    from phonesys.cli.config import Configured
    from phonesys.cli.output import Destination
    from phonesys.cli.rows import NumberRow
    from phonesys.inventory import StoredSweep
    from phonesys.model import Page, PhoneNumber
    from phonesys.sweep import Sweep, SweepReport


class Writer(Protocol):
    """Takes the pages of a sweep as they land."""

    async def page(self, page: Page[PhoneNumber]) -> None:
        """Take one page."""

    async def close(self, report: SweepReport) -> None:
        """Write what had to wait for the end."""


class Lines:
    """Writes a line for each number as soon as it is known: jsonl or csv."""

    def __init__(self, format_: Format, to: Destination) -> None:
        self._line = rows.json_line if format_ is Format.JSONL else rows.csv_line
        self._header = () if format_ is Format.JSONL else (rows.csv_header(rows.NumberRow),)
        self._to = to

    async def page(self, page: Page[PhoneNumber]) -> None:
        """Write a page."""
        lines = [self._line(row) for row in rows.number_rows(page)]
        await self._to.write((*self._header, *lines))
        self._header = ()

    async def close(self, report: SweepReport) -> None:
        """Write the header, if there was nothing below it."""
        await self._to.write(self._header)


class Summary:
    """Counts, and draws the table at the end."""

    def __init__(self, names: Sequence[str], to: Destination) -> None:
        self._names = names
        self._breakdown = tables.Breakdown()
        self._to = to

    async def page(self, page: Page[PhoneNumber]) -> None:
        """Count a page."""
        self._breakdown.add(page.numbers)

    async def close(self, report: SweepReport) -> None:
        """Draw the table."""
        await draw(tables.summary(report, self._names, self._breakdown), self._to)


class Listing:
    """Collects numbers, and draws a table of them at the end."""

    def __init__(self, to: Destination, hide: Collection[str]) -> None:
        self._rows: list[NumberRow] = []
        self._to = to
        self._hide = hide

    async def page(self, page: Page[PhoneNumber]) -> None:
        """Take down a page."""
        self._rows.extend(rows.number_rows(page))

    async def close(self, report: SweepReport) -> None:
        """Draw the table."""
        if self._rows:
            await draw(tables.numbers(self._rows, self._hide), self._to)


async def draw(renderable: RenderableType, to: Destination) -> None:
    """Draw a table where results go: in colour on a terminal."""
    if to.is_terminal:
        show(renderable)
    else:
        await to.write([as_text(renderable)])


async def read(
    sweep: Sweep | StoredSweep,
    backends: Sequence[Configured],
    writer: Writer,
    *,
    live: bool,
    quiet: bool = False,
) -> None:
    """Run a sweep to its end and hand its pages to the writer, which is closed even by Ctrl-C.

    A `quiet` one shows how it goes only where that leaves no trace.
    """
    progress = Progress(sweep.report, {one.name: one.known for one in backends})
    shown = nullcontext() if quiet and not live else watching(progress, live=live)
    try:
        async with shown, sweep:
            async for page in sweep:
                await writer.page(page)
    except asyncio.CancelledError:
        await writer.close(sweep.report)
        _interrupted(sweep.report, backends)
        raise
    await writer.close(sweep.report)


def may_be_live(format_: Format, to: Destination) -> bool:
    """Whether a live display would have the terminal to itself."""
    shares = format_ is not Format.TABLE and to.is_terminal
    return ERR.is_terminal and not ERR.is_dumb_terminal and not shares


def conclude(report: SweepReport, backends: Sequence[Configured]) -> int:
    """Say what was not read and why, and return the exit status."""
    if report.rejected:
        complain(f"{plural(report.rejected, 'row')} could not be read")
    if report.failures:
        complain(f"{plural(len(report.failures), 'account')} failed")
        show(tables.failures(report.failures), on_stderr=True)
    if report.timed_out:
        complain(f"the deadline ended the sweep: {_not_reached(report, backends)}")
    return DONE if report.complete else FAILED


def _interrupted(report: SweepReport, backends: Sequence[Configured]) -> None:
    complain(f"interrupted: {_not_reached(report, backends)}")


def _not_reached(report: SweepReport, backends: Sequence[Configured]) -> str:
    """Say what was not read: by number where it was named, by its source where it was not read yet."""
    unread = [
        f"the rest of {one.accounts.name}"
        for one in backends
        if isinstance(one.accounts, AccountLines) and not one.accounts.ended
    ]
    read_ = sum(count for outcome, count in report.outcomes.items() if outcome is not Outcome.NOT_REACHED)
    missed = report.outcomes[Outcome.NOT_REACHED]
    named = [plural(missed, "account")] if missed or not unread else []
    return f"{' and '.join(named + unread)} not reached, {plural(read_, 'account')} read"


def check_accounts_known(backends: Sequence[Configured]) -> None:
    """Raise ConfigError where nobody says what is to be swept."""
    for one in backends:
        if one.accounts is None and one.unknown_accounts:
            raise ConfigError(one.unknown_accounts)
