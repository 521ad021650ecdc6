"""`phonesys pools`: list number pools."""

from __future__ import annotations

from typing import Annotated

import typer

from phonesys.cli import tables
from phonesys.cli.groups import (  # noqa: TC001 -- typer reads the annotations
    BackendOptions,
    LogOptions,
    RowOptions,
)
from phonesys.cli.options import BackendArgument  # noqa: TC001 -- typer reads the annotations
from phonesys.cli.progress import pluralize
from phonesys.cli.rows import PoolRow, pool_row
from phonesys.cli.running import DONE
from phonesys.cli.terminal import print_info
from phonesys.provider import HasPools, require
from phonesys.system import PhoneSystem


def pools(
    backend: BackendArgument,
    location: Annotated[str, typer.Argument(metavar="LOCATION", help="Account of the pools.")],
    *,
    source: BackendOptions,
    rows: RowOptions,
    log: LogOptions,
) -> None:
    """List the number pools of an account."""

    async def main() -> int:
        rows.check(PoolRow)
        async with source.open_one(backend) as configured:
            provider = require(configured.provider, HasPools)
            async with PhoneSystem(configured.provider):
                listed = await provider.pools(location)
        found = [pool_row(pool, configured.name, location) for pool in listed]
        await rows.write(PoolRow, found, table=tables.pools)
        print_info(pluralize(len(found), "pool"))
        return DONE

    log.run(main)
