"""The rules that look at one number at a time."""
# ruff: noqa: ARG001, D401 -- all are given the same, and each docstring is what the finding says

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from phonesys._validation import is_e164
from phonesys.inventory.audit.digits import digits, forwards_to
from phonesys.inventory.audit.finding import Severity
from phonesys.inventory.audit.rule import make_rule
from phonesys.inventory.extras import require_extra
from phonesys.model import NumberKind, NumberStatus

if TYPE_CHECKING:
    from phonesys.inventory.audit.context import AuditContext
    from phonesys.inventory.record import NumberRecord

_UNUSABLE = frozenset(
    {NumberStatus.SUSPENDED, NumberStatus.RESTRICTED, NumberStatus.FAILED, NumberStatus.EXPIRED}
)
_ASLEEP = frozenset({NumberStatus.INACTIVE, NumberStatus.RELEASED}) | _UNUSABLE


@make_rule(
    "no-inbound-route",
    Severity.CRITICAL,
    advice="Give it a user, an agent, a call flow or a number to forward to, or release it.",
)
def no_inbound_route(record: NumberRecord, known: AuditContext) -> str | None:
    """Nothing answers the number: callers reach nobody."""
    if record.is_routed is not False:
        return None
    if record.pool is not None:
        return (
            f"no user, service or forwarding on it, nor on its pool {_named(record.pool, record.pool_name)}"
        )
    summary = f": {record.routing_summary!r}" if record.routing_summary else ""
    return f"the vendor names no user, agent, service or forwarding for it{summary}"


@make_rule(
    "forwards-to-itself",
    Severity.CRITICAL,
    advice="Forward it to another number, or take the forwarding out.",
)
def forwards_to_itself(record: NumberRecord, known: AuditContext) -> str | None:
    """The number forwards to itself: callers reach nobody."""
    target = forwards_to(record)
    if target is None or target != digits(record.number):
        return None
    return f"forwards to {record.forwarding_number or record.number}, which is itself"


@make_rule(
    "pooled-but-inactive",
    Severity.WARNING,
    advice="Switch the pool on, or take the number out of it.",
)
def pooled_but_inactive(record: NumberRecord, known: AuditContext) -> str | None:
    """The number sits in a pool, but its pool or the number itself is not active."""
    if record.pool is None:
        return None
    pool = _named(record.pool, record.pool_name)
    if record.pool_active is False:
        return f"pool {pool} is not active"
    return f"in pool {pool}, but {_status(record)}" if record.status in _ASLEEP else None


@make_rule(
    "unusable-status",
    Severity.CRITICAL,
    advice="Settle it with the vendor: what is unpaid, unverified or refused; or release the number.",
)
def unusable_status(record: NumberRecord, known: AuditContext) -> str | None:
    """The number is suspended, restricted, failed or expired."""
    return _status(record) if record.status in _UNUSABLE else None


_REFUSED = ("reject", "fail", "declin", "denied", "suspend", "expired", "deactivat", "revoked")


@make_rule(
    "ten-dlc-rejected",
    Severity.CRITICAL,
    advice="Correct the campaign as the vendor's reason says, and submit it again.",
)
def ten_dlc_rejected(record: NumberRecord, known: AuditContext) -> str | None:
    """The number's 10DLC campaign was rejected or suspended: its messages are blocked or filtered."""
    status = record.ten_dlc_status or ""
    if record.ten_dlc_failure:
        return f"campaign {status or 'without a status'}: {record.ten_dlc_failure}"
    return f"campaign {status}" if any(word in status.lower() for word in _REFUSED) else None


@make_rule(
    "ten-dlc-not-registered",
    Severity.WARNING,
    advice="Register it with a 10DLC campaign, or switch its messages off.",
)
def ten_dlc_not_registered(record: NumberRecord, known: AuditContext) -> str | None:
    """A +1 local number may send messages, but is registered with no 10DLC campaign."""
    if record.ten_dlc_registered is not False or record.sms is False or not _is_long_code(record):
        return None
    return "no 10DLC campaign, and messages are not switched off"


_TOLL_FREE = tuple(f"+1{area}" for area in (800, 833, 844, 855, 866, 877, 888, 822))


def _is_long_code(record: NumberRecord) -> bool:
    """Whether carriers want it registered: the ten-digit numbers of +1, toll-free ones aside."""
    number = record.number
    is_nanp = number.startswith("+1") and record.country in {None, "US"}
    return is_nanp and record.kind is not NumberKind.TOLL_FREE and not number.startswith(_TOLL_FREE)


@make_rule(
    "warmup-blocked",
    Severity.WARNING,
    advice="See why its health is bad (opt-outs, complaints, filtering), and pause campaigns on it.",
)
def warmup_blocked(record: NumberRecord, known: AuditContext) -> str | None:
    """The number's warm-up is blocked."""
    said = {"state": record.warmup_state, "health": record.warmup_health}
    blocked = [f"{what} {word}" for what, word in said.items() if (word or "").lower() == "blocked"]
    if not blocked:
        return None
    reason = f": {record.warmup_reason}" if record.warmup_reason else ""
    return f"warm-up {' and '.join(blocked)}{reason}"


@make_rule(
    "assigned-to-missing",
    Severity.CRITICAL,
    advice="Assign it to somebody who is there.",
)
def assigned_to_missing(record: NumberRecord, known: AuditContext) -> str | None:
    """The number is assigned to a user or an agent that is not there."""
    if (record.inbound or "").startswith("agent:"):
        return _missing("agent", [record.assignee], known.agents(record.backend))
    ids = [record.assignee, *(record.ring_users or "").split()]
    return _missing("user", ids, known.users(record.backend))


def _missing(what: str, ids: list[str | None], there: frozenset[str] | None) -> str | None:
    if there is None:
        return None
    gone = dict.fromkeys(one for one in ids if one and one not in there)
    return f"{what} {', '.join(gone)} is not among the {len(there)} {what}s" if gone else None


@make_rule(
    "billed-but-unused",
    Severity.WARNING,
    advice="Put it to use, or release it.",
)
def billed_but_unused(record: NumberRecord, known: AuditContext) -> str | None:
    """Somebody pays for the number, and nobody uses it."""
    if not record.billed or record.pool is not None:
        return None
    price = f"billed {record.monthly_amount} a month" if record.monthly_amount else "billed"
    if record.status in _ASLEEP:
        return f"{price}, but {_status(record)}"
    if (record.inventory_state or "").lower() == "available":
        return f"{price}, but the vendor's inventory calls it {record.inventory_state}"
    return f"{price}, but nothing answers it" if record.is_routed is False and not record.assignee else None


@make_rule(
    "not-e164",
    Severity.WARNING,
    advice="Correct it at the vendor: '+', country code and number, without spaces.",
)
def not_e164(record: NumberRecord, known: AuditContext) -> str | None:
    """The number is not written as E.164."""
    return None if is_e164(record.number) else f"{record.number!r:.60} is not E.164"


@make_rule(
    "invalid-number",
    Severity.WARNING,
    advice="Check it with the vendor: no such number can be assigned in its country.",
)
def invalid_number(record: NumberRecord, known: AuditContext) -> str | None:
    """The number is E.164, but no numbering plan has it."""
    if not is_e164(record.number):
        return None
    numbering, parsed, region = _parsed(record.number)
    if parsed is None:
        return f"no country has the calling code of {record.number}"
    if region is not None:
        return None
    where = numbering.region_code_for_country_code(parsed.country_code)
    return f"not a number of +{parsed.country_code} ({where})"


@make_rule(
    "country-mismatch",
    Severity.WARNING,
    advice="Correct the country at the vendor: prices, compliance and routing go by it.",
)
def country_mismatch(record: NumberRecord, known: AuditContext) -> str | None:
    """The number belongs to another country than the one it is listed under."""
    if not record.country or not is_e164(record.number):
        return None
    numbering, parsed, region = _parsed(record.number)
    country = _ALIASES.get(record.country.upper(), record.country.upper())
    # 001 is what the library calls numbers of no country, such as +800.
    if parsed is None or region in {None, "001", country}:
        return None
    if numbering.is_valid_number_for_region(parsed, country):
        return None
    return f"listed under {record.country}, but it is a number of {region}"


_ALIASES = {"UK": "GB", "EL": "GR"}


@lru_cache(maxsize=64)  # two rules ask about the same number, one after the other
def _parsed(number: str) -> tuple[Any, Any, str | None]:
    """Return the library, the number as it reads it, and the country; None for what there is not."""
    numbering = require_extra("audit", "phonenumbers")
    try:
        parsed = numbering.parse(number)
    except numbering.NumberParseException:
        return numbering, None, None
    return numbering, parsed, numbering.region_code_for_number(parsed)


def _status(record: NumberRecord) -> str:
    theirs = record.inventory_state or record.vendor_status
    said = f" (the vendor says {theirs!r})" if theirs and theirs.lower() != record.status.value else ""
    return f"it is {record.status.value}{said}"


def _named(id_: str, name: str | None) -> str:
    return f"{name!r}" if name else id_
