"""The order of a run: concurrently over accounts and numbers, and in sequence within one number."""

from __future__ import annotations

from collections import defaultdict, deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import anyio

from phonesys import _slot
from phonesys._concurrency import Semaphore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator

    from phonesys.changes.change import PlannedChange

    CarryOut: TypeAlias = Callable[[PlannedChange], Awaitable[None]]
    Queue: TypeAlias = deque[list[PlannedChange]]

# After a crash, each change under way is looked up. Of an account whose window is exhausted, these are all.
_PER_ACCOUNT = 4


class Slots:
    """The changes under way. One whose call waits, for a rate window or a retry, does not count."""

    def __init__(self, count: int) -> None:
        self._semaphore = Semaphore(count)
        self.acquire = self._semaphore.acquire
        self.release = self._semaphore.release

    # RequestSlot

    def on_request(self) -> None:
        """Do nothing."""

    async def wait_for_capacity(self) -> None:
        """Do not wait: changes hold no pages."""

    def on_retry(self) -> None:
        """Do nothing."""

    @asynccontextmanager
    async def waiting(self) -> AsyncGenerator[None]:
        """Release the slot while the block waits, for another account, and acquire one afterwards."""
        self.release()
        try:
            yield
        finally:
            await self._semaphore.reacquire()


async def run_all(
    changes: Iterable[PlannedChange], concurrency: int, carry_out: CarryOut, is_stopped: Callable[[], bool]
) -> None:
    """Carry out changes until all are, or until the run is stopped."""
    slots = Slots(concurrency)

    async def work(queue: Queue) -> None:
        _slot.current.set(slots)
        try:
            while queue and not is_stopped():
                for change in queue.popleft():
                    await carry_out(change)
        finally:
            slots.release()

    async with anyio.create_task_group() as group:
        for queue in _lanes(changes):
            await slots.acquire()
            group.start_soon(work, queue)


def _lanes(changes: Iterable[PlannedChange]) -> Iterator[Queue]:
    """Yield the queue of each account once per worker that it may have, account by account."""
    sequences: defaultdict[tuple[str, str, str], list[PlannedChange]] = defaultdict(list)
    for change in changes:
        sequences[change.number_key].append(change)
    queues: defaultdict[tuple[str, str], Queue] = defaultdict(deque)
    for (backend, account, _), sequence in sequences.items():
        queues[backend, account].append(sequence)
    sizes = [(queue, min(_PER_ACCOUNT, len(queue))) for queue in queues.values()]
    for worker in range(_PER_ACCOUNT):
        yield from (queue for queue, workers in sizes if worker < workers)
