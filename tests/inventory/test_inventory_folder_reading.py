"""Reading snapshots in folders: they are what a store would hold, and say what they lack."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from typer.testing import CliRunner

from phonesys import Forbidden, PhoneSystem, SweepIncomplete
from phonesys.cli.app import app
from phonesys.inventory import (
    ChangeKind,
    FolderInventory,
    Inventory,
    InventoryError,
    NoSnapshot,
    Shard,
    SnapshotFolder,
)
from phonesys.inventory.audit import findings
from phonesys.inventory.export import export
from phonesys.inventory.report import read_trend
from phonesys.inventory.shard import select_shard
from phonesys.sweep import SweepReport
from tests.sweep.memory import Memory, number, simple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from phonesys.backends.agents import AgentNumber
    from phonesys.inventory import Change, NumberRecord
    from phonesys.inventory.audit import Finding

pa: Any = pytest.importorskip("pyarrow")
pq: Any = pytest.importorskip("pyarrow.parquet")


async def write(
    path: Path, name: str, backend: Memory, count: int = 1, *, without: tuple[int, ...] = ()
) -> SnapshotFolder:
    """Sweep every shard but some into a folder."""
    folder = SnapshotFolder(path, name)
    for index in range(1, count + 1):
        if index in without:
            continue
        async with PhoneSystem(backend) as phones:
            report, shard = SweepReport(), Shard(index, count)
            accounts = select_shard(phones, phones, {}, shard, report)
            sweep = phones.sweep(accounts, report=report)
            async with folder.sweep_shard(sweep, shard, dict.fromkeys(phones, "listed")) as done:
                _ = [page async for page in done]
    return folder


def states(seed: int) -> list[dict[str, list[Any]]]:
    """Return the accounts of two days, with changes of every kind between them, and failures on both."""
    rng = random.Random(seed)
    days: list[dict[str, list[Any]]] = []
    held = {f"acc_{i}": [number(10 * i + j, f"acc_{i}") for j in range(rng.randrange(5))] for i in range(60)}
    for day in range(2):
        if day:
            gone: list[AgentNumber] = []
            held.pop(f"acc_{rng.randrange(30)}")
            held["acc_new"] = [number(7000, "acc_new")]
            for index, (account, rows) in enumerate(held.items()):
                kept = [copy_of(one) for one in rows if rng.random() > 0.15]
                if rng.random() < 0.1:
                    kept.append(number(8000 + index, account))
                if gone and rng.random() < 0.3:
                    kept.append(number(0, account))
                    kept[-1].number = gone.pop().number
                gone += [one for one in rows if all(one.row_id != other.row_id for other in kept)]
                held[account] = kept
                for one in held[account]:
                    if rng.random() < 0.1:
                        one.label = rng.choice(["Front desk", "a\x1fb", None])
        pages: dict[str, list[Any]] = {account: [rows] for account, rows in held.items()}
        for account in rng.sample(sorted(pages), 4):
            pages[account] = [Forbidden("no", status=403)]
        days.append(pages)
    return days


def copy_of(one: AgentNumber) -> AgentNumber:
    return msgspec.structs.replace(one)


def repr_of(record: NumberRecord) -> str:
    return str(record.to_dict())


def key_of(finding: Finding) -> tuple[str, str | None, frozenset[Any]]:
    return finding.code, finding.number, frozenset(finding.accounts)


def facts(changes: list[Change]) -> list[tuple[Any, ...]]:
    return sorted(
        (
            str(one.kind),
            one.account,
            one.number or "",
            one.from_account or "",
            one.reason or "",
            str(one.fields),
        )
        for one in changes
    )


@pytest.mark.parametrize("seed", range(3))
async def test_a_folder_is_read_as_a_store_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Records, outcomes, findings and changes are those of a store with the same sweeps."""
    monkeypatch.setattr("phonesys.inventory.folder.diff._ROWS", 20)  # so that there are many partitions
    shards = random.Random(seed)
    folders = FolderInventory(tmp_path / "snapshots")
    async with Inventory(tmp_path / "inventory.db") as store:
        for day, pages in enumerate(states(seed)):
            async with PhoneSystem(Memory(pages)) as phones:
                await store.collect(phones)
            await write(folders.path, f"day_{day}", Memory(pages), shards.randint(1, 5))
        stored, found = await store.snapshot(), await folders.snapshot()
        assert found.name == "day_1"
        assert (found.numbers, found.complete) == (stored.numbers, stored.complete)
        assert found.incomplete_accounts == stored.incomplete_accounts == 4
        rows = [one async for one in stored.records()]
        assert sorted([one async for one in found.records()], key=repr_of) == sorted(rows, key=repr_of)
        assert sorted([one async for one in found.accounts()]) == [one async for one in stored.accounts()]
        assert (await found.table()).num_rows == found.numbers
        for snapshot in (stored, found):
            with pytest.raises(SweepIncomplete, match=r"memory acc_\d+: .*403.*; and 1 more") as caught:
                await snapshot.find(rows[0].number[2:])
            assert rows[0] in caught.value.numbers
            assert {one.number for one in caught.value.numbers} == {rows[0].number}
        audits = [await findings(one.records(), accounts=one.accounts()) for one in (stored, found)]
        assert audits[0]
        assert len({frozenset(map(key_of, audit)) for audit in audits}) == 1
        assert facts(await folders.compare()) == facts(await store.compare())
        assert {one.kind for one in await folders.compare()} == set(ChangeKind)
        points = await read_trend(folders, found)
        assert [one.numbers for one in points] == [one.numbers for one in await read_trend(store, stored)]


async def test_rows_that_are_told_apart_by_nothing_are_compared_one_by_one(tmp_path: Path) -> None:
    """An account with two rows of one id and number, as a vendor may send, loses one of them."""
    twice = [number(1), number(1), number(2)]
    await write(tmp_path, "1", simple(1))
    folder = await write(tmp_path, "2", simple(1))
    for name, rows in (("1", twice), ("2", twice[1:])):
        path = tmp_path / name / "shard-00001-of-00001.parquet"
        one = pq.read_table(path).slice(0, 1).to_pylist()[0]
        pq.write_table(
            pa.Table.from_pylist(
                [{**one, "id": row.id, "number": row.number} for row in rows], pq.read_schema(path)
            ),
            path,
        )
        state = SnapshotFolder(tmp_path, name)
        found = state.read_shard(Shard(1, 1))
        assert found is not None
        (state.path / "manifest.json").unlink()
        state.finish_shard(msgspec.structs.replace(found, numbers=len(rows)))
    changes = await FolderInventory(tmp_path).compare("1", "2")
    assert [(one.kind, one.number) for one in changes] == [(ChangeKind.REMOVED, number(1).number)]
    assert folder.read_manifest() is not None


async def test_missing_shards_make_a_snapshot_incomplete(tmp_path: Path) -> None:
    """It is read as far as it goes, and nothing in a missing shard is reported as removed."""
    backend = simple(40, numbers=2)
    await write(tmp_path, "1", backend, 3)
    await write(tmp_path, "2", backend, 4, without=(2, 3))
    folders = FolderInventory(tmp_path)
    assert (await folders.snapshot()).name == "1"  # the last that is finished
    found = await folders.snapshot("2")
    assert (found.gap, found.complete, found.finished_at) == ("2 of 4 shards missing: 2, 3", False, None)
    outcomes = {one.account: one async for one in found.accounts()}
    assert outcomes[""].problem == found.gap
    read = outcomes.keys() - {""}
    assert 0 < len(read) < 40
    assert {one.account async for one in found.records()} == read
    for sides, when in ((("1", "2"), "now"), (("2", "1"), "before")):
        changes = await folders.compare(*sides)
        assert {one.account for one in changes} == {f"acc_{i}" for i in range(40)} - read
        assert {(one.kind, one.reason) for one in changes} == {(ChangeKind.UNKNOWN, f"not read {when}")}
    path = tmp_path / "part.parquet"
    assert await export(path, found.records(), accounts=found.accounts()) == 2 * len(read)
    assert pq.read_metadata(path).metadata[b"phonesys.complete"] == b"false"


@pytest.mark.parametrize("suffix", ["parquet", "accounts.jsonl"])
async def test_a_file_that_was_not_copied_is_a_missing_shard(tmp_path: Path, suffix: str) -> None:
    """A manifest is no proof that its files are there."""
    folder = await write(tmp_path, "n", simple(9), 2)
    (folder.path / f"shard-00002-of-00002.{suffix}").unlink()
    found = await FolderInventory(folder.path).snapshot()
    assert found.gap == "1 of 2 shards missing: 2"
    assert not found.complete


async def test_a_snapshot_without_its_manifest_is_incomplete_until_a_shard_is_run_again(
    tmp_path: Path,
) -> None:
    """A process may be killed between the last shard and the manifest."""
    backend = simple(9)
    folder = await write(tmp_path, "n", backend, 2)
    (folder.path / "manifest.json").unlink()
    found = await FolderInventory(tmp_path).snapshot()
    assert (found.gap, found.complete) == ("manifest.json is missing", False)
    await write(tmp_path, "n", backend, 2, without=(2,))
    whole = await FolderInventory(tmp_path).snapshot()
    assert whole.complete
    assert len(await whole.find("(415) 555-0000")) == 9
    assert await whole.find("+14155559999") == []


async def test_a_finished_shard_that_is_run_again_knows_which_are_left(tmp_path: Path) -> None:
    """It does not claim that the snapshot is finished."""
    for _ in range(2):
        folder = SnapshotFolder(tmp_path, "n")
        async with PhoneSystem(simple(4)) as phones:
            sweep = folder.sweep_shard(phones.sweep(), Shard(2, 3), {"memory": "listed"})
            async with sweep:
                _ = [page async for page in sweep]
        assert (sweep.finished, sweep.unfinished_shards) == (True, (1, 3))


async def test_lists_of_accounts_that_several_shards_could_not_read_are_one_outcome(tmp_path: Path) -> None:
    """Each shard lists the accounts itself, and the backend's list is named once."""

    class Unlisted(Memory):
        async def accounts(self) -> AsyncIterator[str]:
            async for account in super().accounts():
                yield account
            raise Forbidden("no list", status=403)

    await write(tmp_path, "n", Unlisted({}), 2)
    found = await FolderInventory(tmp_path).snapshot()
    assert [(one.account, one.outcome) async for one in found.accounts()] == [("", "failed")]
    assert not found.complete


async def test_what_cannot_be_read_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    """Neither fewer rows than were written nor another file passes for a shard."""
    folder = await write(tmp_path, "n", simple(3, numbers=2))
    found = await FolderInventory(tmp_path).snapshot()
    path = folder.path / "shard-00001-of-00001.parquet"
    whole = path.read_bytes()
    for damage, why in (
        (lambda: pq.write_table(pq.read_table(path).slice(1), path), "should have 6 numbers, but has 5"),
        (lambda: pq.write_table(pq.read_table(path).drop_columns(["account"]), path), "no column 'account'"),
        (lambda: path.write_bytes(whole[:-9]), "cannot be read"),
    ):
        path.write_bytes(whole)
        damage()
        with pytest.raises(InventoryError, match=rf"{path.name}.*{why}"):
            _ = [one async for one in found.records()]
    (folder.path / "manifest.json").write_bytes(b"{")
    with pytest.raises(InventoryError, match=r"manifest\.json is damaged"):
        await FolderInventory(tmp_path).snapshots()


async def test_a_file_of_an_older_version_has_no_newer_columns(tmp_path: Path) -> None:
    """They are unknown, and what is there is read."""
    folder = await write(tmp_path, "n", simple(2))
    path = folder.path / "shard-00001-of-00001.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["country_derived", "country"]), path)
    found = [one async for one in (await FolderInventory(tmp_path).snapshot()).records()]
    assert [(one.country, one.country_derived) for one in found] == [(None, None)] * 2
    assert {one.number for one in found} == {number(0).number}


async def test_a_place_without_snapshots(tmp_path: Path) -> None:
    """Other files, and a snapshot that was begun, are no snapshots."""
    (tmp_path / "notes.txt").touch()
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / ".shard-00001-of-00002.parquet.x.part").touch()
    folders = FolderInventory(tmp_path)
    assert await folders.snapshots() == []
    for name in (None, "begun", "notes.txt", "absent"):
        with pytest.raises(NoSnapshot):
            await folders.snapshot(name)


@pytest.fixture
async def folder(tmp_path: Path) -> str:
    """Return a folder of two finished snapshots, and one of which a shard is missing."""
    renamed = number(1)
    renamed.label = "Front desk"
    days: tuple[dict[str, list[Any]], ...] = (
        {"a": [[number(1), number(2)]], "b": [[]]},
        {"a": [[renamed]], "b": [[number(2, "b")]]},
    )
    for day, pages in enumerate(days):
        await write(tmp_path, f"day_{day}", Memory(pages))
    await write(tmp_path, "day_2", Memory(days[1]), 2, without=(2,))
    return str(tmp_path)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_commands_read_the_last_finished_snapshot(folder: str, tmp_path: Path) -> None:
    """They say that a newer one is not finished."""
    output, page = str(tmp_path / "all.csv"), tmp_path / "page.html"
    for arguments in (
        ("audit", "-f", "jsonl"),
        ("export", output),
        ("report", str(page)),
        ("find", "+14155550001"),
    ):
        done = run(*arguments, "--folder", folder)
        assert done.exit_code == 0, done.stderr
        assert "day_2 is newer, but not finished: 1 of 2 shards missing: 2" in " ".join(done.stderr.split())
    assert len((tmp_path / "all.csv").read_text(encoding="utf-8").splitlines()) == 3
    assert "Front desk" in page.read_text(encoding="utf-8")
    assert "from memory a" in page.read_text(encoding="utf-8")  # the changes since the snapshot before


def test_a_snapshot_that_is_named_is_read_and_said_to_be_incomplete(folder: str, tmp_path: Path) -> None:
    """By its name or by its own folder; the status is 1 unless that is allowed."""
    output = str(tmp_path / "all.csv")
    for arguments in (
        ("audit",),
        ("export", output),
        ("report", str(tmp_path / "page.html")),
        ("find", "+14155550001"),
    ):
        for place in (("--folder", folder, "--snapshot", "day_2"), ("--folder", f"{folder}/day_2")):
            done = run(*arguments, *place)
            assert done.exit_code == 1
            said = " ".join(done.stderr.split())
            assert "snapshot day_2 is incomplete: 1 of 2 shards missing: 2" in said
            assert "not read completely" not in said  # the shard is named, and no account of it is known
            assert run(*arguments, *place, "--allow-incomplete").exit_code == 0
    assert "<dt>accounts</dt><dd>0</dd>" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_diff_of_folders(folder: str) -> None:
    """The last two finished snapshots by default; of an unfinished one, the status is 1."""
    done = run("diff", "day_0", "day_1", "--folder", folder, "-f", "jsonl")
    kinds = {line["kind"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert (done.exit_code, set(kinds)) == (0, {"moved", "changed"})
    assert run("diff", "--folder", folder, "-f", "jsonl").stdout == done.stdout
    partial = run("diff", "day_1", "day_2", "--folder", folder, "-f", "jsonl")
    assert partial.exit_code == 1
    assert {json.loads(line)["kind"] for line in partial.stdout.splitlines()} == {"unknown"}
    assert "day_2 is incomplete" in " ".join(partial.stderr.split())


def test_a_list_of_the_snapshots_in_a_folder(folder: str) -> None:
    """An unfinished one has no time of its end, and is not complete."""
    done = run("snapshots", "--folder", folder, "-f", "jsonl")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["name"], line["complete"]) for line in lines] == [
        ("day_2", False),
        ("day_1", True),
        ("day_0", True),
    ]
    assert [line["finished_at"] is None for line in lines] == [True, False, False]


def test_numbers_are_found_in_a_snapshot_of_either_kind(folder: str, tmp_path: Path) -> None:
    """Nothing is sent: there is no configuration."""
    done = run("find", "(415) 555-0002", "--folder", folder, "--snapshot", "day_0", "-f", "jsonl")
    assert [json.loads(line)["account"] for line in done.stdout.splitlines()] == ["a"]
    assert "4155550002 found 1 time in 2 accounts" in done.stderr
    store = str(tmp_path / "inventory.db")
    assert run("sweep", "--sandbox", "--locations", "3", "--store", store).exit_code == 0
    assert run("export", str(tmp_path / "all.csv"), "--store", store).exit_code == 0
    wanted = (tmp_path / "all.csv").read_text(encoding="utf-8").splitlines()[1].split(",")[4]
    done = run("find", wanted, "+14155559999", "--store", store, "-f", "csv")
    assert wanted in done.stdout
    assert "+14155559999 is in none of 5 accounts" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["audit", "--folder", "FOLDER", "--store", "x.db"], "--folder: cannot be combined with --store"),
        (["audit", "--folder", "FOLDER", "--sandbox"], "--sandbox: cannot be combined with --folder"),
        (["find", "911", "--folder", "FOLDER", "--with-pools"], "--with-pools: cannot be combined with"),
        (["audit", "--sandbox", "--snapshot", "x"], "--snapshot: needs --store or --folder"),
        (["find", "911", "--snapshot", "x"], "--snapshot: needs --store or --folder"),
        (["report", "--folder", "nowhere"], "there is no such folder"),
        (["diff", "--folder", "nowhere"], "there is no such folder"),
    ],
)
def test_misuse_is_one_line(folder: str, arguments: list[str], why: str) -> None:
    """Misuse exits with status 2 and one line."""
    done = run(*(folder if word == "FOLDER" else word for word in arguments))
    assert done.exit_code == 2
    assert why in " ".join(done.stderr.split())


async def test_a_stored_snapshot_is_found_by_its_name(tmp_path: Path) -> None:
    """In a program and by a command."""
    store = tmp_path / "inventory.db"
    async with Inventory(store) as inventory:
        for name in ("one", "two"):
            async with PhoneSystem(simple(2 if name == "one" else 3)) as phones:
                await inventory.collect(phones, snapshot=name)
        assert (await inventory.snapshot("one")).id == 1
        with pytest.raises(NoSnapshot, match="no snapshot three"):
            await inventory.snapshot("three")
        assert len(await inventory.compare("one", "two")) == 1
