"""A sandbox with all three vendors, and a phone system on it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from phonesys import AgentNumbers, HttpOptions, LeadConnector, Leadping, PhoneSystem
from phonesys.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from phonesys import ChangeResult, Plan
    from phonesys.changes import Journal
    from phonesys.sandbox.state import Assignment, LeadpingNumber

FRESH = "+15005550006"
"""A number that no account holds."""


class Desk:
    """The vendors, and a phone system that is open on them."""

    def __init__(self, sandbox: Sandbox, phones: PhoneSystem) -> None:
        self.sandbox, self.phones = sandbox, phones
        self.agents = list(sandbox.state.agents)

    @property
    def assigned(self) -> list[Assignment]:
        return list(self.sandbox.state.assignments.values())

    @property
    def leadping(self) -> list[LeadpingNumber]:
        return list(self.sandbox.state.leadping.values())

    async def apply(
        self, plan: Plan, *, journal: Journal | None = None, **options: Any
    ) -> dict[int, ChangeResult]:
        """Apply a plan to the end, with every permission, and return the results by position."""
        options = {"allow": ["share", "unroute"], "grace_period": 0, **options}
        async with self.phones.apply(plan, journal=journal, **options) as run:
            return {result.position: result async for result in run}

    def served(self, route: str) -> int:
        """Count the requests for a route."""
        return sum(count for (name, _), count in self.sandbox.served.items() if name == route)


@asynccontextmanager
async def open_desk(**options: Any) -> AsyncIterator[Desk]:
    options = {"locations": 2, "numbers": 5, "leadping": 8, "agents": 8, "enforce_limits": False, **options}
    http = HttpOptions(timeout=5, retries=0)
    async with (
        Sandbox(**options) as sandbox,
        PhoneSystem(
            AgentNumbers.from_sandbox(sandbox, http=http),
            Leadping.from_sandbox(sandbox, http=http),
            LeadConnector.from_sandbox(sandbox, http=http),
        ) as phones,
    ):
        yield Desk(sandbox, phones)
