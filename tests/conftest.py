"""What many tests need: a clock that jumps, and a sandbox."""

from __future__ import annotations

import asyncio
import gc
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
    from concurrent.futures import Executor

    from phonesys.sandbox import Sandbox

T = TypeVar("T")

# Otherwise hundreds of child processes compile the package again, and every worker rewrites all assertions.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

settings.register_profile(
    "same", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("random", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")  # `--hypothesis-profile=random` looks for new examples

PATIENCE = 120.0
"""Seconds after which something hangs. A test that passes never comes near them, however slow the machine."""

_THE_LOOPS_OWN = 1

AIOHTTP_COUNTS_HEADERS = tuple(map(int, aiohttp.__version__.split(".")[:2])) >= (3, 14)
"""True if aiohttp refuses a response with hundreds of headers. Older ones read on until the time-out."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Use every core for a folder of tests, and this process alone for files and single tests.

    Workers take seconds to start, which is longer than most files take to run.
    """
    if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    if not any(Path(argument).is_dir() for argument in config.args):
        return 0
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def pytest_collection_finish() -> None:
    """Spare the garbage collector the tests themselves, thousands of which stay until the end."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, Any, Any]:
    """Kill the child processes that a test leaves behind, and fail it if nothing else did.

    What fixtures start lives longer, and is theirs to end. asyncio starts its children with `Popen` too.
    """
    started: list[subprocess.Popen[Any]] = []
    make = subprocess.Popen.__init__

    def noted(process: subprocess.Popen[Any], *arguments: Any, **options: Any) -> None:
        make(process, *arguments, **options)
        started.append(process)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", noted)
        try:
            result = yield
        finally:
            left = [process for process in started if process.poll() is None]
            for process in left:
                process.kill()
                process.wait()
    if left:
        pytest.fail(f"left running: {[process.args for process in left]}")
    return result


@pytest.fixture(autouse=True)
def own_rate_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test rate windows of its own: a server of another test may have had the same port."""
    from phonesys.http.ratelimit import registry

    monkeypatch.setattr(registry, "shared", registry.LimiterRegistry())


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> Iterator[None]:
    """Let child processes receive SIGINT, which a shell ignores for what it runs in the background."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    if ignored:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still while there is work, and jumps to the next timer when idle.

    Loopback sockets work as long as both ends live in this loop: what was sent can be read at once. A test
    whose tasks wait for one another fails at once.
    """

    _default_executor: Executor | None

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.now

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Join the threads in real time: by this clock, any time-out would be over at once."""
        executor = self._default_executor
        if executor is not None:
            executor.shutdown(wait=True)


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        alone = len(self.get_map()) == _THE_LOOPS_OWN and threading.active_count() == 1
        events = super().select(0 if alone or timeout is not None else None)
        if alone and not events and timeout is None:
            raise RuntimeError("every task waits, and nothing is left that could wake one")
        if not events and timeout and len(self.get_map()) > _THE_LOOPS_OWN:
            # Sockets of this process may need a moment of the kernel's.
            events = super().select(0.0005)
        if not events and timeout:
            self._loop.now += timeout  # nothing can come but a timer
        return events


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a test by the parameter where its bytes cannot be read: compressed ones hold the time of day."""
    return argname if isinstance(val, bytes) and not val.isascii() else None


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run what is marked `jumping`, fixtures included, on a clock that jumps."""
    if item.get_closest_marker("jumping"):
        return {"jumping": JumpingLoop}
    return {"real": asyncio.new_event_loop}


@pytest.fixture
def jumping() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Run a coroutine to its end on a clock that jumps, so that hours take no time."""

    def run(main: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            return runner.run(main)

    return run


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A small world, without limits: 12 locations, one of them not connected."""
    from phonesys.sandbox import Sandbox

    async with Sandbox(
        locations=12,
        numbers=(1, 9),
        pools=(0, 2),
        not_connected=1,
        leadping=230,
        agents=130,
        enforce_limits=False,
    ) as world:
        yield world


@pytest.fixture
def unused_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
