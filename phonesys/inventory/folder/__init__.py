"""A snapshot as a folder of Parquet files: one for each shard, and a manifest once all are there.

A file's name is fixed by its shard, and files appear whole, so that a shard that is swept twice leaves one
file. The small JSON file of a shard is written last: without it, the shard is not finished.
"""

from phonesys.inventory.folder.files import Manifest, SnapshotFolder
from phonesys.inventory.folder.inventory import FolderInventory
from phonesys.inventory.folder.snapshot import FolderSnapshot
from phonesys.inventory.folder.writing import FolderSweep

__all__ = ["FolderInventory", "FolderSnapshot", "FolderSweep", "Manifest", "SnapshotFolder"]
