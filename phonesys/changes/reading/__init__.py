"""Desired states in a file: an edited export, a sheet of one's own, or lines of JSON."""

from phonesys.changes.reading.changes import read_changes

__all__ = ["read_changes"]
