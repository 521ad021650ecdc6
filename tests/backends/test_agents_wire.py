from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from phonesys import Agent, AgentNumber, Capabilities, DecodeError, NumberKind, NumberStatus, PhoneNumber
from phonesys.backends.agents.wire import decode_agents, decode_number, decode_numbers
from phonesys.backends.paging import Paging

DATA = Path(__file__).parents[1] / "data" / "agents"

DESK: dict[str, Any] = {
    "provider": "agents",
    "id": "num_1",
    "number": "+14155552671",
    "label": "Front desk",
    "country": "US",
    "country_is_derived": True,
    "kind": NumberKind.UNKNOWN,
    "capabilities": Capabilities(),
    "status": NumberStatus.ACTIVE,
    "state": "ACTIVE",
    "assignee": "agent_9",
    "agent_id": "agent_9",
    "created_at": datetime(2024, 3, 1, 8, tzinfo=UTC),
    "updated_at": datetime(2024, 3, 2, 9, 30, tzinfo=UTC),
}
SPARE: dict[str, Any] = {
    "id": "42",
    "number": "+18005551234",
    "label": None,
    "status": NumberStatus.UNKNOWN,
    "state": "Sleeping",
    "assignee": None,
    "created_at": None,
    "updated_at": None,
}
BOTH = [DESK, SPARE]
UNSAID = Paging()
EVERYTHING = Paging(page=1, limit=2, total=5, pages=3, has_more=True)
NO_MORE_SAID = Paging(page=1, limit=2, total=5, pages=3)

LISTS: dict[str, tuple[list[dict[str, Any]], Paging]] = {
    "list-bare.json": (BOTH, UNSAID),
    "list-data.json": (BOTH, UNSAID),
    "list-numbers.json": (BOTH, UNSAID),
    "list-items.json": (BOTH, UNSAID),
    "list-results.json": (BOTH, UNSAID),
    "list-data-numbers.json": (BOTH, UNSAID),
    "list-data-items.json": (BOTH, UNSAID),
    "list-results-data.json": (BOTH, UNSAID),
    "paged-pagination.json": (BOTH, EVERYTHING),
    "paged-meta.json": (BOTH, NO_MORE_SAID),
    "paged-top.json": (BOTH, EVERYTHING),
    "paged-inner.json": (BOTH, NO_MORE_SAID),
    "paged-inner-top.json": (BOTH, NO_MORE_SAID),
    "empty-bare.json": ([], UNSAID),
    "empty-data.json": ([], Paging(page=1, limit=50, total=0, pages=0, has_more=False)),
}
ONES = ("one-bare.json", "one-data.json", "one-number.json", "one-data-number.json")
AGENTS = ("agents.json", "agents-named.json")


def facts(thing: object, expected: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in expected}


@pytest.mark.parametrize("name", LISTS)
def test_every_envelope_is_opened(name: str) -> None:
    """The rows and the paging are found wherever they were observed."""
    rows, paging = LISTS[name]
    read = decode_numbers((DATA / name).read_bytes())
    assert [facts(row, expected) for row, expected in zip(read.rows, rows, strict=True)] == rows
    assert read.paging == paging
    assert read.rejected == ()


@pytest.mark.parametrize("name", ONES)
def test_one_number_comes_bare_or_wrapped(name: str) -> None:
    """A single number is found under `data`, `number`, both or neither."""
    assert facts(decode_number((DATA / name).read_bytes()), DESK) == DESK


@pytest.mark.parametrize("name", AGENTS)
def test_agents_are_read(name: str) -> None:
    """Only the ids of agents are certain, and they may be integers."""
    assert decode_agents((DATA / name).read_bytes()).rows == (
        Agent(id="agent_9", name="Reception", status="ACTIVE"),
        Agent(id=7),
    )


def test_no_observed_answer_is_left_out() -> None:
    """Every answer in the folder is in a table of this file, or is an error."""
    there = {path.name for path in DATA.iterdir() if not path.name.startswith("error-")}
    assert there == {*LISTS, *ONES, *AGENTS}


def test_a_row_is_a_phone_number() -> None:
    """The wire struct itself satisfies the protocol: nothing is copied."""
    assert isinstance(AgentNumber(number="+14155552671"), PhoneNumber)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("ACTIVE", NumberStatus.ACTIVE),
        ("active", NumberStatus.ACTIVE),
        ("Inactive", NumberStatus.INACTIVE),
        ("disabled", NumberStatus.INACTIVE),
        ("paused", NumberStatus.INACTIVE),
        ("pending", NumberStatus.PENDING),
        ("suspended", NumberStatus.SUSPENDED),
        ("failed", NumberStatus.FAILED),
        ("expired", NumberStatus.EXPIRED),
        ("released", NumberStatus.RELEASED),
        ("on holiday", NumberStatus.UNKNOWN),
        (None, NumberStatus.UNKNOWN),
    ],
)
def test_states(word: str | None, status: NumberStatus) -> None:
    """The usual words map whatever their case; any other is UNKNOWN, and stays on `state`."""
    row = AgentNumber(number="+14155552671", state=word)
    assert (row.status, row.state) == (status, word)


def test_a_row_without_an_id_goes_by_its_number() -> None:
    """Paging and de-duplication need an identity; zero is an id like any other."""
    assert AgentNumber(number="+14155552671").id == "+14155552671"
    assert AgentNumber(number="+14155552671", row_id=0).id == "0"


@pytest.mark.parametrize("envelope", ["%s", '{"data": %s}', '{"data": {"items": %s}}'])
def test_a_bad_row_costs_only_itself(envelope: str) -> None:
    """In every envelope the others are read, and the bad ones are kept as they came."""
    rows = '[{"phoneNumber": "+14155552671"}, {"status": "ACTIVE"}, 7, {"phoneNumber": "+14155552673"}]'
    read = decode_numbers((envelope % rows).encode())
    assert [row.number for row in read.rows] == ["+14155552671", "+14155552673"]
    assert [rejected.raw for rejected in read.rejected] == [b'{"status": "ACTIVE"}', b"7"]
    assert "phoneNumber" in read.rejected[0].reason


@pytest.mark.parametrize("bad", ["yesterday", "2024-03-01 08:00", 1709280000, {}, None])
def test_a_bad_date_does_not_cost_its_number(bad: object) -> None:
    """Undocumented dates of another shape are None."""
    row = {"phoneNumber": "+14155552671", "createdAt": bad, "updatedAt": bad}
    number = decode_number(msgspec.json.encode(row))
    assert (number.created_at, number.updated_at) == (None, None)


@pytest.mark.parametrize(
    "paging",
    [
        {"page": "x", "total": [], "totalPages": None, "hasMore": "perhaps"},
        {"page": 1.5, "total": {}, "pages": "many"},
        {},
    ],
)
def test_paging_that_makes_no_sense_is_as_good_as_absent(paging: dict[str, object]) -> None:
    """Paging of another type is ignored in every envelope."""
    row = {"phoneNumber": "+14155552671"}
    for body in ({"data": [row], "pagination": paging}, {"data": [row], **paging}):
        read = decode_numbers(msgspec.json.encode(body))
        assert (len(read.rows), read.paging) == (1, UNSAID)


@pytest.mark.parametrize(
    "body",
    [
        {"success": False, "data": [], "error": "no such plan"},
        {"data": {"data": {"data": []}}},
        {"rows": []},
        {"error": {"message": "no"}},
        {"data": None, "pagination": {"total": 3}},
        {"data": "none"},
    ],
)
def test_anything_else_is_an_error_that_shows_what_came(body: dict[str, Any]) -> None:
    """A failure under a 200, rows too deep, rows under another name: never an empty list."""
    raw = msgspec.json.encode(body)
    with pytest.raises(DecodeError) as caught:
        decode_numbers(raw)
    assert caught.value.body == raw
    assert not caught.value.transient


def test_whitespace_around_the_parts_is_harmless() -> None:
    """Rows are found by their bracket, wherever the vendor breaks its lines."""
    assert len(decode_numbers(b' \n{ "data" :\n [ {"phoneNumber" : "+1"} ]\n}\n').rows) == 1
    assert decode_numbers(b"\n [ ] ").rows == ()
