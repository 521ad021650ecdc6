"""Sweeps by the workers of a Dask cluster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import InvalidArgument, Outcome
from phonesys.distributed import Dask, ShardGivenUp, sweep
from tests.conftest import PATIENCE
from tests.distributed import systems
from tests.distributed.test_distributed_processes import arguments, consume, numbers_in, truth

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from phonesys.sandbox import Sandbox

distributed: Any = pytest.importorskip("distributed")


@pytest.fixture
async def cluster() -> AsyncIterator[Any]:
    """A cluster of two workers in processes of their own, and a client of it."""
    async with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, asynchronous=True
        ) as local,
        distributed.Client(local, asynchronous=True) as client,
    ):
        yield client


async def test_a_cluster_finds_what_one_process_finds(sandbox: Sandbox, tmp_path: Path, cluster: Any) -> None:
    """The snapshot and the report are those of one process, and leaving the block ends what runs."""
    store = tmp_path / "s.db"
    work = sweep(
        systems.of_sandbox, arguments=arguments(sandbox), runner=Dask(client=cluster), store=store, shards=6
    )
    summaries = await consume(work)
    assert await numbers_in(store) == truth(sandbox)
    assert len(summaries) == 6
    assert work.report.complete
    assert sum(work.report.outcomes.values()) == len(sandbox.location_ids)
    await leaving_the_block_ends_running_shards(tmp_path, cluster)


@pytest.mark.long
async def test_a_shard_that_kills_its_workers_is_given_up(tmp_path: Path, cluster: Any) -> None:
    """Dask counts the deaths; all other shards are swept, and the report names this one."""
    work = sweep(
        systems.deadly,
        arguments={"count": 20},
        runner=Dask(client=cluster),
        store=tmp_path / "d.db",
        shards=5,
    )
    await consume(work)
    (failure,) = work.report.failures
    assert isinstance(failure.error, ShardGivenUp)
    assert work.report.outcomes[Outcome.DONE] + work.report.outcomes[Outcome.NOT_REACHED] == 20
    assert work.report.outcomes[Outcome.DONE] > 5


async def leaving_the_block_ends_running_shards(tmp_path: Path, cluster: Any) -> None:
    """A shard that would take an hour ends with the block, and its worker is free again."""
    work = sweep(
        systems.in_memory, arguments={"count": 4, "delay": 3600.0}, runner=Dask(client=cluster),
        store=tmp_path / "e.db", shards=4,
    )  # fmt: skip
    async with work:
        while not any((await cluster.processing()).values()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert work.report.outcomes == {Outcome.NOT_REACHED: 4}
    async with asyncio.timeout(PATIENCE):
        # Each worker has one thread, and runs this only beside shards that are left.
        while any((await cluster.run(running_shards)).values()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def running_shards() -> int:
    names = [getattr(task.get_coro(), "__name__", "") for task in asyncio.all_tasks()]
    return names.count("run_shard")


async def test_misuse_is_an_error() -> None:
    """A cluster is found by one of its address, its client or its size."""
    with pytest.raises(InvalidArgument, match="expected one of"):
        Dask("tcp://127.0.0.1:8786", workers=2)
