"""A snapshot in a folder, read a batch at a time."""

from __future__ import annotations

from contextlib import closing, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
from anyio import to_thread

from phonesys._extras import require_extra
from phonesys.inventory.errors import InventoryError, NoSnapshot
from phonesys.inventory.export.columns import COLUMNS, arrow_records, arrow_schema
from phonesys.inventory.folder.files import MANIFEST, AccountLine
from phonesys.inventory.record import AccountOutcome
from phonesys.inventory.shard import Shard
from phonesys.sweep import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from phonesys.inventory.folder.files import ShardFile, SnapshotFolder
    from phonesys.record import NumberRecord

_ROWS = 5_000
_LINES = 5_000
_MAX_NAMED = 10

_decode_line = msgspec.json.Decoder(AccountLine).decode


class FolderSnapshot:
    """The results of one sweep in a folder; made by `FolderInventory.snapshot`.

    Has the attributes and methods of a `Snapshot` in a store. A snapshot with missing shards can be read, and
    is not complete: each of its backends has an outcome with an empty account, which names those shards.
    """

    def __init__(self, folder: SnapshotFolder) -> None:
        """Read the folder's JSON files. Raises NoSnapshot for a folder without a finished shard."""
        self._folder = folder
        self.name = folder.snapshot
        """The name of the folder."""
        manifest = folder.read_manifest()
        shards = self._finished_shards() if manifest is None else manifest.shards
        names = folder.file_names()
        self.shards: tuple[ShardFile, ...] = tuple(one for one in shards if _data_files(folder, one) <= names)
        """The shards that can be read."""
        if not self.shards:
            raise NoSnapshot(f"no snapshot with a finished shard in {folder.path}")
        self.gap = self._find_gap(has_manifest=manifest is not None)
        """The reason why the snapshot is not whole; None for a finished one."""
        self.coverage: Mapping[str, str] = self.shards[0].coverage
        """By backend: `listed` for all accounts that it lists, `named` for given accounts."""
        self.started_at: datetime = min(one.started_at for one in self.shards)
        self.finished_at: datetime | None = None if manifest is None else manifest.finished_at
        """None for a snapshot without a manifest."""
        self.numbers = sum(one.numbers for one in self.shards)
        self.account_count = sum(one.accounts for one in self.shards)
        self.incomplete_accounts = sum(one.incomplete_accounts for one in self.shards) + (
            0 if self.gap is None else len(self.coverage)
        )
        """The number of accounts, or lists of accounts, that were not read completely."""
        self.rejected = sum(one.rejected for one in self.shards)
        """The number of rows that could not be read."""

    @property
    def path(self) -> Path:
        """The folder."""
        return self._folder.path

    @property
    def id(self) -> str:
        """The name, by which `FolderInventory` finds it."""
        return self.name

    @property
    def order(self) -> tuple[datetime, str]:
        """The key by which snapshots are sorted, the oldest first."""
        return self.started_at, self.name

    @property
    def complete(self) -> bool:
        """True if every number of every account is known."""
        return not self.incomplete_accounts

    def __repr__(self) -> str:
        return f"<FolderSnapshot {self.name}: {self.numbers} numbers, {self.started_at:%Y-%m-%d %H:%M}>"

    def _finished_shards(self) -> tuple[ShardFile, ...]:
        count = self._folder.begun_shards() or 0
        every = (self._folder.read_shard(Shard(index, count)) for index in range(1, count + 1))
        return tuple(one for one in every if one is not None)

    def _find_gap(self, *, has_manifest: bool) -> str | None:
        count = self.shards[0].shards
        missing = sorted(set(range(1, count + 1)) - {one.shard for one in self.shards})
        if missing:
            some = ", ".join(map(str, missing[:_MAX_NAMED])) + (", …" if len(missing) > _MAX_NAMED else "")
            return f"{len(missing)} of {count} shards missing: {some}"
        return None if has_manifest else f"{MANIFEST} is missing"

    async def records(
        self, *, backend: str | None = None, account: str | None = None
    ) -> AsyncGenerator[NumberRecord]:
        """Yield every record, in the order of shards, reading in batches.

        Includes the records that were read of failed accounts; `accounts` names those. Raises InventoryError
        for a file that is damaged.
        """
        with closing(self.batches(backend=backend, account=account)) as batches:
            while records := await to_thread.run_sync(_next_records, batches):
                for record in records:
                    yield record

    async def find(self, number: str) -> list[NumberRecord]:
        """Return the records of a number in any spelling, as `PhoneSystem.find` does of the vendors.

        Raise SweepIncomplete if an account was not read completely, since it may hold the number as well.
        The error holds the records that were found.
        """
        from phonesys.inventory.find import find_number

        return await find_number(self, number)

    async def table(self) -> Any:
        """Return all records as a `pyarrow.Table` with the columns of an export."""
        pa = require_extra("export", "pyarrow")
        return await to_thread.run_sync(lambda: pa.Table.from_batches(self.batches(), schema=arrow_schema()))

    async def accounts(self) -> AsyncGenerator[AccountOutcome]:
        """Yield the outcome of every account, in the order of shards.

        The account is empty if a backend's list of accounts could not be read, or if shards are missing.
        """
        with closing(self.outcomes()) as outcomes:
            while some := await to_thread.run_sync(lambda: list(islice(outcomes, _LINES))):
                for one in some:
                    yield one

    def batches(self, *, backend: str | None = None, account: str | None = None) -> Generator[Any]:
        """Yield Arrow record batches with the columns of an export. Blocks."""
        pq = require_extra("export", "pyarrow.parquet")
        schema = arrow_schema()
        for shard in self.shards:
            path = self.path / self._folder.name_of(Shard(shard.shard, shard.shards), ".parquet")
            with _reading(path), pq.ParquetFile(path) as file:
                if file.metadata.num_rows != shard.numbers:
                    raise InventoryError(
                        f"{path} is damaged: it should have {shard.numbers:,} numbers, "
                        f"but has {file.metadata.num_rows:,}"
                    )
                for batch in file.iter_batches(_ROWS):
                    if wanted := _select(_conform(batch, schema), backend, account):
                        yield wanted

    def outcomes(self) -> Generator[AccountOutcome]:
        """Yield what `accounts` yields. Blocks."""
        lists: set[str] = set()
        for shard in self.shards:
            path = self.path / self._folder.name_of(Shard(shard.shard, shard.shards), ".accounts.jsonl")
            with _reading(path), path.open("rb") as lines:
                for line in map(_decode_line, lines):
                    # Each shard may have failed to list the accounts.
                    if line.account or line.backend not in lists:
                        yield _outcome(line)
                    if not line.account:
                        lists.add(line.backend)
        if self.gap is not None:
            for backend in self.coverage:
                yield AccountOutcome(backend, "", Outcome.NOT_REACHED.value, self.gap)


def _data_files(folder: SnapshotFolder, shard: ShardFile) -> set[str]:
    part = Shard(shard.shard, shard.shards)
    return {folder.name_of(part, suffix) for suffix in (".parquet", ".accounts.jsonl")}


def _outcome(line: AccountLine) -> AccountOutcome:
    return AccountOutcome(
        line.backend, line.account, line.outcome.value, line.error, line.rejected, line.name
    )


def _next_records(batches: Iterator[Any]) -> list[NumberRecord]:
    """Return the records of the next batch; none at the end."""
    batch = next(batches, None)
    return [] if batch is None else arrow_records(batch)


@contextmanager
def _reading(path: Path) -> Generator[None]:
    """Raise InventoryError for a file that cannot be read."""
    pa = require_extra("export", "pyarrow")
    try:
        yield
    except (OSError, ValueError, pa.ArrowException, msgspec.DecodeError) as failure:
        raise InventoryError(f"{path} cannot be read: {failure}") from failure


def _conform(batch: Any, schema: Any) -> Any:
    """Return a batch with exactly these columns. Those of a later version are null in an older file."""
    pa = require_extra("export", "pyarrow")
    if batch.schema.equals(schema):
        return batch
    found = set(batch.schema.names)
    missing = [column.name for column in COLUMNS if not column.nullable and column.name not in found]
    if missing:
        raise ValueError(f"it has no column {missing[0]!r}")
    columns = [
        batch.column(field.name).cast(field.type)
        if field.name in found
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.record_batch(columns, schema=schema)


def _select(batch: Any, backend: str | None, account: str | None) -> Any:
    pc = require_extra("export", "pyarrow.compute")
    for name, value in (("backend", backend), ("account", account)):
        if value is not None:
            batch = batch.filter(pc.equal(batch.column(name), value))
    return batch
