"""The inventory as one HTML page, for people."""

from phonesys.inventory.report.write import ReportFailed, write_report

__all__ = ["ReportFailed", "write_report"]
