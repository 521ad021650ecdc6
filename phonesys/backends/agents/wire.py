"""Agent numbers as structs, and the envelopes that they come in.

The vendor documents no answers; every envelope that was observed is accepted, and anything else is an
error that shows what came, never an empty list.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- msgspec reads the annotations
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from phonesys.backends.rows import Untyped, decode_rows_individually, row_reader
from phonesys.http.response import UNREADABLE, decode_error
from phonesys.model import NO_CAPABILITIES, Capabilities, NumberKind, NumberStatus, UnreadableRow, parse_time

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# The states are undocumented; these words are what the field uses, and any other stays on `state`.
_STATUS = {
    "active": NumberStatus.ACTIVE,
    "inactive": NumberStatus.INACTIVE,
    "disabled": NumberStatus.INACTIVE,
    "paused": NumberStatus.INACTIVE,
    "pending": NumberStatus.PENDING,
    "suspended": NumberStatus.SUSPENDED,
    "failed": NumberStatus.FAILED,
    "expired": NumberStatus.EXPIRED,
    "released": NumberStatus.RELEASED,
}

_RENAMED = {
    "account": "phonesys:account",
    "row_id": "id",
    "number": "phoneNumber",
    "agent_id": "agentId",
    "state": "status",
    "label": "friendlyName",
    "created": "createdAt",
    "updated": "updatedAt",
}


class AgentNumber(msgspec.Struct, rename=_RENAMED, gc=False, kw_only=True):
    """One number and the agent that answers it."""

    number: str
    row_id: str | int | None = None
    agent_id: str | None = None
    state: str | None = None
    """The vendor's word for `status`."""
    label: str | None = None
    # Undocumented, so that a date of another shape must not cost the number.
    created: Untyped = None
    updated: Untyped = None

    account: str = ""

    @property
    def provider(self) -> str:
        return "agents"

    @property
    def id(self) -> str:
        """The vendor's id as a string; the number itself where there is none."""
        return self.number if self.row_id is None else str(self.row_id)

    @property
    def country(self) -> str | None:
        """The vendor does not say."""
        return None

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
        return _STATUS.get((self.state or "").lower(), NumberStatus.UNKNOWN)

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
    """One agent, of whose fields only the id is sure."""

    id: str | int
    name: str | None = None
    status: str | None = None


class Paging(msgspec.Struct, frozen=True, kw_only=True):
    """Where a page stands among the others, as far as the vendor says."""

    page: int | None = None
    limit: int | None = None
    total: int | None = None
    pages: int | None = None
    has_more: bool | None = None


class Rows(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """The rows of a page."""

    rows: tuple[T, ...]
    rejected: tuple[UnreadableRow, ...] = ()
    paging: Paging = Paging()


_HOLDERS = ("data", "numbers", "items", "results", "agents")
_NOTHING: dict[str, msgspec.Raw] = {}
_PAGING = ("pagination", "meta")
_DATES = ("createdAt", "updatedAt")

_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_split_array = msgspec.json.Decoder(tuple[msgspec.Raw, ...]).decode


def rows_reader(kind: type[T]) -> Callable[[bytes], Rows[T]]:
    """Make the function that reads a page of rows of this type out of any envelope."""
    decode_all = msgspec.json.Decoder(tuple[kind, ...], strict=False).decode  # type: ignore[valid-type]
    decode_one = row_reader(kind, *_DATES)

    def read(body: bytes) -> Rows[T]:
        array, paging = _find_rows(body)
        try:
            return Rows(rows=decode_all(array), paging=paging)
        except UNREADABLE:
            rows, rejected = decode_rows_individually(_split_array(array), decode_one)
            return Rows(rows=rows, rejected=rejected, paging=paging)

    return read


def one_reader(kind: type[T], *holders: str) -> Callable[[bytes], T]:
    """Make the function that reads one row: bare, or under one of the holders."""
    decode = row_reader(kind, *_DATES)

    def read(body: bytes) -> T:
        try:
            parts = _split(body)
            held = next((parts[key] for key in holders if _opens(parts.get(key), b"{")), None)
            if held is None:
                return decode(body)
            inner = _split(held)
            return decode(next((inner[key] for key in holders if _opens(inner.get(key), b"{")), held))
        except UNREADABLE as failure:
            raise decode_error(body, str(failure)) from None

    return read


def _find_rows(body: bytes) -> tuple[msgspec.Raw, Paging]:
    """Find the array of rows: the body itself, or under a known key, at most one level down."""
    try:
        if body.lstrip()[:1] == b"[":
            _split_array(body)
            return msgspec.Raw(body), Paging()
        outer = _split(body)
        if _scalar(outer.get("success"), bool) is False:
            raise decode_error(body, "it says that it is no success")
        holder = next((key for key in _HOLDERS if _opens(outer.get(key), b"{")), None)
        inner = _split(outer[holder]) if holder else _NOTHING
        for parts in (outer, inner):
            for key in _HOLDERS:
                if _opens(parts.get(key), b"["):
                    return parts[key], _find_paging(outer, inner)
    except UNREADABLE as failure:
        raise decode_error(body, str(failure)) from None
    raise decode_error(body, f"no array under any of {', '.join(_HOLDERS)}")


def _opens(raw: msgspec.Raw | None, bracket: bytes) -> bool:
    return raw is not None and bytes(memoryview(raw)[:1]) == bracket


def _find_paging(outer: dict[str, msgspec.Raw], inner: dict[str, msgspec.Raw]) -> Paging:
    """Read the paging wherever it is; what is not a number there is as good as absent."""
    for parts in (outer, inner):
        for key in _PAGING:
            if _opens(parts.get(key), b"{"):
                return _paging(_split(parts[key]))
    return _paging(inner | outer)


def _paging(parts: dict[str, msgspec.Raw]) -> Paging:
    def number(*keys: str) -> int | None:
        return next((value for key in keys if (value := _scalar(parts.get(key), int)) is not None), None)

    return Paging(
        page=number("page"),
        limit=number("limit"),
        total=number("total"),
        pages=number("totalPages", "pages"),
        has_more=_scalar(parts.get("hasMore"), bool),
    )


def _scalar(raw: msgspec.Raw | None, kind: type[T]) -> T | None:
    try:
        return None if raw is None else msgspec.json.decode(raw, type=kind, strict=False)
    except UNREADABLE:
        return None


read_numbers = rows_reader(AgentNumber)
read_agents = rows_reader(Agent)
read_number = one_reader(AgentNumber, "data", "number")
