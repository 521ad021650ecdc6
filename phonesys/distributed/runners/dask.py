"""Workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import AsyncExitStack, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self

from phonesys._extras import require_extra
from phonesys.distributed.runners.processes import available_cores
from phonesys.distributed.spec import ShardGivenUp, WorkerLost
from phonesys.distributed.work import run_shard
from phonesys.errors import InvalidArgument

if TYPE_CHECKING:
    from phonesys.distributed.spec import ShardSpec, ShardSummary

_LOOK = 0.25  # seconds between two looks at the state of the task
_GONE = frozenset({"cancelled", "released", "forgotten"})
_UNKNOWN_CAPACITY = 16  # of a cluster whose workers have yet to start


class Dask:
    """Runs shards on a Dask cluster. Needs the extra `phonesys[dask]`.

    - `address`: a scheduler's, such as `tcp://10.0.0.1:8786`. Without one, a cluster of this machine is
      started, a process for each core.
    - `workers`: the number of processes of that cluster.
    - `client`: an open `distributed.Client(asynchronous=True)` of yours, which stays open.

    Give workers one thread each: the shards of a worker share its event loop. Shards that are queued or
    running are cancelled at the end of the block, and when this program dies.
    """

    def __init__(self, address: str | None = None, *, workers: int | None = None, client: Any = None) -> None:
        if (address is not None) + (workers is not None) + (client is not None) > 1:
            raise InvalidArgument("dask: expected one of address, workers= and client=")
        self._address = address
        self._workers = workers
        self.client: Any = client
        """The open client, while the block runs."""
        self._stack = AsyncExitStack()
        self._running: set[Any] = set()
        self._capacity = _UNKNOWN_CAPACITY

    @property
    def capacity(self) -> int:
        """Twice the number of threads, so that a worker has its next shard at hand."""
        return self._capacity

    async def __aenter__(self) -> Self:
        distributed = require_extra("dask", "distributed")
        if self.client is None:
            try:
                self.client = await self._connect(distributed)
            except BaseException:
                await self._stack.aclose()
                raise
        threads = sum((await self.client.scheduler.ncores()).values())
        self._capacity = 2 * threads if threads else _UNKNOWN_CAPACITY
        return self

    async def _connect(self, distributed: Any) -> Any:
        """Open a client, of a cluster of this machine unless there is an address."""
        dask = require_extra("dask", "dask")
        where: Any = self._address
        if where is None:
            loop = "uvloop" if find_spec("uvloop") is not None else "asyncio"
            lean = {"distributed.admin.event-loop": loop, "distributed.worker.profile.enabled": False}
            self._stack.enter_context(dask.config.set(lean))
            where = await self._stack.enter_async_context(
                distributed.LocalCluster(
                    n_workers=self._workers or available_cores(),
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    asynchronous=True,
                )
            )
        return await self._stack.enter_async_context(distributed.Client(where, asynchronous=True))

    async def __aexit__(self, *_: object) -> None:
        client, self.client = self.client, None
        try:
            if self._running:
                await client.cancel(list(self._running), force=True)
        finally:
            self._running.clear()
            await self._stack.aclose()

    async def run(self, spec: ShardSpec) -> ShardSummary:
        """Submit a shard, and forget its result on the cluster once it is here."""
        distributed = require_extra("dask", "distributed")
        key = f"phonesys-{spec.snapshot}-{spec.index}-of-{spec.count}-{uuid.uuid4().hex}"
        future = self.client.submit(run_while_wanted, spec, key, key=key, pure=False)
        self._running.add(future)
        try:
            result: ShardSummary = await future.result()
        except distributed.KilledWorker as failure:
            raise ShardGivenUp(f"{failure.last_worker} was the last of several workers to die") from None
        except distributed.client.FutureCancelledError as failure:
            raise WorkerLost(f"the cluster dropped the shard: {failure}") from None
        finally:
            if self.client is not None and future.done():
                self._running.discard(future)
                future.release()
        return result


async def run_while_wanted(spec: ShardSpec, key: str) -> ShardSummary:
    """Run a shard on a worker, until the scheduler has dropped it.

    Dask runs a coroutine to its end after it was cancelled, or after its client is gone. The worker knows:
    the task's state is then another one.
    """
    distributed = require_extra("dask", "distributed")
    worker = distributed.get_worker()
    running = asyncio.ensure_future(run_shard(spec))
    try:
        while not running.done():
            await asyncio.wait([running], timeout=_LOOK)
            task = worker.state.tasks.get(key)
            if task is None or task.state in _GONE:
                break
        else:
            return running.result()
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await running
    raise WorkerLost("the shard was cancelled")
