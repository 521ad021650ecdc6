from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from phonesys import Capabilities, LeadConnectorNumber, NumberKind, NumberStatus, PhoneNumber
from phonesys.backends.leadconnector.wire import Listing, RcsSender, decode_listing, decode_pools
from phonesys.model import InboundService, NumberPool

DATA = Path(__file__).parents[1] / "data" / "leadconnector"

ALL = Capabilities(voice=True, sms=True, mms=True, fax=False)
SALES: dict[str, Any] = {
    "provider": "leadconnector",
    "id": "PN1234567890abcdef1234567890abcde",
    "number": "+14155552671",
    "label": "Sales Line 1",
    "country": "US",
    "kind": NumberKind.LOCAL,
    "capabilities": ALL,
    "status": NumberStatus.ACTIVE,
    "assignee": "user_123456789",
    "created_at": datetime(2023, 1, 15, 10, 30, tzinfo=UTC),
    "updated_at": datetime(2023, 2, 20, 14, 45, tzinfo=UTC),
    "type": "local",
    "is_default": False,
    "linked_ring_all_users": ("user_123", "user_456"),
    "inbound": InboundService(type="voice_ai", value="68e381b296a83800a27cd1"),
    "forwarding_number": "+14155552672",
    "is_group_conversation_enabled": True,
    "address_sid": "AD1234567890abcdef1234567890abcde",
    "bundle_sid": "BU1234567890abcdef1234567890abcde",
    "origin": "twilio",
    "pool": None,
}
TOLL_FREE: dict[str, Any] = {
    "id": "PN9876543210fedcba9876543210fedcb",
    "number": "+18005551234",
    "label": "Support Toll-Free",
    "kind": NumberKind.TOLL_FREE,
    "capabilities": Capabilities(voice=True, sms=False, mms=False, fax=False),
    "assignee": None,
    "linked_ring_all_users": ("user_789", "user_101"),
    "inbound": None,
    "forwarding_number": None,
    "is_group_conversation_enabled": False,
    "address_sid": None,
    "bundle_sid": None,
    "created_at": datetime(2023, 1, 16, 14, 20, tzinfo=UTC),
}
MAIN: dict[str, Any] = {
    "id": "PNXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
    "number": "+17745678902",
    "label": "Main line",
    "country": "US",
    "kind": NumberKind.LOCAL,
    "capabilities": ALL,
    "status": NumberStatus.ACTIVE,
    "assignee": "user-123",
    "created_at": datetime(2024, 1, 1, tzinfo=UTC),
    "updated_at": datetime(2024, 1, 1, tzinfo=UTC),
    "inbound": InboundService(type="ivr", value="flow-123"),
}
BARE: dict[str, Any] = {
    "id": "+17745678902",
    "number": "+17745678902",
    "label": None,
    "country": "US",
    "country_is_derived": True,
    "kind": NumberKind.UNKNOWN,
    "capabilities": Capabilities(),
    "status": NumberStatus.ACTIVE,
    "assignee": None,
    "created_at": None,
    "updated_at": None,
    "is_default": None,
}
V1: dict[str, Any] = {"page_size": 100, "total": None, "is_under_ghl": True, "account_status": "active"}
SENDER = RcsSender(
    number="rcs-sender-id",
    number_type="rcsSenderId",
    friendly_name="Brand Sender",
    rcs_meta={"brandId": "brand-123"},
)

PAGES: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "numbers-example.json": (V1, [SALES]),
    "numbers-successful.json": (V1, [{**SALES, "is_default": True}, TOLL_FREE]),
    "numbers-empty.json": ({"total": 0, "page_size": None, "is_under_ghl": None, "account_status": None}, []),
    "numbers-v3.json": (
        {"total": 1, "page_size": 50, "is_under_ghl": True, "account_status": "active", "rcs_senders": ()},
        [{"number": "+17745678902", "label": "Main line", "country": "US"}],
    ),
    "numbers-v3-rcs.json": ({"total": 2, "page_size": 50, "rcs_senders": (SENDER,)}, [MAIN]),
    "numbers-v3-minimal.json": (
        {"total": None, "is_under_ghl": None},
        [BARE, {**BARE, "id": "+17745678903", "number": "+17745678903"}],
    ),
    "numbers-v3-empty.json": ({"total": None}, []),
}


def facts(thing: object, expected: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in expected}


def listing(*rows: object, **beside: object) -> Listing:
    return decode_listing(msgspec.json.encode({"numbers": rows, **beside}))


def row(**fields: object) -> dict[str, object]:
    return {"phoneNumber": "+14155552671", **fields}


@pytest.mark.parametrize("name", PAGES)
def test_documented_pages_say_what_they_say(name: str) -> None:
    """Both versions' documented pages are read to the last fact."""
    page, rows = PAGES[name]
    read = decode_listing((DATA / name).read_bytes())
    assert facts(read, page) == page
    assert [facts(number, expected) for number, expected in zip(read.numbers, rows, strict=True)] == rows
    assert read.rejected == ()


def test_no_documented_page_is_left_out() -> None:
    """Every page in the folder is in the table above."""
    assert {path.name for path in DATA.glob("numbers-*")} == set(PAGES)
    assert {path.name for path in DATA.glob("pools-*")} == set(POOLS)


def test_a_row_is_a_phone_number() -> None:
    """The wire struct itself satisfies the protocol: nothing is copied."""
    assert isinstance(LeadConnectorNumber(number="+14155552671"), PhoneNumber)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("local", NumberKind.LOCAL),
        ("toll-free", NumberKind.TOLL_FREE),
        ("mobile", NumberKind.MOBILE),
        ("national", NumberKind.NATIONAL),
        ("shared-cost", NumberKind.UNKNOWN),
        (None, NumberKind.UNKNOWN),
    ],
)
def test_kinds(word: str | None, kind: NumberKind) -> None:
    """Every documented word has its kind; an unknown one is UNKNOWN, and stays on `type`."""
    (number,) = listing(row(type=word)).numbers
    assert (number.kind, number.type) == (kind, word)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("active", NumberStatus.ACTIVE),
        ("suspended", NumberStatus.SUSPENDED),
        ("closed", NumberStatus.INACTIVE),
        ("frozen", NumberStatus.UNKNOWN),
        (None, NumberStatus.ACTIVE),
    ],
)
def test_a_number_is_in_the_state_of_its_account(word: str | None, status: NumberStatus) -> None:
    """The vendor states it for the whole account, and lists active numbers only."""
    assert LeadConnectorNumber(number="+14155552671", account_status=word).status is status


def test_unknown_fields_are_ignored() -> None:
    """Fields that the vendor adds later break nothing."""
    read = listing(row(emoji="☎", nested={"a": [1]}), tomorrow=True)
    assert [number.number for number in read.numbers] == ["+14155552671"]
    assert read.rejected == ()


def test_a_bad_row_costs_only_itself() -> None:
    """The others are read, and the bad ones are kept as they came, with the reason."""
    bad: list[object] = [{"type": "local"}, {"phoneNumber": [1], "sid": {}}, None, 7]
    read = listing(row(sid="PN0"), *bad, row(sid="PN2"), isUnderGhl=True, accountStatus="closed", total=9.0)
    assert [number.sid for number in read.numbers] == ["PN0", "PN2"]
    assert [msgspec.json.decode(r.raw) for r in read.rejected] == bad
    assert "phoneNumber" in read.rejected[0].reason
    assert "phoneNumber" in read.rejected[1].reason
    assert (read.is_under_ghl, read.account_status, read.total) == (True, "closed", 9)


def test_a_number_that_is_not_text_costs_one_row() -> None:
    """Without an id, bad UTF-8 in the number makes its row unreadable, and no other."""
    read = decode_listing(b'{"numbers":[{"phoneNumber":"+1\xff"},{"phoneNumber":"+14155552671"}]}')
    assert [number.number for number in read.numbers] == ["+14155552671"]
    assert read.rejected[0].raw == b'{"phoneNumber":"+1\xff"}'


def test_a_bad_row_does_not_cost_the_senders() -> None:
    """RCS sender ids beside a bad row are read too, and a bad one of them costs no number."""
    senders = [{"number": "rcs-1"}, {"numberType": "rcsSenderId"}]
    for rows in ([row(), {}], [row()]):
        read = listing(*rows, rcsSenderIds=senders)
        assert [sender.number for sender in read.rcs_senders] == ["rcs-1"]
        assert len(read.numbers) == 1


@pytest.mark.parametrize("total", ["many", 2.5, None, [], {}])
def test_a_total_that_is_no_number_costs_nothing(total: object) -> None:
    """A wrong type of a page's own field is ignored."""
    read = listing(row(), total=total)
    assert (len(read.numbers), read.total, read.rejected) == (1, None, ())


@pytest.mark.parametrize(
    "bad",
    ["yesterday", "2023-13-45T00:00:00Z", "2023-01-15", "2023-01-15T10:30:00", "", 0, {}, [], True, None],
)
def test_a_bad_date_does_not_cost_its_number(bad: object) -> None:
    """A value that is no time, or a time without a zone, is None."""
    (number,) = listing(row(dateAdded=bad, dateUpdated=bad)).numbers
    assert (number.created_at, number.updated_at) == (None, None)


POOL = NumberPool(
    id="ve9EPM428h8vShlRW1KT",
    name="Sales Team Pool",
    account="loc123",
    numbers=("+14155552671",),
    forwarding_number="+14155552671",
    whisper=True,
    whisper_message="Incoming call from sales line",
    call_recording=True,
    is_active=True,
    inbound=InboundService(type="voice_ai", value="68e381b296a83800a27cd1"),
)
POOLS = {
    "pools-successful.json": (POOL,),
    "pools-example.json": (POOL,),
    "pools-empty.json": (),
    "pools-minimal.json": (NumberPool(id="pool_1"),),
}


@pytest.mark.parametrize("name", POOLS)
def test_documented_pools_say_what_they_say(name: str) -> None:
    """All fields of a pool, and the defaults of one that says next to nothing."""
    assert decode_pools((DATA / name).read_bytes()) == POOLS[name]
