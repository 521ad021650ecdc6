"""Reading pages of rows: all at once, or one by one where a row is bad."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from phonesys.http.answer import EXCERPT, UNREADABLE
from phonesys.model import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import msgspec

R = TypeVar("R")


def one_by_one(
    rows: Iterable[msgspec.Raw], read: Callable[[msgspec.Raw], R]
) -> tuple[tuple[R, ...], tuple[Rejected, ...]]:
    """Read each row by itself, and keep those that cannot be read, as they came and with the reason."""
    good: list[R] = []
    bad: list[Rejected] = []
    for row in rows:
        try:
            good.append(read(row))
        except UNREADABLE as failure:
            bad.append(Rejected(raw=bytes(row)[:EXCERPT], reason=str(failure)))
    return tuple(good), tuple(bad)
