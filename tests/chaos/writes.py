"""Writes many times under every kind of fault at once, and compares their effects with their outcomes.

Claims: no write is carried out twice, not even where the program repeats those that are found not done; every
call ends as done, as an error that proves that nothing happened, or as OutcomeUnknown; and what looking those
up says is true. Other writers act at the same time. Run the long version as

    python -m tests.chaos.writes --writes 10000 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from phonesys import (
    AgentNumbers,
    CallError,
    HttpOptions,
    Leadping,
    OutcomeUnknown,
    Reconciled,
    WriteOutcome,
)
from phonesys.sandbox import FaultPlan, Sandbox, faults
from phonesys.sandbox.faults import KINDS, kind_of
from tests.conftest import JumpingLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from phonesys.sandbox.faults import AnyRule
    from phonesys.sandbox.log import Served

_LATE = 0.3
_SETTLE = 0.8  # longer than the slowest vendor takes after a client has given up
_PATIENCE = 0.25
_RIVALS = 0.1  # share of writes to whose number another client writes, too
_REPEATS = 3
_LOOKS = 40
_AT_ONCE = 1000
_OPTIONS = HttpOptions(timeout=_PATIENCE, retries=3, backoff=0.005, backoff_cap=0.02, max_body=2**18)
_WRITES = (
    "leadping.create", "leadping.update", "leadping.delete",
    "agents.assign", "agents.update", "agents.delete",
)  # fmt: skip
_REFUSED_FROM = 400
_MAYBE_DONE = frozenset({408, 302, 303})

_FAULTS: tuple[AnyRule, ...] = (
    faults.Latency(seconds=0.001, jitter=0.002, tail=0.0005, most=0.1),
    faults.Latency(seconds=_LATE, when="before"),
    faults.Latency(seconds=_LATE, when="after"),
    faults.Latency(seconds=_LATE, when="regardless"),
    faults.Latency(seconds=0.5 * _LATE, jitter=0.8 * _LATE, when="regardless"),
    faults.StalledHeaders(),
    faults.StalledBody(),
    faults.StalledBody(seconds=0.05),
    faults.Drip(piece=100, pause=0.001),
    *(faults.Status(code=code) for code in (400, 401, 403, 409, 422, 501)),
    *(faults.Status(code=code, carry_out=True) for code in (408, 500, 502, 503, 504)),
    *(faults.Status(code=code) for code in (408, 500, 502, 503, 504)),
    faults.Status(code=429, retry_after=0),
    faults.Status(code=429, retry_after=0, body=""),
    faults.Html(),
    faults.Html(code=200),
    *(faults.Redirect(code=code) for code in (301, 302, 303, 307, 308)),
    faults.Refused(seconds=0.02, times=10),
    faults.Reset(),
    faults.ResetBody(),
    faults.Truncated(),
    faults.LostAnswer(),
    faults.LostAnswer(),
    faults.HugeHeaders(),
    faults.ContentType(),
    faults.Charset(),
    faults.InvalidJson(),
    faults.Null(),
    faults.EmptyObject(),
    faults.GzipBomb(megabytes=1),
    faults.WrongShape(),
    faults.BadRow(),
    faults.UnknownEnum(),
    faults.UnknownFields(),
    faults.MissingFields(),
    faults.OddTypes(),
    faults.LiveSpelling(),
    faults.BrokenText(),
    faults.NoNumber(),
    faults.DuplicateRows(),
    faults.MovingRows(direction="either", times=60),
    faults.RepeatedToken(),
)


def plan(share: float, reads: float, seed: int) -> FaultPlan:
    """All of them: this share of the writes meets one, and that of the requests that look them up."""
    assert {kind_of(rule) for rule in _FAULTS} == KINDS.keys()
    order = random.Random(seed).sample(_FAULTS, len(_FAULTS))  # the first one that is drawn happens
    rules = [
        msgspec.structs.replace(rule, route=route, rate=1 - (1 - rate) ** (1 / len(order)))
        for route, rate in (*((route, share) for route in _WRITES), ("*", reads))
        for rule in order
    ]
    return FaultPlan(tuple(rules), seed)


@dataclass
class Tally:
    """The ends of the writes, the outcomes of the lost ones, and every claim that was broken."""

    ended: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """By operation: done, refused, or lost."""
    said: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """By operation: what looking it up said at once, while the others went on writing."""
    later: Counter[str] = field(default_factory=Counter[str])
    """The outcomes of the unclear ones once all was quiet."""
    repeated: int = 0
    looks: int = 0
    requests: int = 0
    faulty: int = 0
    rivals: int = 0
    broken: list[str] = field(default_factory=list[str])

    def add(self, other: Tally) -> None:
        """Count the other's with these."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def lines(self) -> Iterator[str]:
        """Describe the tally in words."""
        for operation in ("create", "assign", "update", "delete"):
            ends, said = (
                ", ".join(f"{n} {what}" for (of, what), n in sorted(counts.items()) if of == operation)
                for counts in (self.ended, self.said)
            )
            yield f"{operation}: {ends}; the lost ones: {said or 'none'}"
        yield f"unclear ones once all was quiet: {dict(self.later)}"
        yield (
            f"{self.repeated} writes repeated since they were not done, {self.rivals} by another client to "
            f"the same number, {self.looks} failed looks"
        )
        yield f"{self.requests} requests, {self.faulty} of them with a fault"
        yield from self.broken
        yield f"{len(self.broken)} claims broken"


@dataclass
class Attempt:
    """One write, and how to see in the vendors' world whether it was carried out."""

    kind: str
    mark: str
    send: Callable[[], Awaitable[Any]]
    times: Callable[[], int]
    """The number of times that it was carried out, as the sandbox shows."""


class Scene:
    """A sandbox, a backend for each vendor that can be written to, and what becomes of the writes."""

    def __init__(self, sandbox: Sandbox, leadping: Leadping, agents: AgentNumbers, seed: int) -> None:
        self.sandbox, self.leadping, self.agents = sandbox, leadping, agents
        self.world = sandbox.state
        self.seed = seed
        self.tally = Tally()
        self.unclear: list[tuple[Attempt, OutcomeUnknown]] = []
        self.finished: list[tuple[Attempt, int]] = []
        """With how often each must have been carried out, at the end of all."""
        self.shared: set[str] = set()
        """The marks of writes that another client got in the way of."""
        self.theirs: set[str] = set()
        """The ids of what no write of ours has made."""
        self._made: defaultdict[str, list[str]] = defaultdict(list)
        self._indexed = 0

    async def write(self, index: int) -> None:
        """Make one write of the kind and with the rivals that its index draws."""
        draw = random.Random(self.seed << 32 | index)
        number, mark = f"+1555{index:07}", f"write {index}"
        if draw.random() < _RIVALS:
            self._rival(number, draw)
            self.shared.add(mark)
        attempt = draw.choices(
            (self._create, self._assign, self._update_leadping, self._update_agents, self._delete),
            (30, 30, 15, 15, 10),
        )[0](number, mark, draw)
        await self._carry_through(attempt)

    async def _carry_through(self, attempt: Attempt) -> None:
        """Write, look up what is lost, and repeat what is found not done."""
        for turn in range(_REPEATS):
            self.tally.repeated += turn > 0
            try:
                await attempt.send()
            except OutcomeUnknown as lost:
                self._end(attempt, "lost", None)
                found = await self._reconciled(attempt, lost)
                self.tally.said[attempt.kind, found.outcome] += 1
                if found.outcome is WriteOutcome.NOT_DONE:
                    continue
                if found.outcome is WriteOutcome.UNCLEAR:
                    self.unclear.append((attempt, lost))
                else:
                    self.finished.append((attempt, 1))
            except CallError as error:
                self._end(attempt, "refused", 0)
                if not error.not_executed:
                    self._broken(attempt, f"ended without proof of anything: {error!r}")
                self.finished.append((attempt, 0))
            else:
                self._end(attempt, "done", 1)
                self.finished.append((attempt, 1))
            return
        self.finished.append((attempt, 0))

    async def _reconciled(self, attempt: Attempt, lost: OutcomeUnknown) -> Reconciled[Any]:
        """Look it up, again where that fails, and compare it with the world."""
        failures: Counter[str] = Counter()
        for _ in range(_LOOKS):
            assert lost.write is not None
            # On a clock that jumps other time passes than on the wall, which tells how long it was ago.
            lost.write = msgspec.structs.replace(lost.write, ended_at=datetime.now(UTC))
            try:
                found = await lost.reconcile(grace_period=_SETTLE, clock_skew=0.0)
                break
            except CallError as failure:
                failures[f"{type(failure).__name__}: {failure}"] += 1
        else:
            raise AssertionError(f"{attempt.mark} could not be looked up: {failures}")
        self.tally.looks += failures.total()
        times = attempt.times()
        if found.outcome is not WriteOutcome.UNCLEAR and times != (found.outcome is WriteOutcome.DONE):
            self._broken(
                attempt, f"is said to be {found.outcome} ({found.reason}), carried out {times} times"
            )
        if found.number is not None and not self._is_it(attempt, found.number):
            self._broken(attempt, f"is said to be {found.number.id} {found.number.label!r}")
        return found

    def _is_it(self, attempt: Attempt, number: Any) -> bool:
        mine = attempt.kind == "update" or number.id not in self.theirs
        return mine and bool(number.label == attempt.mark)

    def _end(self, attempt: Attempt, how: str, times: int | None) -> None:
        self.tally.ended[attempt.kind, how] += 1
        if times is not None and attempt.times() != times:
            self._broken(attempt, f"ended as {how}, but was carried out {attempt.times()} times")

    def _broken(self, attempt: Attempt, what: str) -> None:
        self.tally.broken.append(f"seed {self.seed}: {attempt.kind} {attempt.mark!r} {what}")

    # --- What is written -------------------------------------------------------------------------------

    def _create(self, number: str, mark: str, _: random.Random) -> Attempt:
        return Attempt(
            "create",
            mark,
            lambda: self.leadping.create(name=mark, number=number, enabled=True),
            lambda: len(self._ours(number)),
        )

    def _assign(self, number: str, mark: str, draw: random.Random) -> Attempt:
        agent_id = draw.choice(tuple(self.world.agents))
        return Attempt(
            "assign",
            mark,
            lambda: self.agents.assign(phone_number=number, agent_id=agent_id, friendly_name=mark),
            lambda: len(self._ours(number)),
        )

    def _update_leadping(self, number: str, mark: str, draw: random.Random) -> Attempt:
        record = self._record(number, draw)
        return Attempt(
            "update",
            mark,
            lambda: self.leadping.update(record.id, name=mark),
            lambda: record.name == mark,
        )

    def _update_agents(self, number: str, mark: str, draw: random.Random) -> Attempt:
        row = self._row(number, draw)
        return Attempt(
            "update",
            mark,
            lambda: self.agents.update(row.id, friendly_name=mark, status="PAUSED"),
            lambda: row.friendly_name == mark,
        )

    def _delete(self, number: str, mark: str, draw: random.Random) -> Attempt:
        if draw.random() < 0.5:
            held: dict[str, Any] = self.world.leadping
            id_, remove = self._record(number, draw).id, self.leadping.delete
        else:
            held, (id_, remove) = self.world.assignments, (self._row(number, draw).id, self.agents.delete)
        return Attempt("delete", mark, lambda: remove(id_), lambda: id_ not in held)

    def _record(self, number: str, draw: random.Random) -> Any:
        """Give the organization the number already, since an hour ago."""
        record = self.world.create_leadping(
            name="before", number=f"+1556{number[5:]}", organization_id=None, enabled=True, id_=None
        )
        record.created_at = "2026-01-01T00:00:00Z"
        if draw.random() < 0.5:
            record.modified_at = "2026-01-02T00:00:00Z"
        return self._somebody_elses(record)

    def _row(self, number: str, draw: random.Random) -> Any:
        agent_id = draw.choice(tuple(self.world.agents))
        row = self.world.assign(number=f"+1556{number[5:]}", agent_id=agent_id, friendly_name="before")
        row.created_at = row.updated_at = "2026-01-01T00:00:00Z"
        return self._somebody_elses(row)

    def _rival(self, number: str, draw: random.Random) -> None:
        """Give another client the same number at the same time, under another name or for another agent."""
        self.tally.rivals += 1
        agent_id = draw.choice(tuple(self.world.agents))
        self._somebody_elses(self.world.assign(number=number, agent_id=agent_id, friendly_name="rival"))
        self._somebody_elses(
            self.world.create_leadping(
                name="rival", number=number, organization_id=None, enabled=True, id_=None
            )
        )

    def _somebody_elses(self, made: Any) -> Any:
        self.theirs.add(made.id)
        return made

    def _ours(self, number: str) -> list[str]:
        """Return the ids under which our writes made this number."""
        for made in self.sandbox.created[self._indexed :]:
            if made.id not in self.theirs:
                self._made[made.number].append(made.id)
        self._indexed = len(self.sandbox.created)
        return self._made[number]

    # --- What must be true at the end ------------------------------------------------------------------

    async def compare(self) -> None:
        """Look up what was unclear once no client writes and nothing goes wrong, then compare everything."""
        self.sandbox.faults.clear()
        for attempt, lost in self.unclear:
            found = await self._reconciled(attempt, lost)
            self.tally.later[found.outcome] += 1
            if found.outcome is WriteOutcome.UNCLEAR and attempt.mark not in self.shared:
                self._broken(attempt, f"stays unclear for no reason: {found.reason}")
            self.finished.append((attempt, attempt.times()))
        for attempt, times in self.finished:
            if attempt.times() != times:
                self._broken(attempt, f"was carried out {attempt.times()} times, and should be {times} times")
            if attempt.times() > 1:
                self._broken(attempt, "was carried out more than once")
        self._compare_requests()

    def _compare_requests(self) -> None:
        """Count what was sent: no more writes than were called for, those apart that were refused."""
        log = self.sandbox.requests
        self.tally.requests = len(log)
        self.tally.faulty = sum(served.fault is not None for served in log)
        called = Counter(f"{kind}" for kind, _ in self.tally.ended.elements())
        arrived = Counter(
            served.route.partition(".")[2]
            for served in log
            if _may_have_happened(served) and served.route.partition(".")[2] in called
        )
        for kind, count in arrived.items():
            if count > called[kind]:
                self.tally.broken.append(
                    f"seed {self.seed}: {called[kind]} calls of {kind} were {count} requests that may have "
                    "been carried out"
                )


def _may_have_happened(served: Served) -> bool:
    """Return True if a client cannot know that the request was refused."""
    if served.fault == "refused" or served.status is None:
        return True
    return not _REFUSED_FROM <= served.status < 500 or served.status in _MAYBE_DONE


def write_more(
    writes: int,
    *,
    seed: int = 1,
    share: float = 0.5,
    reads: float = 0.1,
    concurrency: int = 64,
    real_clock: bool = False,
) -> Tally:
    """Make many writes, a thousand at a time, each time in a world of its own, since lists grow.

    On a clock that jumps unless told otherwise, so that a busy machine makes nothing late.
    """
    total = Tally()
    for turn, first in enumerate(range(0, writes, _AT_ONCE)):
        count = min(_AT_ONCE, writes - first)
        scene = write_much(count, seed=seed + turn, share=share, reads=reads, concurrency=concurrency)
        with asyncio.Runner(loop_factory=asyncio.new_event_loop if real_clock else JumpingLoop) as runner:
            total.add(runner.run(scene))
    return total


async def write_much(
    writes: int, *, seed: int = 1, share: float = 0.5, reads: float = 0.1, concurrency: int = 64
) -> Tally:
    """Make so many writes, so many at once, and compare them all."""
    async with Sandbox(
        locations=0, leadping=60, agents=150, enforce_limits=False, log_size=None,
        faults=plan(share, reads, seed), seed=seed,
    ) as sandbox:  # fmt: skip
        leadping = Leadping(sandbox.leadping_key, base_url=sandbox.leadping_url, http=_OPTIONS, limit=None)
        agents = AgentNumbers(sandbox.agents_key, base_url=sandbox.agents_url, http=_OPTIONS, limit=None)
        async with leadping, agents:
            scene = Scene(sandbox, leadping, agents, seed)
            order = iter(range(writes))

            async def work() -> None:
                for index in order:
                    await scene.write(index)

            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(work())
            await scene.compare()
    return scene.tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--writes", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=0.5, help="share of writes that meet a fault")
    parser.add_argument("--reads", type=float, default=0.1, help="the same of the requests that look them up")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--real-clock", action="store_true")
    given = parser.parse_args()
    started = time.perf_counter()
    tally = write_more(
        given.writes,
        seed=given.seed,
        share=given.share,
        reads=given.reads,
        concurrency=given.concurrency,
        real_clock=given.real_clock,
    )
    print(*tally.lines(), f"{time.perf_counter() - started:.0f} s", sep="\n")  # noqa: T201
    sys.exit(bool(tally.broken))


if __name__ == "__main__":
    main()
