"""A number as one flat, vendor-free row: what is kept, compared, audited, exported and reported."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from contextlib import aclosing
from datetime import datetime
from decimal import Decimal, InvalidOperation
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import msgspec
from anyio.lowlevel import checkpoint

from phonesys._routes import pool_fields
from phonesys.model import NumberKind, NumberPool, NumberStatus
from phonesys.sweep import Outcome

if TYPE_CHECKING:
    from phonesys.model import Page, PhoneNumber
    from phonesys.provider import HasRecordColumns
    from phonesys.sweep import SweepReport


class NumberRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One number in one account; None where the vendor does not say.

    The fields up to `updated_at` are the command line's columns. New ones are added at the end only.
    """

    provider: str
    """The kind of backend, such as `leadconnector`."""
    backend: str
    """What this one is called in its system."""
    account: str
    id: str
    number: str
    """E.164, as the vendor writes it."""
    label: str | None = None
    country: str | None = None
    """ISO 3166-1 alpha-2."""
    kind: NumberKind = NumberKind.UNKNOWN
    status: NumberStatus = NumberStatus.UNKNOWN
    voice: bool | None = None
    sms: bool | None = None
    mms: bool | None = None
    fax: bool | None = None
    assignee: str | None = None
    """The user or agent that answers it, by the vendor's id."""
    pool: str | None = None
    """The id of the pool it sits in, where pools were asked for."""
    created_at: datetime | None = None
    """With its zone, like every time here."""
    updated_at: datetime | None = None

    inbound: str | None = None
    """What answers a call, as `what:target`: `voice_ai:68e3…`, `forward:+1…`, `user:…`, `agent:…`."""
    is_routed: bool | None = None
    """Whether anything answers; False is the vendor's word that nothing does, None its silence."""
    routing_summary: str | None = None
    """The vendor's own words for where its traffic goes."""
    forwarding_number: str | None = None
    ring_users: str | None = None
    """Users whose phones all ring: their ids, with spaces between."""
    is_default: bool | None = None
    """Whether its account uses it by default."""
    is_enabled: bool | None = None
    is_demo: bool | None = None
    vendor_status: str | None = None
    """The vendor's word for `status`."""
    inventory_state: str | None = None
    pool_name: str | None = None
    pool_active: bool | None = None
    pool_route: str | None = None
    """What answers its pool's calls, as `inbound`."""
    sms_ready: bool | None = None
    voice_ready: bool | None = None
    ten_dlc_registered: bool | None = None
    """False where the vendor keeps such registrations and has none for this number."""
    ten_dlc_status: str | None = None
    """The vendor's word for its campaign's state."""
    ten_dlc_failure: str | None = None
    warmup_state: str | None = None
    warmup_health: str | None = None
    warmup_reason: str | None = None
    billed: bool | None = None
    """Whether somebody pays for it."""
    monthly_amount: str | None = None
    """A decimal, exact; its currency is not said."""
    origin: str | None = None
    """Whose number it is or where it came from, in the vendor's words."""


def to_record(number: PhoneNumber, backend: str) -> NumberRecord:
    """Take down one number, of our backends or of anybody's; `backend` is the name in its system."""
    can = number.capabilities
    return NumberRecord(
        provider=number.provider,
        backend=backend,
        account=number.account,
        id=_said(number.id) or "",
        number=_said(number.number) or "",
        label=_said(number.label),
        country=_said(number.country),
        kind=_KINDS.get(number.kind, NumberKind.UNKNOWN),
        status=_STATUSES.get(number.status, NumberStatus.UNKNOWN),
        voice=_flag(can.voice),
        sms=_flag(can.sms),
        mms=_flag(can.mms),
        fax=_flag(can.fax),
        assignee=_said(number.assignee),
        created_at=_zoned(number.created_at),
        updated_at=_zoned(number.updated_at),
        **vendor_fields(number),
    )


def to_columns(numbers: Sequence[PhoneNumber]) -> dict[str, Sequence[Any]]:
    """Take down numbers a column at a time: by a record's field, its value for each of them.

    Without `backend` and `account`; fields that say nothing of any number may be missing.
    """
    kinds: set[Any] = set(map(type, numbers))
    if len(kinds) == 1 and hasattr(kind := kinds.pop(), "record_columns"):
        return cast("type[HasRecordColumns]", kind).record_columns(cast("Any", numbers))
    cells = zip(*(_cells(to_record(number, "")) for number in numbers))  # noqa: B905 -- one type
    return dict(zip(_COLUMNS, cells, strict=bool(numbers)))


_COLUMNS = tuple(name for name in NumberRecord.__struct_fields__ if name not in {"backend", "account"})
_cells = attrgetter(*_COLUMNS)


def records_in(page: Page[PhoneNumber]) -> list[NumberRecord]:
    """Take down a page, as `to_record` does each of its numbers; quicker where there are many."""
    numbers = page.numbers
    columns = to_columns(numbers)
    names, rows = tuple(columns), zip(*columns.values(), strict=True)
    return [
        NumberRecord(
            backend=page.provider or number.provider,
            account=number.account,
            **dict(zip(names, row, strict=True)),
        )
        for number, row in zip(numbers, rows, strict=True)
    ]


def _said(text: Any) -> str | None:
    """Make sure of a text: a record can be written with anything, and read with nothing else."""
    return text if text is None or type(text) is str else str(text)


def _flag(can: Any) -> bool | None:
    return None if can is None else bool(can)


Records: TypeAlias = Iterable[NumberRecord] | AsyncIterable[NumberRecord]
"""Where records come from: a list, a sweep by way of `records_of`, a store's snapshot."""

T = TypeVar("T")


async def records_of(pages: AsyncIterable[Page[PhoneNumber]]) -> AsyncGenerator[NumberRecord]:
    """Take down every number of a sweep, or of any pages that bear their backend's name."""
    async for page in pages:
        for record in records_in(page):
            yield record


AccountOutcome: TypeAlias = tuple[str, str, str, str | None]
"""What came of an account: its backend, its id, the outcome, and the error's text where there is one."""


async def outcomes_of(report: SweepReport) -> AsyncGenerator[AccountOutcome]:
    """Yield what came of the accounts, as known when this is read: hand it over before a sweep has ended.

    The account is empty where a backend's list of accounts could not be read. A sweep without `keep_done`
    tells only of accounts that are neither done nor empty.
    """
    for (backend, account), result in report.accounts.items():
        yield backend, account, result.outcome, None if result.error is None else str(result.error)
    for failure in report.failures:
        if failure.account is None:
            yield failure.provider, "", Outcome.FAILED, str(failure.error)


async def batches(things: Iterable[T] | AsyncIterable[T], size: int) -> AsyncGenerator[list[T]]:
    """Yield lists of at most `size`; others may run between two of them, also where nothing is awaited.

    A generator that is read here is closed with this one: a sweep may be in it.
    """
    batch: list[T] = []
    async with aclosing(_each(things)) as each:
        async for thing in each:
            batch.append(thing)
            if len(batch) >= size:
                yield batch
                batch = []
                await checkpoint()
    if batch:
        yield batch


async def _each(things: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T]:
    if not isinstance(things, AsyncIterable):
        for thing in things:
            yield thing
        return
    try:
        async for thing in things:
            yield thing
    finally:
        if isinstance(things, AsyncGenerator):
            await cast("AsyncGenerator[T]", things).aclose()


# Somebody else's backend may say these as plain strings.
_KINDS: dict[str, NumberKind] = {kind.value: kind for kind in NumberKind}
_STATUSES: dict[str, NumberStatus] = {status.value: status for status in NumberStatus}


def _zoned(moment: datetime | None) -> datetime | None:
    """Drop a time without its zone: it could not be compared with the others."""
    return moment if moment is not None and moment.tzinfo is not None else None


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


_MOST_PLACES = 12
_PRECISION = Decimal("0.000001")


def _amount(value: Any) -> dict[str, Any]:
    """Read an amount of money, to the sixth place; nothing for what is none."""
    try:
        amount = Decimal(str(value)) if value is not None else None
    except InvalidOperation:
        return {}
    if amount is None or not amount.is_finite() or amount.adjusted() >= _MOST_PLACES:
        return {}
    rounded = amount if amount == amount.quantize(_PRECISION) else amount.quantize(_PRECISION)
    return {"monthly_amount": f"{rounded:f}", "billed": amount > 0}
