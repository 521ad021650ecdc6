"""Short versions of the long check: a worker is killed in the middle of a sweep."""

from __future__ import annotations

import pytest

from tests.chaos.shards import Kills, Options, killed, run


@pytest.mark.parametrize("target", ["sqlite", "folder"])
async def test_a_worker_that_is_killed_costs_its_shard(target: str) -> None:
    """Every number is there once, no location is missing, and only the shard under way is run again."""
    kills = Kills()
    await killed(7, Options(target=target, locations=60), kills)
    assert kills.broken == []
    assert kills.rounds == 1


@pytest.mark.long
@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(engine="dask"),
        Options(target="folder"),
        Options(target="postgresql"),
    ],
    ids=lambda options: f"{options.engine}-{options.target}",
)
async def test_twenty_workers_that_are_killed(options: Options) -> None:
    """The same for twenty moments; PostgreSQL also stops for a second each time."""
    kills = await run(range(1, 21), options)
    assert kills.broken == []
    assert kills.in_the_middle >= 10
