from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from phonesys import Capabilities, LeadpingNumber, LeadpingRow, NumberKind, NumberStatus, PhoneNumber
from phonesys.backends.leadping.wire import (
    Billing,
    CapabilityFlags,
    Event,
    IdName,
    Location,
    Readiness,
    Routing,
    TenDlc,
    decode_listing,
    decode_number,
    decode_status,
)

DATA = Path(__file__).parents[1] / "data" / "leadping"
MOMENT = "2023-11-07T05:31:56Z"
AT = datetime(2023, 11, 7, 5, 31, 56, tzinfo=UTC)
S = "<string>"

NUMBERS: dict[str, dict[str, Any]] = {
    "number-example.json": {
        "number": S,
        "id": S,
        "label": S,
        "carrier": S,
        "enabled": True,
        "status": NumberStatus.ACTIVE,
        "assignee": S,
        "country": S,
        "created_at": AT,
        "updated_at": AT,
        "warmup_health_score": None,
        "warmup_progress_percent": None,
    },
    "number-2025.json": {
        "provider": "leadping",
        "number": "+14155552671",
        "id": "pn_1",
        "label": "Sales Line 1",
        "country": "US",
        "kind": NumberKind.UNKNOWN,
        "capabilities": Capabilities(voice=False, sms=True),
        "status": NumberStatus.ACTIVE,
        "assignee": "user_1",
        "created_at": AT,
        "updated_at": None,
        "business": IdName("biz_1", "Acme"),
        "user": IdName("user_1", "Ada"),
        "team_id": "team_1",
        "campaign_id": "cmp_1",
        "source_id": "src_1",
        "leadping_owned": True,
        "carrier": "telnyx",
        "provider_phone_number_id": "1293384261075731499",
        "provider_order_id": "ord_1",
        "provider_order_status": "success",
        "provider_status": "active",
        "provider_error": None,
        "provider_synced_at": MOMENT,
        "provider_released_at": None,
        "inventory_state": "Ready for SMS",
        "capability_flags": CapabilityFlags(sms=True, voice=False, warmup=True, testing=False),
        "routing": Routing(
            sms_enabled=True,
            voice_enabled=True,
            warmup_only=False,
            internal_test_only=False,
            team_id="team_1",
            source_id="src_1",
            campaign_id="cmp_1",
            messaging_profile_id="mp_1",
            voice_connection_id="vc_1",
        ),
        "ten_dlc": TenDlc(
            brand_id="brd_1",
            campaign_id="cmp_1",
            campaign_status="Approved",
            assignment_status="Assigned",
            messaging_profile_id="mp_1",
            status_updated_at=MOMENT,
            last_provider_event_id="evt_1",
        ),
        "billing": Billing(
            business_id="biz_1",
            business_name="Acme",
            user_id="user_1",
            user_name="Ada",
            subscription_item_id="si_1",
            monthly_amount="1.15",
            channel="sms",
        ),
        "is_preferred": False,
        "is_default": True,
        "location": Location(location="San Francisco", state="CA", country_code="US"),
        "state": "Active",
        "enabled": True,
        "is_internal_pool": False,
        "is_approved_test_destination": False,
        "is_messaging_program_approved": True,
        "warmup_enabled": True,
        "warmup_state": "Needs Attention",
        "health_status": "Warming",
        "warmup_health_score": 87,
        "warmup_progress_percent": -1,
        "warmup_next_action_at": MOMENT,
        "warmup_pause_reason": None,
        "health_reason": "Few answers",
        "events": (
            Event(
                id="evt_1",
                type="created",
                title="Number created",
                actor_id="user_1",
                actor_name="Ada",
                created_at=MOMENT,
            ),
        ),
        "warmup": None,
        "organization": None,
        "is_demo": None,
    },
    "number-2026.json": {
        "number": "+14155552671",
        "id": "pn_1",
        "label": "Sales Line 1",
        "country": "US",
        "country_is_derived": True,
        "capabilities": Capabilities(voice=False, sms=True),
        "status": NumberStatus.INACTIVE,
        "assignee": None,
        "created_at": datetime(2026, 1, 15, 10, 30, 0, 123000, tzinfo=UTC),
        "updated_at": datetime(2026, 2, 20, 14, 45, tzinfo=UTC),
        "phone_identity_id": "pid_1",
        "organization": IdName("org_1", "Acme"),
        "leadping_owned": True,
        "routing": Routing(
            sms_enabled=True,
            voice_enabled=False,
            source_id="src_1",
            campaign_id="cmp_1",
            ten_dlc_application_id="app_1",
        ),
        "warmup": Readiness(
            enabled=True,
            state="In Progress",
            health_status="Not Evaluated",
            health_score=87,
            progress_percent=40,
            call_stage="Stage 2",
        ),
        "enabled": False,
        "business": None,
        "events": None,
        "warmup_health_score": None,
    },
    "number-sdk.json": {
        "number": "+14155552671",
        "id": "pn_1",
        "label": "Sales Line 1",
        "capabilities": Capabilities(voice=False, sms=True),
        "status": NumberStatus.ACTIVE,
        "ownership": "Organization",
        "sms_ready": True,
        "voice_ready": False,
        "number_health_enabled": False,
        "is_demo": False,
        "organization": IdName("org_1", "Acme"),
        "routing": Routing(sms_enabled=True, voice_enabled=True),
    },
    "number-minimal.json": {
        "number": "+14155552671",
        "id": "+14155552671",
        "label": None,
        "status": NumberStatus.UNKNOWN,
        "capabilities": Capabilities(),
        "created_at": None,
        "country": "US",
        "country_is_derived": True,
        "assignee": None,
    },
}

ROWS: list[dict[str, Any]] = [
    {
        "provider": "leadping",
        "number": "+14155552671",
        "id": "pn_1",
        "label": "Sales Line 1",
        "country": "US",
        "country_is_derived": True,
        "kind": NumberKind.LOCAL,
        "capabilities": Capabilities(voice=False, sms=True),
        "status": NumberStatus.ACTIVE,
        "assignee": None,
        "created_at": None,
        "updated_at": None,
        "organization": "Acme",
        "organization_id": "org_1",
        "ownership": "Leadping-owned",
        "routing_summary": "SMS and voice",
        "ten_dlc_campaign_status": "Approved",
        "is_demo": None,
        "warmup": Readiness(
            enabled=True,
            state="Not Started",
            health_status="Needs Attention",
            health_score=87,
            progress_percent=40,
            call_stage="Stage 0",
        ),
    },
    {
        "number": "+18005551234",
        "id": "pn_2",
        "label": "Demo",
        "kind": NumberKind.TOLL_FREE,
        "status": NumberStatus.INACTIVE,
        "is_demo": True,
        "organization_id": None,
        "ten_dlc_campaign_status": None,
    },
    {
        "number": "+442071838750",
        "id": "pn_3",
        "kind": NumberKind.UNKNOWN,
        "type": "Internal/test-only",
        "is_demo": None,
        "ownership": "Partner / reseller",
        "warmup": Readiness(state="Somewhat Warm", health_score=12),
    },
]
LISTS: dict[str, tuple[list[dict[str, Any]], str | None, int | None]] = {
    "list.json": (ROWS, "eyJvIjozfQ==", 7),
    "list-last.json": (ROWS[:1], None, None),
    "list-empty.json": ([], None, 0),
}
STATUSES = ("status.json", "warmup.json")


def facts(thing: object, expected: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in expected}


def one(**fields: object) -> LeadpingNumber:
    return decode_number(msgspec.json.encode({"number": "+14155552671", **fields}))


@pytest.mark.parametrize("name", NUMBERS)
def test_full_answers_say_what_they_say(name: str) -> None:
    """Every field of all generations is decoded; also the vendor's example, whose scores are no numbers."""
    expected = NUMBERS[name]
    assert facts(decode_number((DATA / name).read_bytes()), expected) == expected


@pytest.mark.parametrize(
    "name", ["number-example.json", "number-2025.json", "number-2026.json", "number-sdk.json"]
)
def test_no_documented_field_is_dropped(name: str) -> None:
    """Each name on the wire is a field of the struct."""
    known = {field.encode_name for field in msgspec.structs.fields(LeadpingNumber)}
    assert msgspec.json.decode((DATA / name).read_bytes()).keys() <= known


@pytest.mark.parametrize("name", LISTS)
def test_lists_say_what_they_say(name: str) -> None:
    """Rows with demo numbers and unknown words, the token of the next page, the count where there is one."""
    rows, token, total = LISTS[name]
    read = decode_listing((DATA / name).read_bytes())
    assert [facts(row, expected) for row, expected in zip(read.rows, rows, strict=True)] == rows
    assert (read.token, read.total, read.rejected) == (token, total, ())


def test_status_says_what_it_says() -> None:
    """Capacity is typed; the metrics stay plain objects."""
    read = decode_status((DATA / "status.json").read_bytes())
    assert (read.number, read.messages_possible, read.calls_possible) == ("+14155552671", 150, 20)
    assert read.sms_warmup is not None
    assert (read.sms_warmup.status, read.sms_warmup.health_status) == ("In Progress", "Evaluating")
    assert (read.sms_warmup.health_score, read.sms_warmup.progress_percent) == (87, 40)
    assert (read.sms_warmup.phone_number_id, read.sms_warmup.warmup_enabled) == ("pn_1", True)
    assert read.sms_warmup.ui_state is not None
    assert read.sms_warmup.ui_state["tone"] == "neutral"
    assert read.outbound_capacity is not None
    assert read.outbound_capacity["healthStatus"] == "cooling_down"
    assert read.opt_out_metrics is not None
    assert read.opt_out_metrics["optOutRatePercent"] == 2.0
    assert read.traffic_metrics is not None
    assert read.traffic_metrics["trend"][0]["smsSentCount"] == 14
    assert read.recent_events is not None
    assert read.recent_events[0]["eventType"] == "sms.delivered"


def test_warmup_without_its_optional_parts() -> None:
    """The parts that the vendor may leave null are None, and no events are no events."""
    read = decode_status((DATA / "warmup.json").read_bytes())
    assert (read.sms_warmup, read.outbound_capacity, read.recent_events) == (None, None, ())


def test_no_documented_answer_is_left_out() -> None:
    """Every answer in the folder is in a table of this file, or is an error."""
    there = {path.name for path in DATA.iterdir() if not path.name.startswith("error-")}
    assert there == {*NUMBERS, *LISTS, *STATUSES}


def test_rows_and_answers_are_phone_numbers() -> None:
    """Both structs satisfy the protocol themselves: nothing is copied."""
    assert isinstance(LeadpingRow(number="+14155552671"), PhoneNumber)
    assert isinstance(LeadpingNumber(number="+14155552671"), PhoneNumber)


@pytest.mark.parametrize(
    ("inventory", "status", "enabled", "expected"),
    [
        (None, "Active", True, NumberStatus.ACTIVE),
        (None, "Active", None, NumberStatus.ACTIVE),
        (None, "Active", False, NumberStatus.INACTIVE),
        (None, "Unregistered", True, NumberStatus.PENDING),
        (None, "Provisioning", True, NumberStatus.PENDING),
        (None, "FailedProvisioning", True, NumberStatus.FAILED),
        (None, "Expired", True, NumberStatus.EXPIRED),
        (None, "Suspended", False, NumberStatus.SUSPENDED),
        (None, "Ascended", True, NumberStatus.UNKNOWN),
        (None, None, True, NumberStatus.ACTIVE),
        (None, None, False, NumberStatus.INACTIVE),
        (None, None, None, NumberStatus.UNKNOWN),
        ("Pending verification", "Active", True, NumberStatus.PENDING),
        ("Restricted", "Active", True, NumberStatus.RESTRICTED),
        ("Suspended", "Active", True, NumberStatus.SUSPENDED),
        ("Failed", "Active", True, NumberStatus.FAILED),
        ("Released", "Active", True, NumberStatus.RELEASED),
        ("Available", "Active", True, NumberStatus.ACTIVE),
        ("Assigned", "Expired", True, NumberStatus.EXPIRED),
        ("Ready for SMS", None, True, NumberStatus.ACTIVE),
        ("Ready for voice", "Active", True, NumberStatus.ACTIVE),
        ("Warmup-only", "Active", True, NumberStatus.ACTIVE),
        ("Internal/test-only", "Active", False, NumberStatus.INACTIVE),
        ("Under the sea", "Active", True, NumberStatus.ACTIVE),
    ],
)
def test_status_weighs_the_inventory_first(
    inventory: str | None, status: str | None, enabled: bool | None, expected: NumberStatus
) -> None:
    """A state in which a number cannot be used outweighs its status; the vendor's words stay as they are."""
    number = one(inventoryState=inventory, status=status, enabled=enabled)
    assert number.status is expected
    assert (number.inventory_state, number.state, number.enabled) == (inventory, status, enabled)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("local", NumberKind.LOCAL),
        ("Local", NumberKind.LOCAL),
        ("toll-free", NumberKind.TOLL_FREE),
        ("TollFree", NumberKind.TOLL_FREE),
        ("Toll Free", NumberKind.TOLL_FREE),
        ("mobile", NumberKind.MOBILE),
        ("national", NumberKind.NATIONAL),
        ("short code", NumberKind.UNKNOWN),
        (None, NumberKind.UNKNOWN),
    ],
)
def test_kinds(word: str | None, kind: NumberKind) -> None:
    """The spellings that are likely have their kind; any other word is UNKNOWN, and stays on `type`."""
    row = LeadpingRow(number="+14155552671", type=word)
    assert (row.kind, row.type) == (kind, word)


@pytest.mark.parametrize("written", ["12", 12, 12.0])
def test_scores_are_numbers_however_written(written: object) -> None:
    """Scores are strings in one generation, integers in the other."""
    number = one(warmupHealthScore=written, warmup={"healthScore": written})
    assert number.warmup_health_score == 12
    assert number.warmup is not None
    assert number.warmup.health_score == 12


@pytest.mark.parametrize("bad", ["yesterday", "2023-02-30T00:00:00Z", "2023-11-07T05:31:56", 17, {}, None])
def test_a_bad_date_does_not_cost_its_number(bad: object) -> None:
    """A value that is no time, or a time without a zone, is None."""
    number = one(createdAt=bad, modifiedAt=bad)
    assert (number.created_at, number.updated_at) == (None, None)


def test_a_bad_row_costs_only_itself() -> None:
    """The others are read, and the bad ones are kept as they came; token and count survive."""
    bad: list[object] = [{"name": "Desk"}, {"number": [1], "id": {}}, None]
    body = {
        "items": [{"number": "+14155552671"}, *bad, {"number": "+14155552673"}],
        "totalCount": "5",
        "continuationToken": "next",
    }
    read = decode_listing(msgspec.json.encode(body))
    assert [row.number for row in read.rows] == ["+14155552671", "+14155552673"]
    assert [msgspec.json.decode(r.raw) for r in read.rejected] == bad
    assert "number" in read.rejected[1].reason
    assert (read.token, read.total) == ("next", 5)


def test_unknown_fields_are_ignored() -> None:
    """Fields that the vendor adds later break nothing."""
    assert one(tomorrow={"a": [1]}).number == "+14155552671"
    assert not decode_listing(b'{"items":[{"number":"+1","new":[]}],"new":{}}').rejected
