"""What can go wrong with a store."""

from __future__ import annotations

from phonesys.errors import PhonesysError


class InventoryError(PhonesysError):
    """The store could not do what it was asked; the database's own error is the `__cause__`."""


class SchemaTooNew(InventoryError):
    """The database was written by a newer phonesys than this one."""


class SweepSuperseded(InventoryError):
    """Another process resumed this sweep, or began it anew; what this one had stored is kept for it."""


class NoSnapshot(InventoryError):
    """There is no such sweep in the store, or none that is finished."""
