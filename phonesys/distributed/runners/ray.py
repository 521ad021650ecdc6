"""Actors of a Ray cluster, for those who run one."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Self

from phonesys._extras import require_extra
from phonesys.distributed.runners.processes import available_cores
from phonesys.distributed.spec import WorkerLost
from phonesys.distributed.work import run_shard
from phonesys.errors import InvalidArgument

if TYPE_CHECKING:
    from phonesys.distributed.spec import ShardSpec, ShardSummary


class Ray:
    """Runs shards in actors of a Ray cluster. Needs the extra `phonesys[ray]`.

    - `address`: of a cluster, such as `ray://10.0.0.1:10001` or `auto`. Without one, a cluster of this
      machine is started, unless the program has connected to one already.
    - `workers`: the number of actors; by default, one for each processor of the cluster.

    An actor that dies is replaced, and costs only the shard that it had. Actors are killed at the end of the
    block. To connect, and to start a cluster, takes Ray some seconds, in a thread.
    """

    def __init__(self, address: str | None = None, *, workers: int | None = None) -> None:
        if workers is not None and (not isinstance(workers, int) or isinstance(workers, bool) or workers < 1):
            raise InvalidArgument(f"workers: expected a whole number from 1, got {workers!r}")
        self._address = address
        self._workers = workers
        self._capacity = workers or available_cores()
        self._idle: list[Any] = []
        self._all: list[Any] = []
        self._owns_connection = False

    @property
    def capacity(self) -> int:
        """The number of actors."""
        return self._capacity

    async def __aenter__(self) -> Self:
        self._ray: Any = require_extra("ray", "ray")
        self._owns_connection = not self._ray.is_initialized()
        if self._owns_connection:
            await asyncio.to_thread(self._connect)
        if self._workers is None:
            self._capacity = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        self._actor: Any = self._ray.remote(max_restarts=0, max_task_retries=0)(ShardActor)
        return self

    def _connect(self) -> None:
        own: dict[str, Any] = {}
        if self._address is None:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            own = {"num_cpus": self._capacity, "include_dashboard": False}
        self._ray.init(address=self._address, log_to_driver=False, logging_level="WARNING", **own)

    async def __aexit__(self, *_: object) -> None:
        for actor in self._all:
            self._ray.kill(actor)
        self._idle, self._all = [], []
        if self._owns_connection:
            await asyncio.to_thread(self._ray.shutdown)

    async def run(self, spec: ShardSpec) -> ShardSummary:
        """Run a shard in an actor that is idle, or in another one."""
        actor = self._idle.pop() if self._idle else self._start()
        try:
            result: ShardSummary = await actor.run.remote(spec)
        except self._ray.exceptions.RayTaskError as failure:
            self._idle.append(actor)
            raise failure.cause from None
        except self._ray.exceptions.RayActorError as failure:
            self._all.remove(actor)
            raise WorkerLost(f"an actor died: {str(failure).partition(chr(10))[0]}") from None
        self._idle.append(actor)
        return result

    def _start(self) -> Any:
        actor = self._actor.remote()
        self._all.append(actor)
        return actor


class ShardActor:
    """Runs one shard at a time, on the event loop of its process."""

    async def run(self, spec: ShardSpec) -> ShardSummary:
        """Run a shard."""
        return await run_shard(spec)
