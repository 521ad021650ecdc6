"""Rules that check one number at a time.

Each docstring is the summary that a finding shows.
"""
# ruff: noqa: ARG001, D401 -- all have one signature; the docstrings are summaries

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from phonesys._extras import require_extra
from phonesys._validation import is_e164
from phonesys.inventory.audit.finding import Severity
from phonesys.inventory.audit.rule import make_rule
from phonesys.inventory.digits import forwarding_target, to_digits
from phonesys.model import NumberKind, NumberStatus

if TYPE_CHECKING:
    from phonesys.inventory.audit.context import AuditContext
    from phonesys.record import NumberRecord

_UNUSABLE = frozenset(
    {NumberStatus.SUSPENDED, NumberStatus.RESTRICTED, NumberStatus.FAILED, NumberStatus.EXPIRED}
)
_ASLEEP = frozenset({NumberStatus.INACTIVE, NumberStatus.RELEASED}) | _UNUSABLE


@make_rule(
    "no-inbound-route",
    Severity.CRITICAL,
    advice="Give it a user, an agent, a call flow or a number to forward to, or release it.",
)
def no_inbound_route(record: NumberRecord, context: AuditContext) -> str | None:
    """No route answers the number: callers reach no one."""
    if record.is_routed is not False:
        return None
    if record.pool is not None:
        return f"no user, service or forwarding on it or on its pool {_pool_name(record)}"
    summary = f": {record.routing_summary!r}" if record.routing_summary else ""
    return f"the vendor names no user, agent, service or forwarding for it{summary}"


@make_rule(
    "forwards-to-itself",
    Severity.CRITICAL,
    advice="Forward it to another number, or remove the forwarding.",
)
def forwards_to_itself(record: NumberRecord, context: AuditContext) -> str | None:
    """The number forwards to itself: callers reach no one."""
    target = forwarding_target(record)
    if target is None or target != to_digits(record.number):
        return None
    return f"forwards to {record.forwarding_number or record.number}, which is itself"


@make_rule(
    "pooled-but-inactive",
    Severity.WARNING,
    advice="Activate the pool, or remove the number from it.",
)
def pooled_but_inactive(record: NumberRecord, context: AuditContext) -> str | None:
    """The number is in a pool, but the pool or the number is not active."""
    if record.pool is None:
        return None
    pool = _pool_name(record)
    if record.pool_active is False:
        return f"pool {pool} is not active"
    return f"in pool {pool}, but {_status(record)}" if record.status in _ASLEEP else None


@make_rule(
    "unusable-status",
    Severity.CRITICAL,
    advice="Ask the vendor what is unpaid, unverified or refused, or release the number.",
)
def unusable_status(record: NumberRecord, context: AuditContext) -> str | None:
    """The number is suspended, restricted, failed or expired."""
    return _status(record) if record.status in _UNUSABLE else None


_REFUSED = ("reject", "fail", "declin", "denied", "suspend", "expired", "deactivat", "revoked")


@make_rule(
    "ten-dlc-rejected",
    Severity.CRITICAL,
    advice="Correct the campaign as the vendor's reason says, and submit it again.",
)
def ten_dlc_rejected(record: NumberRecord, context: AuditContext) -> str | None:
    """The number's 10DLC campaign was rejected or suspended: its messages are blocked or filtered."""
    status = record.ten_dlc_status or ""
    if record.ten_dlc_failure:
        return f"campaign {status or 'without a status'}: {record.ten_dlc_failure}"
    return f"campaign {status}" if any(word in status.lower() for word in _REFUSED) else None


@make_rule(
    "ten-dlc-not-registered",
    Severity.WARNING,
    advice="Register it with a 10DLC campaign, or disable messages on it.",
)
def ten_dlc_not_registered(record: NumberRecord, context: AuditContext) -> str | None:
    """A +1 local number may send messages, but is registered with no 10DLC campaign."""
    if record.ten_dlc_registered is not False or record.sms is False or not _is_long_code(record):
        return None
    return "no 10DLC campaign, and messages are not disabled"


_TOLL_FREE = tuple(f"+1{area}" for area in (800, 833, 844, 855, 866, 877, 888, 822))


def _is_long_code(record: NumberRecord) -> bool:
    """Return True for numbers that carriers want registered: those of +1 except toll-free ones."""
    number = record.number
    is_nanp = number.startswith("+1") and record.country in {None, "US"}
    return is_nanp and record.kind is not NumberKind.TOLL_FREE and not number.startswith(_TOLL_FREE)


@make_rule(
    "warmup-blocked",
    Severity.WARNING,
    advice="Find out why its health is bad (opt-outs, complaints, filtering), and pause its campaigns.",
)
def warmup_blocked(record: NumberRecord, context: AuditContext) -> str | None:
    """The number's warm-up is blocked."""
    words = {"state": record.warmup_state, "health": record.warmup_health}
    blocked = [f"{name} {word}" for name, word in words.items() if (word or "").lower() == "blocked"]
    if not blocked:
        return None
    reason = f": {record.warmup_reason}" if record.warmup_reason else ""
    return f"warm-up {' and '.join(blocked)}{reason}"


@make_rule(
    "assigned-to-missing",
    Severity.CRITICAL,
    advice="Assign it to an existing user or agent.",
)
def assigned_to_missing(record: NumberRecord, context: AuditContext) -> str | None:
    """The number is assigned to a user or an agent that does not exist."""
    if (record.inbound or "").startswith("agent:"):
        return _missing("agent", [record.assignee], context.agents(record.backend))
    ids = [record.assignee, *(record.ring_users or "").split()]
    return _missing("user", ids, context.users(record.backend))


def _missing(kind: str, ids: list[str | None], existing: frozenset[str] | None) -> str | None:
    if existing is None:
        return None
    missing = dict.fromkeys(one for one in ids if one and one not in existing)
    return f"{kind} {', '.join(missing)} is not among the {len(existing)} {kind}s" if missing else None


@make_rule(
    "billed-but-unused",
    Severity.WARNING,
    advice="Use it, or release it.",
)
def billed_but_unused(record: NumberRecord, context: AuditContext) -> str | None:
    """The number is billed and not used."""
    if not record.billed or record.pool is not None:
        return None
    price = f"billed {record.monthly_amount} a month" if record.monthly_amount else "billed"
    if record.status in _ASLEEP:
        return f"{price}, but {_status(record)}"
    if (record.inventory_state or "").lower() == "available":
        return f"{price}, but the vendor's inventory calls it {record.inventory_state}"
    return f"{price}, but no route answers it" if record.is_routed is False and not record.assignee else None


@make_rule(
    "not-e164",
    Severity.WARNING,
    advice="Correct it at the vendor: '+', country code and number, without spaces.",
)
def not_e164(record: NumberRecord, context: AuditContext) -> str | None:
    """The number is not written as E.164."""
    special = _is_short_code(record.number) or _is_sender(record.number)
    return None if is_e164(record.number) or special else f"{record.number!r:.60} is not E.164"


_is_short_code = re.compile(r"[0-9]{3,8}").fullmatch
_is_sender = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}").fullmatch


@make_rule(
    "short-code",
    Severity.NOTICE,
    advice="Keep its lease and its campaign in force. It works in one country only.",
)
def short_code(record: NumberRecord, context: AuditContext) -> str | None:
    """The number is a short code."""
    return f"{record.number} is a short code" if _is_short_code(record.number) else None


@make_rule(
    "alphanumeric-sender",
    Severity.NOTICE,
    advice="Register it where its destinations require that. Its recipients can neither reply nor call.",
)
def alphanumeric_sender(record: NumberRecord, context: AuditContext) -> str | None:
    """The number is an alphanumeric sender."""
    return f"{record.number!r} is an alphanumeric sender" if _is_sender(record.number) else None


@make_rule(
    "invalid-number",
    Severity.WARNING,
    advice="Ask the vendor: no such number can be assigned in its country.",
)
def invalid_number(record: NumberRecord, context: AuditContext) -> str | None:
    """The number is E.164, but in no numbering plan."""
    if not is_e164(record.number):
        return None
    numbering, parsed, region = _parsed(record.number)
    if parsed is None:
        return f"{record.number} has the calling code of no country"
    if region is not None:
        return None
    where = numbering.region_code_for_country_code(parsed.country_code)
    return f"not a number of +{parsed.country_code} ({where})"


@make_rule(
    "country-mismatch",
    Severity.WARNING,
    advice="Correct the country at the vendor: prices, compliance and routing depend on it.",
)
def country_mismatch(record: NumberRecord, context: AuditContext) -> str | None:
    """The number belongs to another country than the vendor lists."""
    if not record.country or record.country_derived or not is_e164(record.number):
        return None
    numbering, parsed, region = _parsed(record.number)
    country = _ALIASES.get(record.country.upper(), record.country.upper())
    # The library calls numbers of no country, such as +800, region 001.
    if parsed is None or region in {None, "001", country}:
        return None
    if numbering.is_valid_number_for_region(parsed, country):
        return None
    return f"listed under {record.country}, but it is a number of {region}"


_ALIASES = {"UK": "GB", "EL": "GR"}


@lru_cache(maxsize=64)  # two rules parse the same number, one after the other
def _parsed(number: str) -> tuple[Any, Any, str | None]:
    """Return the library, the parsed number and its country, each None if there is none."""
    numbering = require_extra("audit", "phonenumbers")
    try:
        parsed = numbering.parse(number)
    except numbering.NumberParseException:
        return numbering, None, None
    return numbering, parsed, numbering.region_code_for_number(parsed)


def _status(record: NumberRecord) -> str:
    theirs = record.inventory_state or record.vendor_status
    word = f" (the vendor says {theirs!r})" if theirs and theirs.lower() != record.status.value else ""
    return f"it is {record.status.value}{word}"


def _pool_name(record: NumberRecord) -> str:
    return repr(record.pool_name) if record.pool_name else str(record.pool)


RULES = (
    no_inbound_route,
    forwards_to_itself,
    pooled_but_inactive,
    unusable_status,
    ten_dlc_rejected,
    ten_dlc_not_registered,
    warmup_blocked,
    assigned_to_missing,
    billed_but_unused,
    not_e164,
    short_code,
    alphanumeric_sender,
    invalid_number,
    country_mismatch,
)
"""In the order in which they are checked."""
