"""The fan-out over every account of every backend, and the report on what came of it."""

from phonesys.sweep.report import AccountReport, Failure, Outcome, SweepReport
from phonesys.sweep.sweep import Accounts, Source, Sweep

__all__ = ["AccountReport", "Accounts", "Failure", "Outcome", "Source", "Sweep", "SweepReport"]
