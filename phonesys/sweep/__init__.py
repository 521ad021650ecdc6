"""The fan-out over every account of every backend, and the report on each of them."""

from phonesys.sweep.report import AccountReport, Failure, Outcome, SweepReport
from phonesys.sweep.source import Accounts, Source
from phonesys.sweep.sweep import Sweep

__all__ = ["AccountReport", "Accounts", "Failure", "Outcome", "Source", "Sweep", "SweepReport"]
