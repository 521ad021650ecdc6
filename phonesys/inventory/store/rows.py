"""Encoding numbers as rows and decoding them. The record is JSON, so that a new field needs no migration."""

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

from phonesys.inventory.store.schema import KEYS_PER_PAGE, to_utc
from phonesys.model import NumberPool
from phonesys.record import NumberRecord, to_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from phonesys.model import Page, PhoneNumber

Row: TypeAlias = tuple[int, str, str, str]
"""A row of the table `numbers`."""


class PageRows(msgspec.Struct, frozen=True, gc=False):
    """The rows of one page, by column. Their keys follow from the id of the page."""

    numbers: Sequence[str]
    statuses: Sequence[str]
    records: Sequence[str]
    in_pools: bool

    def rows(self, page_id: int) -> Iterable[Row]:
        """Return the rows of the page with this id."""
        return zip(count(page_id * KEYS_PER_PAGE), self.numbers, self.statuses, self.records)


_json = msgspec.json.Encoder()
_pack = msgspec.msgpack.Encoder().encode
_read = msgspec.json.Decoder(list[NumberRecord]).decode
_word = attrgetter("_value_")
_account_key = itemgetter(0, 1, 2)
_MOMENTS = {"created_at", "updated_at"}


def encode_page(numbers: Sequence[PhoneNumber]) -> PageRows:
    """Encode the numbers of a page."""
    columns = to_columns(numbers)
    for name in _MOMENTS & columns.keys():
        columns[name] = [
            moment if moment is None or moment.tzinfo is UTC else to_utc(moment) for moment in columns[name]
        ]
    try:
        text = _text(columns)
    except UnicodeEncodeError:  # half of a surrogate pair
        text = None
    if text is None or (b"\\" in text and b"\\u0000" in text):
        columns = {name: [_storable(value) for value in column] for name, column in columns.items()}
        text = _text(columns)
    return PageRows(
        columns.get("number", ()),
        # Drivers are slow with enumerations.
        list(map(_word, columns.get("status", ()))),
        # JSON contains no line breaks, and the last line is empty.
        text.decode().split("\n")[:-1],
        any(columns.get("pool", ())),
    )


def _text(columns: Mapping[str, Sequence[Any]]) -> bytes:
    # A list, because msgspec 0.22 never releases another iterator, which is 3 kB for each page.
    return _json.encode_lines(list(starmap(_row_struct(tuple(columns)), zip(*columns.values(), strict=True))))


@cache
def _row_struct(names: tuple[str, ...]) -> type[msgspec.Struct]:
    """Make a struct of these fields that omits None."""
    return msgspec.defstruct("_Shape", [(name, Any, None) for name in names], omit_defaults=True, gc=False)


def parse_records(rows: Iterable[tuple[str, str, str | None, str]]) -> list[NumberRecord]:
    """Decode records, given their backends, accounts, names of accounts, and JSON."""
    parts: list[str] = []
    for (backend, account, name), some in groupby(rows, _account_key):
        fields = {"backend": backend, "account": account, "account_name": name}
        head = _json.encode(fields).decode()[:-1]
        parts += [f"{head},{text[1:]}" for *_, text in some]
    return _read(f"[{','.join(parts)}]")


def pools_on(page: Page[PhoneNumber]) -> dict[str, NumberPool]:
    """Return the pools of the page's numbers by id."""
    found: dict[str, NumberPool] = {}
    for number in page.numbers:
        pool = getattr(number, "pool", None)
        if isinstance(pool, NumberPool):
            found[pool.id] = pool
    return found


def pool_row(page_id: int, pool: NumberPool) -> dict[str, Any]:
    """Encode a pool as a row of the table `pools`."""
    return {"page_id": page_id, "id": pool.id, "name": pool.name, "more": _json.encode(pool).decode()}


def parse_pool(account: str, more: str) -> NumberPool:
    """Decode a pool."""
    pool = msgspec.json.decode(more, type=NumberPool)
    return pool if pool.account else msgspec.structs.replace(pool, account=account)


def _release() -> bytes:
    try:
        return installed("phonesys").encode()
    except PackageNotFoundError:  # run from a source tree
        return b""


# Another release may make other records of the same numbers.
_RELEASE = _release() + repr(NumberRecord.__struct_fields__).encode()


def digest(page: Page[PhoneNumber]) -> bytes:
    """Return the digest of a page's numbers. A page with the digest of a stored page is not written again.

    Hashes the vendor's own structs where possible, since making records costs more.
    """
    try:
        content = _pack(page.numbers)
    except (TypeError, ValueError, OverflowError):  # OverflowError: integers beyond 64 bits
        content = "\n".join(encode_page(page.numbers).records).encode()
    return sha256(_RELEASE + content).digest()[:16]


def _storable(value: Any) -> Any:
    """Replace characters that PostgreSQL cannot store: NUL, and half of a surrogate pair."""
    if type(value) is not str:
        return value
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
