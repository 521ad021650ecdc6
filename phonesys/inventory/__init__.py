"""The inventory: sweeps in a database, resumed, compared and watched."""

from __future__ import annotations

from phonesys._extras import MissingExtra
from phonesys.inventory.diff import TOPICS, Change, ChangeKind, Comparison, FieldChange
from phonesys.inventory.errors import (
    DatabaseUnavailable,
    InventoryError,
    NoRun,
    NoSnapshot,
    RunInProgress,
    SchemaTooNew,
    SweepSuperseded,
)
from phonesys.inventory.folder import FolderInventory, FolderSnapshot, FolderSweep, Manifest, SnapshotFolder
from phonesys.inventory.inventory import Inventory
from phonesys.inventory.record import (
    AccountKey,
    AccountOutcome,
    Records,
    account_outcomes,
    batches,
    incomplete_accounts,
    sweep_records,
)
from phonesys.inventory.shard import Shard
from phonesys.inventory.snapshot import Snapshot
from phonesys.inventory.store.watch_rows import OpenFinding
from phonesys.inventory.stored_run import StoredRun
from phonesys.inventory.stored_sweep import StoredSweep
from phonesys.inventory.token_store import SqlTokenStore
from phonesys.inventory.watch import (
    AlertEvent,
    Alerts,
    FindingEvent,
    FindingState,
    SweepEvent,
    Watch,
    WatchEvent,
)
from phonesys.record import NumberRecord, to_record

__all__ = [
    "TOPICS",
    "AccountKey",
    "AccountOutcome",
    "AlertEvent",
    "Alerts",
    "Change",
    "ChangeKind",
    "Comparison",
    "DatabaseUnavailable",
    "FieldChange",
    "FindingEvent",
    "FindingState",
    "FolderInventory",
    "FolderSnapshot",
    "FolderSweep",
    "Inventory",
    "InventoryError",
    "Manifest",
    "MissingExtra",
    "NoRun",
    "NoSnapshot",
    "NumberRecord",
    "OpenFinding",
    "Records",
    "RunInProgress",
    "SchemaTooNew",
    "Shard",
    "Snapshot",
    "SnapshotFolder",
    "SqlTokenStore",
    "StoredRun",
    "StoredSweep",
    "SweepEvent",
    "SweepSuperseded",
    "Watch",
    "WatchEvent",
    "account_outcomes",
    "batches",
    "incomplete_accounts",
    "sweep_records",
    "to_record",
]
