"""Leadping: the phone numbers of an organization."""

from phonesys.backends.leadping.provider import Leadping
from phonesys.backends.leadping.requests import ExactMatch, ListOptions, OrderBy, Range
from phonesys.backends.leadping.wire import (
    Availability,
    LeadpingNumber,
    LeadpingRow,
    LeadpingStatus,
    PurchasableNumber,
)

__all__ = [
    "Availability",
    "ExactMatch",
    "Leadping",
    "LeadpingNumber",
    "LeadpingRow",
    "LeadpingStatus",
    "ListOptions",
    "OrderBy",
    "PurchasableNumber",
    "Range",
]
