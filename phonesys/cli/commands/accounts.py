"""`phonesys accounts`: list the accounts that a sweep would read."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from phonesys.cli import sweeping
from phonesys.cli.columns import ColumnTable
from phonesys.cli.options import (  # noqa: TC001 -- typer reads the annotations
    BackendsOption,
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
from phonesys.config import ConfiguredBackend, load_backends
from phonesys.config.accounts import AccountFile
from phonesys.provider import AccountsWithNames
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine
    from pathlib import Path


class AccountRow(msgspec.Struct, frozen=True):
    """One account."""

    backend: str
    account: str
    name: str | None
    """None if the vendor does not list names, or if the configuration names the accounts."""


def accounts(
    *,
    config: ConfigOption = None,
    backend: BackendsOption = None,
    format_: FormatOption = Format.TABLE,
    output: OutputOption = None,
    bom: BomOption = False,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the accounts of every backend, with their names."""

    def prepare() -> Coroutine[Any, Any, int]:
        backends = load_backends(config, backend or [])
        sweeping.require_accounts(backends)
        return _list(backends, format_, output, bom=bom)

    run(prepare, verbose=verbose, quiet=quiet)


async def _list(backends: list[ConfiguredBackend], format_: Format, output: Path | None, *, bom: bool) -> int:
    found: list[AccountRow] = []
    async with PhoneSystem(*(one.provider for one in backends)):
        for one in backends:
            async with aclosing(_rows(one)) as listed:
                found.extend([row async for row in listed])
    with destination(output) as to:
        await write_rows(AccountRow, found, format_, to, table=_table, bom=bom)
    print_info(pluralize(len(found), "account"))
    return DONE


async def _rows(backend: ConfiguredBackend) -> AsyncGenerator[AccountRow]:
    provider = backend.provider
    if isinstance(backend.accounts, AccountFile):
        async for account in backend.accounts:
            yield AccountRow(backend.name, account, None)
    elif backend.accounts is not None:
        for account in backend.accounts:
            yield AccountRow(backend.name, account, None)
    elif isinstance(provider, AccountsWithNames):
        async for account, name in provider.accounts_with_names():
            yield AccountRow(backend.name, account, name)
    else:
        async for account in provider.accounts():
            yield AccountRow(backend.name, account, None)


def _table(found: list[AccountRow]) -> ColumnTable:
    return ColumnTable(
        {
            "backend": [row.backend for row in found],
            "account": [row.account for row in found],
            "name": [row.name or "" for row in found],
        }
    )
