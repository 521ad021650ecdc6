"""The changes in a report, in words."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from phonesys.inventory.diff import Change, ChangeKind
from phonesys.inventory.record import batches

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable


class ChangeLine(msgspec.Struct, frozen=True):
    """One change in words."""

    what: str
    number: str | None
    backend: str
    account: str
    details: str = ""


def change_line(change: Change) -> ChangeLine:
    """Return a change in words."""
    what = ", ".join(change.topics) if change.kind is ChangeKind.CHANGED else change.kind.value
    return ChangeLine(what, change.number, change.backend, change.account, _details(change))


def _details(change: Change) -> str:
    """Return the earlier account, the changed fields, or the reason."""
    parts = [f"from {change.from_backend} {change.from_account}"] if change.from_account is not None else []
    parts += [
        f"{one.field.replace('_', ' ')}: {_to_word(one.old)} {_TO} {_to_word(one.new)}"
        for one in change.fields
    ]
    if change.reason:
        parts.append(change.reason)
    record = change.new or change.old
    if not parts and record is not None:
        parts = [word for word in (record.label, record.status.value) if word]
    return "; ".join(parts)


_TO = "\N{RIGHTWARDS ARROW}"


def _to_word(value: object) -> str:
    words: dict[object, str] = {None: "nothing", True: "yes", False: "no"}
    return words.get(value) or str(value)


async def change_facts(
    changes: Iterable[Change] | AsyncIterable[Change] | None, max_lines: int
) -> dict[str, Any]:
    """Return the counts of all changes and the first ones as lines, or None without a comparison."""
    if changes is None:
        return {"changes": None}
    counts: Counter[str] = Counter()
    lines: list[ChangeLine] = []
    async with aclosing(batches(changes, 256)) as reading:
        async for some in reading:
            counts.update(change.kind.value for change in some)
            lines += map(change_line, some[: max_lines - len(lines)])
    return {"changes": lines, "change_counts": counts.most_common(), "change_total": counts.total()}
