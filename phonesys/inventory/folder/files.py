"""The files of a snapshot's folder: their names, and the facts in those of JSON."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from phonesys._files import replace_atomically
from phonesys.inventory.errors import InventoryError
from phonesys.inventory.shard import Shard, validate_snapshot_name
from phonesys.sweep import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phonesys.inventory.folder.writing import FolderSweep
    from phonesys.sweep import Sweep

T = TypeVar("T")

MANIFEST = "manifest.json"
_SHARD_FILE = re.compile(r"shard-\d{5,6}-of-(\d{5,6})\.").match


class ShardFile(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a finished shard, in the JSON file beside its Parquet file."""

    snapshot: str
    shard: int
    shards: int
    coverage: dict[str, str]
    started_at: datetime
    finished_at: datetime
    numbers: int
    accounts: int
    incomplete_accounts: int
    rejected: int
    file: str
    accounts_file: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a finished snapshot, and what they hold together."""

    snapshot: str
    coverage: dict[str, str]
    started_at: datetime
    finished_at: datetime
    numbers: int
    accounts: int
    incomplete_accounts: int
    """The number of accounts, or lists of accounts, that were not read completely."""
    rejected: int
    shards: tuple[ShardFile, ...]


class AccountLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The outcome of an account, in a line of a shard's accounts file."""

    backend: str
    account: str
    """Empty for the backend's list of accounts, if that could not be read."""
    outcome: Outcome
    numbers: int = 0
    pages: int = 0
    rejected: int = 0
    duplicates: int = 0
    error: str | None = None
    name: str | None = None


class SnapshotFolder:
    """The folder `path/snapshot`. Needs the extra `phonesys[export]`."""

    def __init__(self, path: str | Path, snapshot: str) -> None:
        self.snapshot = validate_snapshot_name(snapshot)
        self.path = Path(path) / snapshot

    def sweep_shard(self, sweep: Sweep, shard: Shard, coverage: Mapping[str, str]) -> FolderSweep:
        """Write the pages of a sweep as one shard. A finished shard is not swept again."""
        from phonesys.inventory.folder.writing import FolderSweep

        return FolderSweep(self, sweep, shard, dict(coverage))

    def begun_shards(self) -> int | None:
        """Return the number of shards that a file of the snapshot states, or None before the first."""
        return next((int(found[1]) for found in map(_SHARD_FILE, self.file_names()) if found), None)

    def read_manifest(self) -> Manifest | None:
        """Return the manifest of a finished snapshot, or None. Raises InventoryError for a damaged one."""
        return self._read(MANIFEST, Manifest)

    def name_of(self, shard: Shard, suffix: str) -> str:
        """Return the name of a shard's file."""
        return f"shard-{shard.index:05}-of-{shard.count:05}{suffix}"

    def read_shard(self, shard: Shard) -> ShardFile | None:
        """Return what is known of a shard, or None if it is not finished. Raises InventoryError."""
        return self._read(self.name_of(shard, ".json"), ShardFile)

    def _read(self, name: str, kind: type[T]) -> T | None:
        path = self.path / name
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (msgspec.DecodeError, UnicodeDecodeError) as failure:
            raise InventoryError(f"{path} is damaged: {failure}") from failure

    def file_names(self) -> frozenset[str]:
        """Return the names of the folder's files; none before it is made."""
        try:
            return frozenset(path.name for path in self.path.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return frozenset()

    def unfinished_shards(self, count: int) -> tuple[int, ...]:
        """Return the shards, of so many, that are not finished."""
        names = self.file_names()
        return tuple(
            index for index in range(1, count + 1) if self.name_of(Shard(index, count), ".json") not in names
        )

    def finish_shard(self, found: ShardFile) -> tuple[int, ...]:
        """Write a shard's JSON file, and the manifest with the last one. Return the shards that are left."""
        with replace_atomically(self.path / self.name_of(Shard(found.shard, found.shards), ".json")) as file:
            file.write(msgspec.json.encode(found))
        return self.finish(found.shards)

    def finish(self, count: int) -> tuple[int, ...]:
        """Write the manifest if it is missing and all shards are finished. Return the others."""
        left = self.unfinished_shards(count)
        if not left and not (self.path / MANIFEST).exists():
            every = [self.read_shard(Shard(index, count)) for index in range(1, count + 1)]
            self._write_manifest(tuple(one for one in every if one is not None))
        return left

    def _write_manifest(self, done: tuple[ShardFile, ...]) -> None:
        manifest = Manifest(
            snapshot=self.snapshot,
            coverage=done[0].coverage,
            started_at=min(one.started_at for one in done),
            finished_at=max(one.finished_at for one in done),
            numbers=sum(one.numbers for one in done),
            accounts=sum(one.accounts for one in done),
            incomplete_accounts=sum(one.incomplete_accounts for one in done),
            rejected=sum(one.rejected for one in done),
            shards=done,
        )
        with replace_atomically(self.path / MANIFEST) as file:
            file.write(msgspec.json.format(msgspec.json.encode(manifest)))
        for left in self.path.glob(".shard-*.part"):  # of processes that were killed
            left.unlink(missing_ok=True)
