"""Counts how often an account is done and short of a number when rows move between its pages.

Numbers are bought and released while an account is read. A row that slips from a page that was not read yet
to one that was is missed, and if another row takes its place, no total shows it. This counts the rows missed,
for each backend and each way of moving, with `verify` (an account is read again if its pages are not
consistent, and fails if they never are) and without.

    python -m tests.chaos.moving --rounds 30
    python -m tests.chaos.moving --rounds 30 --rate 0.1     # a row moves before one request in ten
    python -m tests.chaos.moving --rounds 30 --once         # a row moves once while an account is read
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import msgspec

from phonesys import AgentNumbers, HttpOptions, LeadConnector, Leadping, Outcome, PhoneSystem
from phonesys.sandbox import FaultPlan, Sandbox, faults
from tests.chaos.claims import Evidence, Found, history_of, moves_of, short
from tests.conftest import JumpingLoop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phonesys.provider import NumberProvider

Direction: TypeAlias = Literal["later", "earlier", "either", "exchange"]
Where: TypeAlias = Literal["front", "end", "anywhere"]
Vendor: TypeAlias = Literal[
    "leadconnector, 2021-07-28", "leadconnector, v3", "leadping", "agents, no total", "agents, total"
]
_LOCATIONS = 20
_HASTY = HttpOptions(backoff=0.0)


@dataclass
class Tally:
    """The outcomes of the accounts that changed while they were read."""

    outcomes: Counter[Outcome] = field(default_factory=Counter[Outcome])
    short: int = 0
    requests: int = 0

    @property
    def accounts(self) -> int:
        return self.outcomes.total()

    def line(self, name: str) -> str:
        failed = self.outcomes[Outcome.FAILED]
        whole, each = self.accounts - failed - self.short, self.requests / max(self.accounts, 1)
        return f"{name:46} {self.accounts:6} {failed:7} {whole:6} {self.short:6} {each:9.1f}"


def backend(vendor: Vendor, sandbox: Sandbox, page_size: int) -> NumberProvider:
    if vendor == "leadping":
        return Leadping(
            sandbox.leadping_key, base_url=sandbox.leadping_url, page_size=page_size, limit=None, http=_HASTY
        )
    if vendor.startswith("agents"):
        return AgentNumbers(sandbox.agents_key, base_url=sandbox.agents_url, page_size=page_size, http=_HASTY)
    return LeadConnector(
        sandbox.leadconnector_token,
        base_url=sandbox.leadconnector_url,
        version=vendor.rpartition(" ")[2],
        locations=sandbox.location_ids,
        page_size=page_size,
        limit=None,
        http=_HASTY,
    )


async def counted(
    vendor: Vendor, rule: faults.MovingRows, *, verify: bool, seed: int, page_size: int = 5
) -> Tally:
    """Sweep a sandbox of this vendor once, in which rows move."""
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(
            Sandbox(
                locations=_LOCATIONS,
                numbers=(10, 30),
                leadping=30,
                agents=30,
                agents_envelope="bare" if vendor == "agents, no total" else "data",
                enforce_limits=False,
                faults=FaultPlan((rule,), seed),
                log_size=None,
                seed=seed,
            )
        )
        before = dict(sandbox.truth)
        provider = backend(vendor, sandbox, page_size)
        found: dict[tuple[str, str], Found] = {}
        phones = await stack.enter_async_context(PhoneSystem(provider))
        async with phones.sweep(concurrency=16, verify=verify) as sweep:
            async for page in sweep:
                found.setdefault((page.provider, page.account), Found()).add(page)
        moved = moves_of(sandbox)
        evidence = Evidence(
            report=sweep.report,
            found=found,
            asked=frozenset(moved),
            before=before,
            after=dict(sandbox.truth),
            history=history_of(sandbox),
            moved=moved,
            not_connected=frozenset(),
            counted=frozenset(),
            retries=_HASTY.retries,
            deadline=0.0,
        )
    outcomes = Counter(sweep.report.accounts[account].outcome for account in moved)
    requests = sum(len(evidence.history[account]) for account in moved)
    return Tally(outcomes, len(short(evidence)), requests)


async def survey(
    vendor: Vendor,
    rule: faults.MovingRows,
    *,
    verify: bool,
    rounds: int,
    first_seed: int = 1,
    once: bool = False,
) -> Tally:
    """Sum up so many sandboxes; those with one account in them come in tens.

    With `once`, rows move before one request of each account, which differs from sandbox to sandbox.
    """
    total = Tally()
    times = rounds if vendor.startswith("leadconnector") else rounds * 10
    for seed in range(first_seed, first_seed + times):
        if once:
            rule = msgspec.structs.replace(rule, requests=(2 + seed % 5,))
        one = await counted(vendor, rule, verify=verify, seed=seed)
        total.outcomes += one.outcomes
        total.short += one.short
        total.requests += one.requests
    return total


def lines(rounds: int, rate: float, seed: int, *, once: bool = False) -> Iterator[str]:
    which = "one request of each account" if once else f"{rate:.0%} of the requests for later pages"
    yield f"rows move before {which}"
    yield f"{'':46} {'moved':>6} {'failed':>7} {'whole':>6} {'short':>6} {'requests':>9}"
    for verify, vendor in product((False, True), get_args(Vendor)):
        yield f"{vendor}{'' if verify else ', without verify'}"
        for direction in get_args(Direction):
            for where in get_args(Where):
                rule = faults.MovingRows(direction=direction, where=where, rate=rate)
                with asyncio.Runner(loop_factory=JumpingLoop) as runner:
                    tally = runner.run(
                        survey(vendor, rule, verify=verify, rounds=rounds, first_seed=seed, once=once)
                    )
                yield tally.line(f"  {direction}, {where}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--rounds", type=int, default=10)
    options.add_argument("--rate", type=float, default=1.0)
    options.add_argument("--once", action="store_true", help="rows move once while an account is read")
    options.add_argument("--seed", type=int, default=1)
    arguments = options.parse_args()
    for line in lines(arguments.rounds, arguments.rate, arguments.seed, once=arguments.once):
        print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
