"""Sweeps sandboxes in which everything goes wrong, and compares what was found with the truth.

Each seed is a sandbox of its own: all three backends over real sockets, with every kind of fault mixed so
that a fifth of all requests meets one. What may be claimed for which kind is in `tests.chaos.promises`.

    python -m tests.chaos.sweep --seeds 300
    python -m tests.chaos.sweep --first-seed 17 --seeds 1     # one of them again
    python -m tests.chaos.sweep --seeds 100 --moving          # with rows that move between pages
    python -m tests.chaos.sweep --seeds 20 --kinds null,reset

Time passes by a clock that jumps when nothing happens, unless `--real-clock` is given; stalls and waits then
cost nothing, and none is cut short by a machine that is busy.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import sys
import time
import warnings
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from phonesys import AgentNumbers, HttpOptions, LeadConnector, Leadping, Outcome, PhoneSystem
from phonesys.sandbox import Sandbox
from phonesys.sandbox.agents import Envelope, Paging
from phonesys.sandbox.faults import KINDS
from tests.chaos.claims import Evidence, Found, breaches, given_up, history_of, moves_of, short
from tests.chaos.promises import MOVING, plan_of
from tests.chaos.steps import freeze_old_objects
from tests.conftest import JumpingLoop
from tests.oauth.agencies import agency, store_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from phonesys.sandbox.faults import FaultPlan
    from phonesys.sweep import SweepReport

PATIENT = HttpOptions(timeout=0.5, deadline=300, retries=7, backoff=0.02, backoff_cap=0.2, max_body=2**20)
STILL = tuple(kind for kind in KINDS if kind not in MOVING)
_EPOCH = 1_700_000_000.0


@dataclass(frozen=True)
class Options:
    """The settings that all seeds of a run have in common."""

    locations: int = 200
    kinds: tuple[str, ...] = STILL
    rate: float = 0.2
    real_clock: bool = False


@dataclass(frozen=True)
class Scene:
    """The choices of a seed: the same ones every time."""

    seed: int
    version: str
    sizes: tuple[int, int, int]
    numbers: tuple[int, int]
    not_connected: int
    speculate: int
    concurrency: int
    with_pools: bool
    oauth: str
    """Empty, `named` or `discovered`: where the locations come from."""
    envelope: Envelope
    paging: Paging
    plan: FaultPlan

    @classmethod
    def of(cls, seed: int, options: Options) -> Scene:
        draw = random.Random(seed)
        return cls(
            seed=seed,
            version=("2021-07-28", "v3")[seed % 2],
            sizes=(draw.choice((2, 3, 5, 8, 1000)), draw.choice((10, 25, 60)), draw.choice((7, 20, 50))),
            numbers=draw.choice(((0, 4), (0, 12), (5, 20))),
            not_connected=min(draw.randint(0, 8), options.locations),
            speculate=draw.randint(1, 5),
            concurrency=draw.choice((1, 8, 64)),
            with_pools=draw.random() < 0.25,
            oauth=draw.choice(("", "", "named", "discovered")),
            envelope=draw.choice(get_args(Envelope)),
            paging=draw.choice(get_args(Paging)),
            plan=plan_of(draw, options.kinds, options.rate),
        )

    def counted(self) -> frozenset[str]:
        """Name the backends whose vendor says how many rows there are."""
        leadconnector = {"leadconnector"} if self.version == "v3" else set[str]()
        agents = {"agents"} if self.envelope != "bare" and self.paging != "none" else set[str]()
        return frozenset(leadconnector | agents)

    def sandbox(self, options: Options) -> Sandbox:
        return Sandbox(
            locations=options.locations,
            numbers=self.numbers,
            not_connected=self.not_connected,
            leadping=130,
            agents=90,
            agents_envelope=self.envelope,
            agents_paging=self.paging,
            oauth_grace=60.0,
            seed=self.seed,
            faults=self.plan,
            log_size=None,
            clock=asyncio.get_running_loop().time,
        )

    async def backends(self, sandbox: Sandbox) -> tuple[LeadConnector, Leadping, AgentNumbers]:
        lc, leadping, agents = self.sizes
        return (
            LeadConnector(
                base_url=sandbox.leadconnector_url,
                version=self.version,
                page_size=lc,
                speculate=self.speculate,
                with_pools=self.with_pools,
                locations=None if self.oauth == "discovered" else sandbox.location_ids,
                http=PATIENT,
                **await self._credentials(sandbox),
            ),
            Leadping(sandbox.leadping_key, base_url=sandbox.leadping_url, page_size=leadping, http=PATIENT),
            AgentNumbers(sandbox.agents_key, base_url=sandbox.agents_url, page_size=agents, http=PATIENT),
        )

    async def _credentials(self, sandbox: Sandbox) -> dict[str, Any]:
        if not self.oauth:
            return {"token": sandbox.leadconnector_token}
        loop = asyncio.get_running_loop()
        return {"auth": agency(sandbox, await store_of(sandbox), clock=lambda: _EPOCH + loop.time())}


@dataclass
class Tally:
    """The results of one seed, or of many."""

    seeds: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    met: Counter[str] = field(default_factory=Counter[str])
    requests: int = 0
    numbers: int = 0
    unlisted: int = 0
    """The number of times that the list of accounts itself could not be read."""
    moved: int = 0
    """The number of accounts that changed while they were read."""
    short: Counter[str] = field(default_factory=Counter[str])
    """The number of those that are done without numbers that were there all the time, by backend."""
    given_up: int = 0
    """The number of accounts that failed before their retries were used up: the client had no more."""
    errors: Counter[str] = field(default_factory=Counter[str])
    broken: list[str] = field(default_factory=list[str])

    def add(self, other: Tally) -> None:
        self.seeds += other.seeds
        self.outcomes += other.outcomes
        self.met += other.met
        self.requests += other.requests
        self.numbers += other.numbers
        self.unlisted += other.unlisted
        self.moved += other.moved
        self.short += other.short
        self.given_up += other.given_up
        self.errors += other.errors
        self.broken += other.broken

    def share_read(self, provider: str | None = None) -> float:
        """Return the share of accounts that did not fail."""
        counts: Counter[str] = Counter()
        for (name, outcome), count in self.outcomes.items():
            if provider in {None, name}:
                counts[outcome] += count
        return 1 - counts[Outcome.FAILED] / max(counts.total(), 1)

    def share_met(self) -> float:
        """Return the share of requests that met a fault."""
        return self.met.total() / max(self.requests, 1)

    def lines(self) -> Iterator[str]:
        yield f"{self.seeds} seeds, {self.requests} requests, {self.share_met():.1%} of them met a fault"
        yield f"{self.numbers} numbers; the list of locations could not be read {self.unlisted} times"
        yield f"{self.given_up} accounts failed after an outage without the retries that they were allowed"
        if self.moved:
            which = ", ".join(f"{count} of {name}" for name, count in sorted(self.short.items())) or "none"
            yield f"{self.moved} accounts changed while they were read; done, and short of a number: {which}"
        for provider in ("leadconnector", "leadping", "agents"):
            counts = ", ".join(
                f"{count} {outcome}"
                for (name, outcome), count in sorted(self.outcomes.items())
                if name == provider
            )
            yield f"{provider:14} {self.share_read(provider):6.1%} did not fail: {counts}"
        yield "errors: " + ", ".join(f"{name} {count}" for name, count in self.errors.most_common())
        yield "met: " + ", ".join(f"{name} {count}" for name, count in sorted(self.met.items()))
        yield from self.broken
        yield f"{len(self.broken)} claims broken"


def run_seed(seed: int, options: Options) -> Tally:
    """Sweep one sandbox. Exceptions that were not retrieved and warnings break a claim, too."""
    loud: list[str] = []
    before = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: loud.append(f"not to be caught: {unraisable.exc_value!r}")
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            factory = asyncio.new_event_loop if options.real_clock else JumpingLoop
            with asyncio.Runner(loop_factory=factory) as runner:
                try:
                    tally = runner.run(_swept(Scene.of(seed, options), options, loud))
                except Exception as failure:  # noqa: BLE001 -- whatever comes out of a sweep is a breach
                    tally = Tally(seeds=1, broken=[f"seed {seed}: {failure!r} came out of the sweep"])
            gc.collect()
        loud += [f"warned: {warning.message}" for warning in warned]
    finally:
        sys.unraisablehook = before
    tally.broken += [f"seed {seed}: {what}" for what in loud]
    return tally


async def witness(scene: Scene, options: Options) -> Evidence:
    """Sweep the scene's sandbox, and gather all that there is to know about it."""
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(scene.sandbox(options))
        before = dict(sandbox.truth)
        async with PhoneSystem(*await scene.backends(sandbox)) as phones:
            report, found = await _read(phones, scene.concurrency)
        return Evidence(
            report=report,
            found=found,
            asked=frozenset(before),
            before=before,
            after=dict(sandbox.truth),
            history=history_of(sandbox),
            moved=moves_of(sandbox),
            not_connected=sandbox.not_connected,
            counted=scene.counted(),
            retries=PATIENT.retries,
            deadline=PATIENT.deadline or 0.0,
        )


async def _swept(scene: Scene, options: Options, loud: list[str]) -> Tally:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: loud.append(f"not retrieved: {context}"))
    mine = asyncio.all_tasks()
    evidence = await witness(scene, options)
    loud += [f"left a task behind: {task}" for task in asyncio.all_tasks() - mine]
    gc.collect()  # reports exceptions that were not retrieved, while the handler is there
    return _tally(scene, evidence)


async def _read(phones: PhoneSystem, concurrency: int) -> tuple[SweepReport, dict[tuple[str, str], Found]]:
    found: dict[tuple[str, str], Found] = defaultdict(Found)
    async with phones.sweep(concurrency=concurrency) as sweep:
        async for page in sweep:
            found[page.provider, page.account].add(page)
    return sweep.report, found


def _tally(scene: Scene, evidence: Evidence) -> Tally:
    report = evidence.report
    served = [served for history in evidence.history.values() for served in history]
    return Tally(
        seeds=1,
        outcomes=Counter((name, result.outcome.value) for (name, _), result in report.accounts.items()),
        met=Counter(one.fault for one in served if one.fault),
        requests=len(served),
        numbers=report.numbers,
        unlisted=sum(failure.account is None for failure in report.failures),
        moved=len(evidence.moved),
        short=Counter(name for name, _ in short(evidence)),
        given_up=given_up(evidence),
        errors=Counter(type(failure.error).__name__ for failure in report.failures),
        broken=[f"seed {scene.seed}: {breach}" for breach in breaches(evidence)],
    )


def run(seeds: Iterable[int], options: Options, jobs: int = 1) -> Tally:
    """Run many seeds, in several processes if asked to."""
    total = Tally()
    freeze_old_objects()
    if jobs == 1:
        for seed in seeds:
            total.add(run_seed(seed, options))
        return total
    with ProcessPoolExecutor(jobs) as pool:
        for tally in pool.map(run_seed, seeds, iter(lambda: options, None)):
            total.add(tally)
    return total


def main() -> None:
    given = _arguments()
    options = Options(
        locations=given.locations,
        kinds=tuple(given.kinds.split(",")) if given.kinds else tuple(KINDS) if given.moving else STILL,
        rate=given.rate,
        real_clock=given.real_clock,
    )
    started = time.perf_counter()
    tally = run(range(given.first_seed, given.first_seed + given.seeds), options, given.jobs)
    if tally.share_read() < given.least_read:
        tally.broken.append(f"less than {given.least_read:.0%} of the accounts did not fail")
    print(*tally.lines(), f"{time.perf_counter() - started:.0f} s", sep="\n")  # noqa: T201
    sys.exit(bool(tally.broken))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--locations", type=int, default=200)
    parser.add_argument("--kinds", help="only these, such as null,reset")
    parser.add_argument("--moving", action="store_true", help="rows that move between pages, too")
    parser.add_argument("--rate", type=float, default=0.2, help="share of requests that meet a fault")
    parser.add_argument("--least-read", type=float, default=0.6, help="share of accounts that must not fail")
    parser.add_argument("--real-clock", action="store_true")
    parser.add_argument("--jobs", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
