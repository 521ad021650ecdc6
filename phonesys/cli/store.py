"""Stores as commands use them: opened for reading, and filled by a sweep."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from phonesys.cli.terminal import print_info
from phonesys.config import read_settings
from phonesys.config.paths import expand
from phonesys.errors import UsageError
from phonesys.inventory.folder import FolderInventory, SnapshotFolder
from phonesys.inventory.shard import Shard, select_shard
from phonesys.inventory.snapshot import LISTED, NAMED
from phonesys.sweep import SweepReport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from phonesys.inventory import FolderSnapshot, Inventory, Snapshot, StoredSweep
    from phonesys.inventory.folder import FolderSweep
    from phonesys.sweep import Accounts, Sweep
    from phonesys.system import PhoneSystem

    AnySweep: TypeAlias = Sweep | StoredSweep | FolderSweep

VARIABLE = "PHONESYS_STORE"


def default_store(config: Path | None = None) -> str | None:
    """Return the store in PHONESYS_STORE, or else the one in the configuration, if there is one."""
    return os.environ.get(VARIABLE) or read_settings(config).store()


def expand_store(store: str) -> str:
    """Return the store; a path with its home directory."""
    return store if "://" in store else str(expand(store, "--store"))


def existing_store(store: str | None, config: Path | None = None) -> str:
    """Return the store, or the default one; raise UsageError for none, and for a file that does not exist."""
    store = store or default_store(config)
    if store is None:
        raise UsageError(
            f"--store: expected a file or a URL; neither {VARIABLE} nor the configuration names one"
        )
    path = expand_store(store)
    if "://" not in path and not Path(path).is_file():
        raise UsageError(f"store {store}: there is no such file")
    return path


@asynccontextmanager
async def open_snapshots(
    store: str | None, folder: Path | None, config: Path | None = None
) -> AsyncGenerator[Inventory | FolderInventory]:
    """Open a folder, or else a store or the default one, for reading, until the block ends."""
    if folder is not None:
        if store is not None:
            raise UsageError("--folder: cannot be combined with --store")
        path = expand(folder, "--folder")
        if not path.is_dir():
            raise UsageError(f"--folder {folder}: there is no such folder")
        yield FolderInventory(path)
        return
    from phonesys.inventory import Inventory  # needs an extra

    async with Inventory(existing_store(store, config), read_only=True) as inventory:
        yield inventory


async def find_snapshot(
    inventory: Inventory | FolderInventory, which: str | None
) -> Snapshot | FolderSnapshot:
    """Return the snapshot with this id or name, or the last. Name newer ones that are not finished."""
    if not isinstance(inventory, FolderInventory):
        return await inventory.snapshot(parse_snapshot(which))
    found = await inventory.snapshot(which)
    if which is None and not inventory.is_snapshot:
        for one in await inventory.snapshots():
            if one.finished_at is None and one.order > found.order:
                print_info(f"snapshot {one.name} is newer, but not finished: {one.gap}")
    return found


def parse_snapshot(which: str | None) -> int | str | None:
    """Return the id of a stored snapshot that digits are, or its name."""
    return int(which) if which is not None and which.isdecimal() else which


@asynccontextmanager
async def open_sweep(
    store: str | None,
    phones: PhoneSystem,
    accounts: Mapping[str, Accounts],
    *,
    resume: bool = True,
    folder: Path | None = None,
    snapshot: str | None = None,
    shard: Shard | None = None,
    split_companies: bool = False,
    **options: Any,
) -> AsyncGenerator[AnySweep]:
    """Prepare a sweep, recorded in a store or a folder if one is given, until the block ends."""
    if folder is not None and snapshot is not None:
        part = shard or Shard(1, 1)
        yield _into_folder(
            SnapshotFolder(expand(folder, "--folder"), snapshot),
            phones,
            accounts,
            part,
            split_companies=split_companies,
            **options,
        )
        return
    if store is None:
        yield phones.sweep(accounts, **options)
        return
    from phonesys.inventory import Inventory  # needs an extra

    async with Inventory(expand_store(store)) as inventory:
        options["keep_done"] = True  # a snapshot lists every account
        yield inventory.sweep(
            phones,
            accounts,
            resume=resume,
            snapshot=snapshot,
            shard=shard,
            split_companies=split_companies,
            **options,
        )


def _into_folder(
    folder: SnapshotFolder,
    phones: PhoneSystem,
    accounts: Mapping[str, Accounts],
    shard: Shard,
    *,
    split_companies: bool,
    **options: Any,
) -> FolderSweep:
    report = SweepReport()
    coverage = {name: NAMED if name in accounts else LISTED for name in phones}
    named = select_shard(phones, phones, accounts, shard, report, split_companies=split_companies)
    options["keep_done"] = True  # a snapshot lists every account
    return folder.sweep_shard(phones.sweep(named, report=report, **options), shard, coverage)
