"""`phonesys available`: search for numbers to buy."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from phonesys.cli.columns import ColumnTable
from phonesys.cli.groups import (  # noqa: TC001 -- typer reads the annotations
    BackendOptions,
    LogOptions,
    RowOptions,
)
from phonesys.cli.options import AccountOption, BackendArgument  # noqa: TC001 -- as above
from phonesys.cli.progress import pluralize
from phonesys.cli.running import DONE
from phonesys.cli.terminal import print_info
from phonesys.model import NumberForSale, NumberKind
from phonesys.provider import ListsNumbersForSale, require
from phonesys.system import PhoneSystem


class AvailableRow(msgspec.Struct, frozen=True):
    """One number for sale. None means that the vendor does not say."""

    backend: str
    account: str
    """Account that it is offered to."""
    number: str
    country: str | None
    region: str | None
    locality: str | None
    kind: NumberKind
    voice: bool | None
    sms: bool | None
    mms: bool | None
    fax: bool | None
    monthly_price: float | None
    currency: str | None


def available(
    backend: BackendArgument,
    *,
    account: AccountOption = None,
    country: Annotated[str | None, typer.Option(metavar="CC", help="Only numbers of this country.")] = None,
    digits: Annotated[
        str | None, typer.Option(metavar="DIGITS", help="Only numbers that contain these digits.")
    ] = None,
    source: BackendOptions,
    rows: RowOptions,
    log: LogOptions,
) -> None:
    """Search for numbers to buy, with their prices.

    LeadConnector sells numbers to a location, which --account names. Nothing is bought; see `buy`.
    """

    async def main() -> int:
        rows.check(AvailableRow)
        async with source.open_one(backend) as configured:
            provider = require(configured.provider, ListsNumbersForSale)
            async with PhoneSystem(configured.provider):
                found = await provider.for_sale(
                    account=account, country=country.upper() if country else None, digits=digits
                )
        await rows.write(AvailableRow, [_row(configured.name, one) for one in found], table=_table)
        print_info(f"{pluralize(len(found), 'number')} for sale")
        return DONE

    log.run(main)


def _row(backend: str, offered: NumberForSale) -> AvailableRow:
    can = offered.capabilities
    return AvailableRow(
        backend, offered.account, offered.number, offered.country, offered.region, offered.locality,
        offered.kind, can.voice, can.sms, can.mms, can.fax, offered.monthly_price, offered.currency,
    )  # fmt: skip


def _table(found: list[AvailableRow]) -> ColumnTable:
    return ColumnTable(
        {
            "number": [row.number for row in found],
            "country": [row.country or "" for row in found],
            "region": [row.region or "" for row in found],
            "locality": [row.locality or "" for row in found],
            "kind": ["" if row.kind is NumberKind.UNKNOWN else row.kind.value for row in found],
            "monthly price": [_price(row) for row in found],
        }
    )


def _price(row: AvailableRow) -> str:
    return "" if row.monthly_price is None else f"{row.monthly_price:.2f} {row.currency or ''}".rstrip()
