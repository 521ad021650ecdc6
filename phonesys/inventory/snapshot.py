"""Snapshots: finished sweeps in the store."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from phonesys.inventory.record import AccountOutcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from datetime import datetime

    from phonesys.inventory.record import AccountKey
    from phonesys.inventory.store.database import Database
    from phonesys.inventory.store.reading import SweepRow
    from phonesys.model import NumberPool
    from phonesys.record import NumberRecord


LISTED, NAMED = "listed", "named"
"""Coverage of a backend: all accounts that it lists, or given accounts."""


class Snapshot:
    """The results of one sweep; made by `Inventory.snapshot`, and readable while its inventory is open."""

    def __init__(self, database: Database, row: SweepRow) -> None:
        self._database = database
        self.id = row.id
        self.name = row.name
        """The name that it was given; None for most."""
        self.started_at: datetime = row.started_at
        self.finished_at: datetime | None = row.finished_at
        """None for an unfinished sweep."""
        self.numbers = row.numbers
        self.incomplete_accounts = row.incomplete_accounts
        """The number of accounts, or lists of accounts, that were not read completely."""
        self.rejected = row.rejected
        """The number of rows that could not be read."""
        self.coverage: Mapping[str, str] = row.coverage
        """By backend: `listed` for all accounts that it lists, `named` for given accounts."""

    @property
    def gap(self) -> None:
        """None: a store shows no snapshot before all its shards are finished."""

    @property
    def complete(self) -> bool:
        """True if every number of every account is known."""
        return not self.incomplete_accounts

    def __repr__(self) -> str:
        return f"<Snapshot {self.id}: {self.numbers} numbers, {self.started_at:%Y-%m-%d %H:%M}>"

    async def records(
        self,
        *,
        backend: str | None = None,
        account: str | None = None,
        start: AccountKey | None = None,
    ) -> AsyncGenerator[NumberRecord]:
        """Yield every record, ordered by backend and account, reading in batches.

        With `start`, accounts before that one are left out.

        Includes the records that were read of failed accounts; `accounts` names those.
        """
        from phonesys.inventory.store import reading

        batches = reading.read_records(self._database, self.id, backend=backend, account=account, start=start)
        async with aclosing(batches):
            async for batch in batches:
                for record in batch:
                    yield record

    async def find(self, number: str) -> list[NumberRecord]:
        """Return the records of a number in any spelling, as `PhoneSystem.find` does of the vendors.

        Raise SweepIncomplete if an account was not read completely, since it may hold the number as well.
        The error holds the records that were found.
        """
        from phonesys.inventory.find import find_number

        return await find_number(self, number)

    async def table(self) -> Any:
        """Return all records as a `pyarrow.Table` with the columns of an export. Needs the extra `export`."""
        from phonesys.inventory.export import arrow_schema, arrow_table

        arrow_schema()
        return arrow_table([record async for record in self.records()])

    async def pools(self) -> AsyncGenerator[tuple[str, NumberPool]]:
        """Yield (backend, pool) for every pool of a number, if the backend was asked for pools."""
        from phonesys.inventory.store import reading

        async with aclosing(reading.read_pools(self._database, self.id)) as pools:
            async for one in pools:
                yield one

    async def accounts(self) -> AsyncGenerator[AccountOutcome]:
        """Yield the outcome of every account, ordered by backend and account.

        The account is empty if the backend's list of accounts could not be read.
        """
        from phonesys.inventory.store import reading

        async with aclosing(reading.read_accounts(self._database, self.id)) as rows:
            async for row in rows:
                yield AccountOutcome(
                    row.backend, row.account, row.outcome.value, row.error, row.rejected, row.name
                )
