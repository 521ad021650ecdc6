"""`phonesys agents`: list agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from phonesys.cli.columns import ColumnTable
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    BackendArgument,
    BomOption,
    ConfigOption,
    FormatOption,
    OutputOption,
    QuietOption,
    VerboseOption,
)
from phonesys.cli.output import Format, destination
from phonesys.cli.progress import pluralize
from phonesys.cli.results import write_rows
from phonesys.cli.running import DONE, run
from phonesys.cli.terminal import print_info
from phonesys.config import ConfiguredBackend, load_backend
from phonesys.provider import ListsAgents, require
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path
    from typing import Any


class AgentRow(msgspec.Struct, frozen=True):
    """One agent."""

    backend: str
    id: str
    name: str | None
    status: str | None


def agents(
    backend: BackendArgument,
    *,
    config: ConfigOption = None,
    format_: FormatOption = Format.TABLE,
    output: OutputOption = None,
    bom: BomOption = False,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the agents of a backend."""

    def prepare() -> Coroutine[Any, Any, int]:
        configured = load_backend(config, backend)
        return _list(configured, require(configured.provider, ListsAgents), format_, output, bom=bom)

    run(prepare, verbose=verbose, quiet=quiet)


async def _list(
    backend: ConfiguredBackend, provider: ListsAgents, format_: Format, output: Path | None, *, bom: bool
) -> int:
    async with PhoneSystem(backend.provider):
        found = [_row(backend.name, agent) for agent in await provider.agents()]
    with destination(output) as to:
        await write_rows(AgentRow, found, format_, to, table=_table, bom=bom)
    print_info(pluralize(len(found), "agent"))
    return DONE


def _row(backend: str, agent: Any) -> AgentRow:
    return AgentRow(backend, str(agent.id), getattr(agent, "name", None), getattr(agent, "status", None))


def _table(found: list[AgentRow]) -> ColumnTable:
    return ColumnTable(
        {
            "id": [row.id for row in found],
            "name": [row.name or "" for row in found],
            "status": [row.status or "" for row in found],
        }
    )
