"""What waits within a sweep: pages to fetch, pages to hand on, and workers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import Page
from phonesys._slot import current
from phonesys.sweep import Source, Sweep
from phonesys.sweep.account import AccountProgress
from phonesys.sweep.buffer import PageBuffer
from phonesys.sweep.fetch import PageFetcher
from phonesys.sweep.queue import WorkQueue
from tests.sweep.memory import Memory, page_at, simple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from phonesys import Cursor

    Run = Callable[[Any], Any]

pytestmark = pytest.mark.jumping


def account(name: str = "a") -> AccountProgress:
    return AccountProgress(PageFetcher(Source("memory", Memory({})), None, verify=True), name)


def names_in(queue: WorkQueue) -> list[tuple[str, Any]]:
    """Remove all pages, and return their accounts and cursors."""
    found = []
    while (item := queue.get_nowait()) is not None:
        found.append((item[0].account, item[1]))
    return found


async def turns() -> None:
    """Let tasks that were woken run."""
    for _ in range(5):
        await asyncio.sleep(0)


# The queue of pages to fetch


def test_accounts_of_all_sources_take_turns() -> None:
    """However many one of them has."""
    queue = WorkQueue(source_size=9)
    many, _none, few = queue.add_source(), queue.add_source(), queue.add_source()
    for name in "abcd":
        queue.put_new(many, (account(name), None))
    for name in "xy":
        queue.put_new(few, (account(name), None))
    assert len(queue) == 6
    assert [name for name, _ in names_in(queue)] == ["a", "x", "b", "y", "c", "d"]
    assert len(queue) == 0
    queue.put_new(few, (account("z"), None))
    assert names_in(queue) == [("z", None)]


def test_pages_of_begun_accounts_come_before_new_accounts() -> None:
    """So that few accounts are open at a time."""
    queue = WorkQueue(source_size=9)
    queue.put_new(queue.add_source(), (account("new"), None))
    begun = account("begun")
    queue.put((begun, 1))
    queue.put((begun, 2), wake=False)
    assert len(queue) == 3
    assert names_in(queue) == [("begun", 1), ("begun", 2), ("new", None)]


def test_pages_of_an_account_that_waits_are_set_aside() -> None:
    """They come back in order and before all others, once none of its calls waits."""
    queue = WorkQueue(source_size=9)
    blocked, other = account("blocked"), account("other")
    blocked.waiting = 2
    for cursor in (1, 2, 3):
        queue.put((blocked, cursor))
    queue.put((other, 1))
    assert names_in(queue) == [("other", 1)]
    assert len(queue) == 0
    queue.put((other, 2))
    blocked.waiting = 1
    queue.resume(blocked)
    assert len(queue) == 1
    blocked.waiting = 0
    queue.resume(blocked)
    queue.resume(blocked)  # another call of the account has ended as well
    assert len(queue) == 4
    assert names_in(queue) == [("blocked", 1), ("blocked", 2), ("blocked", 3), ("other", 2)]


async def test_workers_are_woken_for_pages() -> None:
    """One for each page, unless its own worker asks for it; each gets another page."""
    queue = WorkQueue(source_size=9)
    source = queue.add_source()
    tasks = [asyncio.create_task(queue.get()) for _ in range(6)]
    await turns()
    queue.wake()  # there is nothing for a worker yet
    await turns()
    assert not any(task.done() for task in tasks)
    queue.put((account(), 1))
    await turns()
    assert [task.done() for task in tasks] == [True, False, False, False, False, False]
    queue.put((account(), 2), wake=False)
    await turns()
    assert not tasks[1].done()
    queue.wake()
    await turns()
    assert tasks[1].done()
    queue.put_new(source, (account(), 3))
    await turns()
    assert tasks[2].done()
    blocked = account()
    blocked.waiting = 1
    for cursor in (4, 5, 6):
        queue.put((blocked, cursor), wake=False)
    assert names_in(queue) == []
    blocked.waiting = 0
    queue.resume(blocked)
    await turns()
    assert [task.result()[1] for task in tasks] == [1, 2, 3, 4, 5, 6]


async def test_accounts_are_read_in_batches() -> None:
    """A source that has filled its queue goes on once half of that is gone."""
    queue = WorkQueue(source_size=4)
    source = queue.add_source()
    for name in "abcd":
        assert queue.has_capacity(source)
        queue.put_new(source, (account(name), None))
    assert not queue.has_capacity(source)
    reader = asyncio.create_task(queue.wait_for_capacity(source))
    for _ in range(2):
        await turns()
        assert not reader.done()
        queue.get_nowait()
    await turns()
    assert reader.done()
    await queue.wait_for_capacity(source)


# The buffer


def full_of(pages: int, numbers: int) -> PageBuffer:
    buffer = PageBuffer()
    for _ in range(pages):
        buffer.put_nowait((account(), page_at(0, range(numbers))))
    return buffer


@pytest.mark.parametrize(
    ("pages", "numbers", "has_capacity"),
    [(63, 1, True), (64, 1, False), (64, 0, False), (1, 3_999, True), (1, 4_000, False), (4, 1_000, False)],
)
def test_the_buffer_holds_so_many_pages_and_numbers(pages: int, numbers: int, *, has_capacity: bool) -> None:
    """A page may hold one number or a thousand."""
    buffer = full_of(pages, numbers)
    assert buffer.has_capacity is has_capacity
    buffer.get_nowait()
    assert buffer.has_capacity


async def test_workers_wait_while_the_buffer_is_full() -> None:
    """All of them go on once there is capacity: they may turn out to have no page to add."""
    buffer = full_of(2, 4_000)
    tasks = [asyncio.create_task(buffer.wait_for_capacity()) for _ in range(3)]
    await turns()
    assert buffer.get_nowait() is not None
    await turns()
    assert not any(task.done() for task in tasks)
    assert buffer.get_nowait() is not None
    await turns()
    assert all(task.done() for task in tasks)


async def test_consumers_get_pages_in_order_until_the_buffer_is_closed() -> None:
    """Each consumer that waits gets the next page, or None at the end."""
    buffer = PageBuffer()
    assert buffer.get_nowait() is None
    tasks = [asyncio.create_task(buffer.get()) for _ in range(4)]
    await turns()
    items = [(account(name), page_at(0, [1])) for name in "ab"]
    for item in items:
        buffer.put_nowait(item)
    await turns()
    assert [task.done() for task in tasks] == [True, True, False, False]
    buffer.close()
    await turns()
    assert [task.result() for task in tasks] == [*items, None, None]


async def test_a_closed_buffer_is_empty() -> None:
    """Pages that were not consumed are dropped, and so are those that come later."""
    buffer = full_of(2, 4_000)
    buffer.close()
    assert buffer.has_capacity
    buffer.put_nowait((account(), page_at(0, range(9))))
    assert await buffer.get() is None
    assert buffer.get_nowait() is None


# Workers


@pytest.mark.parametrize(("concurrency", "waiting"), [(1, 16), (70, 1024), (600, 1200)])
def test_calls_that_wait_are_bounded(jumping: Run, concurrency: int, waiting: int) -> None:
    """By sixteen for each slot, by 1024, and by two for each slot where that is more."""

    class Waits(Memory):
        async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
            slot = current.get()
            assert slot is not None
            async with slot.waiting():
                await asyncio.sleep(60)
            return Page(account=account, numbers=())

    async def main() -> None:
        backend = Waits({})
        accounts = (str(place) for place in range(waiting + 9))
        async with Sweep([Source("memory", backend, accounts)], concurrency=concurrency) as sweep:
            await asyncio.sleep(30)
            assert sweep.report.waiting == sweep.report.waits == waiting

    jumping(main())


ITSELF_AND_READER = 2
"""The tasks of a test whose sweep reads one source, besides its workers."""


@pytest.mark.parametrize(("pause", "workers"), [(0, 5), (10, 2)])
async def test_no_more_workers_are_started_than_there_is_work(pause: int, workers: int) -> None:
    """As many as slots at most. Accounts that come one by one are read by workers that wait for them."""
    tasks: list[int] = []

    class Listing(Memory):
        async def accounts(self) -> AsyncIterator[str]:
            for account in self.pages:
                await asyncio.sleep(pause)
                yield account

        async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
            tasks.append(len(asyncio.all_tasks()))
            return await super().page(account, cursor)

    async with Sweep([Source("memory", Listing(simple(30).pages, delay=1))], concurrency=5) as sweep:
        assert len([page async for page in sweep]) == 30
    assert max(tasks) == ITSELF_AND_READER + workers


def test_workers_that_come_back_do_not_exceed_the_slots(jumping: Run) -> None:
    """Calls that waited go on one after the other, and pages that follow are fetched as before."""
    begun = 0
    tasks: list[int] = []

    class Waits(Memory):
        async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
            nonlocal begun
            slot = current.get()
            assert slot is not None
            if begun < 30:
                begun += 1
                async with slot.waiting():
                    await asyncio.sleep(60)
            else:
                tasks.append(len(asyncio.all_tasks()))
            slot.on_request()
            slot.on_retry()
            return await super().page(account, cursor)

    async def main() -> None:
        backend = Waits(simple(300).pages, delay=1)
        async with Sweep([Source("memory", backend)], concurrency=3) as sweep:
            found = [page async for page in sweep]
        assert len(found) == sweep.report.requests == 300
        assert backend.most_under_way == 3
        assert sweep.report.waits == 30
        assert sweep.report.retries == 300
        assert max(tasks[-30:]) == ITSELF_AND_READER + 3
        assert sweep.report.elapsed == pytest.approx(300 / 3, abs=1)

    jumping(main())
