"""`phonesys get`: fetch one number."""

from __future__ import annotations

from phonesys.cli import tables
from phonesys.cli.arguments import bind_options
from phonesys.cli.groups import (  # noqa: TC001 -- typer reads the annotations
    BackendOptions,
    LogOptions,
    RowOptions,
)
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    AccountOption,
    BackendArgument,
    NumberIdArgument,
)
from phonesys.cli.rows import NumberRow, number_row
from phonesys.cli.running import DONE
from phonesys.provider import GetsNumbers, require
from phonesys.system import PhoneSystem


def get(
    backend: BackendArgument,
    number_id: NumberIdArgument,
    *,
    account: AccountOption = None,
    source: BackendOptions,
    rows: RowOptions,
    log: LogOptions,
) -> None:
    """Fetch one number by its id."""

    async def main() -> int:
        rows.check(NumberRow)
        async with source.open_one(backend) as configured:
            provider = require(configured.provider, GetsNumbers)
            options = bind_options(provider.get, configured.name, "get", {"--account": account})
            async with PhoneSystem(configured.provider):
                number = await provider.get(number_id, **options)
        await rows.write(NumberRow, [number_row(number, configured.name)], table=tables.numbers)
        return DONE

    log.run(main)
