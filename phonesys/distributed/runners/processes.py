"""Processes of this machine, one for each core."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Self

from phonesys.distributed.runners.loops import loop_factory
from phonesys.distributed.spec import ShardProgress, ShardSpec, ShardSummary, WorkerLost
from phonesys.distributed.work import run_shard
from phonesys.errors import InvalidArgument, PhonesysError

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

_GRACE = 5.0  # seconds for a process to die of SIGTERM


class Processes:
    """Runs shards in processes of this machine, by default one for each core that this process may use.

    A process has its own connections, tokens and rate windows. One that dies is replaced, and costs only the
    shard that it had. The processes end with the program that started them, however that ends. A program that
    uses this must guard its start with `if __name__ == "__main__":`, since each process imports it.
    """

    def __init__(self, count: int | None = None) -> None:
        if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
            raise InvalidArgument(f"processes: expected a whole number from 1, got {count!r}")
        self._count = count or available_cores()
        self.on_progress: Callable[[ShardProgress], None] | None = None
        """Called with the counts of shards that are under way."""
        self._idle: list[_Worker] = []
        self._all: list[_Worker] = []

    @property
    def capacity(self) -> int:
        """The number of processes."""
        return self._count

    @property
    def pids(self) -> list[int]:
        """The ids of the processes that run."""
        return [worker.pid for worker in self._all]

    async def __aenter__(self) -> Self:
        # A thread waits for each process: pipes cannot be awaited on every platform.
        self._threads = ThreadPoolExecutor(self._count, thread_name_prefix="phonesys-worker")
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self._all:
            worker.terminate()
        for worker in self._all:
            await asyncio.to_thread(worker.join)
        self._threads.shutdown()
        self._idle, self._all = [], []

    async def run(self, spec: ShardSpec) -> ShardSummary:
        """Run a shard in a process that is idle, or in another one."""
        worker = self._idle.pop() if self._idle else self._start()
        loop = asyncio.get_running_loop()
        try:
            result = await loop.run_in_executor(self._threads, worker.run, spec, self._report(loop))
        except WorkerLost:
            self._all.remove(worker)
            raise
        self._idle.append(worker)
        if isinstance(result, ShardSummary):
            return result
        raise result

    def _report(self, loop: asyncio.AbstractEventLoop) -> Callable[[ShardProgress], None]:
        """Return a function for the thread that waits for a worker."""

        def report(progress: ShardProgress) -> None:
            if self.on_progress is not None:
                loop.call_soon_threadsafe(self.on_progress, progress)

        return report

    def _start(self) -> _Worker:
        worker = _Worker()
        self._all.append(worker)
        return worker


class _Worker:
    """A process, and this end of the pipe to it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process: BaseProcess = context.Process(target=_serve, args=(other,), daemon=True)
        self._process.start()
        other.close()  # so that the pipe ends with the process

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def run(self, spec: ShardSpec, report: Callable[[ShardProgress], None]) -> ShardSummary | BaseException:
        try:
            self._pipe.send(spec)
            result: ShardSummary | BaseException | ShardProgress = self._pipe.recv()
            while isinstance(result, ShardProgress):
                report(result)
                result = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            self._pipe.close()
            raise WorkerLost(f"a worker process died (exit status {self._process.exitcode})") from None
        return result

    def terminate(self) -> None:
        self._process.terminate()

    def join(self) -> None:
        self._process.join(_GRACE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(pipe: Connection[Any, Any]) -> None:
    """Run shards until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the driver ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        while True:
            try:
                spec = pipe.recv()
            except EOFError:
                return
            pipe.send(runner.run(_attempt(spec, pipe)))


async def _attempt(spec: ShardSpec, pipe: Connection[Any, Any]) -> ShardSummary | Exception:
    try:
        return await run_shard(spec, on_progress=pipe.send)
    except Exception as failure:  # noqa: BLE001 -- raised by the driver
        return _picklable(failure)


def _picklable(failure: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(failure))  # noqa: S301 -- our own
    except Exception:  # noqa: BLE001 -- whatever it is, its text can be sent
        return PhonesysError(f"{type(failure).__name__}: {failure}")
    return failure


def _end_with_parent() -> None:
    """End at once when the driver is gone: what was stored is stored, and the rest can be resumed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
