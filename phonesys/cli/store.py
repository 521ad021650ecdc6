"""Stores as commands use them: opened for reading, and filled by a sweep."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonesys.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from phonesys.inventory import StoredSweep
    from phonesys.sweep import Accounts, Sweep
    from phonesys.system import PhoneSystem


def existing_store(store: str) -> str:
    """Return the store; raise UsageError for a file that does not exist, which reading would create."""
    if "://" not in store and not Path(store).is_file():
        raise UsageError(f"--store {store}: there is no such file")
    return store


@asynccontextmanager
async def open_sweep(
    store: str | None,
    phones: PhoneSystem,
    accounts: Mapping[str, Accounts],
    *,
    resume: bool = True,
    **options: Any,
) -> AsyncGenerator[Sweep | StoredSweep]:
    """Prepare a sweep, recorded in a store if one is given, which stays open until the block ends."""
    if store is None:
        yield phones.sweep(accounts, **options)
        return
    from phonesys.inventory import Inventory  # needs an extra

    async with Inventory(store) as inventory:
        options["keep_done"] = True  # a snapshot lists every account
        yield inventory.sweep(phones, accounts, resume=resume, **options)
