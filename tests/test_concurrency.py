"""Wait queues, semaphores, and tasks that finish before their owner goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import pytest

from phonesys import PhoneSystem
from phonesys._concurrency import Semaphore, WaitQueue, run_shielded, wait_finished
from phonesys.inventory import Inventory
from tests.conftest import PATIENCE
from tests.sweep.memory import simple

if TYPE_CHECKING:
    from pathlib import Path


async def test_waiters_are_woken_in_order() -> None:
    """The first waiter is woken first."""
    queue, woken = WaitQueue(), list[int]()
    tasks = [asyncio.create_task(_wait(queue, woken, name)) for name in range(3)]
    await asyncio.sleep(0)
    assert len(queue) == 3
    assert queue.wake_one()
    assert queue.wake_one()
    await asyncio.wait(tasks[:2])
    assert woken == [0, 1]
    tasks[2].cancel()
    await asyncio.wait(tasks)
    assert len(queue) == 0
    assert not queue.wake_one()


async def _wait(queue: WaitQueue, woken: list[int], name: int) -> None:
    await queue.wait()
    woken.append(name)


async def test_a_waiter_cancelled_after_its_wake_up_passes_it_on() -> None:
    """No wake-up is lost: the next waiter gets it."""
    queue, woken = WaitQueue(), list[int]()
    first, second = (asyncio.create_task(_wait(queue, woken, name)) for name in range(2))
    await asyncio.sleep(0)
    queue.wake_one()
    first.cancel()
    await asyncio.wait([first, second])
    assert first.cancelled()
    assert woken == [1]


async def test_a_lost_wake_up_is_reported_where_that_is_asked_for() -> None:
    """With `on_wakeup_lost`, the queue's owner passes it on."""
    queue, lost = WaitQueue(), list[str]()
    waiter = asyncio.create_task(queue.wait(on_wakeup_lost=lambda: lost.append("lost")))
    await asyncio.sleep(0)
    queue.wake_one()
    waiter.cancel()
    await asyncio.wait([waiter])
    assert lost == ["lost"]


async def test_only_waiters_that_cannot_wait_so_long_are_failed() -> None:
    """`fail(before=...)` compares deadlines; without it, all waiters fail."""
    queue, now = WaitQueue(), asyncio.get_running_loop().time()
    hasty, patient = (asyncio.create_task(queue.wait(now + seconds)) for seconds in (50, 500))
    await asyncio.sleep(0)
    queue.fail(lambda: KeyError("full"), before=now + 100)
    await asyncio.wait([hasty])
    assert isinstance(hasty.exception(), KeyError)
    assert not patient.done()
    queue.fail(lambda: KeyError("closed"))
    await asyncio.wait([patient])
    assert isinstance(patient.exception(), KeyError)


async def test_a_deadline_that_has_passed_leaves_the_queue() -> None:
    """A waiter that timed out is not woken later."""
    queue = WaitQueue()
    with pytest.raises(TimeoutError):
        await queue.wait(asyncio.get_running_loop().time())
    assert len(queue) == 0


async def test_a_slot_is_handed_to_the_first_waiter() -> None:
    """A newcomer cannot overtake a waiter, not even between its wake-up and its next turn."""
    slots = Semaphore(1)
    assert slots.try_acquire()
    waiter = asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    slots.release()
    assert not slots.try_acquire()
    await waiter
    slots.release()
    assert slots.try_acquire()


async def test_a_slot_of_a_cancelled_waiter_is_free_again() -> None:
    """A waiter that is cancelled just as it gets a slot gives it back."""
    slots = Semaphore(1)
    assert slots.try_acquire()
    waiter = asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    slots.release()
    waiter.cancel()
    await asyncio.wait([waiter])
    assert slots.try_acquire()


async def test_a_slot_taken_by_force_is_missing_until_it_is_released() -> None:
    """`force_acquire` may overdraw; releases first make up for that."""
    slots = Semaphore(1)
    assert slots.try_acquire()
    slots.force_acquire()
    slots.release()
    assert not slots.try_acquire()
    slots.release()
    assert slots.try_acquire()


async def test_a_cancelled_holder_has_a_slot_to_release() -> None:
    """`reacquire` waits for a free slot. If it is cancelled, the slot that its holder releases is its own."""
    slots = Semaphore(1)
    assert slots.try_acquire()
    holder = asyncio.create_task(slots.reacquire())
    await asyncio.sleep(0)
    holder.cancel()
    await asyncio.wait([holder])
    assert holder.cancelled()
    slots.release()
    assert not slots.try_acquire()
    slots.release()
    assert slots.try_acquire()


class Work:
    """Something that takes three turns of the loop, and more to clean up."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.done = False

    async def __call__(self) -> str:
        await self.gate.wait()
        self.done = True
        return "done"


async def test_an_end_is_waited_for_whoever_is_cancelled() -> None:
    """Cancelled twice, it still waits, and then passes a cancellation on."""
    work = Work()
    task = asyncio.create_task(work())
    waiting = asyncio.create_task(wait_finished(task))
    for _ in range(2):
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        assert not waiting.done()
    work.gate.set()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert work.done


async def test_a_scope_of_anyios_does_not_keep_the_loop_busy() -> None:
    """A cancelled scope cancels every wait again and again; this one wait is left alone."""
    work = Work()
    task = asyncio.create_task(work())
    asyncio.get_running_loop().call_later(0.03, work.gate.set)
    turns = 0
    with anyio.CancelScope() as scope:
        scope.cancel()
        turning = asyncio.create_task(_turns(task))
        await wait_finished(task)
    turns = await turning
    assert work.done
    assert turns < 20


async def _turns(task: asyncio.Task[str]) -> int:
    """Count how often the loop has something to do until the task has ended."""
    loop, turns = asyncio.get_running_loop(), 0
    select = loop._selector.select  # type: ignore[attr-defined]

    def counting(timeout: float | None = None) -> object:
        nonlocal turns
        turns += 1
        return select(timeout)

    loop._selector.select = counting  # type: ignore[attr-defined]
    try:
        await asyncio.wait([task])
    finally:
        loop._selector.select = select  # type: ignore[attr-defined]
    return turns


async def test_work_is_carried_to_its_end() -> None:
    """Its result is returned. Under a time-out it finishes first, and then the time-out is raised."""
    work = Work()
    work.gate.set()
    assert await run_shielded(work()) == "done"
    work = Work()
    with pytest.raises(TimeoutError):  # noqa: PT012 -- the block is what is tested
        async with asyncio.timeout(0.001):
            asyncio.get_running_loop().call_later(0.01, work.gate.set)
            await run_shielded(work())
    assert work.done


async def test_an_error_of_the_work_is_raised() -> None:
    """As it is."""

    async def failing() -> None:
        raise KeyError("why")

    with pytest.raises(KeyError, match="why"):
        await run_shielded(failing())


# Where it is used


@pytest.mark.parametrize("way", ["a scope", "twice"])
async def test_a_watch_ends_with_its_block(way: str) -> None:
    """Also where the wait for its end is cancelled too."""

    async def watching() -> None:
        with anyio.CancelScope() as scope:
            async with PhoneSystem(simple(30, delay=5)) as phones, phones.watch(interval=60):
                if way == "a scope":
                    asyncio.get_running_loop().call_later(0.02, scope.cancel)
                await asyncio.sleep(1)
        ended_with_it.append(asyncio.all_tasks() == {asyncio.current_task(), outer})

    ended_with_it: list[bool] = []
    outer = asyncio.current_task()
    task = asyncio.create_task(watching())
    if way == "twice":
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait([task])
    assert asyncio.all_tasks() == {outer}
    assert ended_with_it == ([True] if way == "a scope" else [])


async def test_a_stored_sweep_leaves_no_lock_on_its_database(tmp_path: Path) -> None:
    """Cancelled in the middle of a transaction, once, twice or by a scope: the next one begins at once."""
    store = tmp_path / "inventory.db"
    async with PhoneSystem(simple(60, numbers=5)) as phones:
        for turns in range(5, 95, 6):
            async with Inventory(store) as inventory:
                task = asyncio.create_task(inventory.collect(phones, resume=False))
                for _ in range(turns):
                    await asyncio.sleep(0.0005)
                task.cancel()
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
        async with asyncio.timeout(PATIENCE), Inventory(store) as inventory:
            assert (await inventory.collect(phones)).complete
    assert len(asyncio.all_tasks()) == 1
