"""Applies a plan under faults, kills the process that does it again and again, and compares what was done.

Claims: the final state is the planned one; no write is carried out twice, however often the process is
killed; every outcome in the journal is true; applying the plan once more sends no write; and the undo of the
run gives the first state back, but for what it names. The vendors are one sandbox, and each process is a real
one that ends by SIGKILL at a random moment. Run the long version as

    python -m tests.chaos.apply --changes 1000 --kills 100 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from phonesys import (
    Action,
    AgentNumbers,
    ChangeOutcome,
    ChangeRequest,
    HttpOptions,
    LeadConnector,
    Leadping,
    PhoneSystem,
    Plan,
    Risk,
)
from phonesys.inventory import Inventory
from phonesys.sandbox import FaultPlan, Sandbox, faults
from phonesys.sandbox.number_plan import describe
from phonesys.sandbox.state import Assignment, LeadpingNumber

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from phonesys.changes import RunState
    from phonesys.sandbox.faults import AnyRule

State: TypeAlias = "dict[tuple[str, str], tuple[Any, ...]]"
"""What the vendors hold, by backend and number."""

_LATE = 0.15
_GRACE = 0.6  # longer than the slowest vendor takes after a client has given up
_SHARE = 0.2
_OPTIONS = HttpOptions(timeout=0.3, retries=4, backoff=0.005, backoff_cap=0.05)
_TRIES = 30
_FAULTS: tuple[AnyRule, ...] = (
    faults.Latency(seconds=_LATE, when="before"),
    faults.Latency(seconds=_LATE, when="after"),
    faults.Latency(seconds=4 * _LATE, jitter=_LATE, when="after"),
    faults.StalledHeaders(seconds=0.5),
    *(faults.Status(code=code, carry_out=True) for code in (500, 502, 504)),
    *(faults.Status(code=code) for code in (500, 503, 504)),
    faults.Status(code=429, retry_after=0),
    faults.Reset(),
    faults.Truncated(),
    *[faults.LostAnswer()] * 4,
    faults.InvalidJson(),
)


def fault_plan(seed: int, share: float = _SHARE) -> FaultPlan:
    """All of them, so that this share of the requests meets one."""
    rate = 1 - (1 - share) ** (1 / len(_FAULTS))
    order = random.Random(seed).sample(_FAULTS, len(_FAULTS))
    return FaultPlan(tuple(msgspec.structs.replace(rule, rate=rate) for rule in order), seed)


@dataclass
class Tally:
    """Everything that was done, and every claim that was broken."""

    changes: int = 0
    kills: int = 0
    processes: int = 0
    requests: int = 0
    faulty: int = 0
    writes: int = 0
    """Writes that the vendors carried out."""
    outcomes: Counter[ChangeOutcome] = field(default_factory=Counter[ChangeOutcome])
    undone: Counter[ChangeOutcome] = field(default_factory=Counter[ChangeOutcome])
    left_out: int = 0
    broken: list[str] = field(default_factory=list[str])

    def lines(self) -> Iterator[str]:
        """Describe the tally in words."""
        yield f"{self.changes} changes in {self.processes} processes, {self.kills} of them killed"
        yield f"{self.requests} requests, {self.faulty} with a fault; {self.writes} writes carried out"
        yield f"outcomes: {_counts(self.outcomes)}"
        yield f"undo: {_counts(self.undone)}; {self.left_out} left out by name"
        yield from self.broken
        yield f"{len(self.broken)} claims broken"


def _counts(outcomes: Counter[ChangeOutcome]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())) or "none"


class Ledger:
    """Counts every write that the vendors carry out, at the records themselves."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.updates: Counter[str] = Counter()
        self.deletes: Counter[str] = Counter()
        self._sandbox = sandbox
        state = sandbox.state
        ledger = self

        class Row(Assignment):
            def __setattr__(self, name: str, value: Any) -> None:
                super().__setattr__(name, value)
                if name == "updated_at" and "ready" in self.__dict__:
                    ledger.updates[self.id] += 1

        class Record(LeadpingNumber):
            def __setattr__(self, name: str, value: Any) -> None:
                super().__setattr__(name, value)
                if name == "modified_at" and "ready" in self.__dict__:
                    ledger.updates[self.id] += 1

        class Held(dict[str, Any]):
            def __delitem__(self, key: str) -> None:
                super().__delitem__(key)
                ledger.deletes[key] += 1

        for name, kind in (("assignments", Row), ("leadping", Record)):
            counted = Held()
            for key, row in getattr(state, name).items():
                counted[key] = made = kind(**{one: getattr(row, one) for one in row.__dataclass_fields__})
                made.__dict__["ready"] = True
            state.__dict__[name] = counted

    @property
    def made(self) -> Counter[str]:
        """The number of times that each number was created, assigned or bought."""
        return Counter(one.number for one in self._sandbox.created)

    @property
    def total(self) -> int:
        """All writes."""
        return self.updates.total() + self.deletes.total() + self.made.total()


def holdings(sandbox: Sandbox) -> State:
    """Return what the vendors hold, by backend and number, without ids."""
    state = sandbox.state
    held: State = {}
    for row in state.assignments.values():
        held["agents", row.number] = (row.friendly_name, row.agent_id, row.status)
    for record in state.leadping.values():
        held["leadping", record.number] = (record.name, record.enabled)
    for location in state.location_ids:
        for number in sandbox.truth["leadconnector", location]:
            held["leadconnector", number] = (location,)
    return held


@dataclass
class Desired:
    """Changes, and the state that they lead to."""

    changes: list[ChangeRequest] = field(default_factory=list[ChangeRequest])
    final: State = field(default_factory=dict)


def draw_changes(sandbox: Sandbox, count: int, draw: random.Random) -> Desired:
    """Draw changes of every kind to different numbers."""
    state = sandbox.state
    desired = Desired(final=holdings(sandbox))
    rows: list[Any] = [*state.assignments.values(), *state.leadping.values()]
    rows = draw.sample(rows, count - count // 5)
    for index, row in enumerate(rows):
        if isinstance(row, Assignment):
            _change_row(desired, row, index, list(state.agents), draw)
        else:
            _change_record(desired, row, index, draw)
    for_sale = state.for_sale(count // 5)
    for index, number in enumerate(for_sale):
        _add_number(desired, number, index, sandbox, draw)
    draw.shuffle(desired.changes)
    return desired


def _change_row(
    desired: Desired, row: Assignment, index: int, agents: list[str], draw: random.Random
) -> None:
    key = ("agents", row.number)
    if draw.random() < 0.2:
        desired.changes.append(ChangeRequest(action=Action.DELETE, backend="agents", id=row.id))
        del desired.final[key]
        return
    agent = draw.choice([one for one in agents if one != row.agent_id] + [None])
    fields: dict[str, Any] = draw.choice(
        [
            {"assignee": agent},
            {"label": f"label {index}"},
            {"status": "inactive" if row.status == "ACTIVE" else "active", "label": f"label {index}"},
        ]
    )
    desired.changes.append(ChangeRequest(backend="agents", number=row.number, fields=fields))
    desired.final[key] = (
        fields.get("label", row.friendly_name),
        fields.get("assignee", row.agent_id),
        fields["status"].upper() if "status" in fields else row.status,
    )


def _change_record(desired: Desired, record: LeadpingNumber, index: int, draw: random.Random) -> None:
    key = ("leadping", record.number)
    if draw.random() < 0.1:
        desired.changes.append(ChangeRequest(action=Action.DELETE, backend="leadping", id=record.id))
        del desired.final[key]
        return
    fields: dict[str, Any] = draw.choice(
        [{"label": f"line {index}"}, {"is_enabled": not record.enabled, "label": f"line {index}"}]
    )
    desired.changes.append(ChangeRequest(backend="leadping", number=record.number, fields=fields))
    desired.final[key] = (fields.get("label", record.name), fields.get("is_enabled", record.enabled))


def _add_number(desired: Desired, number: str, index: int, sandbox: Sandbox, draw: random.Random) -> None:
    kind = index % 3
    if kind == 0:
        agent = draw.choice(list(sandbox.state.agents))
        fields: dict[str, Any] = {"assignee": agent, "label": f"new {index}"}
        desired.changes.append(
            ChangeRequest(action=Action.CREATE, backend="agents", number=number, fields=fields)
        )
        desired.final["agents", number] = (f"new {index}", agent, "ACTIVE")
    elif kind == 1:
        fields = {"label": f"new {index}", "is_enabled": True}
        desired.changes.append(
            ChangeRequest(action=Action.CREATE, backend="leadping", number=number, fields=fields)
        )
        desired.final["leadping", number] = (f"new {index}", True)
    else:
        location = sandbox.state.location_ids[index % sandbox.state.locations]
        change = ChangeRequest(
            action=Action.BUY,
            backend="leadconnector",
            account=location,
            number=number,
            fields={"country": describe(number)[0]},
        )
        desired.changes.append(change)
        desired.final["leadconnector", number] = (location,)


class Endpoints(msgspec.Struct, frozen=True):
    """Where the vendors are, for a process of its own."""

    leadconnector: tuple[str, str]
    leadping: tuple[str, str]
    agents: tuple[str, str]
    locations: tuple[str, ...]

    @classmethod
    def of(cls, sandbox: Sandbox) -> Endpoints:
        """Collect those of a sandbox."""
        return cls(
            (sandbox.leadconnector_token, sandbox.leadconnector_url),
            (sandbox.leadping_key, sandbox.leadping_url),
            (sandbox.agents_key, sandbox.agents_url),
            sandbox.location_ids,
        )

    def phones(self) -> PhoneSystem:
        """Make a system of all three."""
        return PhoneSystem(
            LeadConnector(
                self.leadconnector[0],
                base_url=self.leadconnector[1],
                locations=self.locations,
                limit=None,
                http=_OPTIONS,
            ),
            Leadping(self.leadping[0], base_url=self.leadping[1], limit=None, http=_OPTIONS),
            AgentNumbers(self.agents[0], base_url=self.agents[1], limit=None, http=_OPTIONS),
        )


async def apply_once(endpoints: Endpoints, plan: Plan, store: Path) -> None:
    """Apply a plan, as the process that is killed does."""
    async with Inventory(store) as inventory, endpoints.phones() as phones:
        run = phones.apply(
            plan, journal=inventory, concurrency=32, allow=Risk, grace_period=_GRACE, clock_skew=0.0
        )
        async with run:
            async for _ in run:
                pass


class Scene:
    """A sandbox, a folder for the store and the plans, and the processes that apply them."""

    def __init__(self, sandbox: Sandbox, folder: Path, seed: int) -> None:
        self.sandbox, self.folder = sandbox, folder
        self.store = folder / "inventory.db"
        self.endpoints = Endpoints.of(sandbox)
        self.draw = random.Random(seed)
        self.tally = Tally()
        self.ledger = Ledger(sandbox)
        (folder / "endpoints.json").write_bytes(msgspec.json.encode(self.endpoints))

    async def make_plan(self, changes: Iterable[ChangeRequest]) -> Plan:
        """Plan while nothing goes wrong."""
        self.sandbox.faults.clear()
        async with self.endpoints.phones() as phones:
            return await phones.plan(changes)

    async def carry_out(self, plan: Plan, kills: int, faulty: FaultPlan) -> RunState:
        """Apply a plan in processes that are killed, and then until everything has a final outcome."""
        path = self.folder / f"{plan.id}.jsonl"
        path.write_bytes(plan.to_jsonl())
        for rule in faulty.faults:
            self.sandbox.faults.add(rule)
        await self._kill_often(path, plan, kills)
        for _ in range(_TRIES):
            process = await self._start(path)
            if await process.wait() != 0:
                self.broken(f"the process ended with status {process.returncode}")
            state = await self._state(plan)
            if state is not None and state.finished_at is not None and not _unsettled(state):
                break
        self.sandbox.faults.clear()
        state = await self._state(plan)
        assert state is not None
        return state

    async def _kill_often(self, path: Path, plan: Plan, kills: int) -> None:
        """Kill processes at random moments, spread over the run: each lets some more writes pass."""
        left = kills
        while left:
            process = await self._start(path)
            share = len(plan.changes) / kills
            await self._reach(process, self.ledger.total + self.draw.expovariate(1.5 / share))
            await asyncio.sleep(self.draw.random() * 0.05)
            if process.returncode is not None:
                return
            process.kill()
            await process.wait()
            left -= 1
            self.tally.kills += 1

    async def _reach(self, process: asyncio.subprocess.Process, writes: float) -> None:
        """Wait until so many writes were carried out, or the process has ended."""
        ended = asyncio.ensure_future(process.wait())
        while not ended.done() and self.ledger.total < writes:
            await asyncio.wait([ended], timeout=0.002)
        ended.cancel()

    async def _start(self, path: Path) -> asyncio.subprocess.Process:
        self.tally.processes += 1
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos.apply", "--child", str(path), "--store", str(self.store)
        )

    async def _state(self, plan: Plan) -> RunState | None:
        async with Inventory(self.store) as inventory:
            return (await inventory.run(plan.id)).state

    def broken(self, what: str) -> None:
        """Note a claim that does not hold."""
        self.tally.broken.append(what)

    # --- Claims ----------------------------------------------------------------------------------------

    def check_outcomes(self, plan: Plan, state: RunState) -> None:
        """Compare every outcome with the number of times that the vendor carried the change out."""
        made = self.ledger.made
        for change in plan.changes:
            result = state.results.get(change.position)
            if result is None:
                self.broken(f"change {change.position} has no outcome")
                continue
            counter = {Action.UPDATE: self.ledger.updates, Action.DELETE: self.ledger.deletes}.get(
                change.action
            )
            times = made[change.number or ""] if counter is None else counter[change.id or ""]
            expected = 1 if result.outcome is ChangeOutcome.DONE else 0
            if times != expected or result.written != bool(times):
                self.broken(
                    f"change {change.position}, {change.action} {change.number}, is {result.outcome} "
                    f"({result.reason}; written: {result.written}), and was carried out {times} times"
                )

    def compare(self, found: State, expected: State, what: str) -> None:
        """Compare two states."""
        for key in sorted(found.keys() | expected.keys()):
            if found.get(key) != expected.get(key):
                self.broken(f"{what}: {key} is {found.get(key)}, and should be {expected.get(key)}")


def _unsettled(state: RunState) -> bool:
    final = {ChangeOutcome.DONE, ChangeOutcome.CONFLICT, ChangeOutcome.REJECTED}
    return any(result.outcome not in final for result in state.results.values())


async def apply_and_undo(changes: int, kills: int, seed: int, folder: Path) -> Tally:
    """Run everything once."""
    held = changes + changes // 2
    sandbox = Sandbox(
        locations=20, agents=held, leadping=held // 2, seed=seed, enforce_limits=False, log_size=1
    )
    async with sandbox:
        scene = Scene(sandbox, folder, seed)
        tally, first = scene.tally, holdings(sandbox)
        desired = draw_changes(sandbox, changes, scene.draw)
        plan = await scene.make_plan(desired.changes)
        tally.changes = len(plan.changes)
        sandbox.log.listeners.append(lambda served: _count(tally, served.fault))
        state = await scene.carry_out(plan, kills, fault_plan(seed))
        tally.outcomes.update(result.outcome for result in state.results.values())
        scene.check_outcomes(plan, state)
        scene.compare(holdings(sandbox), desired.final, "after the run")
        written = tally.writes = scene.ledger.total
        await apply_once(scene.endpoints, plan, scene.store)
        again = await scene.make_plan(one for one in desired.changes if one.action is not Action.DELETE)
        if again.changes or scene.ledger.total != written:
            scene.broken(f"a second time {scene.ledger.total - written} writes, {len(again.changes)} changes")
        await _undo(scene, plan, state, first, kills // 10, seed)
    return tally


def _count(tally: Tally, fault: str | None) -> None:
    tally.requests += 1
    tally.faulty += fault is not None


async def _undo(scene: Scene, plan: Plan, state: RunState, first: State, kills: int, seed: int) -> None:
    """Take the run back under faults, and compare the numbers with those before it."""
    async with scene.endpoints.phones() as phones:
        undo = phones.undo(plan, state.results.values())
    scene.tally.left_out = len(undo.left_out)
    undone = await scene.carry_out(undo, kills, fault_plan(seed + 1))
    scene.tally.undone.update(result.outcome for result in undone.results.values())
    named = {(one.backend, one.number) for one in undo.left_out}
    found = {key: value for key, value in holdings(scene.sandbox).items() if key not in named}
    expected = {key: value for key, value in first.items() if key not in named}
    scene.compare(found, expected, "after the undo")


def main() -> int:
    """Run the long version, or be the process that is killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        endpoints = msgspec.json.decode(
            (options.child.parent / "endpoints.json").read_bytes(), type=Endpoints
        )
        asyncio.run(apply_once(endpoints, Plan.from_jsonl(options.child.read_bytes()), options.store))
        return 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tally = asyncio.run(apply_and_undo(options.changes, options.kills, options.seed, Path(folder)))
    for line in tally.lines():
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{time.monotonic() - began:.0f} s\n")
    return 1 if tally.broken else 0


if __name__ == "__main__":
    sys.exit(main())
