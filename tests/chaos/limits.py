"""Spends a vendor's rate window to the last request, alone and together with others, and counts the 429s.

The vendor is an exact sliding window without any tolerance, on a real socket in this process; requests and
answers are each delayed at random. The programs that use it are processes of their own. Run the long
version as

    python -m tests.chaos.limits --windows 40               # windows of 100 per 2 s and of 300 per 4 s
    python -m tests.chaos.limits --windows 6 --true         # as vendors have them: 100 per 10 s, 300 per 60 s
    python -m tests.chaos.limits --only shared --processes 4 --seed 7

and see in the first two columns of "shared" how the refused requests of each window become fewer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
from collections import Counter, deque
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from phonesys import HttpOptions, LeadConnector, Outcome, PhoneSystem, QuotaExhausted, RateLimit, RateLimited

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from phonesys import SweepReport

    Ask: TypeAlias = Callable[["Work"], Awaitable["Done"]]

ROOT = Path(__file__).resolve().parents[2]
_HEAD_END = b"\r\n\r\n"
_LEAST_USED = 0.97
_LEAST_USED_TOGETHER = 0.8


class Broken(AssertionError):
    """A claim that does not hold."""


def _demand(holds: bool, claim: str) -> None:
    if not holds:
        raise Broken(claim)


@dataclass(frozen=True)
class Terms:
    """A vendor's limits, its distance, and the headers that it sends."""

    requests: int
    per: float
    jitter: float
    """Each way takes from nothing to so many seconds."""
    retry_after: str = "whole"
    """With a 429: the `exact` wait, `whole` seconds, or `none`."""
    headers: bool = False
    """True if each response states what is left of the window."""
    pages: int = 100
    """Of each location, with one number each."""
    blocked: str | None = None
    """A location that is refused for `block` seconds, from its second request on."""
    block: float = 300.0
    stray: float = 0.0
    """The part of all requests that is refused although the window has room."""
    spent: str | None = None
    """A location that is told after `left` requests that nothing is left of its day."""
    left: int = 10


@dataclass
class Seen:
    """The vendor's counts, of one location or of all that share a window."""

    served: list[float] = field(default_factory=list[float])
    refused: list[float] = field(default_factory=list[float])
    stray: list[float] = field(default_factory=list[float])

    def used(self, terms: Terms) -> float:
        """Compare the time that so many requests take at the least with the time that they took."""
        least = (len(self.served) - 1) // terms.requests * terms.per
        return least / (self.served[-1] - self.served[0])

    def by_window(self, terms: Terms, until: float, *, refused: bool) -> list[int]:
        """Count the requests of each whole window's length since the first one."""
        begun = self.served[0]
        count = Counter(int((at - begun) / terms.per) for at in (self.refused if refused else self.served))
        return [count[index] for index in range(int((until - begun) / terms.per))]


class Vendor:
    """Counts each request when it has arrived, and refuses it if its location's window is full."""

    def __init__(self, terms: Terms, *, seed: int = 1) -> None:
        self.terms = terms
        self.seen: dict[str, Seen] = {}
        self._windows: dict[str, deque[float]] = {}
        self._draw = random.Random(seed)
        self._blocked_until: float | None = None
        self._links: set[Link] = set()

    async def __aenter__(self) -> Self:
        self.loop = asyncio.get_running_loop()
        self._server = await self.loop.create_server(lambda: Link(self), "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for link in tuple(self._links):
            link.close()
        await asyncio.sleep(0)

    def links(self, link: Link, *, there: bool) -> None:
        """Note a connection that comes or goes."""
        (self._links.add if there else self._links.discard)(link)

    def delay(self) -> float:
        """Draw how long one way takes."""
        return self._draw.uniform(0.0, self.terms.jitter)

    def answer(self, target: str) -> bytes:
        """Count the request, and answer it."""
        parts = urlsplit(target)
        location, page = parts.path.rpartition("/")[2], int(parse_qs(parts.query)["page"][0])
        now, terms = self.loop.time(), self.terms
        seen = self.seen.setdefault(location, Seen())
        window = self._windows.setdefault(location, deque())
        while window and window[0] <= now - terms.per:
            window.popleft()
        if len(window) >= terms.requests:
            seen.refused.append(now)
            return self._refusal(window[0] + terms.per - now, location)
        if location == terms.blocked and seen.served:
            self._blocked_until = self._blocked_until or now + terms.block
            if now < self._blocked_until:
                seen.refused.append(now)
                return _http(429, b"{}", {"Retry-After": str(math.ceil(self._blocked_until - now))})
        if self._draw.random() < terms.stray:
            seen.stray.append(now)
            return _http(429, b"{}", {})
        window.append(now)
        seen.served.append(now)
        return _http(200, _page(location, page, terms.pages), self._told(location))

    def _refusal(self, wait: float, location: str) -> bytes:
        said = {"exact": f"{wait:.6f}", "whole": str(math.ceil(wait))}.get(self.terms.retry_after)
        return _http(429, b"{}", self._told(location) | ({} if said is None else {"Retry-After": said}))

    def _told(self, location: str) -> dict[str, str]:
        terms, told = self.terms, {}
        if terms.headers or terms.spent == location:
            told["X-RateLimit-Max"] = str(terms.requests)
            told["X-RateLimit-Remaining"] = str(terms.requests - len(self._windows[location]))
        if terms.spent == location:
            left = terms.left - len(self.seen[location].served)
            told["X-RateLimit-Daily-Remaining"] = str(max(0, left))
        return told


class Link(asyncio.Protocol):
    """One connection to the vendor: one request at a time."""

    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._vendor.links(self, there=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._vendor.links(self, there=False)

    def close(self) -> None:
        """Hang up."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Delay each request a little."""
        self._unread += data
        while (end := self._unread.find(_HEAD_END)) >= 0:
            target = self._unread[:end].split(b" ", 2)[1].decode()
            self._unread = self._unread[end + len(_HEAD_END) :]
            self._vendor.loop.call_later(self._vendor.delay(), self._arrived, target)

    def _arrived(self, target: str) -> None:
        self._vendor.loop.call_later(self._vendor.delay(), self._write, self._vendor.answer(target))

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


def _http(status: int, body: bytes, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + _HEAD_END + body


def _page(location: str, page: int, pages: int) -> bytes:
    """Answer with a page of one number, and how many there are."""
    row = {"phoneNumber": f"+1415{page:07}", "sid": f"{location}-{page}", "countryCode": "US"}
    return json.dumps({"numbers": [row], "total": pages, "page": page, "pageSize": 1}).encode()


@dataclass(frozen=True)
class Work:
    """The work of one program: so many sweeps of the same locations at once, and single calls among them."""

    url: str
    requests: int
    per: float
    locations: list[str]
    pages: int
    sweeps: int = 1
    singles: int = 0
    concurrency: int = 64
    deadline: float | None = None
    """Of each call. Where several sweeps have much to ask of one window, a call's turn may come very late."""


@dataclass(frozen=True)
class Done:
    """The results of one program."""

    incomplete: int = 0
    """Sweeps that did not end with everything."""
    numbers: int = 0
    retries: int = 0
    first_error: str = ""


async def program(work: Work) -> Done:
    """Do one program's work through one provider."""
    provider = LeadConnector(
        f"pit-{uuid4()}",  # clients with one credential share their windows, and programs do not
        base_url=work.url,
        page_size=1,
        limit=RateLimit(work.requests, per=work.per),
        http=HttpOptions(deadline=work.deadline),
    )
    async with PhoneSystem(provider) as phones:

        async def single() -> None:
            for page in range(work.singles):
                assert len((await provider.page(work.locations[0], page)).numbers) == 1

        alongside = asyncio.create_task(single())
        reports = await asyncio.gather(
            *(_swept(phones, work.locations, work.concurrency) for _ in range(work.sweeps))
        )
        await alongside
    broken = [report for report in reports if not _complete(report, work)]
    return Done(
        incomplete=len(broken),
        numbers=sum(report.numbers for report in reports),
        retries=sum(report.retries for report in reports),
        first_error=next((str(failure.error) for report in broken for failure in report.failures), ""),
    )


def _complete(report: SweepReport, work: Work) -> bool:
    return report.complete and report.numbers == work.pages * len(work.locations)


async def _swept(phones: PhoneSystem, locations: list[str], concurrency: int) -> SweepReport:
    async with phones.sweep(leadconnector=locations, concurrency=concurrency) as sweep:
        async for _page in sweep:
            pass
    return sweep.report


async def in_a_process(work: Work) -> Done:
    """Do one program's work in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.limits", "--work", json.dumps(asdict(work)),
        stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    try:
        said, _ = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    _demand(process.returncode == 0, f"a program ended with exit code {process.returncode}")
    return Done(**json.loads(said))


# Alone


@dataclass(frozen=True)
class Alone:
    """One program's use of its windows."""

    terms: Terms
    requests: int
    refused: int
    used: float

    def __str__(self) -> str:
        return (
            f"alone   {self.terms.requests} per {self.terms.per:g} s: {self.requests} requests, "
            f"{self.refused} refused, {100 * self.used:.1f} % of what is allowed"
        )


async def alone(
    terms: Terms,
    windows: int,
    *,
    sweeps: int = 4,
    seed: int = 1,
    deadline: float | None = None,
    least_used: float = _LEAST_USED,
    run: Ask = program,
) -> Alone:
    """Sweep one location several times at once, with single calls among them, over so many windows.

    Raises Broken if one request is refused, if less than that share is used or if anything is missing.
    """
    singles = max(1, terms.requests // 10)
    terms = replace(terms, pages=(terms.requests * windows - singles) // sweeps + 1)
    async with Vendor(terms, seed=seed) as vendor:
        work = Work(
            vendor.url, terms.requests, terms.per, ["loc"], terms.pages, sweeps, singles, deadline=deadline
        )
        done = await run(work)
    seen = vendor.seen["loc"]
    result = Alone(terms, len(seen.served), len(seen.refused), seen.used(terms))
    _demand(
        not done.incomplete, f"{done.incomplete} of {sweeps} sweeps were not complete: {done.first_error}"
    )
    _demand(result.refused == 0, f"{result.refused} requests were refused: {result}")
    _demand(result.used >= least_used, f"too little was used: {result}")
    return result


# Together


@dataclass(frozen=True)
class Shared:
    """Several programs' use of one window."""

    terms: Terms
    processes: int
    served: list[int]
    refused: list[int]

    @property
    def used(self) -> float:
        """Compare what was served with what is allowed."""
        return sum(self.served) / (self.terms.requests * len(self.served))

    def share_refused(self, windows: slice) -> float:
        """Count the refused among all requests of these windows."""
        refused, served = sum(self.refused[windows]), sum(self.served[windows])
        return refused / (refused + served)

    def __str__(self) -> str:
        half = slice(len(self.served) // 2, len(self.served))
        told = f"Retry-After {self.terms.retry_after}, {'' if self.terms.headers else 'no '}headers"
        return (
            f"shared  {self.terms.requests} per {self.terms.per:g} s by {self.processes} ({told}): "
            f"{100 * self.used:.1f} % of what is allowed; refused in each window: "
            f"{' '.join(map(str, self.refused))}; that is {100 * self.share_refused(slice(0, 2)):.0f} % "
            f"of the requests of the first two windows and {100 * self.share_refused(half):.1f} % "
            f"of the second half's"
        )


async def shared(
    terms: Terms,
    windows: int,
    *,
    processes: int = 3,
    seed: int = 1,
    deadline: float | None = None,
    run: Ask = program,
) -> Shared:
    """Have programs that know nothing of each other sweep one location at once, until the first is done.

    Raises Broken if one of them does not read everything, or if 429s do not become few.
    """
    terms = replace(terms, pages=max(2, terms.requests * windows // processes))
    async with Vendor(terms, seed=seed) as vendor:
        work = Work(vendor.url, terms.requests, terms.per, ["loc"], terms.pages, deadline=deadline)
        ends: list[float] = []

        async def one() -> Done:
            done = await run(work)
            ends.append(vendor.loop.time())
            return done

        done = await asyncio.gather(*(one() for _ in range(processes)))
    seen, until = vendor.seen["loc"], min(ends)
    result = Shared(
        terms,
        processes,
        seen.by_window(terms, until, refused=False),
        seen.by_window(terms, until, refused=True),
    )
    for each in done:
        _demand(not each.incomplete, f"a program did not read everything: {each.first_error}; {result}")
    half = slice(len(result.served) // 2, len(result.served))
    # What tells is how they fall; a window of a dozen requests has room for one or two that ask too much.
    most = max(0.1, 3 / terms.requests)
    _demand(result.share_refused(half) <= most, f"429s do not become few: {result}")
    _demand(result.used >= _LEAST_USED_TOGETHER, f"too little was used: {result}")
    return result


# One that is blocked, and one whose day is spent


@dataclass(frozen=True)
class Apart:
    """The effect of one account's trouble on the others."""

    name: str
    others: int
    with_trouble: float
    without: float
    error: str

    def __str__(self) -> str:
        return (
            f"{self.name:7} 1 of {self.others + 1} locations: the others took {self.with_trouble:.2f} s, and "
            f"{self.without:.2f} s without it; its error: {self.error}"
        )


async def _others(terms: Terms, locations: list[str], trouble: str) -> tuple[float, SweepReport, Vendor]:
    """Sweep the locations; return when the last of the others was served, too."""
    passes = 1
    async with Vendor(terms) as vendor:
        begun = vendor.loop.time()
        provider = LeadConnector(
            "pit-chaos", base_url=vendor.url, page_size=1, limit=RateLimit(terms.requests, per=terms.per)
        )
        async with PhoneSystem(provider) as phones:
            report = await _swept(phones, locations, 64)
            if terms.spent is not None:
                passes, sent = 2, len(vendor.seen[terms.spent].served)
                again = await _swept(phones, locations, 64)
                _demand(len(vendor.seen[terms.spent].served) == sent, "something was sent on a spent day")
                _demand(len(again.failures) == 1, "the others did not go on the second time")
    last = max(
        seen.served[len(seen.served) // passes - 1] for name, seen in vendor.seen.items() if name != trouble
    )
    return last - begun, report, vendor


async def blocked(terms: Terms, *, others: int = 30, block: float = 300.0) -> Apart:
    """Have one location refused for minutes, and see what that does to the others.

    Raises Broken if they take a percent longer than without it, or its report does not say what happened.
    """
    locations = [f"loc_{index}" for index in range(others + 1)]
    bad, terms = locations[others // 2], replace(terms, pages=3 * terms.requests)
    without, _, _ = await _others(terms, [name for name in locations if name != bad], bad)
    took, report, vendor = await _others(replace(terms, blocked=bad, block=block), locations, bad)
    account = report.accounts["leadconnector", bad]
    result = Apart("blocked", others, took, without, str(account.error))
    _demand(took <= without * 1.01 + 2 * terms.jitter, f"the others were slowed down: {result}")
    if block < (HttpOptions().deadline or math.inf):
        _demand(account.outcome is Outcome.DONE, f"it was not read once the block had ended: {result}")
        return result
    _demand(isinstance(account.error, RateLimited), f"the report does not say why: {result}")
    _demand(report.outcomes[Outcome.DONE] == others, f"others were not read: {report.outcomes}")
    _demand(len(vendor.seen[bad].refused) <= 64, "a blocked account was asked again and again")
    return result


async def spent(terms: Terms, *, others: int = 30) -> Apart:
    """Exhaust one location's daily quota during a sweep.

    Raises Broken if anything is sent for it after that, if its error does not say until when, or if others
    are not read.
    """
    locations = [f"loc_{index}" for index in range(others + 1)]
    bad, terms = locations[others // 2], replace(terms, pages=2 * terms.requests)
    without, _, _ = await _others(terms, [name for name in locations if name != bad], bad)
    took, report, vendor = await _others(replace(terms, spent=bad), locations, bad)
    error = report.accounts["leadconnector", bad].error
    result = Apart("spent", others, took, without, str(error))
    _demand(isinstance(error, QuotaExhausted), f"the report does not say why: {result}")
    assert isinstance(error, QuotaExhausted)
    _demand(error.resets_at is not None and str(error.resets_at.date()) in str(error), f"no time: {result}")
    _demand(report.outcomes[Outcome.DONE] == others, f"others were not read: {report.outcomes}")
    # Those that were under way when the vendor counted the last one were sent before the client could know.
    _demand(len(vendor.seen[bad].served) <= terms.left + 64, "more was sent for it than was under way")
    return result


# The command


def _scenes(given: argparse.Namespace) -> list[tuple[str, Callable[[], Coroutine[Any, Any, object]]]]:
    true = [Terms(100, 10.0, jitter=0.1), Terms(300, 60.0, jitter=0.3)]
    # Whole seconds would be much of a window here.
    fast = [Terms(100, 2.0, 0.02, retry_after="exact"), Terms(300, 4.0, 0.02, retry_after="exact")]
    scenes: list[tuple[str, Callable[[], Coroutine[Any, Any, object]]]] = []

    def add(
        name: str, scene: Callable[..., Coroutine[Any, Any, object]], terms: Terms, **options: Any
    ) -> None:
        scenes.append((name, lambda: scene(terms, **options)))

    real = {"windows": given.windows, "seed": given.seed, "deadline": given.deadline, "run": in_a_process}
    for terms in true if given.true else fast:
        add("alone", alone, terms, **real)
        for told in (replace(terms, headers=True), terms, replace(terms, retry_after="none")):
            add("shared", shared, told, processes=given.processes, **real)
    return scenes


def _jumping() -> list[tuple[str, Callable[[], Coroutine[Any, Any, object]]]]:
    terms = Terms(10, 10.0, jitter=0.1)
    stray = Terms(300, 60.0, jitter=0.3, stray=0.05)
    return [
        ("stray", lambda: alone(stray, 12, least_used=0.5)),
        ("blocked", lambda: blocked(terms)),
        ("blocked", lambda: blocked(terms, block=120.0)),
        ("spent", lambda: spent(terms)),
    ]


def main() -> int:
    """Run what is asked for; the exit status says whether every claim held."""
    from tests.conftest import JumpingLoop

    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--windows", type=int, default=20, help="how many windows each lasts")
    options.add_argument("--true", action="store_true", help="windows of 10 and 60 s: this takes its time")
    options.add_argument("--processes", type=int, default=3, help="how many share one window")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--deadline", type=float, help="seconds that a call may take, its turn included")
    options.add_argument("--only", action="append", choices=("alone", "shared", "stray", "blocked", "spent"))
    options.add_argument("--work", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.work is not None:
        print(json.dumps(asdict(asyncio.run(program(Work(**json.loads(given.work)))))))  # noqa: T201
        return 0
    broken = 0
    for factory, scenes in ((None, _scenes(given)), (JumpingLoop, _jumping())):
        for name, scene in scenes:
            if given.only and name not in given.only:
                continue
            with asyncio.Runner(loop_factory=factory) as runner:
                try:
                    print(runner.run(scene()), flush=True)  # noqa: T201
                except Broken as claim:
                    broken += 1
                    print(f"BROKEN  {name}: {claim}", flush=True)  # noqa: T201
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
