"""A finished sweep, as it is kept."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from datetime import datetime

    from phonesys.inventory.record import NumberRecord
    from phonesys.inventory.store.database import Database
    from phonesys.inventory.store.reading import SweepRow
    from phonesys.model import NumberPool


LISTED, NAMED = "listed", "named"
"""Whether a backend was swept whole, as it lists its accounts, or in accounts that were named."""


class Snapshot:
    """What a sweep found: made by `Inventory.snapshot`, and read while its inventory is open."""

    def __init__(self, database: Database, row: SweepRow) -> None:
        self._database = database
        self.id = row.id
        self.started_at: datetime = row.started_at
        self.finished_at: datetime | None = row.finished_at
        """None for a sweep that is not finished."""
        self.numbers = row.numbers
        self.coverage: Mapping[str, str] = row.scope
        """By backend: `listed` if all that it lists was swept, `named` if accounts were given."""

    def __repr__(self) -> str:
        return f"<Snapshot {self.id}: {self.numbers} numbers, {self.started_at:%Y-%m-%d %H:%M}>"

    async def records(
        self, *, backend: str | None = None, account: str | None = None
    ) -> AsyncGenerator[NumberRecord]:
        """Yield every number, by backend and account; read in batches, whatever there is.

        Of an account that failed, what was read before it did: `accounts` says which those are.
        """
        from phonesys.inventory.store import reading

        batches = reading.records(self._database, self.id, backend=backend, account=account)
        async with aclosing(batches):
            async for batch in batches:
                for record in batch:
                    yield record

    async def pools(self) -> AsyncGenerator[tuple[str, NumberPool]]:
        """Yield (backend, pool) for every pool that a number sits in, where pools were asked for."""
        from phonesys.inventory.store import reading

        async with aclosing(reading.pools_of(self._database, self.id)) as pools:
            async for one in pools:
                yield one

    async def accounts(self) -> AsyncGenerator[tuple[str, str, str, str | None]]:
        """Yield (backend, account, outcome, error) for every account.

        The account is empty where the backend's list of accounts itself could not be read.
        """
        from phonesys.inventory.store import reading

        async with aclosing(reading.accounts_of(self._database, self.id)) as rows:
            async for row in rows:
                yield row.backend, row.account, row.outcome.value, row.error
