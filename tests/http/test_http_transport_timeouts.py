"""One timer for all requests: what ends when, and who is told what, on a clock that jumps."""

from __future__ import annotations

import asyncio
from itertools import product
from math import inf
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from phonesys.http.transport.timeouts import TimeoutScheduler

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[Any], Any]


def loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


async def watched(watch: TimeoutScheduler, seconds: float, work: float) -> str:
    """Work for so long under a time-out, and a little afterwards."""
    try:
        with watch.until(loop().time() + seconds):
            await asyncio.sleep(work)
    except TimeoutError:
        result = "timed out"
    else:
        result = "done"
    await asyncio.sleep(0.25)  # where a cancellation that was swallowed would be missed
    return result


# Times


def test_a_block_ends_when_its_time_is_over(jumping: Run) -> None:
    """Not earlier and not later; one that is done in time is left alone."""

    async def main() -> list[tuple[str, float]]:
        watch, results = TimeoutScheduler(loop()), []
        for seconds, work in ((5, 3), (5, 7), (0, 1), (-3, 1), (inf, 100)):
            started = loop().time()
            results.append((await watched(watch, seconds, work), loop().time() - started - 0.25))
        return results

    assert jumping(main()) == [
        ("done", 3), ("timed out", 5), ("timed out", 0), ("timed out", 0), ("done", 100)
    ]  # fmt: skip


def test_many_requests_share_one_timer(jumping: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand of them, one after the other and 50 at once, arm it a few times, and all end on time."""
    armed: list[float] = []

    async def main() -> list[str]:
        watch, call_at = TimeoutScheduler(loop()), loop().call_at

        def counted(when: float, callback: Any, *args: Any, **options: Any) -> asyncio.TimerHandle:
            if callback == watch._fail_expired:
                armed.append(when)
            return call_at(when, callback, *args, **options)

        monkeypatch.setattr(loop(), "call_at", counted)

        async def several(number: int) -> list[str]:
            work = [100 if turn == number % 40 else 0.5 for turn in range(20)]
            return [await watched(watch, 10, seconds) for seconds in work]

        results = await asyncio.gather(*(several(number) for number in range(50)))
        return [result for some in results for result in some]

    results = jumping(main())
    assert (len(results), results.count("timed out")) == (1000, 30)
    assert len(armed) < 60


def test_a_later_request_may_end_earlier(jumping: Run) -> None:
    """The timer is moved for one whose time is shorter, and is back for the others."""

    async def main() -> list[tuple[str, float]]:
        watch, started = TimeoutScheduler(loop()), loop().time()

        async def one(seconds: float) -> tuple[str, float]:
            result = await watched(watch, seconds, 100)
            return result, loop().time() - started - 0.25

        return await asyncio.gather(*(one(seconds) for seconds in (9, 3, 6, 3)))

    assert jumping(main()) == [("timed out", 9), ("timed out", 3), ("timed out", 6), ("timed out", 3)]


@pytest.mark.parametrize(("work", "result"), [(0, "done"), (10, "done"), (100, "timed out")])
def test_no_timer_is_left_when_it_is_closed(jumping: Run, work: float, result: str) -> None:
    """Active requests still end on time. Afterwards, or at once if there are none, no timer is left."""

    async def main() -> tuple[str, int]:
        watch = TimeoutScheduler(loop())
        await watched(watch, 30, 1)
        task = asyncio.create_task(watched(watch, 30, work))
        await asyncio.sleep(1)
        watch.close()
        return await task, sum(not timer.cancelled() for timer in loop()._scheduled)  # type: ignore[attr-defined]

    assert jumping(main()) == (result, 0)


# Cancellation


MOMENTS = [4.999, 5.0, 5.001]


@pytest.mark.parametrize(
    ("at", "first", "work", "times"),
    list(product(MOMENTS, ["cancel", "timer"], [4.999, 5.0, 5.001, 9.0], [1, 2])),
)
def test_a_cancellation_is_never_taken_for_a_time_out(
    jumping: Run, at: float, first: str, work: float, times: int
) -> None:
    """Before, after, and in the same turn of the loop as the time-out or the answer, in either order."""

    async def main() -> tuple[bool, bool, int]:
        watch = TimeoutScheduler(loop())
        began = asyncio.Event()

        async def request() -> None:
            began.set()
            await watched(watch, 5.0, work)

        def cancel() -> None:
            accepted.extend(task.cancel() for _ in range(times))

        accepted: list[bool] = []
        due = loop().time() + at
        if first == "cancel":
            loop().call_at(due, cancel)
        task = asyncio.create_task(request())
        await began.wait()
        if first == "timer":
            loop().call_at(due, cancel)
        await asyncio.wait([task])
        return any(accepted), task.cancelled(), task.cancelling() - times

    accepted, cancelled, left = jumping(main())
    assert (accepted, cancelled, left) == (True, True, 0)


@pytest.mark.parametrize(("at", "how"), list(product(MOMENTS, ["scope", "group", "asyncio"])))
def test_scopes_around_it_keep_their_word(jumping: Run, at: float, how: str) -> None:
    """A deadline of anyio's or asyncio's around the block ends at its own time, and nothing after it runs."""

    async def main() -> tuple[list[str], float, int]:
        watch, started, seen = TimeoutScheduler(loop()), loop().time(), list[str]()

        async def request() -> None:
            try:
                with watch.until(started + 5):
                    await asyncio.sleep(100)
            except TimeoutError:
                seen.append("timed out")
            await asyncio.sleep(100)
            seen.append("went on")

        if how == "scope":
            with anyio.move_on_at(started + at):
                await request()
        elif how == "group":
            async with anyio.create_task_group() as group:
                group.start_soon(request)
                group.cancel_scope.deadline = started + at
        else:
            try:
                async with asyncio.timeout_at(started + at):
                    await request()
            except TimeoutError:
                seen.append("outer")
        task = asyncio.current_task()
        assert task is not None
        return seen, loop().time() - started, task.cancelling()

    seen, elapsed, left = jumping(main())
    assert "went on" not in seen
    assert elapsed == pytest.approx(at, abs=1e-6)
    assert left == 0
    if at < 5:
        assert "timed out" not in seen


def test_a_block_inside_another(jumping: Run) -> None:
    """Each raises its own time-out; where both are over at once, the outer one ends both."""

    async def main(outer: float, inner: float) -> list[str]:
        watch, seen, now = TimeoutScheduler(loop()), list[str](), loop().time()
        try:
            with watch.until(now + outer):
                try:
                    with watch.until(now + inner):
                        await asyncio.sleep(100)
                except TimeoutError:
                    seen.append("inner")
                await asyncio.sleep(100)
        except TimeoutError:
            seen.append("outer")
        await asyncio.sleep(1)
        return seen

    assert jumping(main(5, 3)) == ["inner", "outer"]
    assert jumping(main(3, 5)) == ["outer"]
    assert jumping(main(4, 4)) == ["outer"]


def test_another_error_is_not_hidden(jumping: Run) -> None:
    """A block that fails while it is being ended raises its own error, and the task is not left cancelled."""

    async def main() -> int:
        watch = TimeoutScheduler(loop())

        async def failing() -> None:
            with watch.until(loop().time() + 1):
                try:
                    await asyncio.sleep(100)
                finally:
                    raise ValueError("in the middle")

        with pytest.raises(ValueError, match="in the middle"):
            await failing()
        task = asyncio.current_task()
        assert task is not None
        await asyncio.sleep(1)
        return task.cancelling()

    assert jumping(main()) == 0


def test_a_task_that_was_cancelled_before_can_time_out(jumping: Run) -> None:
    """Cleanup after a cancellation may make requests, and they have time-outs as well."""

    async def main() -> list[str]:
        watch, seen = TimeoutScheduler(loop()), list[str]()

        async def request() -> None:
            try:
                await asyncio.sleep(100)
            finally:
                seen.append(await watched(watch, 1, 5))

        task = asyncio.create_task(request())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        seen.append("cancelled" if task.cancelled() else "swallowed")
        return seen

    assert jumping(main()) == ["timed out", "cancelled"]
