"""Record fields of LeadConnector's numbers, a column at a time.

Its pages hold a thousand numbers. Reading each number's properties one by one costs more than storing them
does (`python -m benchmarks store`). Without this module, `to_record` does the same number by number.
"""

from __future__ import annotations

from datetime import datetime
from operator import attrgetter
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import msgspec

from phonesys._calling_codes import country_of
from phonesys._routes import POOL_FIELDS, describe_route, pool_fields
from phonesys.backends.countries import alpha_2
from phonesys.backends.leadconnector.words import status_of
from phonesys.backends.words import kind_of
from phonesys.model import NO_CAPABILITIES, Capabilities, parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from phonesys.model import InboundService, NumberPool

T = TypeVar("T")

VENDOR_FIELDS = (
    "inbound", "is_routed", "forwarding_number", "ring_users", "is_default", "vendor_status",
    "origin", *POOL_FIELDS,
)  # fmt: skip
"""Record fields beyond those that all vendors share."""

# Whole columns, and no tuple for each number: thousands of those at once are the garbage collector's work.
_GETTERS = {
    name: attrgetter(name)
    for name in (
        "number", "sid", "label", "country_code", "capability_flags", "type", "is_default", "linked_user",
        "linked_ring_all_users", "inbound", "forwarding_number", "date_added", "date_updated", "origin",
        "account_status", "pool",
    )
}  # fmt: skip
_CAPABILITIES = {name: attrgetter(name) for name in Capabilities.__struct_fields__}
_MAX_WORDS = 256


def record_columns(numbers: Sequence[Any]) -> dict[str, Sequence[Any]]:
    """Return columns by record field, a value per number in each."""
    if not numbers:
        return {}
    values = {name: list(map(get, numbers)) for name, get in _GETTERS.items()}
    capabilities = [one or NO_CAPABILITIES for one in values["capability_flags"]]
    return {
        "provider": [numbers[0].provider] * len(numbers),
        "id": [sid or number for sid, number in zip(values["sid"], values["number"], strict=True)],
        "number": values["number"],
        "label": values["label"],
        **_countries(values),
        "kind": [_KINDS[word] for word in values["type"]],
        "status": [_STATUSES[word] for word in values["account_status"]],
        **{name: list(map(get, capabilities)) for name, get in _CAPABILITIES.items()},
        "assignee": values["linked_user"],
        "created_at": _created(numbers, values["date_added"]),
        "updated_at": _times(values["date_updated"]),
        **_vendor_columns(values),
    }


def _countries(values: dict[str, list[Any]]) -> dict[str, Sequence[Any]]:
    listed = [_COUNTRIES[code] for code in values["country_code"]]
    if all(listed):
        return {"country": listed}
    countries = [
        country or country_of(number) for country, number in zip(listed, values["number"], strict=True)
    ]
    derived = [
        True if country and not was_listed else None
        for country, was_listed in zip(countries, listed, strict=True)
    ]
    return {"country": countries, "country_derived": derived}


def _vendor_columns(values: dict[str, list[Any]]) -> dict[str, Sequence[Any]]:
    pools = _pool_columns(values["pool"])
    routes = list(
        map(_route, values["inbound"], values["forwarding_number"], values["linked_ring_all_users"],
            values["linked_user"])
    )  # fmt: skip
    return {
        "inbound": routes,
        "is_routed": [
            here is not None or there is not None
            for here, there in zip(routes, pools["pool_route"], strict=True)
        ],
        "forwarding_number": [to or None for to in values["forwarding_number"]],
        "ring_users": [
            " ".join(users) or None if users else None for users in values["linked_ring_all_users"]
        ],
        "is_default": values["is_default"],
        "vendor_status": values["account_status"],
        "origin": values["origin"],
        **pools,
    }


def _route(
    service: InboundService | None, forwarding: str | None, ring: tuple[str, ...] | None, user: str | None
) -> str | None:
    """Return where calls go: a service outweighs forwarding, and forwarding outweighs the users."""
    if (service is not None or forwarding) and (found := describe_route(service, forwarding)):
        return found
    if ring:
        return f"users:{' '.join(ring)}"
    return f"user:{user}" if user else None


def _pool_columns(pools: Sequence[NumberPool | None]) -> dict[str, Sequence[Any]]:
    if not any(pools):
        return dict.fromkeys(POOL_FIELDS, (None,) * len(pools))
    facts = {id(pool): pool_fields(pool) for pool in pools}
    return {name: [facts[id(pool)].get(name) for pool in pools] for name in POOL_FIELDS}


_Times = list[Annotated[datetime, msgspec.Meta(tz=True)] | None]
_TEXT_TYPES = {str, NoneType}


def _times(texts: Sequence[Any]) -> list[datetime | None]:
    """Parse times all at once; one by one where something else is among them."""
    if set(map(type, texts)) <= _TEXT_TYPES:
        try:
            return msgspec.convert(texts, _Times)
        except (msgspec.ValidationError, UnicodeEncodeError):
            pass
    return [parse_time(value) for value in texts]


def _created(numbers: Sequence[Any], added: Sequence[Any]) -> list[datetime | None]:
    times = _times(added)
    if all(times):
        return times
    others = _times([number.date_created for number in numbers])
    return [time or other for time, other in zip(times, others, strict=True)]


class _Cached(dict[str | None, T], Generic[T]):
    """Meanings of words, each looked up once."""

    def __init__(self, look_up: Callable[[str | None], T]) -> None:
        super().__init__()
        self._look_up = look_up

    def __missing__(self, word: str | None) -> T:
        meaning = self._look_up(word)
        if len(self) < _MAX_WORDS:  # words come from outside
            self[word] = meaning
        return meaning


_KINDS = _Cached(kind_of)
_STATUSES = _Cached(status_of)
_COUNTRIES = _Cached(alpha_2)
