"""`audit`, `export` and `report`: what is wrong, as a file, and as a page for people."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable  # noqa: TC003 -- a dataclass has them
from contextlib import aclosing, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Group
from rich.text import Text

from phonesys.cli import reading, rows, tables
from phonesys.cli.config import Configured, configured
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    As,
    Config,
    Output,
    Providers,
    Verbose,
)
from phonesys.cli.output import Format, destination
from phonesys.cli.progress import Progress, plural, watching
from phonesys.cli.running import DONE, FAILED, run
from phonesys.cli.terminal import ERR, clean, complain, say
from phonesys.errors import PhonesysError, UsageError
from phonesys.inventory import AccountOutcome, NumberRecord, account_outcomes, batches, sweep_records
from phonesys.inventory.audit import AuditContext, Finding, Severity, audit, findings
from phonesys.inventory.export import Format as FileFormat
from phonesys.inventory.export import export as write_export
from phonesys.inventory.report import write_report
from phonesys.provider import ListsAgents
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from rich.console import RenderableType

    from phonesys.cli.output import Destination
    from phonesys.inventory import Change

app = typer.Typer(help="What is wrong with the inventory; the inventory as files.", no_args_is_help=True)

Store = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="FILE|URL", help="Read the last sweep of this store. [dim]Default: sweep now[/dim]"
    ),
]
Sandbox = Annotated[
    bool, typer.Option("--sandbox", help="Sweep generated data on an embedded server instead.")
]
Ignore = Annotated[
    list[str] | None,
    typer.Option("--ignore", metavar="CODE", help="Leave this rule out; may be given again."),
]

_CHUNK = 256
_MOST_SHOWN = 200


@app.command("audit", rich_help_panel="Inventory")
def audit_command(
    *,
    store: Store = None,
    sandbox: Sandbox = False,
    config: Config = None,
    provider: Providers = None,
    ignore: Ignore = None,
    fail_on: Annotated[
        Severity | None, typer.Option(help="Exit with 1 if anything is at least this bad.")
    ] = None,
    format_: As = Format.TABLE,
    output: Output = None,
    verbose: Verbose = False,
) -> None:
    """Find what is wrong: numbers that nobody answers, that are blocked, held twice, paid for and unused.

    Without --format, a summary and the worst of it; jsonl and csv are one row for each finding, as they come.
    """

    async def main() -> int:
        seen = _Worst()
        async with _source(store, config, provider, sandbox=sandbox) as source:
            with destination(output) as to:
                if format_ is Format.TABLE:
                    found = await findings(**source.for_audit(ignore))
                    seen.add(found)
                    await reading.draw(_table(found), to)
                else:
                    await _write_findings(source.for_audit(ignore), seen, format_, to)
        say(seen.summary())
        return max(source.conclude(), FAILED if seen.reaches(fail_on) else DONE)

    run(main, verbose=verbose)


@app.command(rich_help_panel="Inventory")
def export(
    file: Annotated[
        Path, typer.Argument(help="Ends in .parquet, .arrow, .csv or .jsonl; is replaced once whole.")
    ],
    *,
    format_: Annotated[
        FileFormat | None,
        typer.Option("--format", "-f", help="[dim]Default: as FILE ends[/dim]", show_default=False),
    ] = None,
    store: Store = None,
    sandbox: Sandbox = False,
    config: Config = None,
    provider: Providers = None,
    verbose: Verbose = False,
) -> None:
    """Write every number to a file: Parquet, Arrow, CSV or JSON lines."""

    async def main() -> int:
        async with _source(store, config, provider, sandbox=sandbox) as source:
            count = await write_export(file, source.records, format=format_)
        say(f"{plural(count, 'number')} in {file}")
        return source.conclude()

    run(main, verbose=verbose)


@app.command(rich_help_panel="Inventory")
def report(
    file: Annotated[Path, typer.Argument(help="Is replaced once whole.")] = Path("inventory.html"),
    *,
    title: Annotated[str, typer.Option(help="What the page is called.")] = "Phone number inventory",
    store: Store = None,
    sandbox: Sandbox = False,
    config: Config = None,
    provider: Providers = None,
    ignore: Ignore = None,
    verbose: Verbose = False,
) -> None:
    """Write one HTML page for people: counts, findings, changes, and every number to search.

    Changes since the sweep before are in it where both are in a store.
    """

    async def main() -> int:
        async with _source(store, config, provider, sandbox=sandbox) as source:
            await write_report(file, **source.for_audit(ignore), changes=source.changes, title=title)
        say(f"written: {file}")
        return source.conclude()

    run(main, verbose=verbose)


@dataclass
class _Source:
    """Where records come from, and what is known beside them."""

    records: AsyncGenerator[NumberRecord]
    accounts: AsyncIterable[AccountOutcome]
    context: AuditContext
    conclude: Callable[[], int]
    """Say what was not read, and return the exit status."""
    changes: AsyncIterable[Change] | None = None

    def for_audit(self, ignore: Sequence[str] | None) -> dict[str, Any]:
        return {
            "records": self.records,
            "accounts": self.accounts,
            "context": self.context,
            "ignore": ignore or (),
        }


def _source(
    store: str | None, config: Path | None, names: list[str] | None, *, sandbox: bool
) -> AbstractAsyncContextManager[_Source]:
    others = {"--config": config, "--provider": names, "--sandbox": sandbox}
    if store is not None:
        for name in (name for name, value in others.items() if value):
            raise UsageError(f"{name}: not with --store, which holds a sweep")
        return _stored(store)
    if sandbox:
        if config is not None:
            raise UsageError("--config: not with --sandbox, which brings its own")
        return _sandboxed(names or [])
    backends = configured(config, names or [], with_pools=True)
    reading.check_accounts_known(backends)
    return _swept(backends)


@asynccontextmanager
async def _stored(store: str) -> AsyncGenerator[_Source]:
    from phonesys.inventory import Inventory, NoSnapshot

    if "://" not in store and not Path(store).is_file():  # noqa: ASYNC240 -- before anything runs
        raise UsageError(f"--store {store}: there is no such file")
    async with Inventory(store) as inventory:
        snapshot = await inventory.snapshot()
        try:
            changes = inventory.diff(await inventory.previous(snapshot), snapshot)
        except NoSnapshot:
            changes = None
        yield _Source(snapshot.records(), snapshot.accounts(), AuditContext(), lambda: DONE, changes)


@asynccontextmanager
async def _sandboxed(names: list[str]) -> AsyncGenerator[_Source]:
    from phonesys.cli import embedded  # a web server, which nothing else needs

    world = embedded.make(locations=None, seed=None, not_connected=None, latency=None)
    async with world:
        backends = embedded.backends(world, names)
        async with _swept(backends) as source:
            yield source


@asynccontextmanager
async def _swept(backends: list[Configured]) -> AsyncGenerator[_Source]:
    """Sweep, and show how it goes where somebody watches."""
    async with PhoneSystem(*(one.provider for one in backends)) as phones:
        context = AuditContext(agents=await _agents(backends))
        sweep = phones.sweep({one.name: one.accounts for one in backends if one.accounts is not None})
        live = ERR.is_terminal and not ERR.is_dumb_terminal
        progress = Progress(sweep.report, {one.name: one.known for one in backends})
        shown = watching(progress, live=True) if live else nullcontext()
        async with shown, sweep:
            records, outcomes = sweep_records(sweep), account_outcomes(sweep.report)
            yield _Source(records, outcomes, context, lambda: reading.conclude(sweep.report, backends))


async def _agents(backends: list[Configured]) -> dict[str, tuple[Any, ...]]:
    """Fetch the agents there are, where a backend has any; without them, nobody is missing."""
    found: dict[str, tuple[Any, ...]] = {}
    for one in backends:
        if isinstance(one.provider, ListsAgents):
            try:
                found[one.name] = await one.provider.agents()
            except PhonesysError as failure:
                complain(f"assignments are not checked: {failure}")
    return found


class FindingRow(msgspec.Struct, frozen=True):
    """One finding: the columns of jsonl and csv, which are promised to stay."""

    severity: Severity
    code: str
    number: str | None
    id: str | None
    accounts: tuple[str, ...]
    """Each as `backend:account`."""
    evidence: str
    advice: str


def _row(finding: Finding) -> FindingRow:
    accounts = tuple(f"{backend}:{account}" for backend, account in finding.accounts)
    return FindingRow(
        finding.severity,
        finding.code,
        finding.number,
        finding.id,
        accounts,
        finding.evidence,
        finding.advice,
    )


async def _write_findings(options: dict[str, Any], seen: _Worst, format_: Format, to: Destination) -> None:
    line = rows.json_line if format_ is Format.JSONL else rows.csv_line
    if format_ is Format.CSV:
        await to.write([rows.csv_header(FindingRow)])
    async with aclosing(batches(audit(**options), _CHUNK)) as several:
        async for some in several:
            seen.add(some)
            await to.write([line(_row(finding)) for finding in some])


class _Worst:
    """Counts findings by how bad they are."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(Severity, 0)

    def add(self, found: Sequence[Finding]) -> None:
        for finding in found:
            self._counts[finding.severity] += 1

    def reaches(self, severity: Severity | None) -> bool:
        limit = -1 if severity is None else severity.rank
        return any(count and one.rank <= limit for one, count in self._counts.items())

    def summary(self) -> str:
        parts = [f"{count:,} {severity.value}" for severity, count in self._counts.items() if count]
        total = plural(sum(self._counts.values()), "finding")
        return f"{total}: {', '.join(parts)}" if parts else total


def _table(found: Sequence[Finding]) -> RenderableType:
    """Draw the worst of it."""
    shown = found[:_MOST_SHOWN]
    drawn = tables.columns(
        {
            "severity": [one.severity.value for one in shown],
            "code": [one.code for one in shown],
            "number": [one.number or "" for one in shown],
            "where": [
                ", ".join(f"{backend} {account}" for backend, account in one.accounts) for one in shown
            ],
            "evidence": [clean(one.evidence) for one in shown],
        }
    )
    if len(found) <= _MOST_SHOWN:
        return drawn
    return Group(drawn, Text(f"and {len(found) - _MOST_SHOWN:,} more, which --format jsonl shows"))
