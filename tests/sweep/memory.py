"""Backends that hold their numbers in memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from phonesys import Cursor, Page
from phonesys.backends.agents import AgentNumber
from phonesys.model import UnreadableRow
from phonesys.sweep import Source, Sweep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping


def number(index: int, account: str = "a") -> AgentNumber:
    return AgentNumber(number=f"+1415555{index:04}", row_id=f"{account}-{index}", account=account)


class Memory:
    """A backend of known pages; an exception in the place of a page is raised.

    `pages` maps an account to its pages: page i names page i + 1, or all others at once.
    """

    def __init__(
        self,
        pages: Mapping[str, list[Any]],
        *,
        name: str = "memory",
        at_once: bool = False,
        delay: float = 0.0,
        listed: Iterable[str] | None = None,
    ) -> None:
        self.name = name
        self.pages = pages
        self.at_once = at_once
        self.delay = delay
        self.listed = listed
        self.asked: Counter[tuple[str, Cursor | None]] = Counter()
        self.under_way = self.most_under_way = 0

    async def accounts(self) -> AsyncIterator[str]:
        for account in self.pages if self.listed is None else self.listed:
            yield account

    async def page(self, account: str, cursor: Cursor | None = None) -> Page[Any]:
        self.asked[account, cursor] += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(self.delay)
            return self._page(account, cursor)
        finally:
            self.under_way -= 1

    def _page(self, account: str, cursor: Cursor | None) -> Page[Any]:
        index = int(cursor or 0)
        pages = self.pages[account]
        if isinstance(pages[index], BaseException):
            raise pages[index]
        following: tuple[int, ...] = (index + 1,) if index + 1 < len(pages) else ()
        if self.at_once:
            following = tuple(range(1, len(pages))) if index == 0 else ()
        return Page(
            account=account, provider=self.name, cursor=cursor, numbers=tuple(pages[index]), next=following
        )


def simple(count: int, numbers: int = 1, **options: Any) -> Memory:
    """A backend of `count` accounts with one page each."""
    pages = {f"acc_{i}": [[number(j, f"acc_{i}") for j in range(numbers)]] for i in range(count)}
    return Memory(pages, **options)


def page_at(
    offset: int | None,
    rows: Iterable[int],
    *,
    overlap: int = 0,
    following: tuple[Cursor, ...] = (),
    total: int | None = None,
    unreadable: tuple[bytes, ...] = (),
) -> Page[Any]:
    """One page of account "a", as a vendor that pages by offset would send it."""
    return Page(
        account="a",
        numbers=tuple(map(number, rows)),
        offset=offset,
        overlap=overlap,
        next=following,
        total=total,
        rejected=tuple(UnreadableRow(raw=raw, reason="no") for raw in unreadable),
    )


def sweep_of(backend: Any, accounts: Any = None, **options: Any) -> Sweep:
    """Make a sweep of one backend."""
    return Sweep([Source(backend.name, backend, accounts)], **options)


async def drained(sweep: Sweep) -> list[str]:
    """Read a sweep to its end, and return the ids of its numbers."""
    async with sweep:
        return [found.id async for page in sweep for found in page.numbers]
