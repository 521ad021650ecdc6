"""Progress of a sweep: a live display on a terminal, a line every two seconds anywhere else."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from phonesys._text import escape_controls
from phonesys.cli.terminal import ERR, print_info
from phonesys.sweep import Outcome, SweepReport
from phonesys.telemetry import WaitEnded, WaitReason, WaitStarted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from rich.console import RenderableType

    from phonesys.telemetry import Event

_REFRESH = 0.1
_LINE_EVERY = 2.0
_RATE_OVER = 5.0
_FINAL = tuple(outcome for outcome in Outcome if outcome is not Outcome.NOT_REACHED)


class CurrentWaits(Counter[WaitReason]):
    """Observer that counts the calls which wait right now, by reason."""

    def __call__(self, event: Event) -> None:
        """Count a wait that starts or ends."""
        if isinstance(event, WaitStarted):
            self[event.reason] += 1
        elif isinstance(event, WaitEnded):
            self[event.reason] -= 1

    def __str__(self) -> str:
        return ", ".join(f"{count:,} for {reason.description}" for reason, count in (+self).items())


@dataclass
class Progress:
    """Progress of a running sweep, in words; `totals` are accounts by backend, None if unknown."""

    report: SweepReport
    totals: Mapping[str, int | None]
    waits: CurrentWaits = field(default_factory=CurrentWaits)
    clock: Callable[[], float] = time.monotonic
    _samples: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])

    def __post_init__(self) -> None:
        self.started = self.clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.started

    def done(self, name: str) -> int:
        """Return the number of accounts of a backend that have an outcome."""
        outcomes = self.report.by_provider.get(name)
        return sum(outcomes[outcome] for outcome in _FINAL) if outcomes else 0

    def rate(self) -> float:
        """Return numbers per second over the last few seconds."""
        now = self.clock()
        self._samples.append((now, self.report.numbers))
        while len(self._samples) > 1 and now - self._samples[0][0] > _RATE_OVER:
            self._samples.popleft()
        then, before = self._samples[0] if len(self._samples) > 1 else (self.started, 0)
        return (self.report.numbers - before) / (now - then) if now > then else 0.0

    def facts(self) -> list[str]:
        """Return the counts, without those that are zero; failures are always included."""
        report = self.report
        waiting = f" (now {self.waits})" if self.waits.total() else ""
        return [
            pluralize(report.numbers, "number"),
            pluralize(report.requests, "request"),
            *([pluralize(report.retries, "retry", "retries")] if report.retries else []),
            pluralize(report.waits, "wait") + waiting,
            f"{len(report.failures):,} failed",
        ]

    def line(self) -> str:
        """Return the progress as one line."""
        done = sum(map(self.done, self.totals))
        total = sum(count for count in self.totals.values() if count is not None)
        known = None not in self.totals.values()
        accounts = f"{done:,}/{total:,} accounts" if known else pluralize(done, "account")
        return " · ".join((accounts, *self.facts(), f"{self.rate():,.0f} numbers/s"))


def pluralize(count: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun: 1 number, 2 numbers."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def summary_line(report: SweepReport) -> str:
    """Return the numbers found, the time and the requests."""
    rate = report.numbers / report.elapsed if report.elapsed else 0.0
    retries = f"{pluralize(report.retries, 'retry', 'retries')}, " if report.retries else ""
    return (
        f"{pluralize(report.numbers, 'number')} in {report.elapsed:.1f} s ({rate:,.0f} numbers/s): "
        f"{pluralize(report.requests, 'request')}, {retries}{pluralize(report.waits, 'wait')}"
    )


@asynccontextmanager
async def show_progress(progress: Progress, *, live: bool) -> AsyncGenerator[None]:
    """Show progress while the block runs."""
    if not live:
        print_info(f"sweeping {', '.join(progress.totals)}")
        async with _repeat(lambda: print_info(f"{progress.elapsed:6.1f} s  {progress.line()}"), _LINE_EVERY):
            yield
        return
    spinner = Spinner("dots", style="cyan")
    display = Live(console=ERR, transient=True, auto_refresh=False)
    with display:
        async with _repeat(
            lambda: display.update(render(progress, spinner), refresh=True), _REFRESH, at_once=True
        ):
            yield


@asynccontextmanager
async def show_line(line: Callable[[], str], *, live: bool) -> AsyncGenerator[None]:
    """Show a line of progress while the block runs."""
    started = time.monotonic()
    if not live:
        async with _repeat(lambda: print_info(f"{time.monotonic() - started:6.1f} s  {line()}"), _LINE_EVERY):
            yield
        return
    spinner = Spinner("dots", style="cyan")
    display = Live(console=ERR, transient=True, auto_refresh=False)

    def draw() -> None:
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_row(spinner, Text(line()))
        display.update(grid, refresh=True)

    with display:
        async with _repeat(draw, _REFRESH, at_once=True):
            yield


@asynccontextmanager
async def _repeat(action: Callable[[], None], every: float, *, at_once: bool = False) -> AsyncGenerator[None]:
    async def loop() -> None:
        while True:
            await asyncio.sleep(every)
            action()

    if at_once:
        action()
    task = asyncio.create_task(loop())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def render(progress: Progress, spinner: RenderableType) -> RenderableType:
    """Render the live display: a bar per backend, and a line for all of them."""
    bars = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(2):
        bars.add_column()
    bars.add_column(justify="right")
    bars.add_column(justify="right")
    for name, total in progress.totals.items():
        done = progress.done(name)
        count = progress.report.numbers_by_provider.get(name, 0)
        bars.add_row(
            Text(f"  {escape_controls(name)}"),
            ProgressBar(total, done, width=30, complete_style="cyan", finished_style="green"),
            Text(f"{done:,}/{total:,}" if total is not None else pluralize(done, "account")),
            Text(pluralize(count, "number"), "dim"),
        )
    return Group(_head(progress, spinner), bars, _foot(progress))


def _head(progress: Progress, spinner: RenderableType) -> RenderableType:
    head = Table.grid(padding=(0, 1, 0, 0))
    minutes, seconds = divmod(int(progress.elapsed), 60)
    head.add_row(spinner, Text("Sweeping", "bold"), Text(f"{minutes}:{seconds:02}", "dim"))
    return head


def _foot(progress: Progress) -> Text:
    *facts, failed = progress.facts()
    foot = Text("  " + " · ".join(facts) + " · ", "dim")
    foot.append(failed, "bold red" if progress.report.failures else "dim")
    return foot.append(f" · {progress.rate():,.0f} numbers/s", "dim")
