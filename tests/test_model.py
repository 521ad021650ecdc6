from __future__ import annotations

import pickle
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonesys import (
    AgentNumber,
    Capabilities,
    LeadConnectorNumber,
    LeadpingNumber,
    LeadpingRow,
    NumberBase,
    NumberKind,
    NumberPool,
    NumberStatus,
    Page,
    PhoneNumber,
)
from phonesys.model import UnreadableRow, parse_time, parse_whole

STRUCTS = [LeadConnectorNumber, LeadpingRow, LeadpingNumber, AgentNumber]
NUMBERS = [struct(number="+14155552671", account="acc_1") for struct in STRUCTS]
ATTRIBUTES = (
    "provider", "backend", "account", "id", "number", "label", "country", "kind", "capabilities", "status",
    "assignee", "created_at", "updated_at",
)  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: type(number).__name__)
def test_each_vendors_struct_is_a_phone_number(number: PhoneNumber) -> None:
    """With nothing but its number it has all that the protocol names, each of the type that is promised."""
    assert isinstance(number, PhoneNumber)
    assert all(hasattr(number, name) for name in ATTRIBUTES)
    assert (number.account, number.id, number.number) == ("acc_1", "+14155552671", "+14155552671")
    assert isinstance(number.kind, NumberKind)
    assert isinstance(number.status, NumberStatus)
    assert isinstance(number.capabilities, Capabilities)
    assert (number.label, number.country, number.assignee) == (None, "US", None)
    assert getattr(number, "country_is_derived", None) is True
    assert (number.created_at, number.updated_at) == (None, None)


@pytest.mark.parametrize("struct", STRUCTS)
def test_what_is_not_on_the_wire_cannot_come_from_there(struct: type[msgspec.Struct]) -> None:
    """A vendor that sends fields named like ours does not write into them."""
    names = ("account", "backend", "provider", "pool", "account_status")
    raw = msgspec.json.encode({"number": "+1", "phoneNumber": "+1", **dict.fromkeys(names, "evil")})
    number: Any = msgspec.json.decode(raw, type=struct)
    assert number.account == ""
    assert number.backend == number.provider != "evil"
    assert getattr(number, "pool", None) is None
    assert getattr(number, "account_status", None) is None


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: type(number).__name__)
def test_numbers_survive_pickling(number: PhoneNumber) -> None:
    """They may be sent to another process."""
    assert pickle.loads(pickle.dumps(number)) == number  # noqa: S301


def test_other_objects_are_phone_numbers_too() -> None:
    """The protocol asks for attributes, not for a base class; and one attribute less is not enough."""

    @dataclass(repr=False)
    class Mine(NumberBase):
        provider: str = "mine"
        backend: str = "mine"
        account: str = "a"
        id: str = "1"
        number: str = "+14155552671"
        label: str | None = None
        country: str | None = None
        kind: NumberKind = NumberKind.LOCAL
        capabilities: Capabilities = Capabilities()  # noqa: RUF009 -- frozen
        status: NumberStatus = NumberStatus.ACTIVE
        assignee: str | None = None
        created_at: datetime | None = None
        updated_at: datetime | None = None

    class Less:
        number = "+14155552671"

    assert isinstance(Mine(), PhoneNumber)
    assert repr(Mine()) == "<Mine '+14155552671' active, mine 'a'>"
    assert Mine().to_dict()["country_derived"] is True
    assert not isinstance(Less(), PhoneNumber)


def test_pages_are_values() -> None:
    """Frozen, equal by content, and None where nothing was said."""
    page: Page[AgentNumber] = Page(account="a", numbers=())
    assert (page.next, page.provider, page.cursor, page.total, page.rejected) == ((), "", None, None, ())
    assert page == Page(account="a", numbers=())
    with pytest.raises(AttributeError):
        page.account = "b"  # type: ignore[misc]
    assert NumberPool(id="p") == NumberPool(id="p", numbers=(), is_active=True)
    assert UnreadableRow(b"x", "why").reason == "why"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2023-01-15T10:30:00Z", datetime(2023, 1, 15, 10, 30, tzinfo=UTC)),
        ("2023-01-15T10:30:00.123Z", datetime(2023, 1, 15, 10, 30, 0, 123000, tzinfo=UTC)),
        ("2023-01-15T10:30:00.1234567Z", datetime(2023, 1, 15, 10, 30, 0, 123457, tzinfo=UTC)),
        (
            "2023-01-15T10:30:00-08:00",
            datetime(2023, 1, 15, 10, 30, tzinfo=timezone(timedelta(hours=-8))),
        ),
    ],
)
def test_times_are_read(text: str, moment: datetime) -> None:
    """RFC 3339, with any fraction and offset."""
    assert parse_time(text) == moment


@pytest.mark.parametrize(
    "value",
    [
        "",
        "now",
        "2023-01-15",
        "10:30",
        "2023-01-15T10:30:00",
        "0001-13-45T00:00:00Z",
        "\ud800",
        5,
        None,
        [],
        b"",
    ],
)
def test_anything_else_is_no_time(value: Any) -> None:
    """Also a time without its zone, which could not be compared with the others."""
    assert parse_time(value) is None


@settings(deadline=None)
@given(
    st.text()
    | st.text(st.characters(categories=["Cs", "Nd"]))
    | st.from_regex(r"\d{4}-\d\d-\d\dT[0-9:.]+(Z|[+-]\d\d:\d\d)")
)
def test_reading_times_never_fails(text: str) -> None:
    """And what it reads has a zone."""
    moment = parse_time(text)
    assert moment is None or moment.tzinfo is not None


@pytest.mark.parametrize(
    ("value", "whole"),
    [
        (7, 7), (7.0, 7), ("7", 7), ("-1", -1), ("7.0", 7), (0, 0), (10**15, 10**15),
        ("x", None), ("", None), (7.5, None), ("7.5", None), (None, None), ([], None), ({}, None),
        (float("nan"), None), (float("inf"), None), ("\ud800", None),
    ],
)  # fmt: skip
def test_whole_numbers_are_read_however_written(value: Any, whole: int | None) -> None:
    """As integers, floats or strings; anything else is none."""
    assert parse_whole(value) == whole
