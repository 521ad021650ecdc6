"""A backend of one account whose list changes while it is read."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import msgspec

from phonesys import Page
from phonesys.backends.windows import WindowPosition
from phonesys.sweep import Source, Sweep
from tests.conftest import JumpingLoop
from tests.sweep.memory import number

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from phonesys import Cursor, SweepReport

    Change = Callable[[list[int]], None]

SIZE = 3


class Changing:
    """One account paged by place, whose list changes between requests.

    `changes` maps the count of a request to the function that changes the list before it.
    """

    name = "changing"

    def __init__(
        self,
        rows: int,
        changes: dict[int, Change],
        *,
        totals: bool = True,
        ahead: int = 1,
        seed: int = 0,
    ) -> None:
        self.rows = list(range(rows))
        self.next_row = rows
        self.changes = changes
        self.totals = totals
        self.ahead = ahead
        self.draw = random.Random(seed)
        self.requests = 0
        self.always = set(self.rows)
        """The rows that were there in every moment."""

    async def accounts(self) -> AsyncIterator[str]:
        yield "a"

    async def _request(self) -> None:
        await asyncio.sleep(self.draw.random())
        self.requests += 1
        if change := self.changes.get(self.requests):
            change(self.rows)
            self.always &= set(self.rows)
        await asyncio.sleep(0)

    async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
        await self._request()
        place = int(cursor or 0)
        held = self.rows[place : place + SIZE]
        await asyncio.sleep(self.draw.random())
        return Page(
            account=account,
            cursor=cursor,
            numbers=tuple(number(row) for row in held),
            next=self._next(place, len(held)),
            offset=place,
            total=len(self.rows) if self.totals else None,
        )

    def _next(self, place: int, rows: int) -> tuple[int, ...]:
        if self.totals:
            return tuple(range(SIZE, len(self.rows), SIZE)) if not place else ()
        if rows < SIZE:
            return ()
        if not place:
            return tuple(SIZE * page for page in range(1, self.ahead + 1))
        return (place + SIZE * self.ahead,)


class Looking(Changing):
    """The same, where one place can be looked at by itself."""

    async def has_row_at(self, account: str, place: int, row: str) -> bool:
        del account
        await self._request()
        return [number(held).id for held in self.rows[place : place + 1]] == [row]


class Overlapping(Looking):
    """A backend whose pages overlap."""

    def __init__(self, rows: int, changes: dict[int, Change], *, size: int = 5, **options: Any) -> None:
        super().__init__(rows, changes, **options)
        self.size = size
        self.overlaps = True

    async def overlapping_page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
        await self._request()
        position = WindowPosition.parse(cursor, self.size)
        window = position.window
        total = len(self.rows) if self.totals else None
        held = self.rows[window.start : window.end]
        await asyncio.sleep(self.draw.random())
        return Page(
            account=account,
            cursor=cursor,
            numbers=tuple(number(row) for row in held),
            next=position.following(len(held), total, lookahead=self.ahead),
            offset=window.start,
            overlap=position.overlap,
            total=total,
        )


class Capped(Overlapping):
    """Ignores the size of pages that are not full, as a vendor with pages of its own would."""

    async def overlapping_page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
        page = await super().overlapping_page(account, cursor)
        window = WindowPosition.parse(cursor, self.size).window
        held = self.rows[window.page * self.size : (window.page + 1) * self.size]
        return msgspec.structs.replace(page, numbers=tuple(map(number, held)))


def swept(backend: Any, **options: Any) -> tuple[list[str], SweepReport]:
    async def main() -> tuple[list[str], SweepReport]:
        sweep = Sweep([Source(backend.name, backend)], **options)
        async with sweep:
            found = [row.id async for page in sweep for row in page.numbers]
        return found, sweep.report

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(main())


def insert(place: int, row: int) -> Change:
    return lambda rows: rows.insert(place, row)


def remove(place: int, _row: int = 0) -> Change:
    return lambda rows: rows.__delitem__(slice(place, place + 1))


def exchange(place: int, row: int) -> Change:
    """One number is released, and another bought, which comes last: their count stays as it was."""

    def change(rows: list[int]) -> None:
        remove(place)(rows)
        rows.append(row)

    return change
