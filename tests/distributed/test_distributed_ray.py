"""Sweeps by the actors of a Ray cluster, where Ray is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from phonesys import InvalidArgument, Outcome
from phonesys.distributed import Ray, ShardGivenUp, sweep
from tests.distributed import systems
from tests.distributed.test_distributed_processes import arguments, consume, numbers_in, truth

if TYPE_CHECKING:
    from pathlib import Path

    from phonesys.sandbox import Sandbox


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # Ray's own
async def test_actors_find_what_one_process_finds(sandbox: Sandbox, tmp_path: Path) -> None:
    """The snapshot and the report are those of one process, and an actor that dies costs its own shard."""
    pytest.importorskip("ray")
    work = sweep(
        systems.of_sandbox,
        arguments=arguments(sandbox),
        runner=Ray(workers=2),
        store=tmp_path / "s.db",
        shards=6,
    )
    await consume(work)
    assert await numbers_in(tmp_path / "s.db") == truth(sandbox)
    assert work.report.complete
    work = sweep(
        systems.deadly,
        arguments={"count": 20},
        runner=Ray(workers=2),
        store=tmp_path / "d.db",
        shards=5,
    )
    await consume(work)
    (failure,) = work.report.failures
    assert isinstance(failure.error, ShardGivenUp)
    assert work.report.outcomes[Outcome.DONE] + work.report.outcomes[Outcome.NOT_REACHED] == 20


def test_misuse_is_an_error() -> None:
    """A number of actors is a whole number."""
    with pytest.raises(InvalidArgument, match="workers: expected"):
        Ray(workers=0)
