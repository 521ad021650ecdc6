"""Accounts that two snapshots can be compared in, and the reasons why not in others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from phonesys.inventory.snapshot import LISTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class ReadAccount(Protocol):
    """An account of a snapshot."""

    @property
    def backend(self) -> str:
        """The name of its backend."""
        ...

    @property
    def account(self) -> str:
        """Its id, empty for a backend's list of accounts."""
        ...

    @property
    def error(self) -> str | None:
        """The error that ended the reading."""
        ...

    @property
    def problem(self) -> str | None:
        """The reason why numbers are missing, or None for a complete account."""
        ...


class Coverage(msgspec.Struct, frozen=True):
    """The backends of a snapshot, and how completely their accounts were swept."""

    backends: frozenset[str]
    partial: frozenset[str]
    """Backends with named accounts only, or whose list of accounts could not be read."""

    @classmethod
    def of(cls, coverage: Mapping[str, str], unlisted: Iterable[str]) -> Coverage:
        """Return the coverage of a snapshot. `unlisted` are backends whose lists were not read completely."""
        named = {name for name, how in coverage.items() if how != LISTED}
        return cls(frozenset(coverage), frozenset(named.union(unlisted)))

    def absence_reason(self, backend: str, when: str) -> str | None:
        """Return the reason why a missing account is unknown, or None if it did not exist."""
        return f"not read {when}" if backend in self.partial or backend not in self.backends else None


def unknown_reason(
    old: ReadAccount | None, new: ReadAccount | None, before: Coverage, now: Coverage
) -> str | None:
    """Return the reason why an account cannot be compared, or None if it can."""
    for row, when in ((new, "now"), (old, "before")):
        if row is not None and row.problem is not None:
            return row.problem if row.error else f"{row.problem} {when}"
    if old is not None and new is None:
        return now.absence_reason(old.backend, "now")
    return before.absence_reason(new.backend, "before") if new is not None and old is None else None
