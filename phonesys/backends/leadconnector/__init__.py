"""LeadConnector (HighLevel): the phone system of each location of an agency."""

from phonesys.backends.leadconnector.provider import LeadConnector
from phonesys.backends.leadconnector.purchase import AvailableNumber, AvailableNumbers, Purchase
from phonesys.backends.leadconnector.wire import LeadConnectorNumber, LeadConnectorPage, RcsSender

__all__ = [
    "AvailableNumber",
    "AvailableNumbers",
    "LeadConnector",
    "LeadConnectorNumber",
    "LeadConnectorPage",
    "Purchase",
    "RcsSender",
]
