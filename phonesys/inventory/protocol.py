"""Protocols of snapshots and of their places, for code that reads a store or a folder alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from datetime import datetime

    from phonesys.inventory.diff import Change
    from phonesys.inventory.record import AccountOutcome
    from phonesys.record import NumberRecord


class ReadableSnapshot(Protocol):
    """A `Snapshot` of a store, or a `FolderSnapshot`."""

    started_at: datetime
    finished_at: datetime | None
    numbers: int
    coverage: Mapping[str, str]

    @property
    def id(self) -> int | str:
        """The id in a store, or the name of a folder."""
        ...

    @property
    def gap(self) -> str | None:
        """The reason why parts are missing; None for a whole one."""
        ...

    @property
    def complete(self) -> bool:
        """True if every number of every account is known."""
        ...

    def records(self) -> AsyncGenerator[NumberRecord]:
        """Yield every record."""
        ...

    def accounts(self) -> AsyncGenerator[AccountOutcome]:
        """Yield the outcome of every account."""
        ...


S = TypeVar("S", bound=ReadableSnapshot)


class SnapshotSource(Protocol[S]):
    """An `Inventory`, or a `FolderInventory`."""

    async def earlier(self, snapshot: S, /) -> list[S]:
        """Return the finished snapshots before this one, the newest first."""
        ...

    async def previous(self, snapshot: S, /) -> S:
        """Return the finished one before this, preferably of the same backends. Raises NoSnapshot."""
        ...

    def diff(self, older: S, newer: S, /) -> AsyncGenerator[Change]:
        """Yield the changes between two snapshots."""
        ...
