"""`phonesys get`: fetch one number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonesys.cli import rows
from phonesys.cli.arguments import bind_options
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    AccountOption,
    BackendArgument,
    ConfigOption,
    FormatOption,
    NumberIdArgument,
    QuietOption,
    VerboseOption,
)
from phonesys.cli.output import Format
from phonesys.cli.results import write_number
from phonesys.cli.running import DONE, run
from phonesys.config import ConfiguredBackend, load_backend
from phonesys.provider import GetsNumbers, require
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any


def get(
    backend: BackendArgument,
    number_id: NumberIdArgument,
    *,
    account: AccountOption = None,
    config: ConfigOption = None,
    format_: FormatOption = Format.TABLE,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fetch one number by its id."""

    def prepare() -> Coroutine[Any, Any, int]:
        configured = load_backend(config, backend)
        provider = require(configured.provider, GetsNumbers)
        options = bind_options(provider.get, configured.name, "get", {"--account": account})
        return _get(configured, provider, number_id, options, format_)

    run(prepare, verbose=verbose, quiet=quiet)


async def _get(
    backend: ConfiguredBackend,
    provider: GetsNumbers,
    number_id: str,
    options: dict[str, Any],
    format_: Format,
) -> int:
    async with PhoneSystem(backend.provider):
        number = await provider.get(number_id, **options)
    await write_number(rows.number_row(number, backend.name), format_)
    return DONE
