"""The sandbox as a set of configured backends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonesys.backends.agents import AgentNumbers
from phonesys.backends.leadconnector import LeadConnector
from phonesys.backends.leadping import Leadping
from phonesys.cli.config import Configured
from phonesys.errors import UsageError
from phonesys.sandbox import FaultPlan, Sandbox

if TYPE_CHECKING:
    from pathlib import Path

    from phonesys.sweep import SweepReport

_ONE_ACCOUNT = ("default",)
_CONNECTED_PER_UNCONNECTED = 40


def make(
    *,
    locations: int | None,
    seed: int | None,
    not_connected: int | None,
    latency: float | None,
    port: int = 0,
    faults: FaultPlan | None = None,
    log: Path | None = None,
) -> Sandbox:
    """Make a sandbox; answers take a moment by default, as a vendor's do."""
    count = 300 if locations is None else locations
    try:
        return Sandbox(
            locations=count,
            seed=1 if seed is None else seed,
            not_connected=count // _CONNECTED_PER_UNCONNECTED if not_connected is None else not_connected,
            latency=0.1 if latency is None else latency,
            port=port,
            faults=faults or FaultPlan(),
            log_file=log,
        )
    except ValueError as mistake:
        raise UsageError(f"sandbox: {mistake}") from None


def backends(sandbox: Sandbox, names: list[str]) -> list[Configured]:
    """Make backends that talk to a running sandbox; raises UsageError for a name that it does not have."""
    token, url = sandbox.leadconnector_token, sandbox.leadconnector_url
    made = [
        Configured(
            "leadconnector",
            "leadconnector",
            LeadConnector(token, base_url=url, with_pools=True),
            sandbox.location_ids,
        ),
        Configured(
            "leadping",
            "leadping",
            Leadping(sandbox.leadping_key, base_url=sandbox.leadping_url),
            _ONE_ACCOUNT,
        ),
        Configured(
            "agents", "agents", AgentNumbers(sandbox.agents_key, base_url=sandbox.agents_url), _ONE_ACCOUNT
        ),
    ]
    there = [one.name for one in made]
    if strangers := [name for name in names if name not in there]:
        raise UsageError(f"the sandbox has no backend {strangers[0]!r}; it has {', '.join(there)}")
    return [one for one in made if not names or one.name in names]


def verdict(sandbox: Sandbox, report: SweepReport, names: list[str]) -> tuple[bool, str]:
    """Compare what a sweep found, backend by backend, with what the sandbox holds."""
    held = dict.fromkeys(names, 0)
    for (name, _), numbers in sandbox.truth.items():
        if name in held:
            held[name] += len(numbers)
    found = {name: report.numbers_by_provider[name] for name in names}
    agree = found == held
    return agree, (
        f"{report.numbers:,} numbers found; the sandbox holds {sum(held.values()):,}: "
        + ("they agree" if agree else "they differ")
    )
