"""Batches: calls that come while one is running are carried out together by the next."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from phonesys._concurrency import wait_finished

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")

_MAX_ITEMS = 1_000


class Batches(Generic[T, R]):
    """Carries out calls in batches, one batch at a time. An error of a batch is raised in all its callers.

    - `run`: carries out a batch, and returns a result for each item.
    - `pause`: seconds between two batches.
    - `on_lost`: gets the items and results of callers that were cancelled meanwhile.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        pause: float = 0.0,
        on_lost: Callable[[T, R], object] | None = None,
    ) -> None:
        self._run = run
        self._pause = pause
        self._on_lost = on_lost
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        """Carry out a call, and return its result."""
        return await self.put(item)

    def put(self, item: T) -> asyncio.Future[R]:
        """Begin to carry out a call, and return the future of its result."""
        loop = asyncio.get_running_loop()
        if self._task is not None and self._task.get_loop() is not loop:  # that loop ended without it
            self._task, self._waiting = None, []
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, future))
        if self._task is None:
            self._task = loop.create_task(self._run_all())
        return future

    async def finish(self) -> None:
        """Wait until nothing is left to carry out, even while being cancelled."""
        if self._task is not None and self._task.get_loop() is asyncio.get_running_loop():
            await wait_finished(self._task)

    async def _run_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_MAX_ITEMS], self._waiting[_MAX_ITEMS:]
                await self._run_batch(batch)
                await asyncio.sleep(self._pause)
        finally:
            self._task = None

    async def _run_batch(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._run([item for item, _ in batch])
        except Exception as failure:  # noqa: BLE001 -- raised in the callers
            for _, future in batch:
                if not future.done():
                    future.set_exception(failure)
            return
        for (item, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
            elif self._on_lost is not None:
                self._on_lost(item, result)
