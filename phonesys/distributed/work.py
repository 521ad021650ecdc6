"""The work of a worker: sweep one shard, and return a summary."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections import Counter
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec

from phonesys.distributed.spec import ShardProgress, ShardSummary
from phonesys.errors import InvalidArgument, UsageError
from phonesys.inventory import Inventory
from phonesys.inventory.folder import SnapshotFolder
from phonesys.sweep import Outcome
from phonesys.system import PhoneSystem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from phonesys.distributed.spec import ShardSpec
    from phonesys.inventory import StoredSweep
    from phonesys.inventory.folder import FolderSweep
    from phonesys.model import Page, PhoneNumber
    from phonesys.sweep import SweepReport

_PROGRESS = 0.5  # seconds
_MAX_PROBLEMS = 1000  # pages, of a shard that should have none
_COUNTED = (Outcome.DONE, Outcome.EMPTY)
STORE_VARIABLE = "PHONESYS_STORE"


async def run_shard(
    spec: ShardSpec, *, on_progress: Callable[[ShardProgress], None] | None = None
) -> ShardSummary:
    """Sweep a shard into its store or folder. Safe to repeat: only what is missing is fetched.

    The one thing that an engine runs. It takes credentials and the store's password from the worker's own
    environment.

    - `on_progress`: is called with counts, about twice a second while pages arrive.
    """
    loop = asyncio.get_running_loop()
    reported = loop.time()
    countries: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    problems: list[Page[PhoneNumber]] = []
    phones = make_system(spec.system, spec.arguments)
    async with phones, open_sweep(spec, phones) as sweep:
        async for page in sweep:
            if on_progress is not None and loop.time() - reported >= _PROGRESS:
                reported = loop.time()
                on_progress(ShardProgress.of(spec, sweep.report))
            if (page.rejected or page.mended) and len(problems) < _MAX_PROBLEMS:
                problems.append(msgspec.structs.replace(page, numbers=()))
            if spec.count_numbers:
                countries.update(number.country or "unknown" for number in page.numbers)
                statuses.update(str(number.status) for number in page.numbers)
    return _summary(spec, sweep, tuple(problems), countries, statuses)


def make_system(path: str, arguments: dict[str, Any]) -> PhoneSystem:
    """Import and call the function that makes the system. Raises UsageError for anything else."""
    module, colon, name = path.partition(":")
    if not colon:
        raise InvalidArgument(f"system: expected 'package.module:function', got {path!r:.80}")
    try:
        make = getattr(import_module(module), name)
    except (ImportError, AttributeError) as failure:
        raise UsageError(f"system: a worker cannot import {path}: {failure}") from None
    made = make(**arguments)
    if not isinstance(made, PhoneSystem):
        raise UsageError(f"system: expected {path} to return a PhoneSystem, got {made!r:.80}")
    return made


def path_of(system: str | Callable[..., PhoneSystem]) -> str:
    """Return the path of a function that workers can import."""
    if isinstance(system, str):
        return system
    module, name = getattr(system, "__module__", ""), getattr(system, "__qualname__", "")
    if not module or not name.isidentifier() or inspect.ismethod(system):
        raise InvalidArgument(
            f"system: expected a function of a module, which workers can import, got {system!r:.80}"
        )
    return f"{module}:{name}"


def store_of(store: str | None) -> str:
    """Return the store, by default the one that PHONESYS_STORE names."""
    found = store or os.environ.get(STORE_VARIABLE)
    if not found:
        raise UsageError(f"store: expected store=, folder=, or the environment variable {STORE_VARIABLE}")
    return found


@asynccontextmanager
async def open_sweep(spec: ShardSpec, phones: PhoneSystem) -> AsyncGenerator[StoredSweep | FolderSweep]:
    """Run a sweep of the shard's accounts, into its store or folder, while the block runs."""
    if spec.folder is not None:
        named = {name: accounts for name, accounts in spec.accounts.items() if accounts is not None}
        plain = phones.sweep(named, only=list(spec.accounts), **spec.options)
        folder = SnapshotFolder(spec.folder, spec.snapshot)
        _add_names(spec, plain.report)
        async with folder.sweep_shard(plain, spec.shard, spec.coverage) as into_folder:
            yield into_folder
        return
    async with Inventory(store_of(spec.store)) as inventory:
        stored = inventory.sweep_shard(
            phones,
            spec.accounts,
            snapshot=spec.snapshot,
            shard=spec.shard,
            coverage=spec.coverage,
            **spec.options,
        )
        _add_names(spec, stored.report)
        async with stored:
            yield stored


def _add_names(spec: ShardSpec, report: SweepReport) -> None:
    for backend, names in spec.names.items():
        report.account_names.update({(backend, account): name for account, name in names.items()})


def _summary(
    spec: ShardSpec,
    sweep: StoredSweep | FolderSweep,
    problems: tuple[Page[PhoneNumber], ...],
    countries: Counter[str],
    statuses: Counter[str],
) -> ShardSummary:
    report = sweep.report
    kept = tuple(
        (backend, account, result)
        for (backend, account), result in report.accounts.items()
        if spec.keep_done or result.outcome not in _COUNTED
    )
    counted = {
        backend: {outcome: outcomes[outcome] for outcome in _COUNTED if outcomes[outcome]}
        for backend, outcomes in ({} if spec.keep_done else report.by_provider).items()
    }
    return ShardSummary(
        index=spec.index,
        numbers=report.numbers,
        pages=report.pages,
        rejected=report.rejected,
        requests=report.requests,
        retries=report.retries,
        waits=report.waits,
        resumed=sweep.resumed,
        elapsed=report.elapsed,
        counted=counted,
        accounts=kept,
        numbers_by_provider=dict(report.numbers_by_provider),
        mended=dict(report.mended),
        list_failures=tuple(one for one in report.failures if one.account is None),
        problems=problems,
        countries=dict(countries),
        statuses=dict(statuses),
        unfinished=sweep.unfinished_shards,
    )
