"""The record of a number: one flat row for every vendor. It is stored, compared, audited and exported."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal, InvalidOperation
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, cast

import msgspec

from phonesys._calling_codes import country_of
from phonesys._routes import pool_fields
from phonesys.model import NumberKind, NumberPool, NumberStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phonesys.model import PhoneNumber
    from phonesys.provider import HasRecordColumns


class NumberRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One number in one account. None stands for facts that the vendor does not give.

    New fields are added at the end.
    """

    provider: str
    """The kind of backend, such as `leadconnector`."""
    backend: str
    """The name of the backend in its PhoneSystem."""
    account: str
    id: str
    number: str
    """E.164, as the vendor writes it."""
    label: str | None = None
    country: str | None = None
    """ISO 3166-1 alpha-2. It follows from the number if the vendor does not name it."""
    kind: NumberKind = NumberKind.UNKNOWN
    status: NumberStatus = NumberStatus.UNKNOWN
    voice: bool | None = None
    sms: bool | None = None
    mms: bool | None = None
    fax: bool | None = None
    assignee: str | None = None
    """The id of the user or agent that answers it."""
    pool: str | None = None
    """The id of its pool, if the backend was asked for pools."""
    created_at: datetime | None = None
    """With a time zone, like every time here."""
    updated_at: datetime | None = None

    inbound: str | None = None
    """The route of a call, as `kind:target`: `voice_ai:68e3…`, `forward:+1…`, `user:…`, `agent:…`."""
    is_routed: bool | None = None
    """True if a route answers calls; False only if the vendor says that none does."""
    routing_summary: str | None = None
    """The vendor's description of its route."""
    forwarding_number: str | None = None
    ring_users: str | None = None
    """The ids of users whose phones all ring, separated by spaces."""
    is_default: bool | None = None
    """True for the default number of its account."""
    is_enabled: bool | None = None
    is_demo: bool | None = None
    vendor_status: str | None = None
    """The vendor's word for `status`."""
    inventory_state: str | None = None
    pool_name: str | None = None
    pool_active: bool | None = None
    pool_route: str | None = None
    """The route of its pool's calls, as in `inbound`."""
    sms_ready: bool | None = None
    voice_ready: bool | None = None
    ten_dlc_registered: bool | None = None
    """False if the vendor keeps registrations and has none for this number."""
    ten_dlc_status: str | None = None
    """The vendor's word for the state of its campaign."""
    ten_dlc_failure: str | None = None
    warmup_state: str | None = None
    warmup_health: str | None = None
    warmup_reason: str | None = None
    billed: bool | None = None
    """True if the vendor charges for it."""
    monthly_amount: str | None = None
    """An exact decimal in a currency that the vendor does not name."""
    origin: str | None = None
    """The owner or the origin of the number, in the vendor's words."""
    account_name: str | None = None
    """The name of the account, if its backend lists names."""
    country_derived: bool | None = None
    """True if `country` follows from the number, since the vendor does not name it."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values: strings, booleans and None; times as RFC 3339 strings."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        return values

    def __repr__(self) -> str:
        return f"<NumberRecord {self.number!r} {self.status}, {self.backend} {self.account!r}>"


class NumberBase:
    """Mixin of a backend's numbers: `to_dict`, and a short `repr`.

    Works for msgspec structs, dataclasses and ordinary classes that satisfy `PhoneNumber`.
    """

    __slots__ = ()

    id_field: ClassVar[str] = ""
    """Name of the field behind `id`, if it holds text or nothing. A sweep reads that: `id` is slower."""

    def to_dict(self: PhoneNumber) -> dict[str, Any]:
        """Return the number as plain JSON values, by field of `NumberRecord`.

        Every backend's numbers have the same keys, in the same order. Values are strings, booleans and None;
        times are RFC 3339 strings. So `json`, FastAPI, pandas, polars and Arrow take the result as it is.
        """
        return to_record(self, self.backend or self.provider).to_dict()

    def __repr__(self: PhoneNumber) -> str:
        where = f"{self.backend or self.provider} {self.account!r}"
        return f"<{type(self).__name__} {self.number!r} {self.status}, {where}>"


def to_record(number: PhoneNumber, backend: str) -> NumberRecord:
    """Return the record of a number of any backend. `backend` is the name in its PhoneSystem."""
    can = number.capabilities
    country, derived = _country(number)
    return NumberRecord(
        provider=number.provider,
        backend=backend,
        account=number.account,
        id=_to_text(number.id) or "",
        number=_to_text(number.number) or "",
        label=_to_text(number.label),
        country=country,
        country_derived=derived or None,
        kind=_KINDS.get(number.kind, NumberKind.UNKNOWN),
        status=_STATUSES.get(number.status, NumberStatus.UNKNOWN),
        voice=_to_flag(can.voice),
        sms=_to_flag(can.sms),
        mms=_to_flag(can.mms),
        fax=_to_flag(can.fax),
        assignee=_to_text(number.assignee),
        created_at=_aware_or_none(number.created_at),
        updated_at=_aware_or_none(number.updated_at),
        **vendor_fields(number),
    )


def _country(number: PhoneNumber) -> tuple[str | None, bool]:
    """Return the country of a number, and True if it follows from the number."""
    if listed := _to_text(number.country):
        return listed, getattr(number, "country_is_derived", False) is True
    country = country_of(_to_text(number.number) or "")
    return country, country is not None


def as_record(number: NumberRecord | PhoneNumber) -> NumberRecord:
    """Return a record as it is, and the record of a number."""
    if isinstance(number, NumberRecord):
        return number
    return to_record(number, number.backend or number.provider)


def to_columns(numbers: Sequence[PhoneNumber]) -> dict[str, Sequence[Any]]:
    """Return the records of numbers as columns, without the fields of their account.

    Fields that no number has may be missing.
    """
    kinds: set[Any] = set(map(type, numbers))
    if len(kinds) == 1 and hasattr(kind := kinds.pop(), "record_columns"):
        return cast("type[HasRecordColumns]", kind).record_columns(cast("Any", numbers))
    cells = zip(*(_cells(to_record(number, "")) for number in numbers))  # noqa: B905 -- one type
    return dict(zip(_COLUMNS, cells, strict=bool(numbers)))


_OF_ACCOUNT = frozenset({"backend", "account", "account_name"})
_COLUMNS = tuple(name for name in NumberRecord.__struct_fields__ if name not in _OF_ACCOUNT)
_cells = attrgetter(*_COLUMNS)


def _to_text(text: Any) -> str | None:
    """Return a text as a string: records could be written, but not read, with other types."""
    return text if text is None or type(text) is str else str(text)


def _to_flag(can: Any) -> bool | None:
    return None if can is None else bool(can)


# Other backends may give these as plain strings.
_KINDS: dict[str, NumberKind] = {kind.value: kind for kind in NumberKind}
_STATUSES: dict[str, NumberStatus] = {status.value: status for status in NumberStatus}


def _aware_or_none(time: datetime | None) -> datetime | None:
    """Return a time, or None if it has no zone and so cannot be compared with others."""
    return time if time is not None and time.tzinfo is not None else None


def vendor_fields(number: Any) -> dict[str, Any]:
    """Return record fields beyond those that all vendors share, as the number's class fills them in.

    Without `record_fields()` they are the number's attributes of the same names. A value of another type
    than the field's is dropped.
    """
    if hasattr(number, "record_fields"):
        found = number.record_fields()
    else:
        pool = getattr(number, "pool", None)
        found = {name: getattr(number, name, None) for name in ("monthly_amount", *_VENDOR_TYPES)}
        found |= pool_fields(pool if isinstance(pool, str | NumberPool) else None)
    more = {
        name: value
        for name, value in found.items()
        if name in _VENDOR_TYPES and isinstance(value, _VENDOR_TYPES[name])
    }
    return {**_amount(found.get("monthly_amount")), **more}


_VENDOR_TYPES: dict[str, type] = {
    **dict.fromkeys(
        ("inbound", "routing_summary", "forwarding_number", "ring_users", "vendor_status", "inventory_state",
         "pool", "pool_name", "pool_route", "ten_dlc_status", "ten_dlc_failure", "warmup_state",
         "warmup_health", "warmup_reason", "origin"),
        str,
    ),
    **dict.fromkeys(
        ("is_routed", "is_default", "is_enabled", "is_demo", "pool_active", "sms_ready", "voice_ready",
         "ten_dlc_registered", "billed"),
        bool,
    ),
}  # fmt: skip
"""Types of the record fields that only some vendors fill in; `monthly_amount` is parsed by itself."""


_MAX_DIGITS = 12
_PRECISION = Decimal("0.000001")


def _amount(value: Any) -> dict[str, Any]:
    """Return the fields of an amount of money, rounded to six places, or none for other values."""
    try:
        amount = Decimal(str(value)) if value is not None else None
    except InvalidOperation:
        return {}
    if amount is None or not amount.is_finite() or amount.adjusted() >= _MAX_DIGITS:
        return {}
    rounded = amount if amount == amount.quantize(_PRECISION) else amount.quantize(_PRECISION)
    return {"monthly_amount": f"{rounded:f}", "billed": amount > 0}
