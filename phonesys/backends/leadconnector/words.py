"""LeadConnector's words for an account's state."""

from phonesys.backends.words import Vocabulary
from phonesys.model import NumberStatus

account_status_of = Vocabulary(
    {
        "active": NumberStatus.ACTIVE,
        "suspended": NumberStatus.SUSPENDED,
        "closed": NumberStatus.INACTIVE,
    },
    NumberStatus.UNKNOWN,
)


def status_of(account_status: str | None) -> NumberStatus:
    """Return a number's status: that of its account, since the vendor lists active numbers only."""
    return account_status_of(account_status or "active")
