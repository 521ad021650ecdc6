"""The trend of a report: the counts of earlier snapshots."""

from __future__ import annotations

from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from phonesys.inventory.audit import Severity, audit
from phonesys.inventory.diff import ChangeKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Collection

    from phonesys.inventory.diff import Change
    from phonesys.inventory.protocol import S, SnapshotSource


class TrendPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of one sweep. None stands for a count that is not known."""

    as_of: datetime
    numbers: int
    complete: bool
    """False if an account was not read completely: numbers are missing in the counts."""
    critical: int | None = None
    """The number of critical findings."""
    other_findings: int | None = None
    added: int | None = None
    """The number of numbers that were added since the sweep before."""
    removed: int | None = None


async def read_trend(
    inventory: SnapshotSource[S], before: S, *, sweeps: int = 7, ignore: Collection[str] = ()
) -> list[TrendPoint]:
    """Return the counts of the last snapshots before one, of the same coverage, the oldest first.

    Audits every one of them, which takes about 30 µs of processor time a number, and compares it with the
    one before.
    """
    same = [one for one in await inventory.earlier(before) if one.coverage == before.coverage]
    chosen = same[:sweeps]
    points: list[TrendPoint] = []
    for position, snapshot in enumerate(chosen):
        older = same[position + 1] if position + 1 < len(same) else None
        points.append(await _point(inventory, snapshot, older, ignore))
    return points[::-1]


async def _point(
    inventory: SnapshotSource[S], snapshot: S, older: S | None, ignore: Collection[str]
) -> TrendPoint:
    found = audit(snapshot.records(), accounts=snapshot.accounts(), ignore=ignore)
    critical = others = 0
    async with aclosing(found) as findings:
        async for finding in findings:
            if finding.severity is Severity.CRITICAL:
                critical += 1
            else:
                others += 1
    added, removed = (None, None) if older is None else await _count(inventory.diff(older, snapshot))
    return TrendPoint(
        as_of=snapshot.finished_at or snapshot.started_at,
        numbers=snapshot.numbers,
        complete=snapshot.complete,
        critical=critical,
        other_findings=others,
        added=added,
        removed=removed,
    )


async def _count(changes: AsyncIterable[Change]) -> tuple[int, int]:
    added = removed = 0
    async for change in changes:
        added += change.kind is ChangeKind.ADDED
        removed += change.kind is ChangeKind.REMOVED
    return added, removed
