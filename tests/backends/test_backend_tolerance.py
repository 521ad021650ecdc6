"""Rows as vendors really send them: a field of another type loses that field, never the number."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonesys import (
    AgentNumbers,
    Capabilities,
    LeadConnector,
    Leadping,
    NumberKind,
    NumberStatus,
    PhoneSystem,
)
from phonesys.backends.agents.wire import decode_number as decode_agent_number
from phonesys.backends.agents.wire import decode_numbers
from phonesys.backends.countries import alpha_2
from phonesys.backends.leadconnector.wire import LeadConnectorNumber, decode_listing, decode_pools
from phonesys.backends.leadping.wire import decode_listing as decode_rows
from phonesys.backends.leadping.wire import decode_number
from phonesys.backends.rows import repair_text
from phonesys.model import MendedField, parse_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonesys.http.call import Call

NUMBER = "+14155552671"
PAGES: dict[str, tuple[Callable[[bytes], Any], bytes, str, str]] = {
    "leadconnector": (decode_listing, b'{"numbers":[%b]}', "phoneNumber", "sid"),
    "leadping": (decode_rows, b'{"items":[%b]}', "number", "id"),
    "agents": (decode_numbers, b'{"data":[%b]}', "phoneNumber", "id"),
}
"""Decoder, page around the rows, key of the number, key of the id."""


def rows_of(page: Any) -> tuple[Any, ...]:
    rows: tuple[Any, ...] = page.numbers if hasattr(page, "numbers") else page.rows
    return rows


def decoded(backend: str, *rows: dict[str, Any] | bytes) -> Any:
    decode, page, _, _ = PAGES[backend]
    raw = (row if isinstance(row, bytes) else msgspec.json.encode(row) for row in rows)
    return decode(page % b",".join(raw))


def one(backend: str, **fields: Any) -> tuple[Any, dict[str, int]]:
    """Decode a row with a number, an id and these fields; return it and what was mended."""
    _, _, number, id_ = PAGES[backend]
    page = decoded(backend, {number: NUMBER, id_: "id_1", **fields})
    (row,) = rows_of(page)
    assert page.rejected == ()
    assert (row.number, row.id) == (NUMBER, "id_1")
    return row, {field.field: field.count for field in page.mended}


ODD: list[tuple[str, str, Any, str, Any]] = [
    # A field of each kind, in each backend: the value that it has now, by attribute.
    ("leadconnector", "friendlyName", 123, "label", "123"),
    ("leadconnector", "friendlyName", 12.0, "label", "12"),
    ("leadconnector", "friendlyName", ["a"], "label", None),
    ("leadconnector", "friendlyName", True, "label", None),
    ("leadconnector", "linkedUser", {"id": "u1"}, "assignee", None),
    ("leadconnector", "linkedRingAllUsers", [1, "u2", {"id": 3}], "linked_ring_all_users", ("1", "u2")),
    ("leadconnector", "linkedRingAllUsers", "u1", "linked_ring_all_users", ("u1",)),
    ("leadconnector", "capabilities", ["voice", "SMS"], "capabilities", Capabilities(voice=True, sms=True)),
    ("leadconnector", "capabilities", "voice, MMS", "capabilities", Capabilities(voice=True, mms=True)),
    ("leadconnector", "capabilities", ["carrier-pigeon"], "capabilities", Capabilities()),
    ("leadconnector", "capabilities", 3, "capabilities", Capabilities()),
    ("leadconnector", "inboundCallService", "ivr", "inbound", None),
    ("leadconnector", "isDefaultNumber", "yes", "is_default", True),
    ("leadconnector", "isDefaultNumber", "perhaps", "is_default", None),
    ("leadconnector", "dateAdded", [2024], "created_at", None),
    ("leadping", "name", 123, "label", "123"),
    ("leadping", "enabled", "off", "enabled", False),
    ("leadping", "warmup", "hot", "warmup", None),
    ("leadping", "organization", {"id": "o"}, "organization", None),
    ("agents", "agentId", 7, "assignee", "7"),
    ("agents", "status", ["ACTIVE"], "status", NumberStatus.UNKNOWN),
    ("agents", "friendlyName", {"text": "Desk"}, "label", None),
]


@pytest.mark.parametrize(("backend", "key", "value", "attribute", "expected"), ODD)
def test_a_field_of_another_type_loses_that_field_only(
    backend: str, key: str, value: Any, attribute: str, expected: Any
) -> None:
    """The field is converted where that loses nothing, else it is unknown; it is counted either way."""
    row, mended = one(backend, **{key: value})
    assert getattr(row, attribute) == expected
    assert mended[key] >= 1


def test_what_was_mended_is_counted_and_shown() -> None:
    """Fields of several rows are counted by name, inner ones by path, with one value as it came."""
    rows = [
        {"phoneNumber": f"{NUMBER}{i}", "friendlyName": i, "capabilities": {"voice": [i]}} for i in range(3)
    ]
    page = decoded("leadconnector", *rows, {"phoneNumber": NUMBER})
    assert page.mended == (MendedField("friendlyName", 3, b"0"), MendedField("capabilities.voice", 3, b"[0]"))
    assert len(page.numbers) == 4


@pytest.mark.parametrize("backend", PAGES)
def test_a_clean_page_mends_nothing(backend: str) -> None:
    """Neither does one with empty fields, or with fields that are not known."""
    _, mended = one(backend, friendlyName="", name="", linkedUser="", tomorrow={"a": []})
    assert mended == {}


@pytest.mark.parametrize("backend", PAGES)
@pytest.mark.parametrize("number", [14155552671, 14155552671.0])
def test_a_number_that_is_an_integer_becomes_text(backend: str, number: float) -> None:
    """With its digits, and without a plus that the vendor did not write."""
    _, _, key, id_ = PAGES[backend]
    page = decoded(backend, {key: number, id_: 55})
    (row,) = rows_of(page)
    assert (row.number, row.id) == ("14155552671", "55")
    assert {field.field for field in page.mended} >= {key}


@pytest.mark.parametrize("backend", PAGES)
@pytest.mark.parametrize("number", [None, "", b"missing"])
def test_a_number_without_digits_is_listed_by_its_id(backend: str, number: Any) -> None:
    """A number that is being provisioned, or an entry that never has one, is no damage."""
    _, _, key, id_ = PAGES[backend]
    row = {id_: "id_1"} if number == b"missing" else {id_: "id_1", key: number}
    page = decoded(backend, row, {key: NUMBER})
    assert page.rejected == ()
    assert [(row.id, row.number) for row in rows_of(page)] == [("id_1", ""), (NUMBER, NUMBER)]


@pytest.mark.parametrize("backend", PAGES)
@pytest.mark.parametrize("number", [{"e164": NUMBER}, [NUMBER], True])
def test_a_number_that_is_no_text_makes_its_row_unreadable(backend: str, number: Any) -> None:
    """The row is kept raw, although it has an id: without the number, a search would miss it in silence."""
    _, _, key, id_ = PAGES[backend]
    page = decoded(backend, {id_: "id_1", key: number}, {key: NUMBER})
    assert len(page.rejected) == 1
    assert [row.number for row in rows_of(page)] == [NUMBER]


@pytest.mark.parametrize("backend", PAGES)
@pytest.mark.parametrize("row", [b"{}", b"7", b"null", b'"x"', b"[]", b'{"status":"ACTIVE"}', b'{"id":{}}'])
def test_a_row_without_identity_is_unreadable(backend: str, row: bytes) -> None:
    """It is kept as it came, beside the others."""
    page = decoded(backend, row, {PAGES[backend][2]: NUMBER})
    assert [bad.raw for bad in page.rejected] == [row]
    assert [number.number for number in rows_of(page)] == [NUMBER]


BAD_TEXT = [
    (rb'"Desk \ud83d"', "Desk �"),
    (rb'"\udc00 Desk"', "� Desk"),
    (rb'"\ud83d\ud83d\ude00"', "�😀"),
    (rb'"\\ud83d"', r"\ud83d"),
    (b'"Desk \xff"', "Desk �"),
    (b'"Desk\n1"', "Desk 1"),
    (b'"Desk \xed\xa0\xbd"', "Desk ���"),
]


@pytest.mark.parametrize("backend", PAGES)
@pytest.mark.parametrize(("text", "label"), BAD_TEXT)
def test_bad_text_costs_at_most_that_text(backend: str, text: bytes, label: str) -> None:
    """Half a surrogate pair, bytes that are not UTF-8, or a bare line end in a label."""
    _, _, number, id_ = PAGES[backend]
    key = "name" if backend == "leadping" else "friendlyName"
    bad = b'{"%b":"%b","%b":"id_1","%b":%b}' % (
        number.encode(),
        NUMBER.encode(),
        id_.encode(),
        key.encode(),
        text,
    )
    page = decoded(backend, bad, {number: NUMBER, id_: "id_2", key: "Hall"})
    assert page.rejected == ()
    assert [(row.id, row.label) for row in rows_of(page)] == [("id_1", label), ("id_2", "Hall")]


@pytest.mark.parametrize("backend", PAGES)
def test_bad_text_in_an_unknown_field_costs_nothing(backend: str) -> None:
    """Not even the count of a mended field."""
    row = rb'{"phoneNumber":"+14155552671","number":"+14155552671","note":"\ud83d"}'
    page = decoded(backend, row)
    assert [number.number for number in rows_of(page)] == [NUMBER]
    assert page.mended == ()


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_repaired_text_can_be_read(label: bytes) -> None:
    """Any bytes between quotes are text after the repair, unless they end the string."""
    body = b'"' + label.replace(b'"', b"").replace(b"\\", b"\\\\") + b'"'
    assert isinstance(msgspec.json.decode(repair_text(body)), str)


VOICE_AND_SMS = Capabilities(voice=True, sms=True)
EVENING = datetime(2026, 2, 23, 22, tzinfo=UTC)
WORDS: list[tuple[str, dict[str, Any], str, Any]] = [
    ("leadconnector", {"type": "tollFree"}, "kind", NumberKind.TOLL_FREE),
    ("leadconnector", {"type": "TOLL_FREE"}, "kind", NumberKind.TOLL_FREE),
    ("leadconnector", {"capabilities": {"SMS": True, "Voice": "true"}}, "capabilities", VOICE_AND_SMS),
    ("leadconnector", {"capabilities": {"voice": True, "SMS": True}}, "capabilities", VOICE_AND_SMS),
    ("leadconnector", {"capabilities": {"voice": 1, "sms": 1, "rcs": 1}}, "capabilities", VOICE_AND_SMS),
    ("leadconnector", {"countryCode": "USA"}, "country", "US"),
    ("leadconnector", {"countryCode": "gb"}, "country", "GB"),
    ("leadconnector", {"countryCode": ""}, "country_is_derived", True),
    ("leadconnector", {"linkedUser": ""}, "assignee", None),
    ("leadconnector", {"friendlyName": ""}, "label", None),
    ("leadconnector", {"forwardingNumber": ""}, "forwarding_number", None),
    ("leadconnector", {"addressSid": "", "bundleSid": ""}, "address_sid", None),
    ("leadconnector", {"dateAdded": "Mon, 23 Feb 2026 22:00:00 +0000"}, "created_at", EVENING),
    ("leadping", {"status": "SUSPENDED"}, "status", NumberStatus.SUSPENDED),
    ("leadping", {"inventoryState": "pending_verification"}, "status", NumberStatus.PENDING),
    ("leadping", {"type": "toll_free"}, "kind", NumberKind.TOLL_FREE),
    ("leadping", {"name": ""}, "label", None),
    ("agents", {"status": "suspended"}, "status", NumberStatus.SUSPENDED),
    ("agents", {"status": "Assigned"}, "status", NumberStatus.ACTIVE),
    ("agents", {"status": "unassigned"}, "status", NumberStatus.INACTIVE),
    ("agents", {"agentId": ""}, "assignee", None),
    ("agents", {"createdAt": "23 Feb 2026 22:00 GMT"}, "created_at", EVENING),
]  # fmt: skip


@pytest.mark.parametrize(("backend", "fields", "attribute", "expected"), WORDS)
def test_words_are_read_in_any_spelling(
    backend: str, fields: dict[str, Any], attribute: str, expected: Any
) -> None:
    """Case, hyphens, underscores and spaces make no difference, and nothing counts as mended."""
    row, mended = one(backend, **fields)
    assert getattr(row, attribute) == expected
    assert mended == {}


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("Mon, 23 Feb 2026 22:00:52 +0000", 2026),
        ("23 Feb 2026 22:00:52 GMT", 2026),
        ("Mon, 23 Feb 2026 22:00:52", None),
        ("Mon, 23 Feb 2026 22:00:52 -0000", None),
        ("Mon, 99 Feb 2026 22:00:52 +0000", None),
        ("Mon, 23 Xyz 2026 22:00:52 +0000", None),
        ("Mon, 23 Feb 9999 22:00:52 +0000", None),
        ("Mon, 23 Feb 2026 22:00:52 +9999", None),
    ],
)
def test_times_of_mail_are_times(text: str, year: int | None) -> None:
    """A time without a zone is None, as in any other spelling."""
    moment = parse_time(text)
    assert (moment and moment.year) == year


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("US", "US"),
        ("us", "US"),
        ("USA", "US"),
        ("deu", "DE"),
        (" GBR ", "GB"),
        ("Narnia", "Narnia"),
        (None, None),
    ],
)
def test_country_codes_have_two_letters(code: str | None, expected: str | None) -> None:
    """Three letters are converted, and text that is no code stays."""
    assert alpha_2(code) == expected


def test_a_created_number_without_digits_is_a_success() -> None:
    """A response with an id is a number that is being provisioned."""
    made = decode_number(b'{"id":"pn_1","name":"Desk","number":null,"status":"Provisioning","billing":7}')
    assert (made.id, made.number, made.status) == ("pn_1", "", NumberStatus.PENDING)
    assigned = decode_agent_number(b'{"data":{"id":5,"agentId":7}}')
    assert (assigned.id, assigned.number, assigned.assignee) == ("5", "", "7")


def test_pools_of_another_shape_are_pools() -> None:
    """Numbers in a pool may be plain text, and flags may be words."""
    (pool,) = decode_pools(b'{"data":[{"id":7,"name":"","numbers":["+1",{"phoneNumber":5}],"whisper":"on"}]}')
    assert (pool.id, pool.name, pool.numbers, pool.whisper) == ("7", None, ("+1", "5"), True)


class Canned:
    """Answers every listing with the same page."""

    body: bytes

    async def send(self, call: Call[Any]) -> Any:
        return call.decode(self.body)


class CannedLocations(Canned, LeadConnector):
    pass


class CannedLeadping(Canned, Leadping):
    pass


class CannedAgents(Canned, AgentNumbers):
    pass


@pytest.mark.parametrize(
    ("backend", "key", "number", "id_"),
    [
        (CannedLocations("pit-1", locations=("loc_1",)), "numbers", "phoneNumber", "sid"),
        (CannedLeadping("sk_1"), "items", "number", "id"),
        (CannedAgents("key_1"), "data", "phoneNumber", "id"),
    ],
)
async def test_numbers_without_digits_are_all_swept(backend: Any, key: str, number: str, id_: str) -> None:
    """Several of them in one account are several numbers, and the page says what was mended."""
    rows = [{id_: "a", number: None}, {id_: "b"}, {id_: "c", number: NUMBER}, {id_: "d", number: 12345}]
    backend.body = msgspec.json.encode({key: rows})
    async with PhoneSystem(backend) as phones:
        assert sorted(found.id for found in await phones.numbers()) == ["a", "b", "c", "d"]
        async with phones.sweep() as sweep:
            async for _ in sweep:
                pass
    assert sweep.report.complete
    assert sweep.report.mended == {(backend.name, number): 1}
    (account,) = [account async for account in backend.accounts()]
    page = await backend.page(account)
    assert page.mended == (MendedField(number, 1, b"12345"),)


def test_a_number_made_by_hand_is_not_checked() -> None:
    """Validation belongs to decoding: programs may make numbers with empty text."""
    assert LeadConnectorNumber(number="", label="").label == ""
