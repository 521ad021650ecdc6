"""Ctrl-C, twice in a row too, and SIGTERM at random moments of `phonesys sweep`, as a program.

The vendors are a sandbox in this process. Run the long version as part of `python -m tests.chaos.cancel`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from phonesys.sandbox import FaultPlan, Sandbox
from phonesys.sandbox.faults.answers import Status
from phonesys.sandbox.faults.connection import Reset
from phonesys.sandbox.faults.slow import Latency
from tests.cli.vendors import PROGRAM, environment, toml

if TYPE_CHECKING:
    from asyncio.subprocess import Process

ROOT = Path(__file__).resolve().parents[2]
_PROMPT = 5.0
"""Seconds from the signal to the end; a machine that is busy with other things needs some of them."""
_OUT = "out.jsonl"
_COMMANDS: dict[str, tuple[str, ...]] = {
    "to a file": ("-f", "jsonl", "-o", _OUT),
    "to a pipe": ("-f", "jsonl"),
    "a table": (),
    "to a store": ("--store", "inventory.db", "-f", "jsonl", "-o", _OUT),
}
_SIGNALS = {"Ctrl-C": signal.SIGINT, "Ctrl-C twice": signal.SIGINT, "SIGTERM": signal.SIGTERM}
_FAULTS = FaultPlan((Latency(seconds=0.02, rate=0.3), Status(code=503, rate=0.01), Reset(rate=0.02)))
_LOADING = 5
"""One in so many is told before it has begun."""
_LITTER = {_OUT, "phonesys.toml", "inventory.db", "inventory.db-wal", "inventory.db-shm"}


@dataclass
class Signals:
    """The ends of programs that were told to end, and what was wrong about them."""

    ended: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    slowest: float = 0.0
    broken: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        rows = [f"{name:14} {how:32} {count:5}" for (name, how), count in sorted(self.ended.items())]
        rows.append(f"{self.ended.total()} programs, the slowest end took {self.slowest:.2f} s")
        rows.append(f"{len(self.broken)} ended badly")
        return "\n".join([*rows, *self.broken[:10]])


@dataclass
class _End:
    """The end of one program."""

    status: int
    out: str
    err: str
    took: float


class _Moment(NamedTuple):
    """So many seconds after the start, or after the sweep has begun."""

    begun: bool
    seconds: float

    def __str__(self) -> str:
        return f"{self.seconds:.3f} s after {'it had begun' if self.begun else 'the start'}"


class _Stage:
    """A folder to run in, and what must hold in it afterwards."""

    def __init__(self, world: Sandbox, folder: Path) -> None:
        self.world = world
        self.folder = folder
        config = folder / "phonesys.toml"
        config.write_text(toml(world))
        config.chmod(0o600)

    async def start(self, command: str) -> Process:
        """Start a sweep."""
        return await asyncio.create_subprocess_exec(
            *PROGRAM, "sweep", *_COMMANDS[command], cwd=self.folder, stdin=DEVNULL, stdout=PIPE, stderr=PIPE,
            env=environment(PYTHONPATH=str(ROOT)),
        )  # fmt: skip

    async def usual(self) -> tuple[float, float]:
        """Measure how long it takes to begin, and then to sweep, when nothing ends it."""
        started = time.perf_counter()
        process = await self.start("to a file")
        first = await _first_word(process)
        begun = time.perf_counter()
        _, err = await process.communicate()
        assert process.returncode == 0, (first + err).decode()
        (self.folder / _OUT).unlink()
        return begun - started, time.perf_counter() - begun

    async def cut(self, command: str, how: str, moment: _Moment, apart: float) -> _End:
        """Start a sweep, and signal at that moment."""
        process = await self.start(command)
        first = await _first_word(process) if moment.begun else b""
        reading = asyncio.ensure_future(process.communicate())
        await asyncio.wait([reading], timeout=moment.seconds)
        told = time.perf_counter()
        _tell(process, _SIGNALS[how])
        if how == "Ctrl-C twice":
            await asyncio.wait([reading], timeout=apart)
            _tell(process, _SIGNALS[how])
        done, _ = await asyncio.wait([reading], timeout=60)
        if not done:
            process.kill()
        out, err = await reading
        assert process.returncode is not None
        return _End(process.returncode, out.decode(), (first + err).decode(), time.perf_counter() - told)

    def complaints(self, end: _End, command: str, how: str) -> list[str]:
        """Describe what is wrong about an end, and about the folder."""
        wrong = []
        if end.status not in {0, 128 + _SIGNALS[how]}:
            wrong.append(f"status {end.status}: {end.err[-400:]!r}")
        if _is_bad(end.err, how):
            wrong.append(f"said {end.err[-1500:]!r}")
        if end.took > _PROMPT:
            wrong.append(f"took {end.took:.1f} s")
        wrong += [f"line {line!r:.80} is not whole" for line in end.out.splitlines() if not _is_json(line)]
        return wrong + self._litter(resumed="--store" in _COMMANDS[command])

    def _litter(self, *, resumed: bool) -> list[str]:
        """Look for what is half-done; a sweep that is resumed only writes the rest."""
        names = {path.name for path in self.folder.iterdir()}
        wrong = [f"left {name}" for name in sorted(names - _LITTER)]
        if _OUT not in names:
            return wrong
        held = Counter(number for numbers in self.world.truth.values() for number in numbers)
        lines = (self.folder / _OUT).read_text().splitlines()
        (self.folder / _OUT).unlink()
        found = Counter(json.loads(line)["number"] for line in lines)
        if found - held or (not resumed and held - found):
            wrong.append(f"the file has {len(lines)} of {held.total()} lines")
        return wrong


async def _first_word(process: Process) -> bytes:
    """Wait until the program says that it has begun."""
    assert process.stderr is not None
    return await process.stderr.read(1)


def _tell(process: Process, number: signal.Signals) -> None:
    # asyncio's own way may reap a process that has just ended, and then does not know its status.
    if process.returncode is None:
        os.kill(process.pid, number)


def _is_json(line: str) -> bool:
    if not line.startswith("{"):
        return True  # a table
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _too_early(end: _End, moment: _Moment) -> bool:
    """Return True if the program had not begun: until `phonesys` is imported, a signal is Python's to answer.

    msgspec's extension module crashes when an interrupt comes while it is being imported.
    """
    by_default = end.status in {-signal.SIGINT, -signal.SIGTERM}
    crashed = end.status == -signal.SIGSEGV and not moment.begun and not end.err
    return by_default or crashed or ("KeyboardInterrupt" in end.err and "phonesys/cli" not in end.err)


def _is_bad(said: str, how: str) -> bool:
    """Return True if a person should not see that."""
    if how == "Ctrl-C twice":  # cleaning up was cut short, which Python shows if warnings are asked for
        return "Traceback" in said.partition("Exception ignored")[0]
    return any(word in said for word in ("Traceback", "ignored", "Warning"))


async def interrupted(programs: int, seed: int) -> Signals:
    """Signal so many programs, at moments spread evenly over what a sweep takes."""
    draw, tally = random.Random(seed), Signals()
    with tempfile.TemporaryDirectory() as folder:
        async with Sandbox(
            locations=40, leadping=230, agents=130, enforce_limits=False, latency=0.04, faults=_FAULTS
        ) as world:
            stage = _Stage(world, Path(folder))
            loading, sweeping = await stage.usual()
            for number in range(programs):
                command = list(_COMMANDS)[number % len(_COMMANDS)]
                how = draw.choice(list(_SIGNALS))
                begun = number % _LOADING != 0
                share = (number + draw.random()) / programs
                moment = _Moment(begun, 1.1 * share * (sweeping if begun else loading))
                end = await stage.cut(command, how, moment, draw.uniform(0.0, 0.1))
                _note(tally, stage, command, how, moment, end)
    return tally


def _note(tally: Signals, stage: _Stage, command: str, how: str, moment: _Moment, end: _End) -> None:
    if _too_early(end, moment):
        tally.ended[command, "before the program had begun"] += 1
        return
    tally.ended[command, how if end.status else "was done already"] += 1
    tally.slowest = max(tally.slowest, end.took)
    where = f"{command}, {how} {moment}: "
    tally.broken += [where + wrong for wrong in stage.complaints(end, command, how)]


def can_signal() -> bool:
    """True if this system has the signals, as Windows has not."""
    return os.name == "posix" and sys.platform != "emscripten"
