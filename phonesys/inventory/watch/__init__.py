"""Watching: repeated sweeps that yield changes and findings, and send alerts."""

from phonesys.inventory.watch.alerts import Alerts
from phonesys.inventory.watch.events import (
    AlertEvent,
    FindingEvent,
    FindingState,
    SweepEvent,
    WatchEvent,
)
from phonesys.inventory.watch.watch import Watch

__all__ = [
    "AlertEvent",
    "Alerts",
    "FindingEvent",
    "FindingState",
    "SweepEvent",
    "Watch",
    "WatchEvent",
]
