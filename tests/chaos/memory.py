"""Measures what memory a sweep takes, for ten times as many accounts and over time.

Every sweep is a process of its own, and so is the server. Run the long versions as

    python -m tests.chaos.memory
    python -m tests.chaos.memory --soak 10
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from phonesys import (
    AgencyTokens,
    AgentNumbers,
    HttpOptions,
    LeadConnector,
    Leadping,
    MemoryTokenStore,
    PhoneSystem,
    RateLimit,
)
from phonesys.sandbox import FaultPlan, Sandbox
from phonesys.sandbox.faults.answers import Html, Status
from phonesys.sandbox.faults.connection import LostAnswer, Reset, ResetBody, Truncated
from phonesys.sandbox.faults.slow import Latency

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
_TOLERATED = 1.10
_LIMIT = RateLimit(100, per=10)
_WIDE = RateLimit(2_000, per=10)


# The vendor of the sweeps: prepared bytes


_ROW = (
    '{"phoneNumber":"+1415555%04d","friendlyName":"Line %d","sid":"PN%032x","countryCode":"US",'
    '"capabilities":{"voice":true,"sms":true,"mms":true,"fax":false},"type":"local",'
    '"dateAdded":"2024-03-01T17:04:05.000Z"}'
)
_NUMBERS = 8


def _prepared() -> bytes:
    rows = ",".join(_ROW % (place, place, place) for place in range(_NUMBERS))
    body = f'{{"numbers":[{rows}],"isUnderGhl":true,"accountStatus":"active"}}'
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


class _Prepared(asyncio.Protocol):
    """Answers every request with the same page."""

    answer = _prepared()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(self.answer * data.count(b"\r\n\r\n"))


async def serve() -> None:
    """Print the address, and serve until standard output is closed."""
    server = await asyncio.get_running_loop().create_server(_Prepared, "127.0.0.1", 0, backlog=1024)
    _tell({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"})
    await _until_told()


# One sweep


class Job(msgspec.Struct, kw_only=True):
    """One sweep to measure."""

    url: str
    locations: int
    slow: bool = False
    """True if the consumer is slower than the network."""
    keep_done: bool = True
    limit: bool = True
    """True if LeadConnector's rate windows are counted."""


class Used(msgspec.Struct):
    """The resources that it took."""

    before: int
    """Kilobytes, before the first sweep."""
    peak: int
    seconds: float
    numbers: int


_PAUSE_AFTER = 8
_PAUSE = 0.004


async def sweep(job: Job) -> Used:
    """Sweep that many locations, which are in no list."""
    http = HttpOptions(timeout=60.0)
    limit = _LIMIT if job.limit else RateLimit(2**62, per=1.0)
    before, started = _peak(), time.perf_counter()
    async with PhoneSystem(LeadConnector("pit-0000", base_url=job.url, http=http, limit=limit)) as phones:
        places = (f"loc_{place:016}" for place in range(job.locations))
        async with phones.sweep(leadconnector=places, keep_done=job.keep_done) as swept:
            await _consume(swept, slow=job.slow)
    return Used(before, _peak(), time.perf_counter() - started, swept.report.numbers)


async def _consume(swept: Any, *, slow: bool) -> None:
    pages = 0
    async for _ in swept:
        pages += 1
        if slow and pages % _PAUSE_AFTER == 0:
            await asyncio.sleep(_PAUSE)


def _peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


# Sweeps compared


@dataclass
class Compared:
    """The resources that sweeps of two sizes took."""

    rows: list[str] = field(default_factory=list[str])
    broken: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        head = f"{'sweep':44} {'smaller':>9} {'larger':>9} {'ratio':>6} {'a location':>11} {'seconds':>8}"
        return "\n".join([head, *self.rows, f"{len(self.broken)} of {len(self.rows)} broken", *self.broken])

    def note(self, job: Job, sizes: tuple[int, int], small: Used, large: Used) -> None:
        """Compare two."""
        what = f"{'slow' if job.slow else 'fast'} consumer, keep_done={job.keep_done}, limit={job.limit}"
        ratio = large.peak / small.peak
        each = (large.peak - small.peak) * 1024 / (sizes[1] - sizes[0])
        self.rows.append(
            f"{what:44} {small.peak / 1024:6.1f} MB {large.peak / 1024:6.1f} MB {ratio:6.3f} "
            f"{each:9.0f} B {large.seconds:7.1f}s"
        )
        if ratio > _TOLERATED:
            self.broken.append(f"{what}: {ratio:.3f} times the memory of a sweep a tenth as large")
        for used, size in ((small, sizes[0]), (large, sizes[1])):
            if used.numbers != size * _NUMBERS:
                self.broken.append(f"{what}: {used.numbers} numbers of {size} locations")


_KINDS = tuple(product((False, True), (False, True), (False, True)))


async def compared(
    sizes: tuple[int, int] = (2_000, 20_000),
    kinds: Iterable[tuple[bool, bool, bool]] = _KINDS,
) -> Compared:
    """Sweep both sizes: with a slow consumer or a fast one, with the whole report, with limits."""
    found = Compared()
    async with _process("--serve") as url:
        for slow, keep_done, limit in kinds:
            job = Job(url=url["url"], locations=0, slow=slow, keep_done=keep_done, limit=limit)
            small, large = [await _measured(job, size) for size in sizes]
            found.note(job, sizes, small, large)
    return found


async def _measured(job: Job, locations: int) -> Used:
    job = msgspec.structs.replace(job, locations=locations)
    process = await asyncio.create_subprocess_exec(
        *_ourselves("--sweep", msgspec.json.encode(job).decode()), stdout=PIPE, cwd=ROOT
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return msgspec.json.decode(out, type=Used)


def _ourselves(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.chaos.memory", *arguments)


@asynccontextmanager
async def _process(*arguments: str) -> AsyncGenerator[dict[str, Any]]:
    """Run a server of ours beside; gives what it says of itself."""
    process = await asyncio.create_subprocess_exec(*_ourselves(*arguments), stdin=PIPE, stdout=PIPE, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield msgspec.json.decode(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


def _tell(facts: dict[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode(facts).decode() + "\n")
    sys.stdout.flush()


async def _until_told() -> None:
    await asyncio.to_thread(sys.stdin.read)


# Over time


_PLAN = FaultPlan(
    (
        Status(code=503, rate=0.03),
        # Not for tokens: a window that all accounts share would be used with care for tens of seconds.
        Status(code=429, retry_after=1, rate=0.005, route="leadconnector.numbers"),
        Reset(rate=0.02),
        ResetBody(rate=0.01),
        Truncated(rate=0.02),
        LostAnswer(rate=0.02),
        Html(rate=0.01),
        Latency(seconds=0.02, rate=0.1),
    )
)
_EXPIRES = 75.0
"""Seconds for which tokens are good; they are renewed a minute before that: every quarter of one."""


async def trouble() -> None:
    """Serve a sandbox where things go wrong and tokens end soon."""
    async with Sandbox(
        locations=60, leadping=250, agents=120, enforce_limits=False, faults=_PLAN, oauth_expires_in=_EXPIRES,
        log_size=100,
    ) as world:  # fmt: skip
        first = world.oauth.grant_company()
        _tell(
            {
                "leadconnector": world.leadconnector_url, "leadping": world.leadping_url,
                "agents": world.agents_url, "leadping_key": world.leadping_key,
                "agents_key": world.agents_key, "client_id": world.oauth.client_id,
                "client_secret": world.oauth.client_secret, "company_id": world.oauth.company_id,
                "refresh_token": first["refresh_token"],
                "locations": len(world.location_ids),
            }
        )  # fmt: skip
        await _until_told()


class Sample(msgspec.Struct):
    """The resources of this process at a moment."""

    seconds: float
    resident: int
    """Kilobytes."""
    files: int
    sweeps: int


@dataclass
class Soak:
    """Samples over time, and whether they stay where they were."""

    samples: list[Sample] = field(default_factory=list[Sample])
    failures: int = 0
    accounts: int = 0

    @property
    def broken(self) -> list[str]:
        """Return the resources that grew."""
        first, last = self._thirds()
        found = []
        if _median(last, "resident") > 1.03 * _median(first, "resident"):
            found.append("memory grows")
        if _median(last, "files") > _median(first, "files") + 2:
            found.append("open files grow")
        return found

    def _thirds(self) -> tuple[list[Sample], list[Sample]]:
        """Return the first and the last third, without the first tenth, in which everything is new."""
        settled = self.samples[len(self.samples) // 10 :]
        third = max(1, len(settled) // 3)
        return settled[:third], settled[-third:]

    def __str__(self) -> str:
        first, last = self._thirds()
        shown = self.samples[:: max(1, len(self.samples) // 20)]
        rows = [f"{'seconds':>8} {'MB':>8} {'files':>6} {'sweeps':>7}"]
        rows += [f"{s.seconds:8.0f} {s.resident / 1024:8.2f} {s.files:6} {s.sweeps:7}" for s in shown]
        rows.append(
            f"medians of the first and the last third: {_median(first, 'resident') / 1024:.2f} and "
            f"{_median(last, 'resident') / 1024:.2f} MB, {_median(first, 'files'):.0f} and "
            f"{_median(last, 'files'):.0f} files; slope {self._slope():+.1f} kB a minute"
        )
        rows.append(f"{self.samples[-1].sweeps} sweeps, {self.failures} of {self.accounts} accounts failed")
        rows.append("; ".join(self.broken) or "flat")
        return "\n".join(rows)

    def _slope(self) -> float:
        """Fit a line by least squares."""
        settled = self.samples[len(self.samples) // 10 :]
        if len(settled) < 2:
            return 0.0
        line = statistics.linear_regression([s.seconds for s in settled], [s.resident for s in settled])
        return line.slope * 60


def _median(samples: list[Sample], what: str) -> float:
    return float(statistics.median(getattr(sample, what) for sample in samples))


async def soak(seconds: float, every: float = 1.0) -> Soak:
    """Sweep three backends again and again, in this process, at a vendor that is one of its own."""
    found = Soak()
    async with _process("--trouble") as facts, _three(facts) as phones:
        started, sweeps = time.monotonic(), 0
        sampled = -every
        while not sweeps or time.monotonic() - started < seconds:
            await _once(phones, found)
            sweeps += 1
            if (now := time.monotonic() - started) - sampled >= every:
                sampled = now
                found.samples.append(Sample(now, _resident(), _files(), sweeps))
    return found


async def _once(phones: PhoneSystem, found: Soak) -> None:
    async with phones.sweep(concurrency=32) as swept:
        async for _ in swept:
            pass
    found.failures += len(swept.report.failures)
    found.accounts += swept.report.outcomes.total()


@asynccontextmanager
async def _three(facts: dict[str, Any]) -> AsyncGenerator[PhoneSystem]:
    http = HttpOptions(backoff=0.02, retries=6, timeout=2.0)
    auth = AgencyTokens(
        facts["client_id"],
        facts["client_secret"],
        company_id=facts["company_id"],
        store=MemoryTokenStore(),
        refresh_token=facts["refresh_token"],
    )
    async with PhoneSystem(
        LeadConnector(auth=auth, base_url=facts["leadconnector"], http=http, limit=_WIDE),
        Leadping(facts["leadping_key"], base_url=facts["leadping"], http=http, limit=None),
        AgentNumbers(facts["agents_key"], base_url=facts["agents"], http=http),
    ) as phones:
        yield phones


def _resident() -> int:
    """Kilobytes that are in memory now; the peak where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return _peak()
    return pages * resource.getpagesize() // 1024


def _files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


# The command


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--locations", type=int, default=20_000, help="of the larger sweep")
    options.add_argument("--soak", type=float, metavar="MINUTES", help="sweep for so long instead")
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options.add_argument("--trouble", action="store_true", help=argparse.SUPPRESS)
    options.add_argument("--sweep", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.serve or given.trouble:
        asyncio.run(serve() if given.serve else trouble())
    elif given.sweep:
        used = asyncio.run(sweep(msgspec.json.decode(given.sweep, type=Job)))
        _tell(msgspec.to_builtins(used))
    else:
        found = asyncio.run(_long(given.soak, given.locations))
        print(found)  # noqa: T201
        sys.exit(bool(found.broken))


async def _long(minutes: float | None, locations: int) -> Soak | Compared:
    if minutes is not None:
        return await soak(minutes * 60)
    return await compared((locations // 10, locations))


if __name__ == "__main__":
    main()
