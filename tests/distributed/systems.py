"""Systems that workers make: functions of a module, as every worker must be able to import them."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from phonesys import HttpOptions, LeadConnector, PhoneSystem
from tests.sweep.memory import Memory, number, simple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phonesys import Page

PATIENT = HttpOptions(timeout=5, deadline=300, retries=12, backoff=0.005, backoff_cap=0.05)


def of_sandbox(url: str, token: str, locations: Sequence[str] | None = None) -> PhoneSystem:
    return PhoneSystem(
        LeadConnector(
            token, base_url=url, locations=locations, page_size=10, limit=None, with_pools=False, http=PATIENT
        )
    )


def in_memory(count: int, numbers: int = 1, **options: Any) -> PhoneSystem:
    return PhoneSystem(simple(count, numbers, **options))


class Deadly(Memory):
    """A backend with an account that kills the process which reads it."""

    async def page(self, account: str, cursor: Any = None) -> Page[Any]:
        if account == "acc_7":
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().page(account, cursor)


def deadly(count: int) -> PhoneSystem:
    return PhoneSystem(Deadly({f"acc_{i}": [[number(1, f"acc_{i}")]] for i in range(count)}))


def broken() -> PhoneSystem:
    raise RuntimeError("no configuration here")


def not_a_system() -> str:
    return "surprise"
