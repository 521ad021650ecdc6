"""The report: the inventory as one HTML page."""

from phonesys.inventory.report.write import ReportFailed, write_report

__all__ = ["ReportFailed", "write_report"]
