"""The snapshots of a folder."""

from __future__ import annotations

from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import to_thread

from phonesys.errors import InvalidArgument
from phonesys.inventory.errors import NoSnapshot
from phonesys.inventory.folder.files import MANIFEST, SnapshotFolder
from phonesys.inventory.folder.snapshot import FolderSnapshot

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from phonesys.inventory.diff import Change, Comparison


class FolderInventory:
    """Reads the snapshots that sweeps wrote into a folder: `FolderInventory("snapshots")`.

    Has the reading methods of an `Inventory`. The path is that of a folder of snapshots, or that of one
    snapshot, which is then the default. Reading needs the extra `phonesys[export]`.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        self.is_snapshot = (path / MANIFEST).is_file() or any(path.glob("shard-*-of-*"))
        """True if the path is that of one snapshot."""
        self._name = path.resolve().name if self.is_snapshot else None
        self.path = path.resolve().parent if self.is_snapshot else path
        """The folder of snapshots."""

    def __repr__(self) -> str:
        return f"<FolderInventory {str(self.path)!r}>"

    async def snapshots(self) -> list[FolderSnapshot]:
        """Return all snapshots, unfinished ones too, the newest first."""
        return await to_thread.run_sync(self._read_all)

    def _read_all(self) -> list[FolderSnapshot]:
        if not self.path.is_dir():
            raise InvalidArgument(f"folder {self.path}: there is no such folder")
        found: list[FolderSnapshot] = []
        for path in self.path.iterdir():
            # Other files and folders, and snapshots without a finished shard.
            with suppress(InvalidArgument, NoSnapshot):
                found.append(FolderSnapshot(SnapshotFolder(self.path, path.name)))
        return sorted(found, key=lambda one: one.order, reverse=True)

    async def snapshot(self, name: str | None = None) -> FolderSnapshot:
        """Return a snapshot by its name, or the newest finished one. Raises NoSnapshot.

        Without a finished one, it is the newest that has a finished shard.
        """
        name = name or self._name
        if name is not None:
            folder = SnapshotFolder(self.path, name)
            return await to_thread.run_sync(FolderSnapshot, folder)
        every = await self.snapshots()
        if not every:
            raise NoSnapshot(f"no snapshot in the folder {self.path}")
        return next((one for one in every if one.finished_at is not None), every[0])

    async def earlier(self, snapshot: FolderSnapshot, /) -> list[FolderSnapshot]:
        """Return the finished snapshots before this one, the newest first."""
        return [one for one in await self.snapshots() if one.finished_at and one.order < snapshot.order]

    async def previous(self, snapshot: FolderSnapshot) -> FolderSnapshot:
        """Return the finished one before this, preferably of the same backends. Raises NoSnapshot."""
        earlier = await self.earlier(snapshot)
        same = [one for one in earlier if one.coverage == snapshot.coverage]
        if not earlier:
            raise NoSnapshot(f"no finished snapshot before {snapshot.name} to compare it with")
        return (same or earlier)[0]

    async def diff(
        self, older: FolderSnapshot | str | None = None, newer: FolderSnapshot | str | None = None
    ) -> AsyncGenerator[Change]:
        """Yield the changes between two snapshots, by default the last two that are finished.

        An account that was not read completely in both yields one change of kind `unknown`, and none of its
        numbers: so does every account of a missing shard. Raises NoSnapshot if there are no two snapshots.
        """
        from phonesys.inventory.folder.diff import compare_folders

        new = newer if isinstance(newer, FolderSnapshot) else await self.snapshot(newer)
        if older is None:
            old = await self.previous(new)
        else:
            old = older if isinstance(older, FolderSnapshot) else await self.snapshot(older)
        async with aclosing(compare_folders(old, new)) as found:
            async for change in found:
                yield change

    async def compare(
        self, older: FolderSnapshot | str | None = None, newer: FolderSnapshot | str | None = None
    ) -> Comparison:
        """Return all changes that `diff` yields, as a list that a notebook shows as a table."""
        from phonesys.inventory.diff import Comparison

        return Comparison([change async for change in self.diff(older, newer)])
