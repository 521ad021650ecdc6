"""Kill a program at random moments around a refresh, and check whether its credential survived.

The vendor is a sandbox in this process, so that it keeps its state. Run the long version as

    python -m tests.oauth.crash --rounds 200
    python -m tests.oauth.crash --rounds 200 --grace 30     # a vendor that repeats its last response
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonesys import PhonesysError
from phonesys.oauth import FileTokenStore, Token
from phonesys.sandbox import Sandbox
from phonesys.secret import Secret
from tests.oauth.agencies import agency, backend, company_key

if TYPE_CHECKING:
    from asyncio.subprocess import Process

_LATENCY = 0.002  # seconds between the rotation of a token and its response
ROOT = Path(__file__).resolve().parents[2]

BEFORE = "before the vendor had rotated the token"
IN_FLIGHT = "rotated, response not yet read"
READ = "response read, not yet staged"
STAGED = "staged, not yet synced"
SAVED = "synced"
STAGES = (BEFORE, IN_FLIGHT, READ, STAGED, SAVED)


@dataclass
class Tally:
    """Number of kills at each stage, and number of credentials lost."""

    killed: Counter[str] = field(default_factory=Counter[str])
    lost: Counter[str] = field(default_factory=Counter[str])

    def __str__(self) -> str:
        rows = [f"{'killed when':44} {'times':>5} {'lost':>5}"]
        rows += [f"{stage:44} {self.killed[stage]:5} {self.lost[stage]:5}" for stage in STAGES]
        rows.append(f"{'in all':44} {self.killed.total():5} {self.lost.total():5}")
        return "\n".join(rows)


class Scene:
    """A sandbox, a store, and child processes that use both."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.store = folder / "tokens.json"
        self.notes = folder / "notes"

    async def authorise(self) -> None:
        """Authorise the app, and store a token that has expired."""
        await self.expire(self.sandbox.oauth.grant_company())

    async def expire(self, response: dict[str, Any] | None = None) -> None:
        """Mark the stored token as expired, so that the next call begins with a refresh."""
        (self.store.with_name("tokens.json.d") / "cache").unlink(missing_ok=True)  # the locations' tokens
        store, key = FileTokenStore(self.store), company_key(self.sandbox)
        if response is None:
            stored = await store.load(key)
            assert stored is not None
            access, refresh = stored.access, stored.refresh
        else:
            access, refresh = Secret(response["access_token"]), Secret(response["refresh_token"])
        now = time.time()
        await store.save(
            key, Token(access=access, refresh=refresh, obtained_at=now - 90_000, expires_at=now - 3_600)
        )

    async def child(self, *, calls: int = 1, locations: int | None = None, linger: bool = False) -> Process:
        """Start a child, and wait until it is ready."""
        self.notes.write_bytes(bytes(2))
        options = {
            "notes": str(self.notes),
            "store": str(self.store),
            "client_id": self.sandbox.oauth.client_id,
            "client_secret": self.sandbox.oauth.client_secret,
            "company_id": self.sandbox.oauth.company_id,
            "url": self.sandbox.leadconnector_url,
            "locations": list(self.sandbox.location_ids[:locations]),
            "calls": calls,
            "linger": linger,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.oauth.child", json.dumps(options),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip
        assert process.stdout is not None
        assert await process.stdout.readexactly(1) == b"R"
        return process

    async def works(self) -> bool:
        """Return True if a program that starts now can use the credential."""
        auth = agency(self.sandbox, FileTokenStore(self.store), clock=time.time)
        async with backend(self.sandbox, auth) as lc:
            try:
                await lc.page(self.sandbox.location_ids[0])
            except PhonesysError:
                return False
        return True


def begin(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")


async def letters(process: Process) -> str:
    assert process.stdout is not None
    said = (await process.stdout.read()).decode()
    await process.wait()
    return said


def stage(said: str, *, rotated: bool) -> str:
    for letter, reached in (("S", SAVED), ("T", STAGED), ("A", READ)):
        if letter in said:
            return reached
    return IN_FLIGHT if rotated else BEFORE


async def killed_once(scene: Scene, after: float, tally: Tally) -> None:
    await scene.expire()
    rotations = scene.sandbox.oauth.refreshes.total()
    process = await scene.child(linger=True)
    begin(process)
    await asyncio.sleep(after)
    process.kill()
    said = await letters(process) + scene.notes.read_text()
    rotated = scene.sandbox.oauth.refreshes.total() > rotations
    usable = await scene.works()
    if not usable:  # the vendor may have handled the killed program's request since
        rotated = scene.sandbox.oauth.refreshes.total() > rotations
    when = stage(said, rotated=rotated)
    tally.killed[when] += 1
    if not usable:
        tally.lost[when] += 1
        await scene.authorise()


async def usual_duration(scene: Scene, warm_ups: int) -> float:
    """Measure the time from the start to the saved token, plus a quarter."""
    durations: list[float] = []
    for _ in range(warm_ups):
        await scene.expire()
        process = await scene.child()
        started = time.perf_counter()
        begin(process)
        assert process.stdout is not None
        await process.stdout.readuntil(b"S")
        durations.append(time.perf_counter() - started)
        assert (await letters(process)).endswith("D")
    return 1.25 * statistics.median(durations)


async def crashes(rounds: int, *, grace: float = 0.0, seed: int = 1, warm_ups: int = 5) -> Tally:
    """Kill one program a round, at moments spread evenly over the duration of a refresh."""
    draw, tally = random.Random(seed), Tally()
    with tempfile.TemporaryDirectory() as folder:
        async with Sandbox(locations=3, numbers=1, oauth_grace=grace, latency=_LATENCY) as sandbox:
            scene = Scene(sandbox, Path(folder))
            await scene.authorise()
            span = await usual_duration(scene, warm_ups)
            for _ in range(rounds):
                await killed_once(scene, draw.uniform(0.0, span), tally)
    return tally


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--rounds", type=int, default=200)
    options.add_argument(
        "--grace", type=float, default=0.0, help="seconds for which the vendor repeats itself"
    )
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    print(asyncio.run(crashes(given.rounds, grace=given.grace, seed=given.seed)))  # noqa: T201


if __name__ == "__main__":
    main()
