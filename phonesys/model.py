"""The vendor-independent model of a phone number and of a page of numbers."""

from __future__ import annotations

import re
from datetime import MAXYEAR, MINYEAR, datetime
from enum import StrEnum
from typing import Annotated, Any, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

import msgspec

Cursor: TypeAlias = int | str
"""Identifies a page: opaque, made by a backend and passed back to it."""


class NumberKind(StrEnum):
    """The kind of a number."""

    LOCAL = "local"
    TOLL_FREE = "toll-free"
    MOBILE = "mobile"
    NATIONAL = "national"
    UNKNOWN = "unknown"


class NumberStatus(StrEnum):
    """The state of a number, to which all vendors' states are mapped.

    The vendor's own word stays on the vendor's own field.
    """

    ACTIVE = "active"
    PENDING = "pending"
    INACTIVE = "inactive"
    RESTRICTED = "restricted"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    FAILED = "failed"
    RELEASED = "released"
    UNKNOWN = "unknown"


# Unknown keys are refused, so that keys in another case (`SMS`) are noticed and read, not ignored.
class Capabilities(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The traffic a number can carry; None if the vendor does not say."""

    voice: bool | None = None
    sms: bool | None = None
    mms: bool | None = None
    fax: bool | None = None


NO_CAPABILITIES = Capabilities()
"""The capabilities of a number whose vendor states none."""


@runtime_checkable
class PhoneNumber(Protocol):
    """One number in one account.

    Each backend's own struct satisfies this. The vendor's other fields stay typed on the same object.
    `to_dict` comes from the mixin `NumberBase`.
    """

    @property
    def provider(self) -> str:
        """The kind of backend, such as `leadconnector`."""
        ...

    @property
    def backend(self) -> str:
        """The name of the backend that holds it."""
        ...

    @property
    def account(self) -> str:
        """The location or organization that holds it."""
        ...

    @property
    def id(self) -> str:
        """The vendor's identifier for the number in its API."""
        ...

    @property
    def number(self) -> str:
        """E.164, as the vendor writes it."""
        ...

    @property
    def label(self) -> str | None:
        """The name that a user gave the number."""
        ...

    @property
    def country(self) -> str | None:
        """ISO 3166-1 alpha-2.

        The country of the number's prefix if the vendor does not name one; the backends of this package then
        have True as `country_is_derived`.
        """
        ...

    @property
    def kind(self) -> NumberKind:
        """Local, toll-free and so on."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """Voice, SMS and so on."""
        ...

    @property
    def status(self) -> NumberStatus:
        """Active, suspended and so on."""
        ...

    @property
    def assignee(self) -> str | None:
        """The vendor's id of the user or agent that takes its calls."""
        ...

    @property
    def created_at(self) -> datetime | None:
        """None if the vendor gives no date, or one that cannot be parsed."""
        ...

    @property
    def updated_at(self) -> datetime | None:
        """As `created_at`."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return the number as plain JSON values, by field of `NumberRecord`."""
        ...


class InboundService(msgspec.Struct, frozen=True, gc=False):
    """The service that takes a call: `voice_ai`, `ivr`, `forward`, …, and its id or target."""

    type: str | None = None
    value: str | None = None


class NumberPool(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers that are used in rotation, such as for call tracking."""

    id: str
    name: str | None = None
    account: str = ""
    numbers: tuple[str, ...] = ()
    """E.164."""
    forwarding_number: str | None = None
    whisper: bool = False
    whisper_message: str | None = None
    call_recording: bool = False
    is_active: bool = True
    inbound: InboundService | None = None


class NumberForSale(msgspec.Struct, frozen=True, kw_only=True):
    """A number for sale, as far as its vendor describes it."""

    number: str
    """E.164, as the vendor writes it."""
    account: str = ""
    """The account that it is offered to."""
    country: str | None = None
    """ISO 3166-1 alpha-2."""
    region: str | None = None
    locality: str | None = None
    kind: NumberKind = NumberKind.UNKNOWN
    capabilities: Capabilities = NO_CAPABILITIES
    monthly_price: float | None = None
    currency: str | None = None


class UnreadableRow(msgspec.Struct, frozen=True, gc=False):
    """A row that could not be read: its raw bytes and the reason."""

    raw: bytes
    reason: str


class MendedField(msgspec.Struct, frozen=True, gc=False):
    """A field that had another type in some rows of a page, and was converted or dropped there."""

    field: str
    """The vendor's name, such as `capabilities` or `location.state`."""
    count: int
    example: bytes
    """One of the values, raw."""


N_co = TypeVar("N_co", bound=PhoneNumber, covariant=True)


class Page(msgspec.Struct, Generic[N_co], frozen=True, kw_only=True):
    """Some of an account's numbers, and the cursors of the pages to fetch next."""

    account: str
    numbers: tuple[N_co, ...]
    next: tuple[Cursor, ...] = ()
    """Empty if no page follows. The account is done once every page that was named is read."""
    provider: str = ""
    """The backend's name in this system."""
    cursor: Cursor | None = None
    """The cursor that this page was fetched with."""
    offset: int | None = None
    """The number of the account's rows before this page, if the vendor pages by offset."""
    overlap: int = 0
    """The number of leading rows that the page before it holds as well."""
    total: int | None = None
    """The number of the account's rows, if the vendor counts them."""
    rejected: tuple[UnreadableRow, ...] = ()
    mended: tuple[MendedField, ...] = ()
    """Fields of another type than documented. The numbers are complete, but for these fields."""

    def __repr__(self) -> str:
        rejected = f", {len(self.rejected)} rows not read" if self.rejected else ""
        more = f", {len(self.next)} pages follow" if self.next else ""
        return (
            f"<{type(self).__name__} of {self.provider} {self.account!r}: "
            f"{len(self.numbers)} numbers{rejected}{more}>"
        )

    def _repr_html_(self) -> str:
        from phonesys import _html  # for notebooks only

        columns = ("number", "label", "country", "kind", "status", "assignee", "id")
        rows = [[getattr(number, name) for name in columns] for number in self.numbers]
        return _html.table(repr(self)[1:-1], columns, rows)


_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


_is_rfc2822 = re.compile(
    r"(?:[A-Za-z]{3}, )?\d{1,2} [A-Za-z]{3} \d{4} \d\d:\d\d(?::\d\d)? (?:[+-]\d{4}|[A-Z]{2,3})"
).fullmatch


def parse_time(value: Any) -> datetime | None:
    """Parse a time in RFC 3339 or RFC 2822. Return None for anything else.

    A bad date must not cost its number.

    A time without a zone is None: it could not be compared with others. So is a time in the first or the last
    year that `datetime` can hold, since converting it to another zone may overflow.
    """
    if not isinstance(value, str):
        return None
    try:
        moment: datetime = msgspec.convert(value, _Moment)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return _parse_rfc2822(value) if _is_rfc2822(value) else None
    return moment if MINYEAR < moment.year < MAXYEAR else None


def _parse_rfc2822(text: str) -> datetime | None:
    from email.utils import parsedate_to_datetime  # takes longer to import than this module

    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None and MINYEAR < moment.year < MAXYEAR else None


def parse_whole(value: Any) -> int | None:
    """Parse a whole number written as an integer, a float or a string. Return None for anything else."""
    try:
        return msgspec.convert(value, int, strict=False)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return None
