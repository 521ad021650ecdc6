"""Leadping's responses as structs: list rows, and single numbers in all generations of its schema.

The vendor renames fields, so all generations are decoded. The older one is on the vendor's page "Creates a
phone number", the newer one in its OpenAPI file, the newest in its Python SDK (release 1.0.83). Enum values
stay strings.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- msgspec reads the annotations
from functools import partial
from typing import Any, ClassVar

import msgspec

from phonesys._calling_codes import country_of
from phonesys.backends.countries import alpha_2
from phonesys.backends.rows import (
    Mending,
    RowDecoder,
    Text,
    Untyped,
    check_depth,
    decode_repaired,
    decode_rows_individually,
)
from phonesys.backends.words import Vocabulary, kind_of
from phonesys.http.response import MSGSPEC_ERRORS, decode_error, json_decoder, wrap_decoder
from phonesys.model import (
    NO_CAPABILITIES,
    Capabilities,
    MendedField,
    NumberKind,
    NumberStatus,
    UnreadableRow,
    parse_time,
    parse_whole,
)
from phonesys.record import NumberBase

_status_of = Vocabulary(
    {
        "Active": NumberStatus.ACTIVE,
        "Unregistered": NumberStatus.PENDING,
        "Provisioning": NumberStatus.PENDING,
        "FailedProvisioning": NumberStatus.FAILED,
        "Expired": NumberStatus.EXPIRED,
        "Suspended": NumberStatus.SUSPENDED,
    },
    NumberStatus.UNKNOWN,
)
# States of the inventory that outweigh the number's status.
_inventory_status_of: Vocabulary[NumberStatus | None] = Vocabulary(
    {
        "Pending verification": NumberStatus.PENDING,
        "Restricted": NumberStatus.RESTRICTED,
        "Suspended": NumberStatus.SUSPENDED,
        "Failed": NumberStatus.FAILED,
        "Released": NumberStatus.RELEASED,
    },
    None,
)
# The summary is written for people; these are the phrases that say that there is no route.
_UNROUTED = frozenset({"none", "no routing", "not routed", "unrouted", "not configured", "unassigned"})


def _status(inventory: str | None, status: str | None, *, enabled: bool | None) -> NumberStatus:
    if (overriding := _inventory_status_of(inventory)) is not None:
        return overriding
    if status is not None:
        known = _status_of(status)
        return NumberStatus.INACTIVE if known is NumberStatus.ACTIVE and enabled is False else known
    if enabled is None:
        return NumberStatus.UNKNOWN
    return NumberStatus.ACTIVE if enabled else NumberStatus.INACTIVE


def _is_routed(summary: str | None) -> bool | None:
    return None if not summary else summary.strip().lower() not in _UNROUTED


class Readiness(msgspec.Struct, rename="camel", frozen=True, kw_only=True, gc=False):
    """Warm-up progress of a number (schema `PhoneNumberReadiness`)."""

    enabled: bool | None = None
    state: Text | None = None
    """`Not Started`, `In Progress`, `Paused`, `Blocked`, `Ready`, …"""
    health_status: Text | None = None
    health_score: int | None = None
    progress_percent: int | None = None
    call_stage: Text | None = None

    def record_fields(self) -> dict[str, Any]:
        """Return the record fields that it fills in."""
        return {"warmup_state": self.state, "warmup_health": self.health_status}


class LeadpingRow(
    NumberBase,
    msgspec.Struct,
    rename={
        "account": "phonesys:account",
        "backend": "phonesys:backend",
        "row_id": "id",
        "label": "name",
        "organization_id": "organizationId",
        "routing_summary": "routingSummary",
        "sms_ready": "smsReady",
        "voice_ready": "voiceReady",
        "ten_dlc_campaign_status": "tenDlcCampaignStatus",
        "is_demo": "isDemo",
        "inventory_state": "inventoryState",
        "state": "status",
    },
    gc=False,
    kw_only=True,
):
    """A list row, which has fewer fields than a single number (schema `PhoneNumberTableRow`)."""

    id_field: ClassVar[str] = "row_id"
    # In the vendor's order, in which msgspec finds each field at once.
    row_id: Text | None = None
    label: Text | None = None
    number: Text
    type: Text | None = None
    """The vendor's word for `kind`."""
    organization: Text | None = None
    organization_id: Text | None = None
    enabled: bool | None = None
    warmup: Readiness | None = None
    ownership: Text | None = None
    routing_summary: Text | None = None
    sms_ready: bool | None = None
    voice_ready: bool | None = None
    ten_dlc_campaign_status: Text | None = None
    is_demo: bool | None = None
    """Demo numbers are listed like any other."""
    inventory_state: Text | None = None
    state: Text | None = None
    """The vendor's word for `status`, where the row has it."""
    # Text in the newest generation; single numbers of the oldest have an object of this name.
    location: Untyped = None
    """Place of the number, as text."""

    account: str = ""
    backend: str = "leadping"
    """The name of the backend that holds it."""

    @property
    def provider(self) -> str:
        return "leadping"

    @property
    def id(self) -> str:
        """The vendor's id; the number itself if there is none."""
        return self.row_id or self.number

    @property
    def country(self) -> str | None:
        """The country of the number's prefix: rows do not say."""
        return country_of(self.number)

    @property
    def country_is_derived(self) -> bool:
        """True if the country is known."""
        return self.country is not None

    @property
    def kind(self) -> NumberKind:
        return kind_of(self.type)

    @property
    def capabilities(self) -> Capabilities:
        """Capabilities that the number is ready for."""
        return Capabilities(voice=self.voice_ready, sms=self.sms_ready)

    @property
    def status(self) -> NumberStatus:
        return _status(self.inventory_state, self.state, enabled=self.enabled)

    @property
    def assignee(self) -> str | None:
        """Rows do not say."""
        return None

    @property
    def created_at(self) -> datetime | None:
        """Rows do not say."""
        return None

    @property
    def updated_at(self) -> datetime | None:
        """Rows do not say."""
        return None

    def record_fields(self) -> dict[str, Any]:
        """Return the record fields beyond those that all vendors share."""
        return {
            "is_routed": _is_routed(self.routing_summary),
            "routing_summary": self.routing_summary,
            "is_enabled": self.enabled,
            "is_demo": self.is_demo,
            "vendor_status": self.state,
            "inventory_state": self.inventory_state,
            "sms_ready": self.sms_ready,
            "voice_ready": self.voice_ready,
            "ten_dlc_registered": bool(self.ten_dlc_campaign_status),
            "ten_dlc_status": self.ten_dlc_campaign_status,
            "origin": self.ownership,
            **(self.warmup.record_fields() if self.warmup else {}),
        }


class IdName(msgspec.Struct, frozen=True, gc=False):
    """An object that the vendor refers to by id."""

    id: Text | None = None
    name: Text | None = None


class CapabilityFlags(msgspec.Struct, frozen=True, gc=False):
    """Capabilities that a number is set up for, in the older generation."""

    sms: bool | None = None
    voice: bool | None = None
    warmup: bool | None = None
    testing: bool | None = None


class Routing(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Routes of a number's traffic; fields of both generations."""

    sms_enabled: bool | None = None
    voice_enabled: bool | None = None
    warmup_only: bool | None = None
    internal_test_only: bool | None = None
    team_id: Text | None = None
    source_id: Text | None = None
    campaign_id: Text | None = None
    messaging_profile_id: Text | None = None
    voice_connection_id: Text | None = None
    ten_dlc_application_id: Text | None = None

    def record_fields(self) -> dict[str, Any]:
        """Return the record fields that it fills in."""
        enabled = (self.voice_enabled, self.sms_enabled)
        return {
            "voice_ready": self.voice_enabled,
            "sms_ready": self.sms_enabled,
            "is_routed": None if enabled == (None, None) else any(enabled),
        }


class TenDlc(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Registration for application-to-person messages in the United States."""

    brand_id: Text | None = None
    campaign_id: Text | None = None
    campaign_status: Text | None = None
    assignment_status: Text | None = None
    messaging_profile_id: Text | None = None
    status_updated_at: Text | None = None
    failure_reason: Text | None = None
    last_provider_event_id: Text | None = None

    def record_fields(self) -> dict[str, Any]:
        """Return the record fields that it fills in."""
        return {
            "ten_dlc_registered": bool(self.campaign_id or self.campaign_status),
            "ten_dlc_status": self.campaign_status,
            "ten_dlc_failure": self.failure_reason,
        }


class Billing(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Payer and price of a number."""

    business_id: Text | None = None
    business_name: Text | None = None
    user_id: Text | None = None
    user_name: Text | None = None
    subscription_item_id: Text | None = None
    monthly_amount: Text | float | None = None
    """A decimal, which the vendor writes as a string; the currency is unknown."""
    channel: Text | None = None

    def record_fields(self) -> dict[str, Any]:
        """Return the record fields that it fills in."""
        return {"monthly_amount": self.monthly_amount, "billed": True if self.subscription_item_id else None}


class Location(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Place of a number."""

    location: Text | None = None
    state: Text | None = None
    country_code: Text | None = None


class Event(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Entry of a number's history."""

    id: Text | None = None
    type: Text | None = None
    title: Text | None = None
    details: Text | None = None
    actor_id: Text | None = None
    actor_name: Text | None = None
    created_at: Text | None = None


_RENAMED = {
    "account": "phonesys:account",
    "backend": "phonesys:backend",
    "number_id": "id",
    "label": "name",
    "capability_flags": "capabilities",
    "state": "status",
    "created": "createdAt",
    "modified": "modifiedAt",
    **{
        name: name.split("_")[0] + "".join(word.title() for word in name.split("_")[1:])
        for name in (
            "phone_identity_id", "team_id", "campaign_id", "source_id", "leadping_owned",
            "provider_phone_number_id", "provider_order_id", "provider_order_status", "provider_status",
            "provider_error", "provider_synced_at", "provider_released_at", "ten_dlc", "is_preferred",
            "is_default", "inventory_state", "is_internal_pool", "is_approved_test_destination",
            "is_messaging_program_approved", "warmup_enabled", "warmup_state", "health_status",
            "warmup_next_action_at", "warmup_pause_reason", "health_reason", "is_demo", "sms_ready",
            "voice_ready", "number_health_enabled",
        )
    },
    "score": "warmupHealthScore",
    "progress": "warmupProgressPercent",
    "carrier": "provider",
}  # fmt: skip


class LeadpingNumber(NumberBase, msgspec.Struct, rename=_RENAMED, kw_only=True):
    """A single number with all its fields, which depend on the generation of the schema."""

    number: Text
    number_id: Text | None = None
    label: Text | None = None
    enabled: bool | None = None
    leadping_owned: bool | None = None
    routing: Routing | None = None
    created: Untyped = None
    modified: Untyped = None

    # The newer generation's.
    phone_identity_id: Text | None = None
    organization: IdName | None = None
    warmup: Readiness | None = None

    # The newest generation's.
    ownership: Text | None = None
    """Owner of the traffic."""
    sms_ready: bool | None = None
    voice_ready: bool | None = None
    number_health_enabled: bool | None = None
    """True if the number-health add-on is paid for, which is the vendor's default."""

    # The older generation's.
    business: IdName | None = None
    user: IdName | None = None
    team_id: Text | None = None
    campaign_id: Text | None = None
    source_id: Text | None = None
    carrier: Text | None = None
    """The carrier behind the vendor, which calls it `provider`."""
    provider_phone_number_id: Text | None = None
    provider_order_id: Text | None = None
    provider_order_status: Text | None = None
    provider_status: Text | None = None
    provider_error: Text | None = None
    provider_synced_at: Text | None = None
    provider_released_at: Text | None = None
    inventory_state: Text | None = None
    capability_flags: CapabilityFlags | None = None
    ten_dlc: TenDlc | None = None
    billing: Billing | None = None
    is_preferred: bool | None = None
    is_default: bool | None = None
    location: Location | None = None
    state: Text | None = None
    """The vendor's word for `status`."""
    is_internal_pool: bool | None = None
    is_approved_test_destination: bool | None = None
    is_messaging_program_approved: bool | None = None
    warmup_enabled: bool | None = None
    warmup_state: Text | None = None
    health_status: Text | None = None
    # Integers written as strings; the vendor's own example shows strings that are none.
    score: Untyped = None
    progress: Untyped = None
    warmup_next_action_at: Text | None = None
    warmup_pause_reason: Text | None = None
    health_reason: Text | None = None
    events: tuple[Event, ...] | None = None
    is_demo: bool | None = None

    account: str = ""
    backend: str = "leadping"
    """The name of the backend that holds it."""

    @property
    def provider(self) -> str:
        return "leadping"

    @property
    def id(self) -> str:
        """The vendor's id; the number itself if there is none."""
        return self.number_id or self.number

    @property
    def country(self) -> str | None:
        return self._listed_country or country_of(self.number)

    @property
    def country_is_derived(self) -> bool:
        """True if the country is that of the number's prefix."""
        return not self._listed_country and country_of(self.number) is not None

    @property
    def _listed_country(self) -> str | None:
        return alpha_2(self.location.country_code) if self.location else None

    @property
    def kind(self) -> NumberKind:
        """Single numbers do not say; list rows do."""
        return NumberKind.UNKNOWN

    @property
    def capabilities(self) -> Capabilities:
        """Capabilities by the generation's own field; else by its routing."""
        if self.capability_flags is not None:
            return Capabilities(voice=self.capability_flags.voice, sms=self.capability_flags.sms)
        if self.sms_ready is not None or self.voice_ready is not None:
            return Capabilities(voice=self.voice_ready, sms=self.sms_ready)
        if self.routing is not None:
            return Capabilities(voice=self.routing.voice_enabled, sms=self.routing.sms_enabled)
        return NO_CAPABILITIES

    @property
    def status(self) -> NumberStatus:
        return _status(self.inventory_state, self.state, enabled=self.enabled)

    @property
    def assignee(self) -> str | None:
        return self.user.id if self.user else None

    @property
    def organization_id(self) -> str | None:
        """Id of the organization, which the older generation calls a business."""
        owner = self.organization or self.business
        return owner.id if owner else None

    @property
    def warmup_health_score(self) -> int | None:
        """None if the vendor does not say, or if the value is no integer."""
        return parse_whole(self.score)

    @property
    def warmup_progress_percent(self) -> int | None:
        """As `warmup_health_score`."""
        return parse_whole(self.progress)

    @property
    def created_at(self) -> datetime | None:
        return parse_time(self.created)

    @property
    def updated_at(self) -> datetime | None:
        return parse_time(self.modified)

    def record_fields(self) -> dict[str, Any]:
        """Return the record fields beyond those that all vendors share."""
        parts = (self.routing, self.warmup, self.ten_dlc, self.billing)
        fields = {name: value for part in parts if part for name, value in part.record_fields().items()}
        older = {
            "warmup_state": self.warmup_state,
            "warmup_health": self.health_status,
            "warmup_reason": self.health_reason or self.warmup_pause_reason,
        }
        return {
            "inbound": f"user:{self.user.id}" if self.user and self.user.id else None,
            "is_default": self.is_default,
            "is_enabled": self.enabled,
            "is_demo": self.is_demo,
            "vendor_status": self.state,
            "inventory_state": self.inventory_state,
            "origin": self.carrier,
            **fields,
            **{name: word for name, word in older.items() if word is not None},
        }


class SmsWarmup(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Warm-up progress of messages (schema `SmsReadinessStatusResponse`)."""

    phone_number_id: Text | None = None
    phone_number: Text | None = None
    status: Text | None = None
    health_status: Text | None = None
    health_score: int | None = None
    progress_percent: int | None = None
    warmup_enabled: bool | None = None
    ui_state: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        check_depth(self.ui_state)


class LeadpingStatus(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Current capacity and metrics of a number (schema `PhoneNumberStatusResponse`).

    Metrics and capacities stay plain objects: dozens of counters that the vendor keeps changing.
    """

    number: Text
    messages_possible: int | None = None
    calls_possible: int | None = None
    sms_warmup: SmsWarmup | None = None
    outbound_capacity: dict[str, Any] | None = None
    opt_out_metrics: dict[str, Any] | None = None
    traffic_metrics: dict[str, Any] | None = None
    recent_events: tuple[dict[str, Any], ...] | None = None

    def __post_init__(self) -> None:
        check_depth(
            self.outbound_capacity, self.opt_out_metrics, self.traffic_metrics, *(self.recent_events or ())
        )


class PurchasableNumber(msgspec.Struct, frozen=True, kw_only=True):
    """A number for sale (schema `PhoneNumberSearchResult`)."""

    number: Text
    location: Location | None = None


class Availability(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Availability and price of a number (schema `PhoneNumberAvailabilityResponse`)."""

    phone_number: Text | None = None
    is_available: bool
    price: float | None = None
    currency: Text | None = None
    location: Location | None = None


class _Offer(msgspec.Struct, frozen=True):
    numbers: tuple[msgspec.Raw, ...]


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A page of rows and the token of the next."""

    rows: tuple[LeadpingRow, ...]
    token: str | None = None
    total: int | None = None
    rejected: tuple[UnreadableRow, ...] = ()
    mended: tuple[MendedField, ...] = ()


class _ListingBody(msgspec.Struct, rename="camel", frozen=True):
    items: tuple[LeadpingRow, ...]
    continuation_token: str | None = None
    total_count: int | None = None


class _RawListingBody(msgspec.Struct, rename="camel", frozen=True):
    items: tuple[msgspec.Raw, ...]
    continuation_token: str | None = None
    total_count: Any = None


# Not strict: the older generation writes integers as strings.
_decode = msgspec.json.Decoder(_ListingBody, strict=False).decode
_decode_raw = msgspec.json.Decoder(_RawListingBody).decode
_decode_row = RowDecoder(LeadpingRow, "number", "row_id")


def decode_listing(body: bytes) -> Listing:
    """Decode a page as a whole; row by row only if that fails."""
    try:
        answer = _decode(body)
    except MSGSPEC_ERRORS:
        return _decode_rows(body)
    return Listing(rows=answer.items, token=answer.continuation_token, total=answer.total_count)


def _decode_rows(body: bytes) -> Listing:
    answer = decode_repaired(_decode_raw, body)
    mending = Mending()
    rows, rejected = decode_rows_individually(answer.items, partial(_decode_row, mending=mending))
    return Listing(
        rows=rows,
        rejected=rejected,
        mended=mending.result(),
        token=answer.continuation_token,
        total=parse_whole(answer.total_count),
    )


decode_number = wrap_decoder(RowDecoder(LeadpingNumber, "number", "number_id"))
decode_status = wrap_decoder(RowDecoder(LeadpingStatus, "number"))
decode_availability = json_decoder(Availability, strict=False)
_decode_offer = msgspec.json.Decoder(_Offer).decode
_decode_purchasable = RowDecoder(PurchasableNumber, "number")


def decode_purchasable(body: bytes) -> tuple[PurchasableNumber, ...]:
    """Decode numbers for sale."""
    offer = decode_repaired(_decode_offer, body)
    try:
        return tuple(map(_decode_purchasable, offer.numbers))
    except MSGSPEC_ERRORS as failure:
        raise decode_error(body, str(failure)) from None
