"""`sweep`: the entry point of programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phonesys.config.store_urls import has_password
from phonesys.distributed.driver import DistributedOptions, DistributedSweep
from phonesys.distributed.runners.processes import Processes
from phonesys.distributed.work import path_of
from phonesys.errors import InvalidArgument
from phonesys.inventory.shard import Shard, validate_snapshot_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from phonesys.distributed.runners.protocol import Runner
    from phonesys.sweep import Accounts
    from phonesys.system import PhoneSystem


def sweep(
    system: Callable[..., PhoneSystem] | str,
    accounts: Mapping[str, Accounts] | None = None,
    *,
    arguments: Mapping[str, Any] | None = None,
    runner: Runner | None = None,
    store: str | Path | None = None,
    folder: str | Path | None = None,
    snapshot: str | None = None,
    shards: int | None = None,
    only: Iterable[str] | None = None,
    split_companies: bool = False,
    concurrency: int = 64,
    verify: bool = True,
    keep_done: bool = False,
    count_numbers: bool = False,
    **accounts_by_provider: Accounts,
) -> DistributedSweep:
    """Sweep with several workers. Use it as an async context manager, which yields summaries of shards.

    - `system`: a function of a module, or its path `package.module:function`. Each worker calls it, with
      `arguments` as keywords, to make a PhoneSystem from its own configuration. Credentials are not sent.
    - `accounts`, or keywords: as in `PhoneSystem.sweep`.
    - `runner`: `Processes()`, by default; `Dask(…)`; `Ray(…)`; or your own.
    - `store`: a path or a URL that means the same to every worker. A password belongs into the environment of
      each worker, as PGPASSWORD or in PHONESYS_STORE, which is the default.
    - `folder`: write a folder of Parquet files instead, on a file system that all workers share.
    - `snapshot`: its name. By default, the newest unfinished one of the same backends is resumed if it began
      within a day, or another one is begun.
    - `shards`: how many, for a snapshot that is begun.
    - `split_companies`: divide a company's accounts too, for workers that share its tokens and rate window.
    - `concurrency`: the most requests of each worker at a time.
    - `keep_done`: keep accounts that are done or empty in the report, and not only their number.
    - `count_numbers`: count numbers by country and by status in the summaries.

    Raise InvalidArgument before anything is sent.
    """
    if store is not None and folder is not None:
        raise InvalidArgument("folder: expected this or store, and not both")
    if store is not None and has_password(str(store)):
        raise InvalidArgument(
            "store: expected a URL without a password, since it is sent to workers; set PGPASSWORD or "
            "PHONESYS_STORE in the environment of each"
        )
    if shards is not None:
        Shard(1, shards)  # raises InvalidArgument
    options = DistributedOptions(
        system=path_of(system),
        arguments=dict(arguments or {}),
        store=None if store is None else str(store),
        folder=None if folder is None else str(folder),
        snapshot=None if snapshot is None else validate_snapshot_name(snapshot),
        shards=shards,
        split_companies=split_companies,
        keep_done=keep_done,
        count_numbers=count_numbers,
        sweep={"concurrency": concurrency, "verify": verify},
    )
    named = {**(accounts or {}), **accounts_by_provider}
    return DistributedSweep(runner or Processes(), named, only, options)
