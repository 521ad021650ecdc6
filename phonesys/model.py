"""What a phone number is, whoever holds it."""

from __future__ import annotations

from datetime import MAXYEAR, MINYEAR, datetime
from enum import StrEnum
from typing import Annotated, Any, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

import msgspec

Cursor: TypeAlias = int | str
"""Where a page starts: opaque, made by a backend and given back to it."""


class NumberKind(StrEnum):
    """What sort of number it is."""

    LOCAL = "local"
    TOLL_FREE = "toll-free"
    MOBILE = "mobile"
    NATIONAL = "national"
    UNKNOWN = "unknown"


class NumberStatus(StrEnum):
    """In what state a number is, in words that all vendors' states map to.

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


class Capabilities(msgspec.Struct, frozen=True, gc=False):
    """What a number can carry; None where the vendor does not say."""

    voice: bool | None = None
    sms: bool | None = None
    mms: bool | None = None
    fax: bool | None = None


NO_CAPABILITIES = Capabilities()
"""What is known of a number whose vendor says nothing."""


@runtime_checkable
class PhoneNumber(Protocol):
    """One number in one account.

    Each backend's own struct satisfies this; its vendor's other fields stay typed on the same object.
    """

    @property
    def provider(self) -> str:
        """The kind of backend, such as `leadconnector`."""
        ...

    @property
    def account(self) -> str:
        """The location or organization that holds it."""
        ...

    @property
    def id(self) -> str:
        """What the vendor calls it in its API."""
        ...

    @property
    def number(self) -> str:
        """E.164, as the vendor writes it."""
        ...

    @property
    def label(self) -> str | None:
        """The name that people gave it."""
        ...

    @property
    def country(self) -> str | None:
        """ISO 3166-1 alpha-2."""
        ...

    @property
    def kind(self) -> NumberKind:
        """Local, toll-free and so on."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can carry."""
        ...

    @property
    def status(self) -> NumberStatus:
        """In what state it is."""
        ...

    @property
    def assignee(self) -> str | None:
        """The user or agent that answers it, by the vendor's id."""
        ...

    @property
    def created_at(self) -> datetime | None:
        """None where the vendor does not say, or says something that is no date."""
        ...

    @property
    def updated_at(self) -> datetime | None:
        """As `created_at`."""
        ...


class InboundService(msgspec.Struct, frozen=True, gc=False):
    """What answers a call: `voice_ai`, `ivr`, `forward`, …, and its id or target."""

    type: str | None = None
    value: str | None = None


class NumberPool(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers that are handed out in turn, such as for call tracking."""

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


class UnreadableRow(msgspec.Struct, frozen=True, gc=False):
    """A row that could not be read, as it came, and why."""

    raw: bytes
    reason: str


N_co = TypeVar("N_co", bound=PhoneNumber, covariant=True)


class Page(msgspec.Struct, Generic[N_co], frozen=True, kw_only=True):
    """Some of an account's numbers, and the cursors that may be fetched from here."""

    account: str
    numbers: tuple[N_co, ...]
    next: tuple[Cursor, ...] = ()
    """None left: the account is done once every page that was named is read."""
    provider: str = ""
    """The name that the backend bears in this system."""
    cursor: Cursor | None = None
    """Where this page began."""
    offset: int | None = None
    """How many rows of the account come before this page, where the vendor pages by place."""
    total: int | None = None
    """How many numbers the account holds, where the vendor says so."""
    rejected: tuple[UnreadableRow, ...] = ()


_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


def parse_time(value: Any) -> datetime | None:
    """Read an RFC 3339 time; None for anything else, since a bad date must not cost its number.

    A time without its zone is such a thing: it could not be compared with the others. So is one of the first
    and the last year that there are, which other zones, UTC among them, may have no name for.
    """
    if not isinstance(value, str):
        return None
    try:
        moment: datetime = msgspec.convert(value, _Moment)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return None
    return moment if MINYEAR < moment.year < MAXYEAR else None


def parse_whole(value: Any) -> int | None:
    """Read a whole number, be it written as one, as a float or as a string; None for anything else."""
    try:
        return msgspec.convert(value, int, strict=False)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return None
