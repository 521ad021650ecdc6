"""Event loops that count their steps, and what is left when something was cut short at one of them."""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
import weakref
from collections import deque
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conftest import JumpingLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

ours: ContextVar[bool] = ContextVar("ours", default=False)
"""Returns True for a task of the code under test, and not of the vendor in the same loop."""

_DESCRIPTORS = Path("/proc/self/fd")


class _Ready(deque[asyncio.Handle]):
    """The callbacks that the loop runs next; removing one is a step."""

    def __init__(self, step: Callable[[], None]) -> None:
        super().__init__()
        self._step = step

    def popleft(self) -> asyncio.Handle:
        self._step()
        return super().popleft()


class Stepping(asyncio.BaseEventLoop):
    """Counts callbacks, and calls what was asked for before a certain one of them.

    Between two callbacks is every moment at which a program can be cancelled: each `await` that waited ends
    in one.
    """

    _ready: deque[asyncio.Handle]

    def __init__(self) -> None:
        super().__init__()
        self._ready = _Ready(self._step)
        self.steps = 0
        self._due: dict[int, Callable[[], object]] = {}
        self.tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self.complaints: list[str] = []
        self.set_task_factory(self._make)  # type: ignore[arg-type]  # whatever else a task is made with
        self.set_exception_handler(self._complain)

    def at(self, steps: int, action: Callable[[], object]) -> None:
        """Do something so many steps from now."""
        self._due[self.steps + steps] = action

    def disarm(self) -> None:
        """Forget what has not been done yet."""
        self._due.clear()

    def _step(self) -> None:
        self.steps += 1
        if self._due and (action := self._due.pop(self.steps, None)) is not None:
            action()

    def _make(self, loop: Any, coro: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=loop, **options)
        context = options.get("context")
        if context.get(ours) if context is not None else ours.get():
            self.tasks.add(task)
        return task

    def _complain(self, _loop: Any, context: dict[str, Any]) -> None:
        self.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")

    def alive(self) -> list[str]:
        """Name the tasks that what is tested has started and that have not ended."""
        return [
            f"task {task.get_name()}: {task.get_coro()!r:.80}"
            for task in self.tasks
            if not task.done() and task is not asyncio.current_task()
        ]


class JumpingSteps(Stepping, JumpingLoop):
    """Counts steps on a clock that jumps: for what has no threads."""


class RealSteps(Stepping, asyncio.SelectorEventLoop):
    """Counts steps on the real clock: for what works in threads too."""


def descriptors() -> int:
    """Count what this process has open; 0 where the system does not tell."""
    return len(list(_DESCRIPTORS.iterdir())) if _DESCRIPTORS.is_dir() else 0


@contextmanager
def overheard() -> Generator[list[str]]:
    """Collect what Python says of things that were not closed or awaited."""
    said: list[str] = []

    def show(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
        said.append(f"{category.__name__}: {message}")

    before = sys.unraisablehook
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        sys.unraisablehook = lambda told: said.append(f"unraisable: {told.exc_value!r} in {told.object!r}")
        try:
            yield said
        finally:
            sys.unraisablehook = before


def freeze_old_objects() -> None:
    """Make later collections quick, so that the collector can run after every round.

    Old objects stay frozen: to thaw them would thaw the tests, too, which the suite has frozen.
    """
    gc.collect()
    gc.freeze()
