"""Short versions of `python -m tests.chaos.cancel`, and that it finds what is left behind."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from phonesys import RateLimit, _slot
from tests.chaos import cancel
from tests.chaos.interrupt import can_signal, interrupted
from tests.chaos.steps import JumpingSteps, descriptors
from tests.conftest import PATIENCE
from tests.http.raw_vendor import OK, RawVendor, client, read

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from phonesys.sandbox import Sandbox
    from tests.chaos.cancel import Act, Orders, Scene


@pytest.mark.parametrize("scene", [*cancel.VIRTUAL, *cancel.REAL])
def test_nothing_is_left_wherever_it_is_cut_short(scene: str) -> None:
    """By every way, at steps of the loop spread over all there are: nothing is left, and it works on."""
    tally = cancel.cancelled(points=6, seed=3, only=[scene])
    assert tally.tried.total() >= 4
    assert tally.in_time
    assert not tally.broken, str(tally)


@pytest.mark.skipif(not can_signal(), reason="signals are POSIX's")
async def test_a_program_ends_when_it_is_told_to() -> None:
    """With the status of the signal, no traceback, and no half-written file."""
    signals = await interrupted(2, seed=2)
    assert signals.ended.total() == 2
    assert not signals.broken, str(signals)


class Crowded:
    """A sweep in which no slot comes free for a call that has waited."""

    def __init__(self) -> None:
        self.came_back = asyncio.Event()

    def on_request(self) -> None:
        """Count nothing."""

    def on_retry(self) -> None:
        """Count nothing."""

    async def wait_for_capacity(self) -> None:
        pass

    @asynccontextmanager
    async def waiting(self) -> AsyncGenerator[None]:
        yield
        self.came_back.set()
        await asyncio.Event().wait()


async def test_a_turn_that_came_is_given_back_by_who_is_cancelled_before_it_is_used() -> None:
    """A call that has its slot of the window, and waits for its place in the sweep, still leaks neither."""
    sweep = Crowded()

    async def call() -> None:
        _slot.current.set(sweep)
        await http.send(read())

    async with RawVendor(OK) as vendor, client(vendor, limit=RateLimit(1, per=0.05)) as http:
        await http.send(read())
        task = asyncio.create_task(call())
        await sweep.came_back.wait()
        task.cancel()
        await asyncio.wait([task])
        async with asyncio.timeout(PATIENCE):
            await http.send(read())


# What it finds


@asynccontextmanager
async def leaving_a_task(_: Sandbox) -> AsyncGenerator[Act]:
    kept: list[asyncio.Task[None]] = []

    async def act(_: Orders) -> None:
        kept.append(asyncio.create_task(asyncio.sleep(1000)))
        await asyncio.sleep(1)

    yield act
    for task in kept:
        task.cancel()


@asynccontextmanager
async def leaving_a_socket(_: Sandbox) -> AsyncGenerator[Act]:
    async def act(_: Orders) -> None:
        KEPT.append(socket.socket())
        await asyncio.sleep(1)

    yield act


@asynccontextmanager
async def failing_otherwise(_: Sandbox) -> AsyncGenerator[Act]:
    async def act(_: Orders) -> None:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            raise KeyError from None

    yield act


@asynccontextmanager
async def going_on(_: Sandbox) -> AsyncGenerator[Act]:
    async def act(_: Orders) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()  # until the loop is closed

    yield act


@asynccontextmanager
async def complaining(_: Sandbox) -> AsyncGenerator[Act]:
    async def act(_: Orders) -> None:
        asyncio.get_running_loop().create_future().set_exception(KeyError())
        await asyncio.sleep(1)

    yield act


KEPT: list[socket.socket] = []


@pytest.mark.parametrize(
    ("scene", "said"),
    [
        (leaving_a_task, "right after the end: \\['task"),
        pytest.param(
            leaving_a_socket,
            "files or sockets are still open",
            marks=pytest.mark.skipif(not descriptors(), reason="the system does not list open files"),
        ),
        (failing_otherwise, "it raised KeyError"),
        (going_on, "it hangs"),
        (complaining, "Future exception was never retrieved"),
    ],
)
def test_what_is_left_behind_is_found(scene: Scene, said: str) -> None:
    """Tasks, sockets, strange errors, ends that do not come, and complaints of Python's."""
    tally = cancel.Tally()
    with asyncio.Runner(loop_factory=JumpingSteps) as runner:
        runner.run(_one(scene, tally))
    for kept in KEPT:
        kept.close()
    KEPT.clear()
    assert any(re.search(said, line) for line in tally.broken), tally.broken


async def _one(scene: Scene, tally: cancel.Tally) -> None:
    async with cancel._world() as world:
        await cancel._tried(world, "bad", scene, cancel.Cut("cancel", 2), tally)
