"""Changes since the last sweep, as lines for people."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from phonesys.inventory.diff.changes import Change, ChangeKind
from phonesys.inventory.record import batches

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable


class ChangeLine(msgspec.Struct, frozen=True):
    """One change in words: what happened to which number where."""

    what: str
    number: str | None
    backend: str
    account: str
    details: str = ""


def change_line(change: Change) -> ChangeLine:
    """Put a change in words."""
    what = ", ".join(change.topics) if change.kind is ChangeKind.CHANGED else change.kind.value
    return ChangeLine(what, change.number, change.backend, change.account, _details(change))


def _details(change: Change) -> str:
    """Say what there is to say beside where: from where, what was and what is, or why nobody knows."""
    said = [f"from {change.from_backend} {change.from_account}"] if change.from_account is not None else []
    said += [
        f"{one.field.replace('_', ' ')}: {_word(one.old)} {_TO} {_word(one.new)}" for one in change.fields
    ]
    if change.reason:
        said.append(change.reason)
    record = change.new or change.old
    if not said and record is not None:
        said = [word for word in (record.label, record.status.value) if word]
    return "; ".join(said)


_TO = "\N{RIGHTWARDS ARROW}"


def _word(value: object) -> str:
    words: dict[object, str] = {None: "nothing", True: "yes", False: "no"}
    return words.get(value) or str(value)


async def about_changes(
    changes: Iterable[Change] | AsyncIterable[Change] | None, most: int
) -> dict[str, Any]:
    """Say what changed: all of it counted, the first of it listed; nothing at all where nobody compared."""
    if changes is None:
        return {"changes": None}
    counts: Counter[str] = Counter()
    lines: list[ChangeLine] = []
    async with aclosing(batches(changes, 256)) as reading:
        async for some in reading:
            counts.update(change.kind.value for change in some)
            lines += map(change_line, some[: most - len(lines)])
    return {"changes": lines, "change_counts": counts.most_common(), "change_total": counts.total()}
