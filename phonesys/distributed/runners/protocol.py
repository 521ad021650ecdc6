"""The protocol of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonesys.distributed.spec import ShardProgress, ShardSpec, ShardSummary


class Runner(Protocol):
    """Runs shards on workers; an async context manager whose end cancels what still runs."""

    @property
    def capacity(self) -> int:
        """The number of shards to hand over at a time, so that no worker waits for the driver."""
        ...

    async def run(self, spec: ShardSpec) -> ShardSummary:
        """Run a shard on a worker: `run_shard(spec)`. Raise its error, or WorkerLost if the worker died.

        The driver then runs it again, unless the error is ShardGivenUp.
        """
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...


@runtime_checkable
class ReportsProgress(Protocol):
    """A runner that can tell how far shards are before they are finished."""

    on_progress: Callable[[ShardProgress], None] | None
    """Called in the driver's event loop."""
