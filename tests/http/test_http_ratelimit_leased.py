"""Windows that several programs share through a store: exact, used to the full, and shared without it."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import RateLimit
from phonesys.http.ratelimit.leased import LeasedWindow, LeaseGrant, SharedLimit
from phonesys.http.ratelimit.limiter import RateLimiter
from phonesys.http.ratelimit.window import UNLIMITED, WaitTooLong
from tests.http.test_http_ratelimit_window import Vendor, call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Run = Callable[[Any], Any]

LIMIT = RateLimit(100, per=10.0)
NONE: Mapping[int, float] = {}


class Leases:
    """A store in memory: the times at which leases end. `gone` makes it fail."""

    def __init__(self, latency: float = 0.0) -> None:
        self.ends: dict[int, float] = {}
        self._begins: dict[int, float] = {}
        self.gone = False
        self.programs: set[object] = set()
        self.trades = 0
        self._ids = itertools.count()
        self._latency = latency

    def of(self, program: object) -> SharedLimit:
        return SharedLimit("company", "window", _Program(self, program), max_duration=30.0)

    async def trade(
        self,
        program: object,
        limit: RateLimit,
        *,
        hold: float,
        wanted: int,
        completed: Mapping[int, float],
        unused: Sequence[int],
        unleased: Sequence[float],
    ) -> LeaseGrant:
        self.trades += 1
        await asyncio.sleep(self._latency)
        if self.gone:
            raise OSError("gone")
        now = asyncio.get_running_loop().time()
        ages = {**completed, **{next(self._ids): age for age in unleased}}
        self.ends |= {id_: now + limit.per - age for id_, age in ages.items()}
        self.ends |= {id_: self._begins[id_] for id_ in unused}
        self.ends = {id_: ends_at for id_, ends_at in self.ends.items() if ends_at > now}
        begins = [now] * min(wanted, limit.requests - len(self.ends))
        for id_, ends_at in sorted(self.ends.items(), key=lambda lease: lease[1]):
            if ends_at <= now + limit.per / 10 and len(begins) < wanted:
                del self.ends[id_]
                begins.append(ends_at)
        granted = {next(self._ids): begins_at for begins_at in begins}
        self._begins |= granted
        self.ends |= {id_: begins_at + hold for id_, begins_at in granted.items()}
        first = min(self.ends.values(), default=now)
        self.programs.add(program)
        delays = {id_: begins_at - now for id_, begins_at in granted.items()}
        return LeaseGrant(delays, first - now, len(self.programs))


class _Program:
    def __init__(self, leases: Leases, program: object) -> None:
        self._leases, self._program = leases, program

    async def trade_leases(
        self,
        window: str,
        limit: RateLimit,
        *,
        hold: float,
        wanted: int,
        completed: Mapping[int, float] = NONE,
        unused: Sequence[int] = (),
        unleased: Sequence[float] = (),
    ) -> LeaseGrant:
        return await self._leases.trade(
            self._program, limit, hold=hold, wanted=wanted,
            completed=completed, unused=unused, unleased=unleased,
        )  # fmt: skip


async def use(
    window: LeasedWindow, vendor: Vendor, requests: int, draw: random.Random, *, at_once: int = 64
) -> None:
    """Send so many requests, as one program does, and return all leases."""
    left = iter(range(requests))

    async def work() -> None:
        for _ in left:
            await call(window, vendor, draw.uniform(0, 0.05), draw.uniform(0, 0.05))

    await asyncio.gather(*(work() for _ in range(at_once)))
    await window.finish()


def programs_of(leases: Leases, count: int) -> list[LeasedWindow]:
    loop = asyncio.get_running_loop()
    return [LeasedWindow(LIMIT, loop, leases.of(number)) for number in range(count)]


@pytest.mark.parametrize("programs", [1, 4, 16])
def test_programs_use_a_window_to_the_full(jumping: Run, programs: int) -> None:
    """No request is refused, nine tenths of the window and more are used, and no lease is left in use."""

    async def main() -> float:
        leases, vendor, loop = Leases(latency=0.01), Vendor(LIMIT), asyncio.get_running_loop()
        began = loop.time()
        uses = (
            use(window, vendor, 800 // programs, random.Random(number))
            for number, window in enumerate(programs_of(leases, programs))
        )
        await asyncio.gather(*uses)
        assert (vendor.served, vendor.refused) == (800, 0)
        assert all(ends_at <= loop.time() + LIMIT.per for ends_at in leases.ends.values())
        assert leases.trades < 800 * programs
        assert len(asyncio.all_tasks()) == 1
        return loop.time() - began

    assert jumping(main()) < 70 / 0.95


def test_a_single_request_gets_its_lease(jumping: Run) -> None:
    """The only waiter starts the trade, which waits for no other event."""

    async def main() -> None:
        for _ in range(3):
            (window,) = programs_of(Leases(), 1)
            vendor = Vendor(LIMIT)
            async with asyncio.timeout(1):
                await call(window, vendor, 0.0, 0.0)
            await window.finish()

    jumping(main())


def test_a_program_that_dies_blocks_its_leases_for_a_while(jumping: Run) -> None:
    """They end by the clock of the store, one request and one window later."""

    async def main() -> float:
        leases, loop = Leases(), asyncio.get_running_loop()
        dead, alive = programs_of(leases, 2)
        await asyncio.gather(*(dead.acquire(loop.time(), float("inf")) for _ in range(100)))
        began = loop.time()
        await alive.acquire(began, float("inf"))
        alive.complete(loop.time())
        await alive.finish()
        return loop.time() - began

    assert 39 < jumping(main()) < 41


@pytest.mark.parametrize("away", [1.0, 25.0])
def test_programs_without_a_store_use_their_shares(jumping: Run, away: float) -> None:
    """While the store is gone, the programs together send no more than the vendor allows."""

    async def main() -> None:
        leases, vendor, loop = Leases(latency=0.01), Vendor(LIMIT), asyncio.get_running_loop()
        windows = programs_of(leases, 4)
        began = loop.time()

        async def outage() -> None:
            await asyncio.sleep(15.5)
            leases.gone = True
            await asyncio.sleep(away)
            leases.gone = False

        uses = (use(window, vendor, 250, random.Random(number)) for number, window in enumerate(windows))
        await asyncio.gather(outage(), *uses)
        assert (vendor.served, vendor.refused) == (1000, 0)
        assert loop.time() - began < 90 + away + 25

    jumping(main())


def test_cancelled_waiters_leak_no_lease(jumping: Run) -> None:
    """Whatever is cancelled, at any moment, every lease is returned or completed."""

    async def main() -> None:
        draw, leases, vendor = random.Random(5), Leases(latency=0.02), Vendor(LIMIT)
        windows = programs_of(leases, 3)

        async def one(window: LeasedWindow) -> None:
            loop = asyncio.get_running_loop()
            if not window.try_acquire(loop.time()):
                await window.acquire(loop.time(), float("inf"))
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                window.cancel(loop.time())
                raise
            vendor.arrive(loop.time())
            window.complete(loop.time())

        for _ in range(40):
            tasks = [asyncio.create_task(one(draw.choice(windows))) for _ in range(30)]
            await asyncio.sleep(draw.uniform(0, 0.3))
            for task in draw.sample(tasks, 20):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for window in windows:
            await window.finish()
        assert vendor.refused == 0
        latest = asyncio.get_running_loop().time() + LIMIT.per
        assert all(ends_at <= latest for ends_at in leases.ends.values())

    jumping(main())


def test_a_deadline_ends_the_wait_for_a_lease(jumping: Run) -> None:
    """Another program holds all leases: the wait ends at its deadline, and costs none."""

    async def main() -> None:
        leases, loop = Leases(), asyncio.get_running_loop()
        other, mine = programs_of(leases, 2)
        for _ in range(100):
            await other.acquire(loop.time(), float("inf"))
        with pytest.raises(WaitTooLong):
            await mine.acquire(loop.time(), loop.time() + 3)
        await mine.finish()
        assert len(leases.ends) == 100

    jumping(main())


def test_a_refusal_backs_off_although_there_are_leases(jumping: Run) -> None:
    """Programs without the store may use the window too. A 429 blocks for as long as the vendor says."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        (window,) = programs_of(Leases(), 1)
        await window.acquire(loop.time(), float("inf"))
        window.on_rejected(loop.time(), 7.0)
        window.complete(loop.time())
        began = loop.time()
        await window.acquire(began, float("inf"))
        window.complete(loop.time())
        await window.finish()
        return loop.time() - began

    assert jumping(main()) == pytest.approx(7.0, abs=0.2)


def test_the_vendors_count_of_other_programs_changes_nothing(jumping: Run) -> None:
    """They have leases too. A lower limit is adopted by all."""

    async def main() -> None:
        leases, loop = Leases(), asyncio.get_running_loop()
        (window,) = programs_of(leases, 1)
        await window.acquire(loop.time(), float("inf"))
        window.sync(10, 100, loop.time())
        window.complete(loop.time())
        for _ in range(50):
            await window.acquire(loop.time(), loop.time() + 1)
            window.complete(loop.time())
        window.sync(0, 51, loop.time())
        with pytest.raises(WaitTooLong):
            await window.acquire(loop.time(), loop.time() + 1)
        await window.finish()

    jumping(main())


def test_without_a_limit_there_is_nothing_to_share(jumping: Run) -> None:
    """No lease is asked for."""

    async def main() -> None:
        leases, loop = Leases(), asyncio.get_running_loop()
        limiter = RateLimiter(UNLIMITED, loop, shared=leases.of("me"))
        assert limiter.window("company", loop.time()).try_acquire(loop.time())
        assert leases.trades == 0

    jumping(main())


def test_a_shared_window_that_was_put_away_remembers_its_requests(jumping: Run) -> None:
    """They leave no room for leases, however many the store would grant."""

    async def main() -> None:
        store, loop = Recorder(), asyncio.get_running_loop()
        shared = SharedLimit("company", "app/company", store, max_duration=30.0)
        limiter = RateLimiter(RateLimit(2, per=10.0), loop, shared=shared)
        window = limiter.window("company", loop.time())
        for _ in range(2):
            await window.acquire(loop.time(), FOREVER)
            window.complete(loop.time())
        await limiter.finish()
        for number in range(300):
            limiter.window(f"other {number}", loop.time())
        again = limiter.window("company", loop.time())
        assert again is not window
        with pytest.raises(WaitTooLong):
            await again.acquire(loop.time(), loop.time() + 9)
        await limiter.finish()

    jumping(main())


def test_only_the_shared_key_needs_leases(jumping: Run) -> None:
    """Other rate keys of the same client keep windows of their own, and a limiter finishes all."""

    async def main() -> None:
        leases, loop = Leases(), asyncio.get_running_loop()
        limiter = RateLimiter(LIMIT, loop, shared=leases.of("me"))
        assert limiter.window("location", loop.time()).try_acquire(loop.time())
        window = limiter.window("company", loop.time())
        assert not window.try_acquire(loop.time())
        await window.acquire(loop.time(), float("inf"))
        window.complete(loop.time())
        await limiter.finish()
        assert len(leases.ends) == 1

    jumping(main())


class Recorder:
    """A store that grants leases as told, by default at once, and records what it is told."""

    def __init__(self, *delays: float, programs: int = 1) -> None:
        self.delays = list(delays)
        self.programs = programs
        self.retry_after = 0.0
        self.gone = False
        self.trades: list[dict[str, Any]] = []
        self._ids = itertools.count()

    def window(self, limit: RateLimit = LIMIT) -> LeasedWindow:
        shared = SharedLimit("company", "app/company", self, max_duration=30.0)
        return LeasedWindow(limit, asyncio.get_running_loop(), shared)

    async def trade_leases(self, window: str, limit: RateLimit, **terms: Any) -> LeaseGrant:
        self.trades.append({"window": window, "limit": limit, **terms})
        if self.gone:
            raise OSError("gone")
        delays = [self.delays.pop(0) if self.delays else 0.0 for _ in range(terms["wanted"])]
        return LeaseGrant({next(self._ids): delay for delay in delays}, self.retry_after, self.programs)


FOREVER = float("inf")


def approximately(seconds: float) -> Any:
    return pytest.approx(seconds, abs=0.01)


def test_the_store_is_told_what_became_of_each_lease(jumping: Run) -> None:
    """Which were used, and how long ago their responses arrived, and which were not."""

    async def main() -> None:
        store, loop = Recorder(), asyncio.get_running_loop()
        window = store.window()
        await asyncio.gather(*(window.acquire(loop.time(), FOREVER) for _ in range(3)))
        assert store.trades == [
            {
                "window": "app/company", "limit": LIMIT, "hold": 40.0, "wanted": 3,
                "completed": {}, "unused": [], "unleased": [],
            }
        ]  # fmt: skip
        window.complete(loop.time())
        window.cancel(loop.time())
        await asyncio.sleep(0.02)
        window.complete(loop.time())
        await window.finish()
        completed: dict[int, float] = {}
        unused: list[int] = []
        for trade in store.trades[1:]:
            assert (trade["wanted"], trade["unleased"]) == (0, [])
            completed |= trade["completed"]
            unused += trade["unused"]
        assert sorted([*completed, *unused]) == [0, 1, 2]
        assert len(completed) == 2
        assert all(0 <= age <= 0.1 for age in completed.values())
        assert window.completions(loop.time(), LIMIT.requests) == [1000.0, 1000.02]

    jumping(main())


def test_a_lease_that_was_not_used_serves_the_next_call(jumping: Run) -> None:
    """Without another trade, if it comes at once."""

    async def main() -> None:
        store, loop = Recorder(), asyncio.get_running_loop()
        window = store.window()
        await window.acquire(loop.time(), FOREVER)
        window.cancel(loop.time())
        assert window.try_acquire(loop.time())
        assert not window.try_acquire(loop.time())
        window.complete(loop.time())
        await window.finish()
        assert [trade["wanted"] for trade in store.trades] == [1, 0]
        assert list(store.trades[1]["completed"]) == [0]

    jumping(main())


def test_a_lease_is_used_once_it_has_begun(jumping: Run) -> None:
    """In the order of their beginnings, and by calls that have the time."""

    async def main() -> None:
        store, loop = Recorder(3.0, 0.0, 2.0), asyncio.get_running_loop()
        window, began = store.window(), loop.time()
        taken: list[float] = []

        async def one() -> None:
            await window.acquire(loop.time(), FOREVER)
            taken.append(loop.time() - began)

        await asyncio.gather(*(one() for _ in range(3)))
        assert taken == [approximately(0.0), approximately(2.0), approximately(3.0)]
        assert len(store.trades) == 1
        for _ in range(3):
            window.complete(loop.time())
        await window.finish()

    jumping(main())


def test_no_more_leases_are_wanted_than_the_window_has_room_for(jumping: Run) -> None:
    """The requests of the last window count here as well, and so do leases in hand."""

    async def main() -> None:
        store, loop, limit = Recorder(), asyncio.get_running_loop(), RateLimit(3, per=10.0)
        window = store.window(limit)
        waiting = [asyncio.create_task(window.acquire(loop.time(), FOREVER)) for _ in range(5)]
        await asyncio.sleep(1)
        assert [trade["wanted"] for trade in store.trades] == [3]
        assert [task.done() for task in waiting] == [True, True, True, False, False]
        window.complete(loop.time())
        await asyncio.gather(*waiting[:4])
        assert loop.time() == approximately(1011.0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for _ in range(3):
            window.complete(loop.time())
        await window.finish()
        assert sum(trade["wanted"] for trade in store.trades) == 4
        assert not any(trade["unused"] for trade in store.trades)

    jumping(main())


def test_a_program_without_the_store_uses_its_share(jumping: Run, caplog: pytest.LogCaptureFixture) -> None:
    """A window later, since the others may have used this one. What the store missed, it is told again."""

    async def main() -> None:
        store, loop = Recorder(programs=4), asyncio.get_running_loop()
        window = store.window()
        await window.acquire(loop.time(), FOREVER)
        store.gone = True
        window.complete(loop.time())
        began = loop.time()
        await asyncio.gather(*(window.acquire(loop.time(), FOREVER) for _ in range(25)))
        assert loop.time() - began == approximately(10.05)
        assert not window.try_acquire(loop.time())
        assert window.completions(loop.time(), 100) is None
        for _ in range(25):
            window.complete(loop.time())
        await asyncio.sleep(1.0)
        failed = len(store.trades)
        assert store.trades[-1]["completed"] == {0: approximately(loop.time() - began)}
        assert store.trades[-1]["unleased"] == [approximately(1.0)] * 25
        store.gone = False
        await asyncio.sleep(1.0)
        assert len(store.trades) > failed
        assert list(store.trades[failed]["completed"]) == [0]
        assert len(store.trades[failed]["unleased"]) == 25
        await asyncio.gather(*(window.acquire(loop.time(), FOREVER) for _ in range(75)))
        assert loop.time() - began == approximately(12.05)
        for _ in range(75):
            window.complete(loop.time())
        await window.finish()
        assert len(store.trades[-1]["completed"]) == 75

    jumping(main())
    assert [record.getMessage() for record in caplog.records] == [
        "the window of company is not shared: gone; this program uses 25 of 100 requests",
        "the window of company is shared again",
    ]


def test_a_share_is_one_request_at_least(jumping: Run) -> None:
    """However many programs there are."""

    async def main() -> None:
        store, loop = Recorder(programs=200), asyncio.get_running_loop()
        window = store.window()
        await window.acquire(loop.time(), FOREVER)
        window.complete(loop.time())
        store.gone = True
        began = loop.time()
        for _ in range(2):
            await window.acquire(loop.time(), FOREVER)
            window.complete(loop.time())
        assert loop.time() - began == approximately(20.05)
        store.gone = False
        await window.finish()

    jumping(main())


def test_the_store_is_not_asked_all_the_time(jumping: Run) -> None:
    """While no lease is to be had: as often as it says, but about twenty times per window at least."""

    async def main(retry_after: float) -> int:
        store, loop = Recorder(), asyncio.get_running_loop()
        window = store.window()

        async def refuse(window: str, limit: RateLimit, **terms: Any) -> LeaseGrant:
            store.trades.append(terms)
            return LeaseGrant({}, retry_after, 1)

        store.trade_leases = refuse  # type: ignore[method-assign]
        with pytest.raises(WaitTooLong):
            await window.acquire(loop.time(), loop.time() + 10)
        trades = len(store.trades)
        await window.finish()
        return trades

    assert [jumping(main(retry_after)) for retry_after in (8.0, 0.1, 0.0)] == [19, 67, 200]


def test_a_finished_window_asks_for_nothing(jumping: Run) -> None:
    """Its waiters are the caller's to end, and no task is left."""

    async def main() -> None:
        store, loop = Recorder(5.0), asyncio.get_running_loop()
        window = store.window()
        waiter = asyncio.create_task(window.acquire(loop.time(), FOREVER))
        await asyncio.sleep(1)
        await window.finish()
        assert [(trade["wanted"], trade["unused"]) for trade in store.trades] == [(1, []), (0, [0])]
        await asyncio.sleep(10)
        assert len(store.trades) == 2
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        assert len(asyncio.all_tasks()) == 1

    jumping(main())


def test_a_window_with_leases_is_not_dropped(jumping: Run) -> None:
    """Its completions alone do not say what the store has to be told."""

    async def main() -> None:
        store, loop = Recorder(), asyncio.get_running_loop()
        window = store.window()
        assert window.completions(loop.time(), 100) == []
        await window.acquire(loop.time(), FOREVER)
        window.complete(loop.time())
        assert window.completions(loop.time(), 100) is None
        await window.finish()
        assert window.completions(loop.time(), 100) == [1000.0]

    jumping(main())


def test_a_lease_that_is_given_back_serves_the_one_who_waits(jumping: Run) -> None:
    """At once, while the store has no other."""

    async def main() -> None:
        store, loop = Recorder(0.0, 1e6), asyncio.get_running_loop()
        window = store.window()
        await window.acquire(loop.time(), FOREVER)
        waiting = asyncio.create_task(window.acquire(loop.time(), FOREVER))
        await asyncio.sleep(5)
        assert not waiting.done()
        window.cancel(loop.time())
        await waiting
        assert loop.time() == approximately(1005.0)
        window.complete(loop.time())
        await window.finish()
        assert list(store.trades[-1]["completed"]) == [0]
        assert store.trades[-1]["unused"] == [1]

    jumping(main())


def test_a_limit_of_one_is_adopted(jumping: Run) -> None:
    """A limit of none is nonsense."""

    async def main() -> None:
        store, loop = Recorder(), asyncio.get_running_loop()
        window = store.window()
        window.sync(0, 0, loop.time())
        await asyncio.gather(*(window.acquire(loop.time(), FOREVER) for _ in range(2)))
        for _ in range(2):
            window.complete(loop.time())
        window.sync(0, 1, loop.time())
        with pytest.raises(WaitTooLong):
            await window.acquire(loop.time(), loop.time() + 9)
        await window.finish()

    jumping(main())


def test_a_window_is_kept_until_its_task_has_ended(jumping: Run) -> None:
    """It may still trade, a moment after it returned all leases."""

    async def main() -> None:
        store, loop = Recorder(), asyncio.get_running_loop()
        window = store.window()
        await window.acquire(loop.time(), FOREVER)
        await asyncio.sleep(1)
        window.complete(loop.time())
        await asyncio.sleep(0.07)  # it has collected a batch, and would collect another
        assert len(store.trades) == 2
        assert window.completions(loop.time(), 100) is None
        await asyncio.sleep(1)
        assert window.completions(loop.time(), 100) == [1001.0]
        assert len(asyncio.all_tasks()) == 1

    jumping(main())


def test_a_program_that_has_never_seen_the_store_uses_the_whole_limit(
    jumping: Run, caplog: pytest.LogCaptureFixture
) -> None:
    """A window later, since it knows of no other program. What it sent long ago is not told."""

    async def main() -> None:
        store, loop, limit = Recorder(), asyncio.get_running_loop(), RateLimit(3, per=10.0)
        store.gone = True
        window, times = store.window(limit), list[float]()
        for _ in range(12):
            await window.acquire(loop.time(), FOREVER)
            window.complete(loop.time())
            times.append(loop.time())
        first = times[0]
        assert first == approximately(1010.0)
        assert times == [approximately(first + number // 3 * 10.0) for number in range(12)]
        store.gone = False
        await asyncio.sleep(0.6)
        told = store.trades[-1]["unleased"]
        assert len(told) == 3
        assert max(told) < 1.0
        await window.finish()

    jumping(main())
    assert caplog.messages == [
        "the window of company is not shared: gone; this program uses 3 of 3 requests",
        "the window of company is shared again",
    ]


def test_a_window_that_is_shared_again_counts_its_own_requests_only(jumping: Run) -> None:
    """Not those that the others might have sent; what it sent itself still counts for a window."""

    async def main() -> None:
        store, loop, limit = Recorder(programs=2), asyncio.get_running_loop(), RateLimit(4, per=10.0)
        window = store.window(limit)
        await window.acquire(loop.time(), FOREVER)
        window.complete(loop.time())
        store.gone = True
        waiting = asyncio.create_task(window.acquire(loop.time(), FOREVER))
        await asyncio.sleep(2.0)
        assert not waiting.done()
        store.gone = False
        await waiting
        assert loop.time() < 1004.0
        await asyncio.gather(*(window.acquire(loop.time(), FOREVER) for _ in range(2)))
        assert loop.time() < 1004.0
        with pytest.raises(WaitTooLong):
            await window.acquire(loop.time(), 1009.9)
        for _ in range(3):
            window.complete(loop.time())
        await window.finish()

    jumping(main())


def test_a_blocked_window_asks_for_no_lease(jumping: Run) -> None:
    """Until the block ends. Then it asks at once."""

    async def main() -> None:
        store, loop = Recorder(), asyncio.get_running_loop()
        window = store.window()
        window.block_until(loop.time() + 7.0)
        waiting = asyncio.create_task(window.acquire(loop.time(), FOREVER))
        await asyncio.sleep(6.9)
        assert store.trades == []
        await waiting
        assert loop.time() == approximately(1007.0)
        assert [trade["wanted"] for trade in store.trades] == [1]
        window.complete(loop.time())
        await window.finish()

    jumping(main())


def test_a_refused_program_asks_for_no_more_than_it_may_send(jumping: Run) -> None:
    """One request at a time after a 429, and after several in a row a part of the window."""

    async def main() -> tuple[list[int], int]:
        store, loop = Recorder(), asyncio.get_running_loop()
        window = store.window()
        await window.acquire(loop.time(), FOREVER)
        for _ in range(3):
            window.on_rejected(loop.time(), None)
        waiting = [asyncio.create_task(window.acquire(loop.time(), FOREVER)) for _ in range(3)]
        await asyncio.sleep(0.2)
        wanted = [trade["wanted"] for trade in store.trades]
        window.complete(loop.time())
        served = 1
        for task in waiting:
            await task
            window.complete(loop.time())
            served += 1
        while True:
            try:
                await window.acquire(loop.time(), loop.time() + 0.5)
            except WaitTooLong:
                break
            window.complete(loop.time())
            served += 1
        await window.finish()
        return wanted, served

    wanted, served = jumping(main())
    assert wanted == [1]
    assert 35 <= served <= 40


def test_the_task_that_trades_has_a_name(jumping: Run) -> None:
    """By which it is known where tasks are listed."""

    async def main() -> None:
        store, loop = Recorder(), asyncio.get_running_loop()
        window = store.window()
        await window.acquire(loop.time(), FOREVER)
        window.complete(loop.time())
        assert "phonesys: leases" in {task.get_name() for task in asyncio.all_tasks()}
        await window.finish()

    jumping(main())


class Slow(Recorder):
    """A store that takes a second to fail."""

    async def trade_leases(self, window: str, limit: RateLimit, **terms: Any) -> LeaseGrant:
        if self.gone:
            await asyncio.sleep(1.0)
        return await super().trade_leases(window, limit, **terms)


def test_what_happens_during_a_trade_that_fails_is_told_with_the_rest(jumping: Run) -> None:
    """Leases that were used, and those that were not."""

    async def main() -> None:
        store, loop = Slow(), asyncio.get_running_loop()
        window = store.window()
        await asyncio.gather(*(window.acquire(loop.time(), FOREVER) for _ in range(4)))
        await asyncio.sleep(1)
        store.gone = True
        for _ in range(2):
            window.complete(loop.time())
            window.cancel(loop.time())
            await asyncio.sleep(0.5)
        await asyncio.sleep(0.6)
        store.gone = False
        await window.finish()
        assert len(store.trades[-2]["completed"]) + len(store.trades[-2]["unused"]) <= 4
        last = store.trades[-1]
        assert sorted([*last["completed"], *last["unused"]]) == [0, 1, 2, 3]
        assert (len(last["completed"]), len(last["unused"])) == (2, 2)

    jumping(main())


def test_requests_without_a_lease_are_told_however_often_the_store_fails(jumping: Run) -> None:
    """Also those whose responses arrive while it fails."""

    async def main() -> None:
        store, loop = Slow(), asyncio.get_running_loop()
        store.gone = True
        window = store.window(RateLimit(4, per=10.0))
        await asyncio.gather(*(window.acquire(loop.time(), FOREVER) for _ in range(2)))
        for _ in range(2):
            window.complete(loop.time())
            await asyncio.sleep(0.5)
        await asyncio.sleep(0.9)
        store.gone = False
        await window.finish()
        assert len(store.trades[-1]["unleased"]) == 2

    jumping(main())


def test_a_lease_that_is_waited_for_is_not_returned(jumping: Run) -> None:
    """Although it has not begun, and others are."""

    async def main() -> None:
        store, loop = Recorder(0.0, 3.0), asyncio.get_running_loop()
        window = store.window()
        await window.acquire(loop.time(), FOREVER)
        waiting = asyncio.create_task(window.acquire(loop.time(), FOREVER))
        await asyncio.sleep(1)
        window.complete(loop.time())
        await waiting
        assert loop.time() == approximately(1003.05)
        assert [trade["unused"] for trade in store.trades] == [[]] * 3
        assert [trade["wanted"] for trade in store.trades] == [1, 1, 0]
        window.complete(loop.time())
        await window.finish()

    jumping(main())


class Single(Recorder):
    """A store with one lease, which asks to come again much later."""

    async def trade_leases(self, window: str, limit: RateLimit, **terms: Any) -> LeaseGrant:
        grant = await super().trade_leases(window, limit, **terms)
        return LeaseGrant(grant.leases if len(self.trades) == 1 else {}, 8.0, 1)


def test_a_response_is_told_at_once_although_no_lease_is_to_be_had(jumping: Run) -> None:
    """Other programs may wait for the one that it returns."""

    async def main() -> None:
        store, loop = Single(), asyncio.get_running_loop()
        window = store.window()
        await window.acquire(loop.time(), FOREVER)
        waiting = asyncio.create_task(window.acquire(loop.time(), FOREVER))
        await asyncio.sleep(0.7)
        window.complete(loop.time())
        await asyncio.sleep(1.0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await window.finish()
        (age,) = [age for trade in store.trades for age in trade["completed"].values()]
        assert age < 0.1

    jumping(main())


def test_a_window_of_which_a_part_is_used_survives_the_loss_of_its_store(jumping: Run) -> None:
    """The share of a program that was refused is a part of what it may use."""

    async def main() -> None:
        store, loop = Recorder(), asyncio.get_running_loop()
        window = store.window()
        await window.acquire(loop.time(), FOREVER)
        for _ in range(3):
            window.on_rejected(loop.time(), None)
        store.gone = True
        window.complete(loop.time())
        await asyncio.sleep(1.0)
        store.gone = False
        await window.acquire(loop.time(), FOREVER)
        assert loop.time() < 1005.0
        window.complete(loop.time())
        await window.finish()

    jumping(main())
