"""Finding a number in a snapshot."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from phonesys._matching import NumberQuery
from phonesys.errors import SweepIncomplete
from phonesys.inventory.record import incomplete_accounts

if TYPE_CHECKING:
    from phonesys.inventory.protocol import ReadableSnapshot
    from phonesys.record import NumberRecord

_MAX_NAMED = 3


async def find_number(snapshot: ReadableSnapshot, number: str) -> list[NumberRecord]:
    """Return the records of a number. Raise SweepIncomplete, with those, if accounts were not read."""
    query = NumberQuery.parse(number)
    async with aclosing(snapshot.records()) as records:
        found = [record async for record in records if query.matches(record.number)]
    if missing := await incomplete_accounts(snapshot.accounts()):
        named = [f"{one.backend} {one.account}: {one.problem}" for one in missing[:_MAX_NAMED]]
        more = [f"and {len(missing) - _MAX_NAMED} more"] if len(missing) > _MAX_NAMED else []
        raise SweepIncomplete(
            f"snapshot {snapshot.id} is incomplete: {'; '.join([*named, *more])}", numbers=found
        )
    return found
