"""Renewal of the tokens that a sweep will need, before it needs them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phonesys.cli.terminal import print_error
from phonesys.config.accounts import AccountFile
from phonesys.errors import PhonesysError
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from phonesys.config import ConfiguredBackend
    from phonesys.http.auth import RenewableAuth

_MAX_SHOWN = 10


@dataclass
class WarmCounts:
    """Counts of tokens."""

    renewed: int = 0
    fresh: int = 0
    failed: int = 0

    def add(self, *, renewed: bool) -> None:
        """Count a token."""
        self.renewed += renewed
        self.fresh += not renewed

    def add_failure(self, name: str, failure: PhonesysError) -> None:
        """Count a failure, and print the first ones."""
        self.failed += 1
        if self.failed <= _MAX_SHOWN:
            print_error(f"{name}: {failure}")


async def warm(
    backend: ConfiguredBackend, auth: RenewableAuth, *, valid_for: float, concurrency: int, counts: WarmCounts
) -> None:
    """Renew the tokens of a backend that are not usable for so many more seconds."""
    slots = asyncio.Semaphore(concurrency)

    async def renew(account: str) -> None:
        try:
            counts.add(renewed=await auth.renew(account, valid_for=valid_for))
        except PhonesysError as failure:
            counts.add_failure(f"{backend.name} {account}", failure)
        finally:
            slots.release()

    async with PhoneSystem(backend.provider):
        for account in auth.grantors:  # without which none of the others can be renewed
            counts.add(renewed=await auth.renew(account, valid_for=valid_for))
        async with asyncio.TaskGroup() as group, aclosing(_accounts(backend)) as accounts:
            async for account in accounts:
                await slots.acquire()
                group.create_task(renew(account))


async def _accounts(backend: ConfiguredBackend) -> AsyncGenerator[str]:
    if backend.accounts is None or isinstance(backend.accounts, AccountFile):
        listed = backend.provider.accounts() if backend.accounts is None else aiter(backend.accounts)
        async for account in listed:
            yield account
        return
    for account in backend.accounts:
        yield account
