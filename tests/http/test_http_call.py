from __future__ import annotations

from datetime import date
from enum import Enum, IntEnum
from typing import Any

import msgspec
import pytest

from phonesys import InvalidArgument
from phonesys.http.call import Call, encode_json, encode_query, encode_segment


def test_a_call_is_data() -> None:
    """Frozen, comparable, and safe to repeat unless it says otherwise."""
    call = Call(operation="read", method="GET", target="/x", decode=len)
    assert call == Call(operation="read", method="GET", target="/x", decode=len)
    assert (call.idempotent, call.body, call.account, call.rate_key, call.recovery_hint) == (
        True,
        None,
        "",
        None,
        "",
    )
    assert call.content_type == "application/json"
    with pytest.raises(AttributeError):
        call.idempotent = False  # type: ignore[misc]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, ""),
        ({"a": None}, ""),
        ({"a": ""}, "?a="),
        ({"a": 0}, "?a=0"),
        ({"a": True, "b": False}, "?a=true&b=false"),
        ({"pageSize": 1000, "page": 2}, "?pageSize=1000&page=2"),
        ({"searchFilter": "+91"}, "?searchFilter=%2B91"),
        ({"a": "x y&z=1#?/%"}, "?a=x%20y%26z%3D1%23%3F%2F%25"),
        ({"a": "\r\nX-Evil: 1"}, "?a=%0D%0AX-Evil%3A%201"),
        ({"a b": "ü"}, "?a%20b=%C3%BC"),
        ({"startDate": date(2026, 1, 2)}, "?startDate=2026-01-02"),
        ({"a": 1.5}, "?a=1.5"),
    ],
)
def test_queries(parameters: dict[str, Any], expected: str) -> None:
    """None is left out, booleans are words, and everything is encoded."""
    assert encode_query(parameters) == expected


def test_segments() -> None:
    """Plain ids go as they are, all others encoded."""
    assert encode_segment("ve9EPM428h8vShlRW1KT", "id") == "ve9EPM428h8vShlRW1KT"
    assert encode_segment("a-b_c", "id") == "a-b_c"
    assert encode_segment("a.b~c", "id") == "a.b~c"
    assert encode_segment("a/b", "id") == "a%2Fb"


@pytest.mark.parametrize("value", ["", "  ", ".", "..", "a\n", "\ud800", None, 7, b"a", "x" * 1001])
def test_segments_that_cannot_be(value: Any) -> None:
    """The message names what the value was for."""
    with pytest.raises(InvalidArgument, match=r"^location id: .{0,200}$"):
        encode_segment(value, "location id")


def test_json_bodies_leave_out_what_is_not_given() -> None:
    """None is not sent; false, zero and empty text are."""
    fields = {"a": None, "b": False, "c": 0, "d": "", "e": ["x"], "f": "é"}
    assert msgspec.json.decode(encode_json(fields)) == {"b": False, "c": 0, "d": "", "e": ["x"], "f": "é"}
    assert encode_json({"f": "é"}) == '{"f":"é"}'.encode()


class Colour(Enum):
    RED = "red"


class Size(IntEnum):
    BIG = 3


def test_json_bodies_take_what_programs_have() -> None:
    """Dates and enums have their JSON."""
    assert encode_json({"a": date(2026, 1, 2), "b": Colour.RED, "c": Size.BIG}) == (
        b'{"a":"2026-01-02","b":"red","c":3}'
    )


@pytest.mark.parametrize("value", ["\ud800", object(), ["x", "\udfff"], {1: object()}])
def test_json_bodies_that_cannot_be(value: Any) -> None:
    """Refused as an argument, not as some library's error."""
    with pytest.raises(InvalidArgument, match=r"^body: "):
        encode_json({"name": value})
