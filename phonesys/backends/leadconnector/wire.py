"""LeadConnector's responses as structs, in both versions of its API.

Sources: the vendor's pages "List active numbers" and "List Number Pools", and its OpenAPI files of version
2021-07-28 and v3.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- msgspec reads the annotations
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from phonesys._calling_codes import country_of
from phonesys.backends.countries import alpha_2
from phonesys.backends.leadconnector import record
from phonesys.backends.leadconnector.words import status_of
from phonesys.backends.rows import (
    Mending,
    RowDecoder,
    Text,
    Untyped,
    check_depth,
    decode_repaired,
    decode_rows_individually,
)
from phonesys.backends.words import kind_of
from phonesys.http.response import MSGSPEC_ERRORS, decode_error
from phonesys.model import (
    NO_CAPABILITIES,
    Capabilities,
    InboundService,
    MendedField,
    NumberKind,
    NumberPool,
    NumberStatus,
    Page,
    UnreadableRow,
    parse_time,
    parse_whole,
)
from phonesys.record import NumberBase

if TYPE_CHECKING:
    from collections.abc import Sequence

# Account, account status and pool are not on the wire, so they get names that no vendor would use.
_RENAMED = {
    "account": "phonesys:account",
    "backend": "phonesys:backend",
    "account_status": "phonesys:account-status",
    "pool": "phonesys:pool",
    "number": "phoneNumber",
    "label": "friendlyName",
    "country_code": "countryCode",
    "capability_flags": "capabilities",
    "linked_user": "linkedUser",
    "linked_ring_all_users": "linkedRingAllUsers",
    "inbound": "inboundCallService",
    "forwarding_number": "forwardingNumber",
    "is_default": "isDefaultNumber",
    "is_group_conversation_enabled": "isGroupConversationEnabled",
    "address_sid": "addressSid",
    "bundle_sid": "bundleSid",
    "date_added": "dateAdded",
    "date_updated": "dateUpdated",
    "date_created": "dateCreated",
}


class LeadConnectorNumber(NumberBase, msgspec.Struct, rename=_RENAMED, gc=False, kw_only=True):
    """One number of one location. Only `number` is certain."""

    # In the vendor's order, in which msgspec finds each field at once.
    number: Text
    label: Text | None = None
    sid: Text | None = None
    country_code: Text | None = None
    capability_flags: Capabilities | None = None
    type: Text | None = None
    """The vendor's word for `kind`."""
    is_default: bool | None = None
    """True if the location uses it by default for outbound calls and messages."""
    linked_user: Text | None = None
    linked_ring_all_users: tuple[Text, ...] | None = None
    """Users whose phones all ring."""
    inbound: InboundService | None = None
    forwarding_number: Text | None = None
    is_group_conversation_enabled: bool | None = None
    address_sid: Text | None = None
    bundle_sid: Text | None = None
    # v3 declares objects and shows strings; no type here may make the number unreadable.
    date_added: Untyped = None
    date_updated: Untyped = None
    date_created: Untyped = None
    origin: Text | None = None
    """`twilio`, `hosted` or `ported`."""

    account: str = ""
    backend: str = "leadconnector"
    """The name of the backend that holds it."""
    account_status: str | None = None
    """State of the location's phone system unless it is `active`: `suspended` or `closed`."""
    pool: NumberPool | None = None
    """Its pool, if pools were requested."""

    @property
    def provider(self) -> str:
        return "leadconnector"

    @property
    def id(self) -> str:
        """The vendor's sid; the number itself if v3 leaves it out."""
        return self.sid or self.number

    @property
    def country(self) -> str | None:
        return alpha_2(self.country_code) or country_of(self.number)

    @property
    def country_is_derived(self) -> bool:
        """True if the country is that of the number's prefix."""
        return not alpha_2(self.country_code) and country_of(self.number) is not None

    @property
    def kind(self) -> NumberKind:
        return kind_of(self.type)

    @property
    def capabilities(self) -> Capabilities:
        return self.capability_flags or NO_CAPABILITIES

    @property
    def status(self) -> NumberStatus:
        """Status of its account: the vendor lists active numbers only."""
        return status_of(self.account_status)

    @property
    def assignee(self) -> str | None:
        return self.linked_user

    @property
    def created_at(self) -> datetime | None:
        return parse_time(self.date_added) or parse_time(self.date_created)

    @property
    def updated_at(self) -> datetime | None:
        return parse_time(self.date_updated)

    @classmethod
    def record_columns(cls, numbers: Sequence[LeadConnectorNumber]) -> dict[str, Sequence[Any]]:
        """Return columns by record field, a value per number in each."""
        return record.record_columns(numbers)

    def record_fields(self) -> dict[str, Any]:
        """Return the record fields beyond those that all vendors share."""
        columns = record.record_columns((self,))
        return {name: columns[name][0] for name in record.VENDOR_FIELDS}


class RcsSender(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """A sender of rich messages, listed beside the numbers."""

    number: str
    number_type: str | None = None
    friendly_name: str | None = None
    rcs_meta: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        check_depth(self.rcs_meta)


class LeadConnectorPage(Page[LeadConnectorNumber], frozen=True, kw_only=True):
    """A page of a location's numbers, and the state of its phone system."""

    account_status: str | None = None
    is_under_ghl: bool | None = None
    """True if LeadConnector manages the phone system; v3 calls it `isUnderLc`."""
    rcs_senders: tuple[RcsSender, ...] = ()


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded page of either version."""

    numbers: tuple[LeadConnectorNumber, ...]
    page_size: int | None = None
    """Rows per page by the vendor's count, which may be fewer than requested."""
    total: int | None = None
    account_status: str | None = None
    is_under_ghl: bool | None = None
    rcs_senders: tuple[RcsSender, ...] = ()
    rejected: tuple[UnreadableRow, ...] = ()
    mended: tuple[MendedField, ...] = ()


class _PageBody(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Fields of both versions, bare or under `data`; empty pages omit all but the numbers."""

    numbers: tuple[LeadConnectorNumber, ...] | msgspec.UnsetType = msgspec.UNSET
    page_size: int | None = None
    total: int | None = None
    account_status: str | None = None
    is_under_ghl: bool | None = None
    is_under_lc: bool | None = None
    rcs_sender_ids: tuple[RcsSender, ...] | None = None


class _ListingBody(_PageBody, rename="camel", frozen=True, kw_only=True):
    data: _PageBody | None = None


class _RawPageBody(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    numbers: tuple[msgspec.Raw, ...] | msgspec.UnsetType = msgspec.UNSET
    page_size: Any = None
    total: Any = None
    account_status: Any = None
    is_under_ghl: Any = None
    is_under_lc: Any = None
    rcs_sender_ids: tuple[msgspec.Raw, ...] | None = None


class _RawListingBody(_RawPageBody, rename="camel", frozen=True, kw_only=True):
    data: _RawPageBody | None = None


# Not strict: integers may be written as floats.
_decode = msgspec.json.Decoder(_ListingBody, strict=False).decode
_decode_raw = msgspec.json.Decoder(_RawListingBody).decode
_decode_row = RowDecoder(LeadConnectorNumber, "number", "sid")
_decode_sender = RowDecoder(RcsSender, "number")


def decode_listing(body: bytes) -> Listing:
    """Decode a page as a whole; row by row only if that fails."""
    try:
        answer = _decode(body)
    except MSGSPEC_ERRORS:
        return _decode_rows(body)
    page = answer.data if answer.data is not None else answer
    if page.numbers is msgspec.UNSET:
        raise decode_error(body, "no `numbers` in it")
    return Listing(
        numbers=page.numbers,
        page_size=page.page_size,
        total=page.total,
        account_status=page.account_status,
        is_under_ghl=page.is_under_lc if page.is_under_ghl is None else page.is_under_ghl,
        rcs_senders=page.rcs_sender_ids or (),
    )


def _decode_rows(body: bytes) -> Listing:
    answer = decode_repaired(_decode_raw, body)
    page = answer.data if answer.data is not None else answer
    if page.numbers is msgspec.UNSET:
        raise decode_error(body, "no `numbers` in it")
    mending = Mending()
    numbers, rejected = decode_rows_individually(page.numbers, partial(_decode_row, mending=mending))
    status = page.account_status
    under = page.is_under_lc if page.is_under_ghl is None else page.is_under_ghl
    return Listing(
        numbers=numbers,
        rejected=rejected,
        mended=mending.result(),
        page_size=parse_whole(page.page_size),
        total=parse_whole(page.total),
        account_status=status if isinstance(status, str) else None,
        is_under_ghl=under if isinstance(under, bool) else None,
        rcs_senders=decode_rows_individually(page.rcs_sender_ids or (), _decode_sender)[0],
    )


class _PoolNumber(msgspec.Struct, rename="camel", frozen=True):
    phone_number: Text


class _Pool(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    id: Text
    name: Text | None = None
    location_id: Text | None = None
    numbers: tuple[_PoolNumber | Text, ...] | None = None
    forwarding_number: Text | None = None
    whisper: bool | None = None
    whisper_message: Text | None = None
    call_recording: bool | None = None
    is_active: bool | None = None
    inbound_call_service: InboundService | None = None


class _Pools(msgspec.Struct, frozen=True):
    data: tuple[msgspec.Raw, ...]
    success: bool | None = None


_split_pools = msgspec.json.Decoder(_Pools, strict=False).decode
_decode_pool = RowDecoder(_Pool, "id")


def decode_pools(body: bytes) -> tuple[NumberPool, ...]:
    """Decode the pools of a location. Raises DecodeError for a pool without an id."""
    answer = decode_repaired(_split_pools, body)
    if answer.success is False:
        raise decode_error(body, "its `success` is false")
    try:
        return tuple(_pool_of(_decode_pool(raw)) for raw in answer.data)
    except MSGSPEC_ERRORS as failure:
        raise decode_error(body, str(failure)) from None


def _pool_of(pool: _Pool) -> NumberPool:
    return NumberPool(
        id=pool.id,
        name=pool.name,
        account=pool.location_id or "",
        numbers=tuple(row if isinstance(row, str) else row.phone_number for row in pool.numbers or ()),
        forwarding_number=pool.forwarding_number,
        whisper=bool(pool.whisper),
        whisper_message=pool.whisper_message,
        call_recording=bool(pool.call_recording),
        is_active=pool.is_active is not False,
        inbound=pool.inbound_call_service,
    )
