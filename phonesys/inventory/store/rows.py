"""A page's numbers as rows, and back: the record as JSON, beside what is looked for most.

What is new on NumberRecord needs no migration.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from itertools import count, groupby, starmap
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from phonesys.inventory.record import NumberRecord, to_columns
from phonesys.inventory.store.schema import PAGE, in_utc
from phonesys.model import NumberPool

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from phonesys.model import Page, PhoneNumber

Row: TypeAlias = tuple[int, str, str, str]
"""A row of `numbers`, the columns in the table's order."""


class Cells(msgspec.Struct, frozen=True, gc=False):
    """What a page's numbers are in the database, a column at a time; their keys are the page's to give."""

    numbers: Sequence[str]
    statuses: Sequence[str]
    records: Sequence[str]
    in_pools: bool

    def rows(self, page_id: int) -> Iterable[Row]:
        """Make the rows of a page."""
        return zip(count(page_id * PAGE), self.numbers, self.statuses, self.records)


_json = msgspec.json.Encoder()
_pack = msgspec.msgpack.Encoder().encode
_read = msgspec.json.Decoder(list[NumberRecord]).decode
_word = attrgetter("_value_")
_place = itemgetter(0, 1)
_MOMENTS = {"created_at", "updated_at"}


def cells_of(numbers: Sequence[PhoneNumber]) -> Cells:
    """Write numbers down, in their order."""
    columns = to_columns(numbers)
    for name in _MOMENTS & columns.keys():
        columns[name] = [
            moment if moment is None or moment.tzinfo is UTC else in_utc(moment) for moment in columns[name]
        ]
    try:
        text = _text(columns)
    except UnicodeEncodeError:  # half of a surrogate pair
        text = None
    if text is None or (b"\\" in text and b"\\u0000" in text):
        columns = {name: [_clean(value) for value in column] for name, column in columns.items()}
        text = _text(columns)
    return Cells(
        columns.get("number", ()),
        # Drivers are slow with enumerations.
        list(map(_word, columns.get("status", ()))),
        # JSON has no line breaks within; the last line is an empty one.
        text.decode().split("\n")[:-1],
        any(columns.get("pool", ())),
    )


def _text(columns: Mapping[str, Sequence[Any]]) -> bytes:
    return _json.encode_lines(starmap(_shape(tuple(columns)), zip(*columns.values(), strict=True)))


@cache
def _shape(names: tuple[str, ...]) -> type[msgspec.Struct]:
    """Make what some fields of a record are written as: what is None is left out."""
    return msgspec.defstruct("_Shape", [(name, Any, None) for name in names], omit_defaults=True, gc=False)


def records_from(rows: Iterable[tuple[str, str, str]]) -> list[NumberRecord]:
    """Read records, of which the backend, the account and the JSON are given."""
    parts: list[str] = []
    for (backend, account), some in groupby(rows, _place):
        head = _json.encode({"backend": backend, "account": account}).decode()[:-1]
        parts += [f"{head},{text[1:]}" for _, _, text in some]
    return _read(f"[{','.join(parts)}]")


def pools_of(page: Page[PhoneNumber]) -> dict[str, NumberPool]:
    """Find the pools that the numbers say they sit in."""
    found: dict[str, NumberPool] = {}
    for number in page.numbers:
        pool = getattr(number, "pool", None)
        if isinstance(pool, NumberPool):
            found[pool.id] = pool
    return found


def pool_row(page_id: int, pool: NumberPool) -> dict[str, Any]:
    """Write a pool as a row of `pools`."""
    return {"page_id": page_id, "id": pool.id, "name": pool.name, "more": _json.encode(pool).decode()}


def pool_from(account: str, more: str) -> NumberPool:
    """Read a pool."""
    pool = msgspec.json.decode(more, type=NumberPool)
    return pool if pool.account else msgspec.structs.replace(pool, account=account)


def _release() -> bytes:
    try:
        return installed("phonesys").encode()
    except PackageNotFoundError:  # run from a tree that was never installed
        return b""


# Another release may make another record of the same number.
_RELEASE = _release() + repr(NumberRecord.__struct_fields__).encode()


def digest(page: Page[PhoneNumber]) -> bytes:
    """Take a page's digest: equal ones mean equal numbers, and nothing to write.

    Of the vendor's own structs if it has such, since records cost more than that.
    """
    try:
        content = _pack(page.numbers)
    except (TypeError, ValueError, OverflowError):  # the last for whole numbers beyond 64 bits
        content = "\n".join(cells_of(page.numbers).records).encode()
    return sha256(_RELEASE + content).digest()[:16]


def _clean(value: Any) -> Any:
    """Replace in a text what PostgreSQL cannot hold: a zero, or half of a surrogate pair."""
    if type(value) is not str:
        return value
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
