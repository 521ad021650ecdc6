"""LeadConnector's numbers as a record's fields, a column at a time: its pages hold a thousand of them.

Reading each number's properties one by one costs more than the database does.
"""

from __future__ import annotations

from datetime import datetime
from operator import attrgetter
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import msgspec

from phonesys.backends.leadconnector.wire import LeadConnectorNumber
from phonesys.inventory.routes import POOL_FACTS, facts_of_pool, route
from phonesys.model import NO_CAPABILITIES, Capabilities, parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from phonesys.model import InboundService, NumberKind, NumberPool, NumberStatus

T = TypeVar("T")

MORE = (
    "inbound", "is_routed", "forwarding_number", "ring_users", "is_default", "vendor_status",
    "origin", *POOL_FACTS,
)  # fmt: skip
"""The fields that only some vendors' numbers have."""

# Whole columns, and no tuple for each number: thousands of those at once are the garbage collector's work.
_SAID = {
    name: attrgetter(name)
    for name in (
        "number", "sid", "label", "country", "can", "type", "is_default", "linked_user",
        "linked_ring_all_users", "inbound", "forwarding_number", "date_added", "date_updated", "origin",
        "account_status", "pool",
    )
}  # fmt: skip
_CAN = {name: attrgetter(name) for name in Capabilities.__struct_fields__}
_MOST_WORDS = 256


def columns(numbers: Sequence[LeadConnectorNumber]) -> dict[str, Sequence[Any]]:
    """Return every field that LeadConnector knows, and of each its value for every number."""
    if not numbers:
        return {}
    said = {name: list(map(get, numbers)) for name, get in _SAID.items()}
    can = [one or NO_CAPABILITIES for one in said["can"]]
    return {
        "provider": [numbers[0].provider] * len(numbers),
        "id": [sid or number for sid, number in zip(said["sid"], said["number"], strict=True)],
        "number": said["number"],
        "label": said["label"],
        "country": said["country"],
        "kind": [_KINDS[word] for word in said["type"]],
        "status": [_STATUSES[word] for word in said["account_status"]],
        **{name: list(map(get, can)) for name, get in _CAN.items()},
        "assignee": said["linked_user"],
        "created_at": _created(numbers, said["date_added"]),
        "updated_at": _times(said["date_updated"]),
        **_more(said),
    }


def _more(said: dict[str, list[Any]]) -> dict[str, Sequence[Any]]:
    pools = _pools(said["pool"])
    routes = list(
        map(_inbound, said["inbound"], said["forwarding_number"], said["linked_ring_all_users"],
            said["linked_user"])
    )  # fmt: skip
    return {
        "inbound": routes,
        "is_routed": [
            here is not None or there is not None
            for here, there in zip(routes, pools["pool_route"], strict=True)
        ],
        "forwarding_number": [to or None for to in said["forwarding_number"]],
        "ring_users": [" ".join(users) or None if users else None for users in said["linked_ring_all_users"]],
        "is_default": said["is_default"],
        "vendor_status": said["account_status"],
        "origin": said["origin"],
        **pools,
    }


def _inbound(
    service: InboundService | None, forwarding: str | None, ring: tuple[str, ...] | None, user: str | None
) -> str | None:
    """Say what answers; the vendor lets a service outweigh forwarding, and forwarding the users."""
    if (service is not None or forwarding) and (found := route(service, forwarding)):
        return found
    if ring:
        return f"users:{' '.join(ring)}"
    return f"user:{user}" if user else None


def _pools(pools: Sequence[NumberPool | None]) -> dict[str, Sequence[Any]]:
    if not any(pools):
        return dict.fromkeys(POOL_FACTS, (None,) * len(pools))
    facts = {id(pool): facts_of_pool(pool) for pool in pools}
    return {name: [facts[id(pool)].get(name) for pool in pools] for name in POOL_FACTS}


_Times = list[Annotated[datetime, msgspec.Meta(tz=True)] | None]
_WRITTEN = {str, NoneType}


def _times(said: Sequence[Any]) -> list[datetime | None]:
    """Read times in one go, or one by one where something else is among them."""
    if set(map(type, said)) <= _WRITTEN:
        try:
            return msgspec.convert(said, _Times)
        except (msgspec.ValidationError, UnicodeEncodeError):
            pass
    return [parse_time(value) for value in said]


def _created(numbers: Sequence[LeadConnectorNumber], added: Sequence[Any]) -> list[datetime | None]:
    times = _times(added)
    if all(times):
        return times
    others = _times([number.date_created for number in numbers])
    return [time or other for time, other in zip(times, others, strict=True)]


class _Meanings(dict[str | None, T], Generic[T]):
    """What the vendor's words mean: each asked of a number once, since there are few."""

    def __init__(self, ask: Callable[[str | None], T]) -> None:
        super().__init__()
        self._ask = ask

    def __missing__(self, word: str | None) -> T:
        meaning = self._ask(word)
        if len(self) < _MOST_WORDS:  # words come from outside
            self[word] = meaning
        return meaning


def _kind(word: str | None) -> NumberKind:
    return LeadConnectorNumber(number="", type=word).kind


def _status(word: str | None) -> NumberStatus:
    return LeadConnectorNumber(number="", account_status=word).status


_KINDS = _Meanings(_kind)
_STATUSES = _Meanings(_status)
