"""Leadping's JSON for numbers, in both generations of its schema."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from phonesys.sandbox.number_plan import describe, mix, uuid_like
from phonesys.sandbox.state import ORGANIZATION, random_time

if TYPE_CHECKING:
    from phonesys.sandbox.state import LeadpingNumber

Schema: TypeAlias = Literal["2025", "2026"]
"""2025: `business`, flat `warmup…` fields, numbers as strings. 2026: `organization`, `warmup{}`, numbers."""

_INVENTORY = (
    "Available", "Assigned", "Pending verification", "Ready for SMS", "Ready for voice", "Restricted",
    "Suspended", "Failed", "Released", "Warmup-only", "Internal/test-only",
)  # fmt: skip
_STATUS = ("Unregistered", "Provisioning", "FailedProvisioning", "Active", "Expired", "Suspended")
_WARMUP_2025 = ("Not Started", "Warming", "Healthy", "Needs Attention", "Paused", "Blocked", "Ready")
_STATE_2026 = ("Not Started", "In Progress", "Paused", "Blocked", "Ready")
_HEALTH_2026 = ("Not Evaluated", "Evaluating", "Healthy", "Needs Attention", "Blocked")


def table_row(record: LeadpingNumber, schema: Schema) -> dict[str, Any]:
    """Write a row of the list, which is not the full answer; only demo numbers say what they are."""
    bits = record.bits
    row: dict[str, Any] = {
        "id": record.id,
        "name": record.name,
        "number": record.number,
        "type": describe(record.number)[1],
        "organization": ORGANIZATION[1],
        "organizationId": record.organization_id,
        "enabled": record.enabled,
        "warmup": readiness(record, schema),
        "ownership": "Leadping-owned" if bits & 1 else "Customer-owned",
        "routingSummary": "SMS and voice" if bits & 2 else "Voice only",
        "smsReady": bool(bits & 2),
        "voiceReady": True,
        "tenDlcCampaignStatus": "Approved" if bits & 4 else None,
    }
    if bits % 23 == 0:
        row["isDemo"] = True
    return row


def full(record: LeadpingNumber, schema: Schema) -> dict[str, Any]:
    """Write everything about one number."""
    return _full_2025(record) if schema == "2025" else _full_2026(record)


def readiness(record: LeadpingNumber, schema: Schema) -> dict[str, Any]:
    """Write the warm-up of one number; the older schema writes its integers as strings."""
    bits = record.bits >> 4
    score, progress = bits % 101, (bits >> 8) % 101
    old = schema == "2025"
    states, healths = (_WARMUP_2025, _WARMUP_2025) if old else (_STATE_2026, _HEALTH_2026)
    return {
        "enabled": bool(bits & 1),
        "state": states[(bits >> 16) % len(states)],
        "healthStatus": healths[(bits >> 20) % len(healths)],
        "healthScore": str(score) if old else score,
        "progressPercent": str(progress) if old else progress,
        "callStage": f"Stage {(bits >> 24) % 5}",
    }


def status(record: LeadpingNumber, days: int) -> dict[str, Any]:
    """Report what a number can send right now, and what it did in the last so many days."""
    bits = record.bits
    started = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds").replace("+00:00", "Z")
    contacted = bits % 500
    return {
        "number": record.number,
        "messagesPossible": bits % 200,
        "callsPossible": bits % 50,
        "smsWarmup": _sms_warmup(record),
        "outboundCapacity": _capacity(record),
        "optOutMetrics": {
            "windowDays": days,
            "windowStartedAt": started,
            "distinctContactedCount": contacted,
            "optOutCount": contacted // 50,
            "optOutRatePercent": 2.0 if contacted >= 50 else 0.0,  # noqa: PLR2004
        },
        "trafficMetrics": {
            "windowDays": days,
            "windowStartedAt": started,
            "smsSentCount": contacted,
            "trend": [],
        },
        "recentEvents": [],
    }


def location(number: str) -> dict[str, Any]:
    """Return a number's location, as far as it is known."""
    return {"location": None, "state": None, "countryCode": describe(number)[0], "timeZoneId": None}


def _sms_warmup(record: LeadpingNumber) -> dict[str, Any]:
    warmup = readiness(record, "2026")
    return {
        "phoneNumberId": record.id,
        "phoneNumber": record.number,
        "status": warmup["state"],
        "healthStatus": warmup["healthStatus"],
        "healthScore": warmup["healthScore"],
        "progressPercent": warmup["progressPercent"],
        "warmupEnabled": warmup["enabled"],
        "uiState": {
            "label": warmup["state"],
            "tone": "neutral",
            "description": f"Warm-up: {warmup['state']}",
        },
    }


def _capacity(record: LeadpingNumber) -> dict[str, Any]:
    used = record.bits % 200
    return {
        "capacityAvailable": True,
        "phoneNumberId": record.id,
        "phoneNumber": record.number,
        "healthStatus": "healthy",
        "smsApproved": bool(record.bits & 4),
        "smsUsedToday": used,
        "smsLimitToday": 200,
        "smsRemainingToday": 200 - used,
    }


def _full_2026(record: LeadpingNumber) -> dict[str, Any]:
    bits = record.bits
    return {
        "number": record.number,
        "phoneIdentityId": uuid_like(mix(bits)),
        "organization": {"id": record.organization_id, "name": ORGANIZATION[1]},
        "leadpingOwned": bool(bits & 1),
        "routing": {
            "smsEnabled": bool(bits & 2),
            "voiceEnabled": True,
            "teamId": None,
            "sourceId": f"src_{bits >> 44:05x}" if bits & 8 else None,
            "campaignId": f"cmp_{bits >> 44:05x}" if bits & 4 else None,
            "tenDlcApplicationId": None,
        },
        "enabled": record.enabled,
        "warmup": readiness(record, "2026"),
        "name": record.name,
        "id": record.id,
        "createdAt": record.created_at,
        "modifiedAt": record.modified_at,
    }


def _full_2025(record: LeadpingNumber) -> dict[str, Any]:
    bits, warmup = record.bits, readiness(record, "2025")
    source = f"src_{bits >> 44:05x}" if bits & 8 else None
    campaign = f"cmp_{bits >> 44:05x}" if bits & 4 else None
    return {
        "number": record.number,
        "business": {"id": record.organization_id, "name": ORGANIZATION[1]},
        "user": {"id": f"user_{bits >> 40:06x}", "name": "Sandbox User"},
        "teamId": None,
        "campaignId": campaign,
        "sourceId": source,
        "leadpingOwned": bool(bits & 1),
        **_provider(bits),
        "inventoryState": _INVENTORY[(bits >> 12) % len(_INVENTORY)],
        "capabilities": {"sms": bool(bits & 2), "voice": True, "warmup": bool(bits & 16), "testing": False},
        "routing": _routing(bits, source, campaign),
        "tenDlc": _ten_dlc(bits, campaign),
        "billing": _billing(record),
        "isPreferred": bits % 9 == 0,
        "isDefault": record.serial == 0,
        "location": {"location": None, "state": None, "countryCode": describe(record.number)[0]},
        "status": _STATUS[(bits >> 20) % len(_STATUS)],
        "enabled": record.enabled,
        "isInternalPool": False,
        "isApprovedTestDestination": False,
        "isMessagingProgramApproved": bool(bits & 4),
        "warmupEnabled": warmup["enabled"],
        "warmupState": warmup["state"],
        "healthStatus": warmup["healthStatus"],
        "warmupHealthScore": warmup["healthScore"],
        "warmupProgressPercent": warmup["progressPercent"],
        "warmupNextActionAt": None,
        "warmupPauseReason": None,
        "healthReason": None,
        "events": [_event(record)],
        "name": record.name,
        "id": record.id,
        "createdAt": record.created_at,
        "modifiedAt": record.modified_at,
    }


def _provider(bits: int) -> dict[str, Any]:
    return {
        "provider": "telnyx",
        "providerPhoneNumberId": str(mix(bits)),
        "providerOrderId": uuid_like(bits + 1),
        "providerOrderStatus": "success",
        "providerStatus": "active",
        "providerError": None,
        "providerSyncedAt": random_time(bits >> 3),
        "providerReleasedAt": None,
    }


def _routing(bits: int, source: str | None, campaign: str | None) -> dict[str, Any]:
    return {
        "smsEnabled": bool(bits & 2),
        "voiceEnabled": True,
        "warmupOnly": False,
        "internalTestOnly": False,
        "teamId": None,
        "sourceId": source,
        "campaignId": campaign,
        "messagingProfileId": None,
        "voiceConnectionId": None,
    }


def _ten_dlc(bits: int, campaign: str | None) -> dict[str, Any]:
    return {
        "brandId": f"brd_{bits >> 44:05x}",
        "campaignId": campaign,
        "campaignStatus": "Approved" if campaign else None,
        "assignmentStatus": None,
        "messagingProfileId": None,
        "statusUpdatedAt": None,
        "failureReason": None,
        "lastProviderEventId": None,
    }


def _billing(record: LeadpingNumber) -> dict[str, Any]:
    return {
        "businessId": record.organization_id,
        "businessName": ORGANIZATION[1],
        "userId": None,
        "userName": None,
        "subscriptionItemId": None,
        "monthlyAmount": "1.15",
        "channel": "sms",
    }


def _event(record: LeadpingNumber) -> dict[str, Any]:
    return {
        "id": uuid_like(record.bits + 2),
        "type": "created",
        "title": "Number created",
        "details": None,
        "actorId": None,
        "actorName": None,
        "createdAt": record.created_at,
    }
