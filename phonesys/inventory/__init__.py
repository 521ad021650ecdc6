"""The inventory: kept in a database, resumed, compared, watched."""

from __future__ import annotations

from phonesys.inventory.diff.changes import TOPICS, Change, ChangeKind, FieldChange
from phonesys.inventory.errors import InventoryError, NoSnapshot, SchemaTooNew, SweepSuperseded
from phonesys.inventory.inventory import Inventory
from phonesys.inventory.record import NumberRecord, to_record
from phonesys.inventory.snapshot import Snapshot
from phonesys.inventory.stored_sweep import StoredSweep
from phonesys.inventory.watch import Watch

__all__ = [
    "TOPICS",
    "Change",
    "ChangeKind",
    "FieldChange",
    "Inventory",
    "InventoryError",
    "NoSnapshot",
    "NumberRecord",
    "SchemaTooNew",
    "Snapshot",
    "StoredSweep",
    "SweepSuperseded",
    "Watch",
    "to_record",
]
