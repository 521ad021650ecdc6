"""Rows of jsonl and csv. Columns are stable: new ones are added at the end."""

from __future__ import annotations

import codecs
import csv
import io
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import msgspec

from phonesys._spreadsheet import escape_formula
from phonesys.cli.output import Format
from phonesys.inventory import ChangeKind, FieldChange
from phonesys.inventory.audit import Severity
from phonesys.model import NumberKind, NumberStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from phonesys.cli.output import Destination
    from phonesys.inventory import Change, FolderSnapshot, Snapshot
    from phonesys.inventory.audit import Finding
    from phonesys.model import NumberPool, Page, PhoneNumber
    from phonesys.record import NumberRecord

_encode = msgspec.json.Encoder().encode


class NumberRow(msgspec.Struct, frozen=True, gc=False):
    """One number. None means that the vendor does not say.

    The columns are fields of `NumberRecord`. Its other fields are not printed, and without them a row is made
    and encoded in a fifth of the time (1000 rows of Leadping: 7 ms instead of 37 ms).
    """

    provider: str
    """The kind of backend, such as `leadconnector`."""
    backend: str
    """Name in the configuration."""
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
    """Id of the number's pool, if pools were fetched."""
    created_at: datetime | None
    updated_at: datetime | None
    country_derived: bool | None = None
    """True if `country` follows from the number, since the vendor does not name it."""


class ChangeRow(msgspec.Struct, frozen=True):
    """One change between two snapshots, as a line of jsonl."""

    kind: ChangeKind
    backend: str
    account: str
    number: str | None
    id: str | None
    from_backend: str | None
    from_account: str | None
    topics: tuple[str, ...]
    fields: tuple[FieldChange, ...]
    reason: str | None


class SnapshotRow(msgspec.Struct, frozen=True):
    """One snapshot of a store or a folder."""

    id: int | None
    """None in a folder, whose snapshots have names."""
    started_at: str
    finished_at: str | None
    """None for one that is not finished."""
    backends: str
    numbers: int
    name: str | None
    complete: bool
    """True if every number of every account was read."""


class FindingRow(msgspec.Struct, frozen=True):
    """One finding of an audit."""

    severity: Severity
    code: str
    number: str | None
    id: str | None
    accounts: tuple[str, ...]
    """Each as `backend:account`."""
    evidence: str
    advice: str


class FailureRow(msgspec.Struct, frozen=True):
    """One failed account, or an account with unreadable rows."""

    backend: str
    account: str | None
    """None for the backend's list of accounts."""
    outcome: str
    error: str | None
    """Name of the error's class."""
    message: str


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
    """Return the row of a number."""
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
        country_derived=getattr(number, "country_is_derived", False) or None,
    )


def record_row(record: NumberRecord) -> NumberRow:
    """Return the row of a record, which has all its fields."""
    return NumberRow(*map(record.__getattribute__, NumberRow.__struct_fields__))


def number_rows(page: Page[PhoneNumber]) -> Iterator[NumberRow]:
    """Return the rows of a page. Third-party backends may leave `page.provider` empty."""
    return (number_row(number, page.provider or number.provider) for number in page.numbers)


def pool_row(pool: NumberPool, backend: str, account: str) -> PoolRow:
    """Return the row of a pool."""
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


def change_row(change: Change) -> ChangeRow:
    """Return the row of a change."""
    return ChangeRow(
        change.kind, change.backend, change.account, change.number, change.id, change.from_backend,
        change.from_account, change.topics, change.fields, change.reason,
    )  # fmt: skip


def snapshot_row(snapshot: Snapshot | FolderSnapshot) -> SnapshotRow:
    """Return the row of a snapshot."""
    finished = snapshot.finished_at
    return SnapshotRow(
        snapshot.id if isinstance(snapshot.id, int) else None,
        snapshot.started_at.isoformat(timespec="seconds"),
        None if finished is None else finished.isoformat(timespec="seconds"),
        " ".join(snapshot.coverage),
        snapshot.numbers,
        snapshot.name,
        snapshot.complete,
    )


def finding_row(finding: Finding) -> FindingRow:
    """Return the row of a finding."""
    accounts = tuple(f"{backend}:{account}" for backend, account in finding.accounts)
    return FindingRow(
        finding.severity,
        finding.code,
        finding.number,
        finding.id,
        accounts,
        finding.evidence,
        finding.advice,
    )


def json_line(row: msgspec.Struct) -> bytes:
    """Encode a row as one line of JSON."""
    return _encode(row) + b"\n"


def json_lines_of(columns: Sequence[str]) -> Callable[[msgspec.Struct], bytes]:
    """Return a function that encodes these columns of a row as one line of JSON."""
    return lambda row: _encode({name: getattr(row, name) for name in columns}) + b"\n"


def csv_lines_of(columns: Sequence[str]) -> Callable[[msgspec.Struct], bytes]:
    """Return a function that encodes these columns of a row as one record of CSV."""

    def line(row: msgspec.Struct) -> bytes:
        values: dict[str, Any] = msgspec.to_builtins(row)
        return _csv(_cell(values[name]) for name in columns)

    return line


def csv_header(kind: type[msgspec.Struct], columns: Sequence[str] = (), *, bom: bool = False) -> bytes:
    """Encode the names of columns, all by default, after a byte order mark if Excel is to read the file."""
    return (codecs.BOM_UTF8 if bom else b"") + _csv(columns or kind.__struct_fields__)


def csv_line(row: msgspec.Struct) -> bytes:
    """Encode a row as one record of CSV (RFC 4180, UTF-8)."""
    values: dict[str, Any] = msgspec.to_builtins(row)
    return _csv(map(_cell, values.values()))


def _csv(cells: Any) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    texts = cast("list[str]", value) if isinstance(value, list | tuple) else [str(value)]
    return " ".join(map(escape_formula, texts))


async def write(
    kind: type[msgspec.Struct],
    rows: Sequence[msgspec.Struct],
    format_: Format,
    to: Destination,
    *,
    bom: bool = False,
    columns: Sequence[str] = (),
) -> None:
    """Write rows as jsonl or csv, with these columns or all."""
    if format_ is Format.JSONL:
        await to.write(map(json_lines_of(columns) if columns else json_line, rows))
    else:
        line = csv_lines_of(columns) if columns else csv_line
        await to.write([csv_header(kind, columns, bom=bom), *map(line, rows)])
