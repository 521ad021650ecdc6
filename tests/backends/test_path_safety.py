"""Ids come from users: whatever they hold, they cannot change which path is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from phonesys import InvalidArgument
from phonesys.backends.agents import calls as agents
from phonesys.backends.leadconnector import calls as leadconnector
from phonesys.backends.leadping import calls as leadping
from phonesys.http.call import encode_query, encode_segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonesys.http.call import Call

# How many segments the path has, and at which of them the id stands.
BUILDERS: dict[str, tuple[Callable[[str], Call[Any]], list[str], int]] = {
    "active_numbers": (leadconnector.active_numbers, ["phone-system", "numbers", "location", "ID"], 3),
    "get_number": (leadping.get_number, ["phone-numbers", "ID"], 1),
    "update_number": (
        lambda value: leadping.update_number(value, name="Line", number="+14155552671"),
        ["phone-numbers", "ID"],
        1,
    ),
    "delete_number": (leadping.delete_number, ["phone-numbers", "ID"], 1),
    "number_warmup": (leadping.number_warmup, ["phone-numbers", "ID", "warmup"], 1),
    "numbers_of_agent": (agents.numbers_of_agent, ["agents", "ID", "numbers"], 1),
    "get_assignment": (agents.get_number, ["numbers", "ID"], 1),
    "update_assignment": (lambda value: agents.update_number(value, status="ACTIVE"), ["numbers", "ID"], 1),
    "unassign": (lambda value: agents.update_number(value, unassign=True), ["numbers", "ID"], 1),
    "get_agent": (agents.get_agent, ["agents", "ID"], 1),
    "delete_assignment": (agents.delete_number, ["numbers", "ID"], 1),
}
REFUSED = [
    "",
    " ",
    "\t",
    "\n",
    ".",
    "..",
    "a\nb",
    "a\r\nX: y",
    "\0",
    "a\0",
    "\x7f",
    "\ud800",
    "a\udfff",
    "\u2028",
]
ENCODED = {
    "a/b": "a%2Fb",
    "../oauth/token": "..%2Foauth%2Ftoken",
    "../../oauth/token": "..%2F..%2Foauth%2Ftoken",
    "/": "%2F",
    "a?b=c": "a%3Fb%3Dc",
    "a#b": "a%23b",
    "a%2Fb": "a%252Fb",
    "%2e%2e": "%252e%252e",
    "a b": "a%20b",
    "+14155552671": "%2B14155552671",
    "a;b=c": "a%3Bb%3Dc",
    "a\\b": "a%5Cb",
    "@evil": "%40evil",
    "...": "...",
    "é☎": "%C3%A9%E2%98%8E",
    "ve9EPM428h8vShlRW1KT": "ve9EPM428h8vShlRW1KT",
}
ids = st.one_of(
    st.text(),
    st.text(st.characters(categories=["Cs", "Cc", "Lu", "Po"])),
    st.text(st.sampled_from("./%?#&;\\@:+ 2eEfFab")),
)


@pytest.mark.parametrize("value", REFUSED)
def test_what_no_vendor_uses_as_an_id_is_refused(value: str) -> None:
    """Nothing, dots, control characters, half surrogates: by each operation, with a readable message."""
    for build, *_ in BUILDERS.values():
        with pytest.raises(InvalidArgument, match="expected an id as the vendor gives it") as caught:
            build(value)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("value", [None, 7, b"loc_1", ["loc_1"]])
def test_what_is_no_string_is_refused(value: Any) -> None:
    """Each operation refuses it, and the message names the type."""
    for build, *_ in BUILDERS.values():
        with pytest.raises(InvalidArgument, match=f"expected a string, got {type(value).__name__}"):
            build(value)


@pytest.mark.parametrize(("value", "expected"), ENCODED.items())
def test_what_would_mean_something_is_encoded(value: str, expected: str) -> None:
    """Any other text becomes one path segment."""
    assert encode_segment(value, "id") == expected


@settings(deadline=None)
@given(ids)
@example("a%2Fb")
def test_a_segment_is_one_segment_or_refused(value: str) -> None:
    """It holds nothing that ends a segment, is no dot segment, and decodes to what went in."""
    try:
        encoded = encode_segment(value, "id")
    except InvalidArgument:
        return
    assert unquote(encoded) == value
    assert not set(encoded) & set("/?#\\ \r\n")
    assert encoded not in {"", ".", ".."}
    assert encoded.isascii()


@pytest.mark.parametrize("name", BUILDERS)
@settings(deadline=None)
@given(value=ids)
def test_no_id_changes_the_path(name: str, value: str) -> None:
    """As yarl and urllib read the URL, the path has the segments it should, and the id is one of them."""
    build, pattern, place = BUILDERS[name]
    try:
        call = build(value)
    except InvalidArgument:
        return
    url = "https://vendor.example/base" + call.target
    read = URL(url, encoded=True)
    assert (read.host, read.fragment) == ("vendor.example", "")
    assert str(read) == url  # nothing was normalised away
    parts = urlsplit(url).path.split("/")[2:]
    assert parts == read.raw_path.split("/")[2:]
    assert unquote(parts[place]) == value
    assert [*parts[:place], "ID", *parts[place + 1 :]] == pattern


@settings(deadline=None)
@given(value=ids)
def test_no_location_changes_the_query(value: str) -> None:
    """The pools' location travels in the query, and is one parameter there."""
    try:
        call = leadconnector.number_pools(value)
    except InvalidArgument:
        return
    parts = urlsplit("https://vendor.example" + call.target)
    assert parts.path == "/phone-system/number-pools"
    assert parse_qsl(parts.query, keep_blank_values=True) == [("locationId", value)]


@settings(deadline=None)
@given(st.dictionaries(st.text(min_size=1), st.one_of(st.none(), st.text(), st.booleans(), st.integers())))
def test_queries_arrive_as_they_were(parameters: dict[str, object]) -> None:
    """Parsed by the other side, each parameter is what was given: words for booleans, nothing for None."""
    words = {True: "true", False: "false"}
    expected = [
        (name, words[value] if isinstance(value, bool) else str(value))
        for name, value in parameters.items()
        if value is not None
    ]
    try:
        text = encode_query(parameters)
    except InvalidArgument:
        assert any("\ud800" <= letter <= "\udfff" for pair in expected for part in pair for letter in part)
        return
    assert parse_qsl(text.removeprefix("?"), keep_blank_values=True, max_num_fields=None) == expected
    assert text.startswith("?") is bool(expected)


def test_an_agent_that_numbers_are_assigned_to_follows_the_same_rule() -> None:
    """Its id travels in the body, and would be a path elsewhere."""
    with pytest.raises(InvalidArgument, match="agent id"):
        agents.assign_number(phone_number="+14155552671", agent_id="..")
