"""Agent numbers as structs, and the envelopes around them.

The vendor's documents and observed responses disagree on the envelope, so all of them are accepted. Anything
else is an error that shows the response, never an empty list.
"""

from __future__ import annotations

import contextlib
from datetime import datetime  # noqa: TC003 -- msgspec reads the annotations
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import msgspec

from phonesys._calling_codes import country_of
from phonesys.backends.paging import Paging, find_paging
from phonesys.backends.rows import (
    Mending,
    RowDecoder,
    Text,
    Untyped,
    decode_repaired,
    decode_rows_individually,
)
from phonesys.backends.words import Vocabulary
from phonesys.http.response import MSGSPEC_ERRORS, decode_error
from phonesys.model import (
    NO_CAPABILITIES,
    Capabilities,
    MendedField,
    NumberKind,
    NumberStatus,
    UnreadableRow,
    parse_time,
)
from phonesys.record import NumberBase

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
R = TypeVar("R", bound=msgspec.Struct)

# Words that APIs of this kind use. Any other word is kept on `state`.
_status_of = Vocabulary(
    {
        "active": NumberStatus.ACTIVE,
        "inactive": NumberStatus.INACTIVE,
        "disabled": NumberStatus.INACTIVE,
        "paused": NumberStatus.INACTIVE,
        "pending": NumberStatus.PENDING,
        "suspended": NumberStatus.SUSPENDED,
        "failed": NumberStatus.FAILED,
        "expired": NumberStatus.EXPIRED,
        "released": NumberStatus.RELEASED,
        "assigned": NumberStatus.ACTIVE,
        "unassigned": NumberStatus.INACTIVE,
    },
    NumberStatus.UNKNOWN,
)

_RENAMED = {
    "account": "phonesys:account",
    "backend": "phonesys:backend",
    "row_id": "id",
    "number": "phoneNumber",
    "agent_id": "agentId",
    "state": "status",
    "label": "friendlyName",
    "created": "createdAt",
    "updated": "updatedAt",
}


class AgentNumber(NumberBase, msgspec.Struct, rename=_RENAMED, gc=False, kw_only=True):
    """One number and its agent."""

    number: Text
    row_id: Text | int | None = None
    agent_id: Text | None = None
    state: Text | None = None
    """The vendor's word for `status`."""
    label: Text | None = None
    # Undocumented: a date of another shape must not make the number unreadable.
    created: Untyped = None
    updated: Untyped = None

    account: str = ""
    backend: str = "agents"
    """The name of the backend that holds it."""

    @property
    def provider(self) -> str:
        return "agents"

    @property
    def id(self) -> str:
        """The vendor's id as a string; the number itself if there is none."""
        return self.number if self.row_id is None else str(self.row_id)

    @property
    def country(self) -> str | None:
        """The country of the number's prefix: the vendor does not say."""
        return country_of(self.number)

    @property
    def country_is_derived(self) -> bool:
        """True if the country is known."""
        return self.country is not None

    @property
    def kind(self) -> NumberKind:
        """The vendor does not say."""
        return NumberKind.UNKNOWN

    @property
    def capabilities(self) -> Capabilities:
        """The vendor does not say."""
        return NO_CAPABILITIES

    @property
    def status(self) -> NumberStatus:
        return _status_of(self.state)

    @property
    def assignee(self) -> str | None:
        return self.agent_id

    @property
    def created_at(self) -> datetime | None:
        return parse_time(self.created)

    @property
    def updated_at(self) -> datetime | None:
        return parse_time(self.updated)

    def record_fields(self) -> dict[str, Any]:
        """Return the record fields beyond those that all vendors share."""
        agent = self.agent_id
        return {
            "inbound": f"agent:{agent}" if agent else None,
            "is_routed": bool(agent),
            "vendor_status": self.state,
        }


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """One agent. Only its id is certain."""

    id: Text | int
    name: Text | None = None
    status: Text | None = None


class Rows(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Rows of a page, and its paging."""

    rows: tuple[T, ...]
    rejected: tuple[UnreadableRow, ...] = ()
    mended: tuple[MendedField, ...] = ()
    paging: Paging = Paging()


_ROW_KEYS = ("data", "numbers", "items", "results", "agents")
_EMPTY: dict[str, msgspec.Raw] = {}

_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_split_array = msgspec.json.Decoder(tuple[msgspec.Raw, ...]).decode


def page_decoder(kind: type[R], *identity: str) -> Callable[[bytes], Rows[R]]:
    """Return a decoder of a page of such rows in any envelope."""
    decode_all = msgspec.json.Decoder(tuple[kind, ...], strict=False).decode  # type: ignore[valid-type]
    decode_one = RowDecoder(kind, *identity)

    def read(body: bytes) -> Rows[R]:
        array, envelope = decode_repaired(_find_rows, body)
        mending = Mending()
        rejected: tuple[UnreadableRow, ...] = ()
        try:
            rows = decode_all(array)
        except MSGSPEC_ERRORS:
            rows, rejected = decode_rows_individually(
                _split_array(array), partial(decode_one, mending=mending)
            )
        paging = find_paging(*map(_values, envelope), rows=len(rows) + len(rejected))
        return Rows(rows=rows, rejected=rejected, mended=mending.result(), paging=paging)

    return read


def single_decoder(kind: type[R], *identity: str, keys: tuple[str, ...]) -> Callable[[bytes], R]:
    """Return a decoder of one row: bare, or under one of the keys."""
    decode = RowDecoder(kind, *identity)

    def read(body: bytes) -> R:
        parts = _split(body)
        held = next((parts[key] for key in keys if _begins_with(parts.get(key), b"{")), None)
        if held is None:
            return decode(body)
        inner = _split(held)
        return decode(next((inner[key] for key in keys if _begins_with(inner.get(key), b"{")), held))

    return partial(decode_repaired, read)


_Envelope: TypeAlias = tuple[dict[str, msgspec.Raw], ...]


def _find_rows(body: bytes) -> tuple[msgspec.Raw, _Envelope]:
    """Return the array of rows, and the objects around it.

    The array is the body itself, or under a known key, at most one level down.
    """
    if body.lstrip()[:1] == b"[":
        _split_array(body)
        return msgspec.Raw(body), ()
    outer = _split(body)
    if _scalar(outer.get("success"), bool) is False:
        raise decode_error(body, "its `success` is false")
    holder = next((key for key in _ROW_KEYS if _begins_with(outer.get(key), b"{")), None)
    inner = _split(outer[holder]) if holder else _EMPTY
    for parts in (outer, inner):
        for key in _ROW_KEYS:
            if _begins_with(parts.get(key), b"["):
                return parts[key], (outer, inner)
    raise decode_error(body, f"no array under any of {', '.join(_ROW_KEYS)}")


def _begins_with(raw: msgspec.Raw | None, bracket: bytes) -> bool:
    return raw is not None and bytes(memoryview(raw)[:1]) == bracket


def _values(parts: dict[str, msgspec.Raw]) -> dict[str, Any]:
    """Decode the fields beside the rows, as far as they can be decoded."""
    values: dict[str, Any] = {}
    for key, raw in parts.items():
        holds_rows = _begins_with(raw, b"[") or (key in _ROW_KEYS and _begins_with(raw, b"{"))
        if not holds_rows:
            with contextlib.suppress(*MSGSPEC_ERRORS):
                values[key] = msgspec.json.decode(raw)
    return values


def _scalar(raw: msgspec.Raw | None, kind: type[T]) -> T | None:
    try:
        return None if raw is None else msgspec.json.decode(raw, type=kind, strict=False)
    except MSGSPEC_ERRORS:
        return None


decode_numbers = page_decoder(AgentNumber, "number", "row_id")
decode_agents = page_decoder(Agent, "id")
decode_number = single_decoder(AgentNumber, "number", "row_id", keys=("data", "number"))
decode_agent = single_decoder(Agent, "id", keys=("data", "agent"))
