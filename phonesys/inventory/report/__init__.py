"""The report: the inventory as one HTML page."""

from phonesys.inventory.report.trend import TrendPoint, read_trend
from phonesys.inventory.report.write import ReportFailed, write_report

__all__ = ["ReportFailed", "TrendPoint", "read_trend", "write_report"]
