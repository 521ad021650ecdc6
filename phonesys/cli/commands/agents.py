"""`phonesys agents`: list agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from phonesys.cli.columns import ColumnTable
from phonesys.cli.completion import complete_backend
from phonesys.cli.groups import (  # noqa: TC001 -- typer reads the annotations
    BackendOptions,
    LogOptions,
    RowOptions,
)
from phonesys.cli.progress import pluralize
from phonesys.cli.running import DONE
from phonesys.cli.terminal import print_info
from phonesys.provider import ListsAgents
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from typing import Any


class AgentRow(msgspec.Struct, frozen=True):
    """One agent."""

    backend: str
    id: str
    name: str | None
    status: str | None


def agents(
    backend: Annotated[
        str | None,
        typer.Argument(
            metavar="BACKEND",
            autocompletion=complete_backend,
            help="Name of the backend in the configuration. [dim]Default: the only one with agents[/dim]",
            show_default=False,
        ),
    ] = None,
    *,
    source: BackendOptions,
    rows: RowOptions,
    log: LogOptions,
) -> None:
    """List the agents of a backend."""

    async def main() -> int:
        rows.check(AgentRow)
        async with (
            source.open_able(backend, ListsAgents, "list agents") as (configured, provider),
            PhoneSystem(configured.provider),
        ):
            found = [_row(configured.name, agent) for agent in await provider.agents()]
        await rows.write(AgentRow, found, table=_table)
        print_info(pluralize(len(found), "agent"))
        return DONE

    log.run(main)


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
