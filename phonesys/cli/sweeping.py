"""A sweep as a command runs it: progress, results as they arrive, and failures at the end."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phonesys.cli import rows, tables
from phonesys.cli.filters import EVERYTHING, FilterWriter, NumberFilter
from phonesys.cli.output import Format, write_table
from phonesys.cli.problems import UnreadableRows, not_reached
from phonesys.cli.progress import Progress, show_progress
from phonesys.cli.terminal import print_error, print_info, progress_is_wanted, stderr_is_live
from phonesys.errors import ConfigError
from phonesys.provider import NotifiesObservers
from phonesys.telemetry.observers import safe_observers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Sequence
    from pathlib import Path

    from phonesys.cli.filters import PageWriter
    from phonesys.cli.output import Destination
    from phonesys.cli.rows import NumberRow
    from phonesys.cli.store import AnySweep
    from phonesys.config import ConfiguredBackend
    from phonesys.model import Page, PhoneNumber
    from phonesys.sweep import SweepReport


class LineWriter:
    """Writes a line of jsonl or csv for each number as its page arrives."""

    def __init__(
        self, format_: Format, to: Destination, columns: Sequence[str] = (), *, bom: bool = False
    ) -> None:
        is_json = format_ is Format.JSONL
        if columns:
            self._line = rows.json_lines_of(columns) if is_json else rows.csv_lines_of(columns)
        else:
            self._line = rows.json_line if is_json else rows.csv_line
        self._header = () if is_json else (rows.csv_header(rows.NumberRow, columns, bom=bom),)
        self._to = to

    async def page(self, page: Page[PhoneNumber]) -> None:
        """Write a page."""
        lines = [self._line(row) for row in rows.number_rows(page)]
        await self._to.write((*self._header, *lines))
        self._header = ()

    async def close(self, report: SweepReport) -> None:
        """Write the header if there were no pages."""
        await self._to.write(self._header)


class SummaryWriter:
    """Counts numbers, and writes a summary at the end."""

    def __init__(self, names: Sequence[str], to: Destination) -> None:
        self._names = names
        self._breakdown = tables.Breakdown()
        self._to = to

    async def page(self, page: Page[PhoneNumber]) -> None:
        """Count a page."""
        self._breakdown.add(page.numbers)

    async def close(self, report: SweepReport) -> None:
        """Write the summary."""
        await write_table(tables.summary(report, self._names, self._breakdown), self._to)


class TableWriter:
    """Collects numbers, and writes a table at the end."""

    def __init__(self, to: Destination, hide: Collection[str], columns: Sequence[str] = ()) -> None:
        self._rows: list[NumberRow] = []
        self._to = to
        self._hide = hide
        self._columns = columns

    async def page(self, page: Page[PhoneNumber]) -> None:
        """Collect a page."""
        self._rows.extend(rows.number_rows(page))

    async def close(self, report: SweepReport) -> None:
        """Write the table, unless it is empty."""
        if self._rows:
            table = (
                tables.chosen(self._rows, self._columns)
                if self._columns
                else tables.numbers(self._rows, self._hide)
            )
            await write_table(table, self._to)


@dataclass(frozen=True)
class NumberOutput:
    """Format and place of a list of numbers."""

    format: Format
    path: Path | None
    bom: bool = False
    hide: Collection[str] = ()
    """Columns that a table leaves out."""
    columns: Sequence[str] = ()
    """The only columns to write; empty for all."""
    filter: NumberFilter = EVERYTHING

    def writer(self, to: Destination) -> PageWriter:
        """Return the writer of the format, behind the filter."""
        writer: PageWriter = (
            TableWriter(to, self.hide, self.columns)
            if self.format is Format.TABLE
            else LineWriter(self.format, to, self.columns, bom=self.bom)
        )
        return FilterWriter(writer, self.filter) if self.filter else writer

    def can_show_live(self, to: Destination) -> bool:
        """Return True if a live display would not mix with the list."""
        return can_show_live(self.format, to)


async def run_sweep(
    sweep: AnySweep,
    backends: Sequence[ConfiguredBackend],
    writer: PageWriter,
    *,
    live: bool,
    log_progress: bool = True,
) -> UnreadableRows:
    """Run a sweep to its end and pass its pages to the writer, which is closed on Ctrl-C too.

    Without a live display, progress is logged a line at a time, unless `log_progress` is False. Returns the
    rows that could not be read.
    """
    unreadable = UnreadableRows()
    is_shown = live or (log_progress and progress_is_wanted())
    shown = progress_of(sweep.report, backends, live=live) if is_shown else nullcontext()
    try:
        async with shown, sweep:
            async for page in sweep:
                unreadable.add(page)
                await writer.page(page)
    except asyncio.CancelledError:
        await writer.close(sweep.report)
        print_error(f"interrupted: {not_reached(sweep.report, backends)}")
        if hasattr(sweep, "resumed"):
            print_info("run the same command again to resume the sweep")
        raise
    await writer.close(sweep.report)
    return unreadable


@asynccontextmanager
async def progress_of(
    report: SweepReport, backends: Sequence[ConfiguredBackend], *, live: bool
) -> AsyncGenerator[None]:
    """Show the progress of a sweep of these backends while a block runs."""
    progress = Progress(report, {one.name: one.account_count for one in backends})
    waits = safe_observers([progress.waits])
    with ExitStack() as stack:
        for one in backends:
            if isinstance(one.provider, NotifiesObservers):
                stack.enter_context(one.provider.observers.with_others(waits))
        async with show_progress(progress, live=live):
            yield


def can_show_live(format_: Format, to: Destination) -> bool:
    """Return True if a live display would not mix with results on the same terminal."""
    shares = format_ is not Format.TABLE and to.is_terminal
    return stderr_is_live() and not shares


def require_accounts(backends: Sequence[ConfiguredBackend]) -> None:
    """Raise ConfigError for a backend whose accounts are neither configured nor listed by its vendor."""
    for one in backends:
        if one.accounts is None and one.accounts_problem:
            raise ConfigError(one.accounts_problem)
