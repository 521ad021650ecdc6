"""Exports of the inventory: Parquet, Arrow, CSV, JSON lines and Excel."""

from phonesys.inventory.export.columns import (
    COLUMNS,
    VERSION,
    Column,
    arrow_schema,
    arrow_table,
)
from phonesys.inventory.export.formats import Format
from phonesys.inventory.export.write import ExportFailed, export

__all__ = [
    "COLUMNS",
    "VERSION",
    "Column",
    "ExportFailed",
    "Format",
    "arrow_schema",
    "arrow_table",
    "export",
]
