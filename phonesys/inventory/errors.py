"""Errors of the inventory."""

from __future__ import annotations

from phonesys.errors import PhonesysError


class InventoryError(PhonesysError):
    """The database failed or refused; its own error is the `__cause__`."""


class DatabaseUnavailable(InventoryError):
    """The database server cannot be reached, or ended the connection. It may be back in a moment."""


class SchemaTooNew(InventoryError):
    """A newer phonesys created the database."""


class SweepSuperseded(InventoryError):
    """Another process resumed or restarted this sweep, or this shard of one."""


class NoSnapshot(InventoryError):
    """The store holds no such snapshot."""


class NoRun(InventoryError):
    """The store holds no such run of a plan."""


class RunInProgress(InventoryError):
    """Another process is applying this plan. Nothing was sent."""
