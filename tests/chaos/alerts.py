"""Kills a watch at any moment, and compares the alerts that arrived with the numbers that were created.

A process watches a sandbox while numbers are created, and is killed with SIGKILL, again and again. The
service that receives its messages is slow, and refuses some. Then a last process runs undisturbed. Run it as

    python -m tests.chaos.alerts --kills 100 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sys
import tempfile
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from phonesys import Leadping, PhoneSystem
from phonesys.inventory import Alerts, Inventory, SweepEvent, Watch
from phonesys.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

_ROOT = Path(__file__).parents[2]
_INTERVAL = 0.02
_CREATED_EVERY = 0.1
"""Seconds: a message lists at most 200 changes of a sweep."""
_LONGEST_LIFE = 2.0
_REFUSED = 0.2
_SLOWEST = 0.5
_ADDED = re.compile(r"^added (\+\d+) ", re.MULTILINE)
_UNCERTAIN = re.compile(r"^An earlier message with ([\d,]+) items? may not have arrived", re.MULTILINE)
_UNBOUNDED = 10**9


class Endpoints(msgspec.Struct):
    """What a watching process needs to know."""

    vendor: str
    key: str
    hook: str
    store: str


@dataclass
class Tally:
    """The alerts that arrived, and those that were due."""

    created: set[str] = field(default_factory=set[str])
    received: Counter[str] = field(default_factory=Counter[str])
    uncertain: int = 0
    messages: int = 0
    refused: int = 0
    kills: int = 0
    while_sending: int = 0
    """Kills at a moment at which a message was on its way."""

    def receive(self, body: str) -> None:
        """Count a message that was accepted."""
        self.messages += 1
        self.received.update(_ADDED.findall(body))
        self.uncertain += sum(int(count.replace(",", "")) for count in _UNCERTAIN.findall(body))

    @property
    def broken(self) -> list[str]:
        """Return what was promised and did not hold."""
        twice = [number for number, count in self.received.items() if count > 1]
        missing = self.created - self.received.keys()
        found = [f"{len(twice)} numbers were sent twice, such as {twice[0]}"] if twice else []
        if len(missing) > self.uncertain:
            found.append(f"{len(missing)} numbers were not sent, and only {self.uncertain} are in doubt")
        if invented := self.received.keys() - self.created:
            found.append(f"{len(invented)} numbers were sent that were never created")
        return found

    def __str__(self) -> str:
        missing = len(self.created - self.received.keys())
        received = f"{len(self.received)} sent in {self.messages} messages"
        lines = [
            f"{self.kills} kills, {self.while_sending} of them while a message was on its way",
            f"{len(self.created)} numbers created, {received}, {self.refused} messages refused",
            f"{missing} not sent, {self.uncertain} said to be in doubt",
            *self.broken,
        ]
        return "\n".join(lines)


class Hook:
    """A service that receives alerts slowly, and refuses some."""

    def __init__(self, tally: Tally, draw: random.Random) -> None:
        self._tally, self._draw = tally, draw
        self.under_way = 0
        self.is_calm = False

    async def receive(self, request: web.Request) -> web.Response:
        self.under_way += 1
        try:
            if not self.is_calm and self._draw.random() < _REFUSED:
                self._tally.refused += 1
                return web.Response(status=503)
            self._tally.receive((await request.json())["message"])
            await asyncio.sleep(0 if self.is_calm else self._draw.random() * _SLOWEST)
            return web.Response()
        finally:
            self.under_way -= 1


@asynccontextmanager
async def serve(hook: Hook) -> AsyncGenerator[str]:
    app = web.Application()
    app.router.add_post("/", hook.receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"json://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def watch(endpoints: Endpoints, sweeps: int) -> None:
    """Watch until a number of sweeps has ended, or for ever for 0."""
    ended = 0
    alerts = Alerts({"hook": endpoints.hook}, max_items=_UNBOUNDED, max_length=_UNBOUNDED)
    leadping = Leadping(endpoints.key, base_url=endpoints.vendor, limit=None)
    async with (
        PhoneSystem(leadping) as phones,
        Inventory(endpoints.store) as store,
        Watch(phones, interval=_INTERVAL, store=store, alerts=alerts, keep=3) as watching,
    ):
        print("watching", flush=True)  # noqa: T201 -- to the process that kills this one
        async for event in watching.events():
            ended += isinstance(event, SweepEvent)
            if ended and ended == sweeps:
                return


@asynccontextmanager
async def _watching(endpoints: Endpoints, sweeps: int) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run a process that has begun to watch."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.chaos.alerts", "--child", msgspec.json.encode(endpoints).decode()),
        *("--sweeps", str(sweeps)),
        cwd=_ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"watching\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _create(leadping: Leadping, tally: Tally) -> None:
    while True:
        number = f"+1415{6_000_000 + len(tally.created)}"
        await leadping.create(name="new", number=number)
        tally.created.add(number)
        await asyncio.sleep(_CREATED_EVERY)


async def kill_and_compare(kills: int, seed: int, folder: Path) -> Tally:
    """Kill a watch so many times, let it finish, and return what arrived."""
    draw, tally = random.Random(seed), Tally()
    hook = Hook(tally, draw)
    sandbox = Sandbox(leadping=10, seed=seed, enforce_limits=False, log_size=1)
    async with sandbox, serve(hook) as url, Leadping.from_sandbox(sandbox) as leadping:
        endpoints = Endpoints(sandbox.leadping_url, sandbox.leadping_key, url, str(folder / "i.db"))
        async with _watching(endpoints, 1) as first:  # the baseline
            await first.wait()
        creating = asyncio.create_task(_create(leadping, tally))
        for _ in range(kills):
            async with _watching(endpoints, 0):
                await asyncio.sleep(draw.random() * _LONGEST_LIFE)
                tally.while_sending += hook.under_way > 0
            tally.kills += 1
        creating.cancel()
        await asyncio.wait([creating])
        hook.is_calm = True
        tally.created.add(number := "+14157999999")  # a last message, which says what is in doubt
        await leadping.create(name="new", number=number)
        async with _watching(endpoints, 2) as last:
            await last.wait()
    return tally


def main() -> int:
    """Run the long version, or be the process that is killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--sweeps", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        asyncio.run(watch(msgspec.json.decode(options.child, type=Endpoints), options.sweeps))
        return 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tally = asyncio.run(kill_and_compare(options.kills, options.seed, Path(folder)))
    sys.stdout.write(f"{tally}\n{time.monotonic() - began:.0f} s\n")
    return 1 if tally.broken else 0


if __name__ == "__main__":
    sys.exit(main())
