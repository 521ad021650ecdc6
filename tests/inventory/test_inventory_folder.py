"""A snapshot as a folder of Parquet files, one for each shard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from phonesys import Forbidden, InvalidArgument, NotOpen, Outcome, PhoneSystem
from phonesys.inventory import Shard
from phonesys.inventory.folder import FolderSweep, SnapshotFolder
from phonesys.inventory.shard import select_shard
from phonesys.sweep import SweepReport
from tests.sweep.memory import Memory, number, simple

if TYPE_CHECKING:
    from pathlib import Path

pq: Any = pytest.importorskip("pyarrow.parquet")


def part(folder: SnapshotFolder, phones: PhoneSystem, shard: Shard, **options: Any) -> FolderSweep:
    report = SweepReport()
    accounts = select_shard(phones, phones, {}, shard, report)
    coverage = dict.fromkeys(phones, "listed")
    return folder.sweep_shard(phones.sweep(accounts, report=report, **options), shard, coverage)


async def sweep(folder: SnapshotFolder, backend: Memory, shard: Shard) -> FolderSweep:
    async with PhoneSystem(backend) as phones, part(folder, phones, shard) as done:
        _ = [page async for page in done]
    return done


def ids(folder: SnapshotFolder) -> list[str]:
    files = sorted(folder.path.glob("*.parquet"))
    return sorted(id_ for file in files for id_ in pq.read_table(file)["id"].to_pylist())


async def test_the_last_shard_writes_the_manifest(tmp_path: Path) -> None:
    """Each number is in one file, and the manifest appears with the last one."""
    folder, backend = SnapshotFolder(tmp_path, "n"), simple(40, numbers=2)
    for index, left in ((3, (1, 2)), (1, (2,)), (2, ())):
        assert folder.read_manifest() is None
        done = await sweep(folder, backend, Shard(index, 3))
        assert done.unfinished_shards == left
    manifest = folder.read_manifest()
    assert manifest is not None
    assert (manifest.numbers, manifest.accounts, len(manifest.shards)) == (80, 40, 3)
    assert [one.file for one in manifest.shards] == [f"shard-0000{i}-of-00003.parquet" for i in (1, 2, 3)]
    assert ids(folder) == sorted(row.id for pages in backend.pages.values() for row in pages[0])
    assert len(list(folder.path.iterdir())) == 10


async def test_a_finished_shard_is_not_swept_again(tmp_path: Path) -> None:
    """It reports what it found, failures included, and sends nothing."""
    backend = Memory({"a": [[number(1)]], "b": [Forbidden("no", status=403)], "c": [[]]})
    folder = SnapshotFolder(tmp_path, "n")
    for resumed in (0, 3):
        done = await sweep(folder, backend, Shard(1, 1))
        assert done.resumed == resumed
        assert done.finished
        assert done.report.outcomes == {Outcome.DONE: 1, Outcome.EMPTY: 1, Outcome.FAILED: 1}
        assert done.report.numbers == 1
        assert "403" in str(done.report.failures[0].error)
    assert set(backend.asked.values()) == {1}
    manifest = folder.read_manifest()
    assert manifest is not None
    assert manifest.incomplete_accounts == 1
    metadata = pq.read_metadata(folder.path / "shard-00001-of-00001.parquet").metadata
    assert metadata[b"phonesys.complete"] == b"false"


async def stop_early(done: FolderSweep) -> None:
    async with done:
        await anext(done)
        raise RuntimeError("stop")


async def test_a_shard_that_ends_early_leaves_no_file(tmp_path: Path) -> None:
    """Neither a break nor an error leaves a part that looks whole."""
    folder, backend = SnapshotFolder(tmp_path, "n"), simple(40)
    async with PhoneSystem(backend) as phones:
        async with part(folder, phones, Shard(1, 1)) as done:
            await anext(done)
        assert not done.finished
        with pytest.raises(RuntimeError, match="stop"):
            await stop_early(part(folder, phones, Shard(1, 1)))
        with pytest.raises(NotOpen):
            await anext(part(folder, phones, Shard(1, 1)))
    assert list(folder.path.iterdir()) == []
    assert (await sweep(folder, backend, Shard(1, 1))).finished


async def test_shards_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    """Another number of shards, or other backends, cannot join a snapshot that was begun."""
    folder = SnapshotFolder(tmp_path, "n")
    await sweep(folder, simple(4), Shard(1, 2))
    with pytest.raises(InvalidArgument, match="begun with 2 shards, not 3"):
        await sweep(folder, simple(4), Shard(1, 3))
    with pytest.raises(InvalidArgument, match="begun with other backends"):
        await sweep(folder, simple(4, name="other"), Shard(1, 2))


async def test_what_a_killed_process_left_is_swept_up(tmp_path: Path) -> None:
    """A temporary file of a process that was killed is gone once the snapshot is finished."""
    folder = SnapshotFolder(tmp_path, "n")
    folder.path.mkdir()
    (folder.path / ".shard-00001-of-00001.parquet.x.part").write_bytes(b"half")
    await sweep(folder, simple(3), Shard(1, 1))
    assert not list(folder.path.glob(".*"))
