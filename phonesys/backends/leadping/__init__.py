"""Leadping: the phone numbers of an organization."""

from phonesys.backends.leadping.provider import Leadping
from phonesys.backends.leadping.requests import ExactMatch, ListOptions, OrderBy, Range
from phonesys.backends.leadping.wire import LeadpingNumber, LeadpingRow, LeadpingStatus

__all__ = [
    "ExactMatch",
    "Leadping",
    "LeadpingNumber",
    "LeadpingRow",
    "LeadpingStatus",
    "ListOptions",
    "OrderBy",
    "Range",
]
