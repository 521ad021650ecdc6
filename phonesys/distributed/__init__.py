"""Sweeps by several processes or machines, on an engine that exists: processes, Dask or Ray."""

from __future__ import annotations

from phonesys.distributed.api import sweep
from phonesys.distributed.configured import load_system
from phonesys.distributed.driver import DistributedSweep
from phonesys.distributed.runners.dask import Dask
from phonesys.distributed.runners.processes import Processes
from phonesys.distributed.runners.protocol import Runner
from phonesys.distributed.runners.ray import Ray
from phonesys.distributed.spec import ShardGivenUp, ShardSpec, ShardSummary, WorkerLost
from phonesys.distributed.work import run_shard

__all__ = [
    "Dask",
    "DistributedSweep",
    "Processes",
    "Ray",
    "Runner",
    "ShardGivenUp",
    "ShardSpec",
    "ShardSummary",
    "WorkerLost",
    "load_system",
    "run_shard",
    "sweep",
]
