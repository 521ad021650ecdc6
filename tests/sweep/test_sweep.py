"""The sweep: everything once, nothing lost from the report, and a clean end whatever happens."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import tracemalloc
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonesys import (
    BackendFault,
    DeadlineExceeded,
    Forbidden,
    InvalidArgument,
    NotOpen,
    Outcome,
    Page,
    PhonesysError,
    PhoneSystemMissing,
    RepeatedPage,
    UsageError,
)
from phonesys._slot import current
from phonesys.sweep import Source, Sweep
from tests.conftest import PATIENCE, JumpingLoop
from tests.sweep.memory import Memory, drained, number, simple, sweep_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    Run = Callable[[Any], Any]

pytestmark = pytest.mark.jumping


# Everything, once


@settings(max_examples=80, deadline=None)
@given(data=st.data(), concurrency=st.integers(1, 9), at_once=st.booleans(), seed=st.integers(0, 99))
def test_every_number_of_every_account_comes_once(
    data: st.DataObject, concurrency: int, at_once: bool, seed: int
) -> None:
    """With any pages, any concurrency and any order in which pages arrive."""
    sizes = data.draw(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=5), max_size=12))
    ids = itertools.count()
    pages = {
        f"acc_{i}": [[number(next(ids), f"acc_{i}") for _ in range(size)] for size in account]
        for i, account in enumerate(sizes)
    }
    draw = random.Random(seed)

    class Shuffled(Memory):
        async def page(self, account: str, cursor: Any = None) -> Page[Any]:
            await asyncio.sleep(draw.random())
            return await super().page(account, cursor)

    async def main() -> None:
        backend = Shuffled(pages, at_once=at_once)
        sweep = sweep_of(backend, concurrency=concurrency)
        found = await drained(sweep)
        assert sorted(found) == sorted(
            row.id for account in pages.values() for page in account for row in page
        )
        assert max(backend.asked.values(), default=1) == 1
        assert backend.most_under_way <= concurrency
        outcomes = {account: entry.outcome for (_, account), entry in sweep.report.accounts.items()}
        assert outcomes == {
            account: Outcome.DONE if any(held) else Outcome.EMPTY for account, held in pages.items()
        }
        assert sweep.report.numbers == len(found)
        assert sweep.report.complete

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(main())


async def test_an_account_that_is_named_twice_is_swept_once() -> None:
    """In the same list, next to each other or far apart."""
    backend = simple(3)
    assert len(await drained(sweep_of(backend, ["acc_0", "acc_0", "acc_1", "acc_2", "acc_0"]))) == 3
    assert set(backend.asked.values()) == {1}


async def test_rows_that_move_between_pages_are_handed_on_once() -> None:
    """A row that comes again on another page is dropped, and counted."""
    first, second = [number(1), number(2)], [number(2), number(3)]
    sweep = sweep_of(Memory({"a": [first, second]}))
    assert await drained(sweep) == ["a-1", "a-2", "a-3"]
    assert sweep.report.duplicates == 1
    assert sweep.report.accounts["memory", "a"].duplicates == 1


class Circle(Memory):
    """Names cursors in a circle, with the same or with ever new pages."""

    def __init__(self, cursors: list[Any], *, fresh: bool, empty: bool = False) -> None:
        super().__init__({"a": []})
        self.cursors = cursors
        self.fresh = fresh
        self.empty = empty
        self.count = 0

    def _page(self, account: str, cursor: Any) -> Page[Any]:
        self.count += 1
        rows = () if self.empty else (number(self.count if self.fresh else 1, account),)
        following = self.cursors[self.count % len(self.cursors)] if self.cursors else f"token-{self.count}"
        return Page(account=account, numbers=rows, next=(following,))


@pytest.mark.parametrize(
    "circle",
    [
        Circle(["x"], fresh=True),
        Circle(["x", "y", "z"], fresh=True),
        Circle([], fresh=False),
        Circle([], fresh=False, empty=True),
    ],
    ids=["cursor", "cursors", "page", "empty pages"],
)
async def test_paging_in_a_circle_ends_with_an_error(circle: Circle) -> None:
    """A cursor or a page that comes again ends its account, which is then not reported as done."""
    async with asyncio.timeout(PATIENCE):
        sweep = sweep_of(circle)
        await drained(sweep)
    entry = sweep.report.accounts["memory", "a"]
    assert entry.outcome is Outcome.FAILED
    assert isinstance(entry.error, RepeatedPage)


# The report


async def test_every_account_has_exactly_one_outcome() -> None:
    """Done, empty, not connected and failed are told apart, and a failure stays with its account."""
    refusal = Forbidden("no scope", status=403)
    pages: dict[str, list[Any]] = {
        "done": [[number(1)]],
        "empty": [[]],
        "bare": [PhoneSystemMissing("Phone system is not connected", status=404)],
        "refused": [refusal],
        "half": [[number(2, "half")], KeyError("a bug of the backend's")],
    }
    sweep = sweep_of(Memory(pages))
    await drained(sweep)
    outcomes = {account: entry.outcome.value for (_, account), entry in sweep.report.accounts.items()}
    assert outcomes == {
        "done": "done", "empty": "empty", "bare": "not_connected", "refused": "failed", "half": "failed"
    }  # fmt: skip
    errors = {failure.account: failure.error for failure in sweep.report.failures}
    assert errors["refused"] is refusal
    assert isinstance(errors["half"], BackendFault)
    assert "KeyError" in str(errors["half"])
    assert not sweep.report.complete


async def test_what_cannot_be_listed_is_in_the_report() -> None:
    """A backend whose accounts cannot be listed is a failure without an account."""

    class Unlisted(Memory):
        async def accounts(self) -> AsyncIterator[str]:
            yield "acc_0"
            raise Forbidden("no scope", status=403)

    sweep = sweep_of(Unlisted(simple(1).pages))
    assert await drained(sweep) == ["acc_0-0"]
    (failure,) = sweep.report.failures
    assert (failure.provider, failure.account) == ("memory", None)
    assert not sweep.report.complete


async def test_without_keep_done_only_what_went_wrong_is_kept() -> None:
    """Accounts that are done or empty are counted, and cost nothing more."""
    backend = Memory({"done": [[number(1)]], "empty": [[]], "bad": [Forbidden(status=403)]})
    sweep = sweep_of(backend, keep_done=False)
    await drained(sweep)
    assert set(sweep.report.accounts) == {("memory", "bad")}
    assert sweep.report.outcomes == {Outcome.DONE: 1, Outcome.EMPTY: 1, Outcome.FAILED: 1}


async def test_the_first_failure_can_be_raised() -> None:
    """With on_error="raise" the loop raises it as it is, and nothing is left running."""
    refusal = Forbidden("no scope", status=403)
    pages: dict[str, list[Any]] = {f"acc_{i}": [[number(i)]] for i in range(50)} | {"bad": [refusal]}
    sweep = sweep_of(Memory(pages, delay=0.001), concurrency=4, on_error="raise")
    with pytest.raises(Forbidden) as raised:
        await drained(sweep)
    assert raised.value is refusal
    assert sum(sweep.report.outcomes.values()) <= 51
    _nothing_left()


# Accounts


async def test_accounts_may_be_endless() -> None:
    """They are read as needed, from iterators and async iterators, never far ahead of the pages."""
    read = 0

    def forever() -> Iterator[str]:
        nonlocal read
        for read in itertools.count(1):
            yield f"acc_{read}"

    async def forever_async() -> AsyncIterator[str]:
        for account in forever():
            yield account

    class Endless(Memory):
        def _page(self, account: str, cursor: Any) -> Page[Any]:
            return Page(account=account, numbers=(number(1, account),))

    for accounts in (forever(), forever_async()):
        async with sweep_of(Endless({}), accounts, concurrency=5, keep_done=False) as sweep:
            for _ in range(200):
                await anext(sweep)
            assert read < 200 + 60
        assert sweep.report.outcomes[Outcome.DONE] == 200
    _nothing_left()


async def test_a_source_of_many_does_not_hold_up_one_of_few() -> None:
    """Sources take turns."""
    many, few = simple(500, name="many"), simple(3, name="few")
    sweep = Sweep([Source("many", many), Source("few", few)], concurrency=2)
    seen: list[str] = []
    async with sweep:
        seen.extend([page.provider async for page in sweep])
    assert max(index for index, name in enumerate(seen) if name == "few") < 20


@pytest.mark.parametrize("accounts", [[1], ["acc_0", None]])
async def test_account_ids_that_are_no_strings_are_a_mistake(accounts: Any) -> None:
    """The caller's mistake is raised, whatever on_error says."""
    with pytest.raises(InvalidArgument, match="expected strings"):
        await drained(sweep_of(simple(1), accounts))


# Ends


@pytest.mark.parametrize("taken", [0, 1, 7, 29])
async def test_breaking_out_leaves_nothing_running(taken: int) -> None:
    """Accounts that were not read are not reached, and every account of the list is accounted for."""
    sweep = sweep_of(simple(30, delay=0.0005), list(simple(30).pages), concurrency=5)
    async with sweep:
        for _ in range(taken):
            await anext(sweep)
    assert sum(sweep.report.outcomes.values()) == len(sweep.report.accounts) == 30
    assert sweep.report.outcomes[Outcome.DONE] == taken
    assert not sweep.report.complete
    _nothing_left()


async def test_an_exception_of_the_consumer_comes_out_as_it_went_in() -> None:
    """Not wrapped in a group, with its own cause."""
    cause = ValueError("why")
    with pytest.raises(KeyError) as raised:  # noqa: PT012 -- the block is what is tested
        async with sweep_of(simple(30), concurrency=3) as sweep:
            async for _ in sweep:
                raise KeyError("mine") from cause
    assert raised.value.__cause__ is cause
    _nothing_left()


@pytest.mark.parametrize("kind", ["timeout", "anyio", "task", "scope"])
def test_cancellation_ends_it(jumping: Run, kind: str) -> None:
    """By asyncio's or anyio's time-out, by cancelling the task or a scope: the canceller sees its own."""

    async def sweep_slowly(report: list[Any]) -> None:
        async with sweep_of(simple(100, delay=1), list(simple(100).pages), concurrency=3) as sweep:
            report.append(sweep.report)
            async for _ in sweep:
                pass

    async def cancel(report: list[Any]) -> None:
        if kind == "timeout":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5.5):
                    await sweep_slowly(report)
        elif kind == "anyio":
            with pytest.raises(TimeoutError), anyio.fail_after(5.5):
                await sweep_slowly(report)
        elif kind == "scope":
            with anyio.move_on_after(5.5) as scope:
                await sweep_slowly(report)
            assert scope.cancelled_caught
        else:
            task = asyncio.create_task(sweep_slowly(report))
            await asyncio.sleep(5.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    async def main() -> None:
        report: list[Any] = []
        await cancel(report)
        assert report[0].outcomes == {Outcome.DONE: 15, Outcome.NOT_REACHED: 85}
        assert asyncio.current_task() is not None
        await asyncio.sleep(10)  # the task itself is not cancelled
        _nothing_left()

    jumping(main())


def test_a_deadline_ends_it(jumping: Run) -> None:
    """After it, what is left is not reached; the loop ends, or raises where failures are raised."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for on_error in ("collect", "raise"):
            started = loop.time()
            sweep = sweep_of(simple(100, delay=1), concurrency=4, deadline=7.25, on_error=on_error)
            if on_error == "raise":
                with pytest.raises(DeadlineExceeded):
                    await drained(sweep)
            else:
                assert len(await drained(sweep)) == 28
            assert loop.time() - started == pytest.approx(7.25)
            assert sweep.report.timed_out
            assert not sweep.report.complete
            _nothing_left()

    jumping(main())


async def test_an_end_at_any_moment_is_clean() -> None:
    """Cancelled after any number of steps of the loop, it leaves no task and can be followed by another."""
    for steps in range(60):
        task = asyncio.create_task(drained(sweep_of(simple(9, numbers=2), concurrency=3)))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        _nothing_left()
    assert len(await drained(sweep_of(simple(9, numbers=2), concurrency=3))) == 18


# Back-pressure, and places


async def test_a_slow_consumer_slows_the_fetching_down() -> None:
    """Pages are not read far ahead of their consumer."""
    backend = simple(1000)
    async with sweep_of(backend, concurrency=8) as sweep:
        await anext(sweep)
        for _ in range(200):
            await asyncio.sleep(0)
        assert sum(backend.asked.values()) < 100


def test_calls_that_wait_leave_their_place_to_others(jumping: Run) -> None:
    """Accounts that are blocked for a minute, more than there are places, do not slow the others."""

    class Blocked(Memory):
        async def page(self, account: str, cursor: Any = None) -> Page[Any]:
            scope = current.get()
            assert scope is not None
            if int(account[4:]) < 10:
                async with scope.waiting():
                    await asyncio.sleep(60)
            return await super().page(account, cursor)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        backend = Blocked(simple(100).pages, delay=1)
        started, landed = loop.time(), []
        async with sweep_of(backend, concurrency=4) as sweep:
            landed.extend([loop.time() - started async for _ in sweep])
        assert landed[89] == pytest.approx(23, abs=1)  # 90 accounts, 4 at a time
        assert landed[-1] == pytest.approx(63, abs=1)
        assert backend.most_under_way == 4
        assert sweep.report.waits == 10
        assert sweep.report.waiting == 0

    jumping(main())


def test_a_blocked_account_of_many_pages_does_not_slow_the_others(jumping: Run) -> None:
    """Its pages wait in the queue and not in tasks, all but those that found out that they have to."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()

        class Blocked(Memory):
            async def page(self, account: str, cursor: Any = None) -> Page[Any]:
                scope, left = current.get(), started + 60 - loop.time()
                assert scope is not None
                if account == "deep" and cursor and left > 0:
                    async with scope.waiting():
                        await asyncio.sleep(left)
                return await super().page(account, cursor)

        pages = {"deep": [[number(i, "deep")] for i in range(500)], **simple(40).pages}
        landed: dict[bool, list[float]] = {True: [], False: []}
        async with sweep_of(Blocked(pages, at_once=True, delay=0.1), concurrency=4) as sweep:
            async for page in sweep:
                landed[page.numbers[0].account == "deep"].append(loop.time() - started)
        assert landed[False][-1] < 3
        assert len(landed[True]) == 500
        assert landed[True][-1] == pytest.approx(60 + 499 / 4 * 0.1, abs=1)
        assert sweep.report.waits <= 4
        assert sweep.report.complete

    jumping(main())


def test_cancelling_while_calls_wait_is_clean(jumping: Run) -> None:
    """Waiting, coming back and under way: all of them end."""

    class Waits(Memory):
        async def page(self, account: str, cursor: Any = None) -> Page[Any]:
            scope = current.get()
            assert scope is not None
            async with scope.waiting():
                await asyncio.sleep(3)
            return await super().page(account, cursor)

    async def main() -> None:
        for moment in range(1, 40):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(moment / 3):
                    await drained(sweep_of(Waits(simple(500).pages, delay=1), concurrency=3))
            _nothing_left()

    jumping(main())


async def test_memory_does_not_grow_with_the_accounts() -> None:
    """Ten times the accounts cost next to nothing more, but for a few dozen bytes of report each."""

    class Endless(Memory):
        def _page(self, account: str, cursor: Any) -> Page[Any]:
            return Page(account=account, numbers=tuple(number(i, account) for i in range(8)))

    async def peak(count: int) -> int:
        backend = Endless({})
        gc.collect()
        tracemalloc.start()
        try:
            async with sweep_of(backend, (f"acc_{i}" for i in range(count)), keep_done=False) as sweep:
                async for _ in sweep:
                    backend.asked.clear()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    await peak(500)  # what is made once, such as caches
    small = await peak(2000)
    assert await peak(10_000) < small * 1.25


# Use


async def test_a_sweep_is_read_inside_its_block_and_once() -> None:
    """Both mistakes are named."""
    sweep = sweep_of(simple(1))
    with pytest.raises(NotOpen) as unopened:
        await anext(sweep)
    assert str(unopened.value) == "a sweep is read inside its block: `async with phones.sweep(…) as sweep`"
    await drained(sweep)
    with pytest.raises(UsageError) as used:
        await drained(sweep)
    assert str(used.value) == "a sweep can be used once; make another one"


async def test_several_consumers_share_one_sweep() -> None:
    """Each page goes to one of them, and all of them end."""
    async with sweep_of(simple(40), concurrency=4) as sweep:

        async def consume() -> int:
            return len([page async for page in sweep])

        assert sum(await asyncio.gather(*(consume() for _ in range(5)))) == 40


@pytest.mark.parametrize(
    "options",
    [{"concurrency": 0}, {"concurrency": 2.5}, {"on_error": "ignore"}, {"deadline": 0}, {"deadline": -1}],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    """The error names the option."""
    with pytest.raises(InvalidArgument, match=next(iter(options))):
        sweep_of(simple(1), **options)


def _nothing_left() -> None:
    """No task but the test's own."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert others == []


def test_errors_are_ours() -> None:
    """A failure of a backend is raised as a PhonesysError."""
    assert issubclass(BackendFault, PhonesysError)
