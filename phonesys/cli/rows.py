"""What a row of the output holds: the columns of jsonl and csv, which are promised to stay."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import msgspec

from phonesys.cli.output import Format
from phonesys.model import NumberKind, NumberStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phonesys.cli.output import Destination
    from phonesys.model import NumberPool, Page, PhoneNumber

_encode = msgspec.json.Encoder().encode


class NumberRow(msgspec.Struct, frozen=True, gc=False):
    """One number; None where the vendor does not say."""

    provider: str
    """The kind of backend, such as `leadconnector`."""
    backend: str
    """What this one is called in the configuration."""
    account: str
    id: str
    number: str
    label: str | None
    country: str | None
    kind: NumberKind
    status: NumberStatus
    voice: bool | None
    sms: bool | None
    mms: bool | None
    fax: bool | None
    assignee: str | None
    pool: str | None
    """The id of the pool it sits in, where pools were asked for."""
    created_at: datetime | None
    updated_at: datetime | None


class PoolRow(msgspec.Struct, frozen=True):
    """One pool of numbers."""

    backend: str
    account: str
    id: str
    name: str | None
    numbers: tuple[str, ...]
    forwarding_number: str | None
    is_active: bool
    call_recording: bool
    whisper: bool


def number_row(number: PhoneNumber, backend: str) -> NumberRow:
    """Take down one number."""
    can = number.capabilities
    pool: NumberPool | None = getattr(number, "pool", None)
    return NumberRow(
        provider=number.provider,
        backend=backend,
        account=number.account,
        id=number.id,
        number=number.number,
        label=number.label,
        country=number.country,
        kind=number.kind,
        status=number.status,
        voice=can.voice,
        sms=can.sms,
        mms=can.mms,
        fax=can.fax,
        assignee=number.assignee,
        pool=None if pool is None else pool.id,
        created_at=number.created_at,
        updated_at=number.updated_at,
    )


def number_rows(page: Page[PhoneNumber]) -> Iterator[NumberRow]:
    """Take down the numbers of a page; other people's backends may not write their name on it."""
    return (number_row(number, page.provider or number.provider) for number in page.numbers)


def pool_row(pool: NumberPool, backend: str, account: str) -> PoolRow:
    """Take down one pool."""
    return PoolRow(
        backend=backend,
        account=pool.account or account,
        id=pool.id,
        name=pool.name,
        numbers=pool.numbers,
        forwarding_number=pool.forwarding_number,
        is_active=pool.is_active,
        call_recording=pool.call_recording,
        whisper=pool.whisper,
    )


def json_line(row: msgspec.Struct) -> bytes:
    """Write a row as one line of JSON."""
    return _encode(row) + b"\n"


def csv_header(kind: type[msgspec.Struct]) -> bytes:
    """Write the names of the columns."""
    return _csv(kind.__struct_fields__)


def csv_line(row: msgspec.Struct) -> bytes:
    """Write a row as one record of CSV (RFC 4180, UTF-8)."""
    values: dict[str, Any] = msgspec.to_builtins(row)
    return _csv(_harmless(value) if key in _FREE_TEXT else _cell(value) for key, value in values.items())


_FREE_TEXT = {"label", "name"}
# What a spreadsheet takes for the beginning of a formula, and what it skips before it looks.
_FORMULA = ("=", "@", "\t", "\r", "\n", "+", "-")


def _csv(cells: Any) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(cast("list[str]", value)) if isinstance(value, list | tuple) else str(value)


def _harmless(text: str | None) -> str:
    """Put an apostrophe before what people wrote and a spreadsheet would run; `+1 415…` stays as it is."""
    if not text or not text.startswith(_FORMULA):
        return text or ""
    is_number = text[0] in "+-" and not any(char.isalpha() or char in "=@|!" for char in text)
    return text if is_number else f"'{text}"


async def write(
    kind: type[msgspec.Struct], rows: Sequence[msgspec.Struct], format_: Format, to: Destination
) -> None:
    """Write all rows of one kind as jsonl or csv."""
    if format_ is Format.JSONL:
        await to.write(map(json_line, rows))
    else:
        await to.write([csv_header(kind), *map(csv_line, rows)])
