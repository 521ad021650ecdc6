"""The answers that the server gives: pages of numbers, made once, the same bytes for every client."""

from __future__ import annotations

import json
from typing import Any

_UNTIL = "2025-11-20T09:30:00.000Z"
_EMPTY = b'{"numbers":[],"total":0}'


def location_pages(pages: int, rows: int) -> list[bytes]:
    """Return the pages of one LeadConnector location: all full but the last, which lacks one number.

    The last element is the page after the last.
    """
    return [location_page(page, rows, pages * rows - 1) for page in range(pages + 1)]


def location_page(page: int, size: int, count: int, *, total: bool = False) -> bytes:
    """Return one page of a LeadConnector location that has `count` numbers.

    With `total`, the page states their number, as version v3 may.
    """
    rows = range(page * size, min((page + 1) * size, count))
    if not rows and not total:
        return _EMPTY
    return _bytes(
        {
            "numbers": [location_row(row) for row in rows],
            "isUnderGhl": True,
            "pageSize": size,
            "page": page,
            "accountStatus": "active",
            **({"total": count} if total else {}),
        }
    )


def location_row(place: int) -> dict[str, Any]:
    """Make a row of LeadConnector's "List active numbers", version 2021-07-28, with every field it shows."""
    return {
        "phoneNumber": f"+1415{place:07}",
        "friendlyName": f"Sales Line {place + 1}",
        "sid": f"PN{place:032x}",
        "countryCode": "US",
        "capabilities": {"voice": True, "sms": True, "mms": True, "fax": False},
        "type": ("local", "local", "local", "toll-free")[place % 4],
        "isDefaultNumber": place == 0,
        "linkedUser": f"user_{place:07}" if place % 2 else None,
        "linkedRingAllUsers": [f"user_{place:06}"] if place % 4 == 0 else [],
        "inboundCallService": {"type": "voice_ai", "value": f"{place:022x}"} if place % 2 else None,
        "forwardingNumber": f"+1628{place:07}" if place % 4 == 0 else None,
        "isGroupConversationEnabled": True,
        "addressSid": None,
        "bundleSid": None,
        "dateAdded": "2024-03-01T17:04:05.000Z",
        "dateUpdated": _UNTIL,
        "origin": "twilio",
    }


def organization_pages(pages: int, rows: int) -> list[bytes]:
    """Make the pages of one Leadping organization; each names the next by a token, which is its index."""
    answers = []
    for page in range(pages):
        places = range(page * rows, (page + 1) * rows)
        answer = {"items": [organization_row(place) for place in places], "pageSize": rows}
        if page + 1 < pages:
            answer["continuationToken"] = str(page + 1)
        answers.append(_bytes(answer))
    return answers


def organization_row(place: int) -> dict[str, Any]:
    """Make a row of Leadping's list, with every field that its schema `PhoneNumberTableRow` has."""
    return {
        "id": f"pn_{place:024x}",
        "name": f"Line {place}",
        "number": f"+1415{place:07}",
        "type": "Local",
        "organization": "Example Ltd",
        "organizationId": "org_0123456789abcdef",
        "enabled": True,
        "warmup": {
            "enabled": True,
            "state": "Ready",
            "healthStatus": "Healthy",
            "healthScore": place % 101,
            "progressPercent": 100,
            "callStage": "Ready",
        },
        "ownership": "Organization",
        "routingSummary": "Messages and calls go to the team",
        "smsReady": True,
        "voiceReady": place % 3 != 0,
        "tenDlcCampaignStatus": "Approved",
        "isDemo": False,
    }


def _bytes(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
