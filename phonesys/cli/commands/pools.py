"""`phonesys pools`: list number pools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from phonesys.cli import rows, tables
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    BackendArgument,
    BomOption,
    ConfigOption,
    FormatOption,
    OutputOption,
    QuietOption,
    VerboseOption,
)
from phonesys.cli.output import Format, destination, write_table
from phonesys.cli.progress import pluralize
from phonesys.cli.running import DONE, run
from phonesys.cli.terminal import print_info
from phonesys.config import ConfiguredBackend, load_backend
from phonesys.provider import HasPools, require
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path
    from typing import Any


def pools(
    backend: BackendArgument,
    location: Annotated[str, typer.Argument(help="Account of the pools.")],
    *,
    config: ConfigOption = None,
    format_: FormatOption = Format.TABLE,
    output: OutputOption = None,
    bom: BomOption = False,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the number pools of an account."""

    def prepare() -> Coroutine[Any, Any, int]:
        configured = load_backend(config, backend)
        return _list(configured, require(configured.provider, HasPools), location, format_, output, bom=bom)

    run(prepare, verbose=verbose, quiet=quiet)


async def _list(
    backend: ConfiguredBackend,
    provider: HasPools,
    location: str,
    format_: Format,
    output: Path | None,
    *,
    bom: bool,
) -> int:
    async with PhoneSystem(backend.provider):
        with destination(output) as to:
            found = [rows.pool_row(pool, backend.name, location) for pool in await provider.pools(location)]
            if format_ is not Format.TABLE:
                await rows.write(rows.PoolRow, found, format_, to, bom=bom)
            elif found:
                await write_table(tables.pools(found), to)
    print_info(pluralize(len(found), "pool"))
    return DONE
