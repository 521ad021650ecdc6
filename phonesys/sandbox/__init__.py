"""The three vendors' APIs on loopback, with generated data: no accounts, no network, no money spent."""

from __future__ import annotations

from phonesys.sandbox import faults
from phonesys.sandbox.faults import (
    Exchange,
    Fault,
    FaultPlan,
    body,
    delay,
    drop,
    drop_after,
    stall,
    status,
    truncate,
)
from phonesys.sandbox.log import Created, Moved, Served
from phonesys.sandbox.server import Sandbox

__all__ = [
    "Created",
    "Exchange",
    "Fault",
    "FaultPlan",
    "Moved",
    "Sandbox",
    "Served",
    "body",
    "delay",
    "drop",
    "drop_after",
    "faults",
    "stall",
    "status",
    "truncate",
]
