"""Cuts everything short at every step of the event loop, and looks for what is left.

A call, a page, a sweep, OAuth's refresh and exchange, a watch and a sweep into a store are ended by
`task.cancel()`, by a scope of anyio's, by `asyncio.timeout`, by a second cancellation while the first is
being obeyed, by `break` and by an exception of the consumer's. Run the long version as

    python -m tests.chaos.cancel --points 5000 --seed 1
    python -m tests.chaos.cancel --points 2000 --programs 0 --only sweep --only oauth
    python -m tests.chaos.cancel --points 0 --programs 100

The programs are sweeps on the command line that get Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import re
import sys
import tempfile
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import aiohttp
import anyio

from phonesys import (
    AgentNumbers,
    HttpOptions,
    LeadConnector,
    Leadping,
    Outcome,
    PhonesysError,
    PhoneSystem,
    RateLimit,
)
from phonesys.inventory import Inventory
from phonesys.oauth import FileTokenStore
from phonesys.sandbox import Sandbox
from phonesys.sandbox.faults.answers import Html, Status
from phonesys.sandbox.faults.connection import LostAnswer, Reset, ResetBody, Truncated
from phonesys.sandbox.faults.slow import Drip, Latency, StalledBody, StalledHeaders
from tests.chaos.interrupt import can_signal, interrupted
from tests.chaos.steps import (
    JumpingSteps,
    RealSteps,
    Stepping,
    descriptors,
    freeze_old_objects,
    ours,
    overheard,
)
from tests.oauth.agencies import agency, backend, refreshes, store_of
from tests.sweep.memory import Memory, number

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
    from contextlib import AbstractAsyncContextManager

    from phonesys import Page, SweepReport

    Act: TypeAlias = Callable[["Orders"], Awaitable[object]]
    Scene: TypeAlias = Callable[[Sandbox], AbstractAsyncContextManager[Act]]

_LATENCY = 0.01
_WINDOW = RateLimit(4, per=10)
_PLACES = _WINDOW.requests
_HTTP = HttpOptions(connections=_PLACES, backoff=0.01, timeout=5.0, deadline=120.0, retries=8)
_MOST_STEPS = 200_000
_PATIENCE: dict[type[Stepping], float] = {JumpingSteps: 20_000.0, RealSteps: 30.0}
"""Seconds of the loop's own clock that one round may take before it is said to hang."""

_VARIES = re.compile(r"0x[0-9a-f]+|[0-9a-f]{10,}|\d+")
_ANYWAY = ("cancel", "twice", "scope", "timeout")
_BY_CONSUMER = ("break", "raise")
_ALL_WAYS = (*_ANYWAY, *_BY_CONSUMER)


class Broken(AssertionError):
    """Something that must hold after an end does not."""


class Mine(Exception):
    """The exception that the consumer of a sweep raises."""


@dataclass
class Orders:
    """The consumer's orders for its next page, and the pages that it got so far."""

    way: str = ""
    pages: list[Page[Any]] = field(default_factory=list["Page[Any]"])
    report: SweepReport | None = None
    reads_ahead: bool = False
    """True if the report is ahead of the consumer: pages are counted before they are stored."""

    async def consume(self, sweep: Any) -> None:
        """Consume pages until told otherwise."""
        self.report = sweep.report
        async for page in sweep:
            self.pages.append(page)
            if self.way == "break":
                break
            if self.way == "raise":
                raise Mine
            await asyncio.sleep(0)


@dataclass
class Tally:
    """The number of ends by kind, and what was left behind."""

    tried: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    steps: Counter[str] = field(default_factory=Counter[str])
    in_time: int = 0
    """The number of ends that came in time."""
    broken: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        scenes = dict.fromkeys(scene for scene, _ in self.tried)
        rows = [f"{'what':14} {'steps':>6} " + " ".join(f"{way:>8}" for way in _ALL_WAYS)]
        rows += [
            f"{scene:14} {self.steps[scene]:6} "
            + " ".join(f"{self.tried[scene, way] or '':>8}" for way in _ALL_WAYS)
            for scene in scenes
        ]
        total = self.tried.total()
        rows.append(f"{total} ends, {self.in_time} of them before what they ended was over")
        rows.append(f"{len(self.broken)} left something behind")
        return "\n".join([*rows, *self._kinds()])

    def _kinds(self) -> Iterator[str]:
        """Show one of each kind, and their number."""
        kinds: dict[str, list[str]] = {}
        for line in self.broken:
            kinds.setdefault(_VARIES.sub("_", line), []).append(line)
        for lines in kinds.values():
            yield f"{len(lines):4} times: {lines[0]}"


# What is cut short


def _leadconnector(world: Sandbox, **options: Any) -> LeadConnector:
    return LeadConnector(
        world.leadconnector_token,
        base_url=world.leadconnector_url,
        locations=world.location_ids,
        page_size=2,
        http=_HTTP,
        limit=options.pop("limit", _WINDOW),
        **options,
    )


def _system(world: Sandbox, **options: Any) -> PhoneSystem:
    shared: dict[str, Any] = {"page_size": 3, "http": _HTTP, "session": options.get("session")}
    return PhoneSystem(
        _leadconnector(world, **options),
        Leadping(world.leadping_key, base_url=world.leadping_url, **shared),
        AgentNumbers(world.agents_key, base_url=world.agents_url, **shared),
    )


@asynccontextmanager
async def one_page(world: Sandbox) -> AsyncGenerator[Act]:
    """One page of one account, and calls for the same one that have to wait for their turn."""
    place = world.location_ids[0]

    async def act(orders: Orders) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(_WINDOW.requests + 2):
                group.create_task(lc.page(place))

    async with _leadconnector(world) as lc:
        yield act
        await _all_at_once(world, lc)


@asynccontextmanager
async def one_sweep(world: Sandbox) -> AsyncGenerator[Act]:
    """A sweep of three backends, which stay open."""

    async def act(orders: Orders) -> None:
        async with phones.sweep(concurrency=6) as sweep:
            await orders.consume(sweep)

    async with _system(world) as phones:
        yield act
        await _all_at_once(world, phones["leadconnector"])
        await _truth(world, phones)


@asynccontextmanager
async def on_their_session(world: Sandbox) -> AsyncGenerator[Act]:
    """Opening, sweeping and closing over a session that was handed in, and stays open and of use."""
    async with aiohttp.ClientSession() as session:

        async def act(orders: Orders) -> None:
            async with _system(world, session=session) as phones, phones.sweep(concurrency=6) as sweep:
                await orders.consume(sweep)

        yield act
        async with _system(world, session=session) as phones:
            await _all_at_once(world, phones["leadconnector"])
            await _truth(world, phones)
        _demand(not session.closed, "a session that was handed in is closed")


@asynccontextmanager
async def a_program(world: Sandbox) -> AsyncGenerator[Act]:
    """Opening, sweeping and closing: all that a program does."""
    phones = _system(world)

    async def act(orders: Orders) -> None:
        async with phones, phones.sweep(concurrency=6) as sweep:
            await orders.consume(sweep)

    yield act
    async with phones:
        await _all_at_once(world, phones["leadconnector"])
        await _truth(world, phones)


@asynccontextmanager
async def among_faults(world: Sandbox) -> AsyncGenerator[Act]:
    """A sweep at a vendor where everything goes wrong now and then."""
    for fault in _FAULTS:
        world.faults.add(fault)

    async def act(orders: Orders) -> None:
        async with phones.sweep(concurrency=6) as sweep:
            await orders.consume(sweep)

    async with _system(world) as phones:
        yield act
        world.faults.clear()
        await _all_at_once(world, phones["leadconnector"])
        await _truth(world, phones)


_FAULTS = (
    Status(code=503, rate=0.06),
    Status(code=429, retry_after=1, rate=0.05),
    Reset(rate=0.05),
    ResetBody(rate=0.05),
    Truncated(rate=0.05),
    LostAnswer(rate=0.05),
    Html(rate=0.04),
    StalledHeaders(rate=0.03),
    StalledBody(rate=0.03),
    Drip(rate=0.05, piece=16, pause=0.02),
    Latency(seconds=0.3, rate=0.1),
)


@asynccontextmanager
async def in_memory(world: Sandbox) -> AsyncGenerator[Act]:
    """The sweep alone: a backend without a network."""
    pages = {f"acc_{i}": [[number(10 * i + j, f"acc_{i}")] for j in range(i % 4 + 1)] for i in range(9)}
    provider = Memory(pages, delay=0.01, at_once=True)
    truth = Counter(one.number for account in pages.values() for page in account for one in page)

    async def act(orders: Orders) -> None:
        async with phones.sweep(concurrency=3) as sweep:
            await orders.consume(sweep)

    async with PhoneSystem(provider) as phones:
        yield act
        found = Counter(one.number for one in await phones.numbers())
        _demand(found == truth, "the next sweep does not find the truth")
        _demand(provider.under_way == 0, "a page is still being asked for")


@asynccontextmanager
async def oauth(world: Sandbox) -> AsyncGenerator[Act]:
    """An agency whose token has ended: a refresh, two exchanges, two pages; what it buys is never lost."""
    store = await store_of(world, expired=True)
    before, refused = refreshes(world), world.oauth.refused

    async def act(_: Orders) -> None:
        async with asyncio.TaskGroup() as group:
            for place in world.location_ids[:2]:
                group.create_task(lc.page(place))

    async with backend(world, agency(world, store), limit=_WINDOW) as lc:
        yield act
        await _truth(world, lc)
    await asyncio.sleep(_WINDOW.per + 1)
    _demand(refreshes(world) == before + 1, f"{refreshes(world) - before} refreshes where one is enough")
    _demand(world.oauth.refused == refused, "a spent refresh token was used again")


@asynccontextmanager
async def oauth_program(world: Sandbox) -> AsyncGenerator[Act]:
    """The same with a store in a file, opening and closing included; another program goes on."""
    refused = world.oauth.refused
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokens.json"
        await store_of(world, FileTokenStore(path), expired=True)
        lc = backend(world, agency(world, FileTokenStore(path)))

        async def act(_: Orders) -> None:
            async with lc:
                await lc.page(world.location_ids[0])

        yield act
        _nothing_of(path)
        async with lc:
            await lc.page(world.location_ids[0])
        async with backend(world, agency(world, FileTokenStore(path))) as other:
            await _truth(world, other)
    _demand(world.oauth.refused == refused, "a spent refresh token was used again")


@asynccontextmanager
async def stored(world: Sandbox) -> AsyncGenerator[Act]:
    """A sweep into a database; the next one resumes it, and has the truth."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inventory.db"

        async def act(orders: Orders) -> None:
            orders.reads_ahead = True
            async with Inventory(path) as inventory, inventory.sweep(phones, concurrency=6) as sweep:
                await orders.consume(sweep)

        async with _system(world, limit=None) as phones:
            yield act
            async with Inventory(path) as inventory:
                await inventory.collect(phones)
                snapshot = await inventory.snapshot()
                held = Counter([record.number async for record in snapshot.records()])
            _demand(held == _all_of(world), "the store does not hold the truth")


@asynccontextmanager
async def watching(world: Sandbox) -> AsyncGenerator[Act]:
    """A watch over two rounds."""

    async def act(orders: Orders) -> None:
        async with phones.watch(interval=20) as changes:
            while changes.rounds < 2:
                await asyncio.sleep(1)
                if orders.way == "break":
                    break
                if orders.way == "raise":
                    raise Mine

    async with _system(world) as phones:
        yield act
        await _all_at_once(world, phones["leadconnector"])
        await _truth(world, phones)


VIRTUAL: dict[str, tuple[Scene, tuple[str, ...]]] = {
    "page": (one_page, _ANYWAY),
    "memory": (in_memory, _ALL_WAYS),
    "sweep": (one_sweep, _ALL_WAYS),
    "program": (a_program, _ALL_WAYS),
    "their session": (on_their_session, _ALL_WAYS),
    "faults": (among_faults, _ALL_WAYS),
    "watch": (watching, _ALL_WAYS),
    "oauth": (oauth, _ANYWAY),
}
"""On a clock that jumps."""
REAL: dict[str, tuple[Scene, tuple[str, ...]]] = {
    "oauth-file": (oauth_program, _ANYWAY),
    "store": (stored, _ALL_WAYS),
}
"""With threads, which need a real clock."""


# What must hold


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise Broken(what)


def _all_of(world: Sandbox) -> Counter[str]:
    return Counter(one for numbers in world.truth.values() for one in numbers)


async def _truth(world: Sandbox, phones: PhoneSystem | LeadConnector) -> None:
    """Sweep again, and compare; without being refused, which would be a slot that was given back early."""
    refused = world.log.served["leadconnector.numbers", 429]
    if isinstance(phones, PhoneSystem):
        found, expected = Counter(one.number for one in await phones.numbers()), _all_of(world)
    else:
        pages = [await phones.page(place) for place in world.location_ids[:2]]
        found = Counter(one.number for page in pages for one in page.numbers)
        held = [world.truth["leadconnector", place] for place in world.location_ids[:2]]
        expected = Counter(one for numbers in held for one in numbers)
    _demand(found == expected, f"the next sweep found {found.total()} of {expected.total()} numbers")
    _demand(world.log.served["leadconnector.numbers", 429] == refused, "the vendor's window was overrun")


async def _all_at_once(world: Sandbox, lc: LeadConnector) -> None:
    """Use the whole window over all connections, once it is over what may have been sent before."""
    for tries_left in reversed(range(10)):
        await asyncio.sleep(_WINDOW.per + 1)
        _demand(world.log.in_flight == 0, f"{world.log.in_flight} requests are still under way")
        peak, took = await _peak(world, lc)
        # The kernel may take its time for a connection, and the clock then jumps; what leaked stays away.
        if (peak == _PLACES and took < _WINDOW.per) or not tries_left:
            break
    _demand(peak == _PLACES, f"only {peak} of {_PLACES} requests are under way at once")
    _demand(took < _WINDOW.per, f"{_WINDOW.requests} requests wait {took:.2f} s for a slot")
    await asyncio.sleep(_WINDOW.per + 1)


async def _peak(world: Sandbox, lc: LeadConnector) -> tuple[int, float]:
    """Send what one window allows, and tell how many were under way at once, and how long it took."""
    loop = asyncio.get_running_loop()
    world.log.peak, started = 0, loop.time()
    await asyncio.gather(*(lc.page(world.location_ids[0]) for _ in range(_WINDOW.requests)))
    return world.log.peak, loop.time() - started


def _nothing_of(path: Path) -> None:
    """Look into the store's folder: what was begun is not to be there."""
    folder = path.with_name(path.name + ".d")
    left = [one.name for one in folder.iterdir() if one.name.startswith(("probe-", "fresh-"))]
    _demand(not left, f"the store's folder holds {left}")


def _reported(orders: Orders, world: Sandbox) -> None:
    """Compare the report of what was cut short with what its consumer has in its hands."""
    report = orders.report
    if report is None or orders.reads_ahead:
        return
    got = Counter(one.number for page in orders.pages for one in page.numbers)
    _demand(not got - Counter(got.keys()), "a number came twice")
    _demand(report.numbers == got.total(), f"the report counts {report.numbers} numbers of {got.total()}")
    _demand(report.waiting == 0, f"{report.waiting} calls are said to wait after the end")
    _demand(report.outcomes.total() == len(report.accounts), "an account has no outcome, or two")
    for (name, account), result in report.accounts.items():
        held = sum(len(p.numbers) for p in orders.pages if (p.provider, p.account) == (name, account))
        if result.outcome is Outcome.DONE and (name, account) in world.truth:
            whole = len(world.truth[name, account])
            _demand(held == whole, f"{account} is said to be done with {held} of {whole} numbers")


# How it is cut short


@dataclass
class Cut:
    """One way to end something, and the step of the loop at which that happens."""

    way: str
    step: int
    again: int = 1
    """The number of steps after which `twice` does it a second time."""
    hits: int = 0

    def arm(self, loop: Stepping, action: Callable[[], object]) -> None:
        """Carry out the action at its step."""

        def act() -> None:
            self.hits += 1
            action()

        loop.at(self.step, act)
        if self.way == "twice":
            loop.at(self.step + self.again, action)

    def __str__(self) -> str:
        return f"{self.way} at step {self.step}"


async def _ended(act: Act, cut: Cut) -> Orders:
    """Begin it, cut it short, and see that it ends in the way it was told to."""
    loop, orders = _loop(), Orders()
    task = loop.create_task(_under(cut, act, orders))
    if cut.way in _BY_CONSUMER:
        cut.arm(loop, lambda: setattr(orders, "way", cut.way))
    elif cut.way in {"cancel", "twice"}:
        cut.arm(loop, task.cancel)
    try:
        await asyncio.wait([task])
    finally:
        loop.disarm()
    _check_end(task, cut)
    return orders


async def _under(cut: Cut, act: Act, orders: Orders) -> None:
    loop = _loop()
    ours.set(True)
    if cut.way == "scope":
        with anyio.CancelScope() as scope:
            cut.arm(loop, scope.cancel)
            await act(orders)
    elif cut.way == "timeout":
        async with asyncio.timeout(None) as timeout:
            cut.arm(loop, lambda: timeout.reschedule(loop.time()))
            try:
                await act(orders)
            finally:
                loop.disarm()
    else:
        await act(orders)


def _check_end(task: asyncio.Task[None], cut: Cut) -> None:
    """See that what comes out is what was put in: never a group, nor an error of ours."""
    if task.cancelled():
        _demand(cut.way in {"cancel", "twice"}, "it was cancelled by itself")
        return
    failure = task.exception()
    expected = {"timeout": TimeoutError, "raise": Mine}.get(cut.way)
    if failure is not None and type(failure) is not expected:
        raise Broken(f"it raised {failure!r:.300}") from failure


async def _one_round(world: Sandbox, scene: Scene, cut: Cut) -> None:
    """Cut one scene short, and check that nothing is left."""
    loop, open_before = _loop(), descriptors()
    await _fresh_windows()
    async with scene(world) as act:
        orders = await _ended(act, cut)
        # A refresh that was begun is carried to its end, since its token is spent; closing waits for it.
        left = [task for task in loop.alive() if not task.startswith(_PRECIOUS)]
        _demand(not left, f"right after the end: {left}")
        _reported(orders, world)
    left = loop.alive()
    _demand(not left, f"after closing: {left}")
    await _closed(open_before)


_PRECIOUS = "task phonesys: token of company"


async def _closed(before: int) -> None:
    """Wait for the vendor to notice closed connections, and count the open ones."""
    for _ in range(200):
        if descriptors() <= before:
            return
        await asyncio.sleep(0.005)
    raise Broken(f"{descriptors() - before} files or sockets are still open")


async def _fresh_windows() -> None:
    """Wait until the vendor has forgotten the last round: its client would be one of others who share."""
    if isinstance(_loop(), JumpingSteps):
        await asyncio.sleep(_WINDOW.per + 1)


def _loop() -> Stepping:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Stepping)
    return loop


# All rounds


async def _tried(world: Sandbox, name: str, scene: Scene, cut: Cut, tally: Tally) -> None:
    """Do one round, and write down what it broke."""
    loop, said_before = _loop(), len(tally.broken)
    loop.at(_MOST_STEPS, _never_ends)
    tally.tried[name, cut.way] += 1
    with overheard() as said:
        try:
            async with asyncio.timeout(_PATIENCE[type(loop)]):
                await _one_round(world, scene, cut)
        except (Broken, PhonesysError) as failure:
            said.append(str(failure))
        except TimeoutError:
            said.append("it hangs")
        gc.collect()
    loop.disarm()
    loop.tasks.clear()
    said += loop.complaints
    loop.complaints.clear()
    tally.in_time += bool(cut.hits)
    tally.broken += [f"{name}, {cut}: {what}" for what in said]
    if len(tally.broken) > said_before:
        world.faults.clear()


def _never_ends() -> None:
    raise Broken(f"the loop turns, and after {_MOST_STEPS} steps there is no end")


async def _length(world: Sandbox, scene: Scene) -> int:
    """Count the steps that it takes when it is left alone."""
    loop, most = _loop(), 0
    for _ in range(2):
        await _fresh_windows()
        async with scene(world) as act:
            before = loop.steps
            await loop.create_task(_under(Cut("", 0), act, Orders()))
            most = max(most, loop.steps - before)
    loop.tasks.clear()
    return most


async def _rounds(
    name: str, scene: Scene, ways: Iterable[str], points: int, draw: random.Random, tally: Tally
) -> None:
    """Spread the ends evenly over all steps, each at random within its share."""
    async with _world() as world:
        with overheard():  # the first time, what is imported late has its say
            tally.steps[name] = total = await _length(world, scene)
        shares = [(way, share) for way in ways for share in range(max(1, points // len(tuple(ways))))]
        for way, share in shares:
            step = 1 + int((share + draw.random()) * total * len(tuple(ways)) / max(points, 1))
            await _tried(world, name, scene, Cut(way, step, 1 + draw.randrange(30)), tally)


def _world() -> Sandbox:
    loop = asyncio.get_running_loop()
    jumps = isinstance(loop, JumpingSteps)
    return Sandbox(
        locations=5,
        numbers=(3, 5),
        pools=(0, 1),
        leadping=7,
        agents=7,
        leadconnector_limit=(_WINDOW.requests if jumps else 10_000, _WINDOW.per),
        enforce_limits=jumps,  # a real minute is too long to wait for
        latency=_LATENCY if jumps else 0.001,
        clock=loop.time,
    )


def cancelled(points: int, seed: int, only: Iterable[str] = ()) -> Tally:
    """Cut every scene short, as often as its share of the points says."""
    tally = Tally()
    names = [name for name in (*VIRTUAL, *REAL) if not only or name in only]
    freeze_old_objects()
    for name in names:
        scene, ways = {**VIRTUAL, **REAL}[name]
        draw = random.Random(f"{seed} {name}")
        kind = JumpingSteps if name in VIRTUAL else RealSteps
        with asyncio.Runner(loop_factory=kind) as runner:
            runner.run(_rounds(name, scene, ways, points // len(names), draw, tally))
    return tally


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--points", type=int, default=5000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--programs", type=int, default=60, help="how many to send Ctrl-C or SIGTERM")
    options.add_argument("--only", action="append", choices=[*VIRTUAL, *REAL], default=[])
    given = options.parse_args()
    broken: list[str] = []
    if given.points:
        tally = cancelled(given.points, given.seed, given.only)
        print(tally)  # noqa: T201
        broken += tally.broken
    if given.programs and can_signal():
        signals = asyncio.run(interrupted(given.programs, given.seed))
        print(signals)  # noqa: T201
        broken += signals.broken
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
