"""`phonesys accounts`: list the accounts that a sweep would read."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from phonesys.cli import sweeping
from phonesys.cli.columns import ColumnTable
from phonesys.cli.groups import (  # noqa: TC001 -- typer reads the annotations
    BackendOptions,
    LogOptions,
    RowOptions,
)
from phonesys.cli.options import BackendsOption  # noqa: TC001 -- typer reads the annotations
from phonesys.cli.progress import pluralize
from phonesys.cli.running import DONE
from phonesys.cli.terminal import print_info
from phonesys.config.accounts import AccountFile
from phonesys.provider import AccountsWithNames
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from phonesys.config import ConfiguredBackend


class AccountRow(msgspec.Struct, frozen=True):
    """One account."""

    backend: str
    account: str
    name: str | None
    """None if the vendor does not list names, or if the configuration names the accounts."""


def accounts(
    *,
    source: BackendOptions,
    backend: BackendsOption = None,
    rows: RowOptions,
    log: LogOptions,
) -> None:
    """List the accounts of every backend, with their names."""

    async def main() -> int:
        rows.check(AccountRow)
        async with source.open(backend or []) as backends:
            sweeping.require_accounts(backends)
            found: list[AccountRow] = []
            async with PhoneSystem(*(one.provider for one in backends)):
                for one in backends:
                    async with aclosing(_rows(one)) as listed:
                        found.extend([row async for row in listed])
        await rows.write(AccountRow, found, table=_table)
        print_info(pluralize(len(found), "account"))
        return DONE

    log.run(main)


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
