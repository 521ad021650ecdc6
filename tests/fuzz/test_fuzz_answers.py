"""Answers that no vendor should send: only errors of ours come out, and what comes out can be looked at."""

from __future__ import annotations

import pickle
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given

from phonesys import DecodeError
from phonesys._validation import MAX_DEPTH, exceeds_depth
from phonesys.backends.agents import wire as agents
from phonesys.backends.leadconnector import wire as leadconnector
from phonesys.backends.leadconnector.oauth.wire import decode_locations, decode_token
from phonesys.backends.leadping import wire as leadping
from phonesys.backends.rows import MAX_UNREADABLE
from phonesys.http.response import error_from_response
from phonesys.model import parse_time
from tests.fuzz import targets
from tests.fuzz.answers import DEEP, LOCATIONS, TOKENS, Bomb, bombs, errors, listings
from tests.fuzz.drawn import always_the_same, changed, damaged
from tests.fuzz.seeds import HEADS, TOKEN_FILES

if TYPE_CHECKING:
    from collections.abc import Callable

    from _pytest.mark.structures import ParameterSet

NUMBER = "+14155552671"
READERS: dict[str, Callable[[bytes], Any]] = {
    "leadconnector numbers": leadconnector.decode_listing,
    "leadconnector pools": leadconnector.decode_pools,
    "leadping rows": leadping.decode_listing,
    "leadping number": leadping.decode_number,
    "leadping status": leadping.decode_status,
    "agent numbers": agents.decode_numbers,
    "agents": agents.decode_agents,
    "agent number": agents.decode_number,
    "locations": decode_locations,
    "token": lambda body: decode_token(body, clock=lambda: 1000.0),
    "error": lambda body: error_from_response(500, {}, body),
}
ALL = (targets.listing, targets.paging, targets.error_body, targets.token, targets.token_file)


@always_the_same
@given(changed(listings()))
def test_listings(body: bytes) -> None:
    """Numbers, pools, agents and statuses, of each vendor, by each vendor's reader."""
    targets.listing(body)


@always_the_same
@given(changed(listings()))
def test_paging(body: bytes) -> None:
    """Totals, sizes and cursors that cannot be lead to no error but ours, and to no endless list of pages."""
    targets.paging(body)


@always_the_same
@given(changed(errors()))
def test_error_bodies(body: bytes) -> None:
    """The error is made, small, in one line that can be printed, and crosses processes."""
    targets.error_body(body)


@always_the_same
@given(damaged([head + b"\n\n{}" for head in HEADS]))
def test_error_headers(raw: bytes) -> None:
    """Waits are finite numbers of seconds or nothing, and a request's id can be printed."""
    targets.error(raw)


@always_the_same
@given(changed((*TOKENS, *LOCATIONS)))
def test_tokens(body: bytes) -> None:
    """A token or an error; what is read can be kept and read again."""
    targets.token(body)


@always_the_same
@given(changed(TOKEN_FILES))
def test_token_files(raw: bytes) -> None:
    """A line of a token store's file is tokens or a ConfigError."""
    targets.token_file(raw)


# What answers cost

SIZE = 8_000
LARGE = 50_000
MOST_TIME = 60e-6
"""Seconds of the processor's for one byte by one target: a hundred times what the slowest takes."""
MOST_ROOM = 40
"""Bytes of memory for one byte of the answer; lists of single digits are the worst."""
LEAST_ROOM = 100_000
"""Bytes of memory for an answer of any size."""
REJECTED_ROOM = 130
"""Bytes of memory for a rejected row of one byte and its comma, for as many as a page may have.

A row takes 100 on Python 3.14, whose objects are larger.
"""


def of_both_sizes(wanted: Callable[[Bomb], bool]) -> list[ParameterSet]:
    """Return small bombs for every run of the tests, and large ones, which show more, for `-m long`."""
    return [
        pytest.param(bomb, id=f"{bomb}, {size}", marks=marks)
        for size, marks in ((SIZE, ()), (LARGE, (pytest.mark.long,)))
        for bomb in filter(wanted, bombs(size))
    ]


@pytest.mark.parametrize("bomb", of_both_sizes(lambda _bomb: True))
def test_no_answer_costs_more_than_its_size_deserves(bomb: Bomb) -> None:
    """Processor time and memory grow linearly with the bytes of nested, endless or numerous values."""
    for target in ALL:
        before = time.process_time()
        target(bomb.body)
        assert time.process_time() - before < MOST_TIME * len(bomb.body), target.__name__


@pytest.mark.parametrize("bomb", of_both_sizes(lambda bomb: bomb.is_many))
def test_no_answer_takes_more_memory_than_a_multiple_of_its_size(bomb: Bomb) -> None:
    """As Python itself counts, so that the figure is the same everywhere."""
    for reader, read in READERS.items():
        size = len(bomb.body)
        rejected = min(size // 2, MAX_UNREADABLE)
        most = LEAST_ROOM + MOST_ROOM * size + REJECTED_ROOM * rejected
        assert _room(read, bomb.body) < most, reader


def _room(read: Callable[[bytes], Any], body: bytes) -> int:
    tracemalloc.start()
    try:
        try:
            kept = read(body)
        except DecodeError as error:
            kept = error
        peak = tracemalloc.get_traced_memory()[1]
        del kept
    finally:
        tracemalloc.stop()
    return peak


@pytest.mark.parametrize("left", [b"[", b'{"data":', b'{"numbers":[', b'{"items":[{"number":"+1","warmup":'])
def test_nesting_exhausts_no_stack(left: bytes) -> None:
    """A hundred thousand deep, closed or not, is an error like any other."""
    right = left.translate(bytes.maketrans(b"[{", b"]}"), b'"abcdefghijklmnopqrstuvwxyz:+1,')[::-1]
    for target in ALL:
        target(left * DEEP)
        target(left * DEEP + right * DEEP)


# What the search found


def test_a_page_of_nothing_but_bad_rows_is_no_page() -> None:
    """Some bad rows are kept with their reasons; millions of them would be gigabytes of reasons."""
    few = leadping.decode_listing(b'{"items":[' + b"7," * (MAX_UNREADABLE - 1) + b"7]}")
    assert len(few.rejected) == MAX_UNREADABLE
    for reader, holder in (
        ("leadconnector numbers", b"numbers"),
        ("leadping rows", b"items"),
        ("agents", b"data"),
    ):
        with pytest.raises(
            DecodeError, match="more than 10,000 rows cannot be read, the first for: Expected"
        ):
            READERS[reader](b'{"' + holder + b'":[' + b"7," * MAX_UNREADABLE + b"7]}")


DEEP_VALUE = b"[" * 500 + b"]" * 500


@pytest.mark.parametrize(
    "date", [DEEP_VALUE, b"[1]", b'{"a":{}}', b'{"a":1}', b"1e400", b"9" * 5000, b"17", b"true"]
)
def test_a_date_of_any_shape_costs_neither_its_number_nor_the_stack(date: bytes) -> None:
    """The number is there, without the date, and can be printed and pickled wherever that happens."""
    rows = {
        "leadconnector numbers": b'{"numbers":[{"phoneNumber":"%b","dateAdded":%b,"dateUpdated":%b}]}',
        "agent numbers": b'[{"phoneNumber":"%b","createdAt":%b,"updatedAt":%b}]',
        "agent number": b'{"phoneNumber":"%b","createdAt":%b,"updatedAt":%b}',
        "leadping number": b'{"number":"%b","createdAt":%b,"warmupHealthScore":%b}',
    }
    for reader, row in rows.items():
        read = READERS[reader](row % (NUMBER.encode(), date, date))
        one = read if hasattr(read, "number") else getattr(read, "numbers", None) or read.rows
        one = one[0] if isinstance(one, tuple) else one
        assert (one.number, one.created_at, one.updated_at) == (NUMBER, None, None)
        assert not exceeds_depth(msgspec.structs.asdict(one))
        targets.number(one)


def test_dates_beside_a_strange_one_stay() -> None:
    """Only what is no text goes."""
    row = '{"phoneNumber":"%s","dateAdded":"2024-01-01T00:00:00Z","dateUpdated":[]}' % NUMBER  # noqa: UP031
    (number,) = leadconnector.decode_listing(f'{{"numbers":[{row}]}}'.encode()).numbers
    assert (number.date_added, number.date_updated) == ("2024-01-01T00:00:00Z", None)


def test_an_unreadable_row_has_the_reason_of_the_whole_row() -> None:
    """The reason is that of the row as it came, whatever else is wrong in it."""
    row = b'{"phoneNumber":[7],"dateAdded":[]}'
    listing = leadconnector.decode_listing(b'{"numbers":[%b,%b]}' % (row, row))
    assert [bad.reason for bad in listing.rejected] == [
        "Expected `str`, got `array` - at `$.phoneNumber`"
    ] * 2


def test_what_vendors_keep_in_objects_is_shallow() -> None:
    """Objects too deep to print or pickle are not accepted as data."""
    deep = b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1)
    for field in (b"outboundCapacity", b"optOutMetrics", b"trafficMetrics"):
        with pytest.raises(DecodeError, match="nested more than 32 deep"):
            leadping.decode_status(b'{"number":"+1","%b":%b}' % (field, deep))
    assert leadping.decode_status(b'{"number":"+1","smsWarmup":{"uiState":%b}}' % deep).sms_warmup is None
    with pytest.raises(DecodeError, match="nested more than 32 deep"):
        leadping.decode_status(b'{"number":"+1","recentEvents":[%b]}' % deep)
    listing = leadconnector.decode_listing(
        b'{"numbers":[],"rcsSenderIds":[{"number":"a","rcsMeta":%b}]}' % deep
    )
    assert listing.rcs_senders == ()


@pytest.mark.parametrize("value", [1, "a", None, [], {}])
def test_depth_is_counted(value: Any) -> None:
    """By lists and objects alike, whatever lies at the bottom."""
    for depth in (MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1):
        nested = value
        for level in range(depth - isinstance(value, list | dict)):
            nested = [nested, 1] if level % 2 else {"a": nested}
        assert exceeds_depth(nested) is (depth > MAX_DEPTH)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_moment_that_utc_has_no_year_for_is_no_date(text: str) -> None:
    """Such a time could not be stored, nor compared in UTC."""
    assert parse_time(text) is None
    assert parse_time(text.replace("0001", "0002").replace("9999", "9998")) is not None


@pytest.mark.parametrize(
    "life", [b"9" * 400, b"-" + b"9" * 400, b'"' + b"9" * 400 + b'"', b"1e308", b'"nan"']
)
def test_a_life_of_any_length_is_a_token(life: bytes) -> None:
    """A number that no float holds says nothing of when it ends."""
    token = decode_token(b'{"access_token":"at_1","expires_in":%b}' % life, clock=lambda: 1000.0)
    assert token.expires_at is None or token.expires_at > 1000.0


def test_an_endless_answer_about_a_token_is_none() -> None:
    """It is not made into objects, which would take thirty times its room."""
    padding = b'"' + b"x" * 2**20 + b'"'
    with pytest.raises(DecodeError, match="no access token"):
        decode_token(b'{"access_token":"at_1","padding":%b}' % padding, clock=lambda: 1000.0)


def test_errors_are_one_line_that_a_terminal_takes() -> None:
    """No line ends that would forge a line of a log, nothing that moves a cursor or cannot be encoded."""
    body = b'{"message":"no\\r\\nERROR all is lost\\u001b[2J\\u202e\\u0000 way"}'
    error = error_from_response(500, {"X-Request-Id": "req\udcff\x1b[2J" + "x" * 5000}, body)
    assert error.message == "no ERROR all is lost [2J way"
    assert error.request_id is not None
    assert len(error.request_id) <= 200
    assert str(error).isprintable()
    assert error.details["message"].startswith("no\r\n")
    assert error_from_response(500, {"X-Request-Id": "\x1b"}, b"").request_id is None


def test_a_page_of_a_large_error_is_not_read_whole() -> None:
    """The message is that of its first bytes."""
    error = error_from_response(500, {}, b'{"message":"' + b"x" * 2**20 + b'"}')
    assert error.message.startswith('{"message":"xxx')
    assert len(pickle.dumps(error)) < targets.LARGEST_ERROR


def test_where_a_number_belongs_never_costs_the_number() -> None:
    """Rows of the newest generation say it in words, full answers of the oldest as an object."""
    (row,) = leadping.decode_listing(b'{"items":[{"number":"+1","location":"Austin, TX"}]}').rows
    assert row.location == "Austin, TX"
    (strange,) = leadping.decode_listing(b'{"items":[{"number":"+1","location":{"a":{"b":[]}}}]}').rows
    assert strange.location is None
