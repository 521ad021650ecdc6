"""Sweeping again and again, and telling what is not as it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from phonesys._concurrency import wait_finished
from phonesys.errors import InvalidArgument, NotOpen, UsageError
from phonesys.inventory.diff.changes import WHOLE, Change, Difference, Moves, compare, unknown
from phonesys.inventory.record import records_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from phonesys.inventory.inventory import Inventory
    from phonesys.inventory.record import NumberRecord
    from phonesys.inventory.stored_sweep import StoredSweep
    from phonesys.sweep import AccountReport, Sweep, SweepReport
    from phonesys.system import PhoneSystem

    Key = tuple[str, str]

_MOST_WAITING = 1000  # changes that nobody took yet, before the sweep waits


class Watch:
    """Yields changes as they are seen: `async with Watch(phones, interval=60) as changes`.

    Sweeps every `interval` seconds, or at once after a sweep that took longer. The first one only shows how
    things are, unless `store` holds an earlier one: then what changed meanwhile is told too. An account that
    cannot be read is one change of kind `unknown`, and is compared with what was known of it once it can be
    read again. Everything that is known is in memory: about a kilobyte a number.
    """

    def __init__(
        self,
        phones: PhoneSystem,
        accounts: Mapping[str, Iterable[str]] | None = None,
        *,
        interval: float | timedelta,
        store: Inventory | None = None,
        only: Iterable[str] | None = None,
        concurrency: int = 64,
        **accounts_by_provider: Iterable[str],
    ) -> None:
        self._interval = interval.total_seconds() if isinstance(interval, timedelta) else interval
        if not self._interval > 0:
            raise InvalidArgument(f"interval: expected a positive number of seconds, got {interval!r}")
        self._phones = phones
        self._store = store
        names = list(phones) if only is None else [only] if isinstance(only, str) else list(only)
        self._named = _kept({**(accounts or {}), **accounts_by_provider})
        self._options: dict[str, Any] = {"only": names, "concurrency": concurrency}
        self._state = _State([name for name in names if name not in self._named])
        self._changes = asyncio.Queue[Change | None](_MOST_WAITING)
        self._task: asyncio.Task[None] | None = None
        self.report: SweepReport | None = None
        """Of the sweep under way, or of the last one."""
        self.rounds = 0
        """How many sweeps have ended."""

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise UsageError("a watch can be used once; make another one")
        self._sweep()  # begins nothing, and finds mistakes in the arguments
        if self._store is not None:
            await self._state.remember(self._store, self._options["only"], self._named)
        # A task of its own: the block may await a change under any time-out.
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await wait_finished(self._task)

    def __aiter__(self) -> AsyncIterator[Change]:
        return self

    async def __anext__(self) -> Change:
        if self._task is None:
            raise NotOpen("a watch is read inside of its block: `async with phones.watch(…) as changes`")
        change = None if self._task.done() and self._changes.empty() else await self._changes.get()
        if change is None:
            # Only an error ends it, or the end of the block.
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()
            raise StopAsyncIteration
        return change

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                due = loop.time() + self._interval
                async with aclosing(self._round()) as changes:
                    async for change in changes:
                        await self._changes.put(change)
                self.rounds += 1
                await asyncio.sleep(due - loop.time())
        except Exception:
            await self._changes.put(None)
            raise

    async def _round(self) -> AsyncGenerator[Change]:
        """Sweep once: what changed is told as accounts are read; what came, went or moved at the end."""
        accounts = _Accounts()
        moves = Moves()
        async with self._sweep() as sweep:
            self.report = report = sweep.report
            async for page in sweep:
                key = page.provider, page.account
                accounts.add(key, records_in(page))
                result = report.accounts.get(key)
                if result is not None and (records := accounts.whole(key, result)) is not None:
                    for change in self._state.see(key, result, records, moves):
                        yield change
        for key, result in report.accounts.items():
            if key not in accounts.settled:
                for change in self._state.see(key, result, [], moves):
                    yield change
        self._state.end(report, moves)
        for change in moves.settle():
            yield change

    def _sweep(self) -> Sweep | StoredSweep:
        if self._store is None:
            return self._phones.sweep(self._named, **self._options)
        return self._store.sweep(self._phones, self._named, resume=False, **self._options)


def _kept(named: Mapping[str, Any]) -> dict[str, Any]:
    """Keep account ids for every round; what is no iterable is the sweep's to refuse."""
    keep = {
        name: isinstance(ids, Iterable) and not isinstance(ids, str | bytes) for name, ids in named.items()
    }
    if endless := [name for name, ids in named.items() if hasattr(ids, "__aiter__")]:
        raise InvalidArgument(f"{endless[0]}: a watch reads its accounts again and again; give it a list")
    return {name: tuple(ids) if keep[name] else ids for name, ids in named.items()}


class _Accounts:
    """The accounts of a round, while their pages come."""

    def __init__(self) -> None:
        self.settled: set[Key] = set()
        self._open: dict[Key, tuple[int, list[NumberRecord]]] = {}

    def add(self, key: Key, records: list[NumberRecord]) -> None:
        """Add a page."""
        pages, so_far = self._open.get(key, (0, []))
        self._open[key] = pages + 1, so_far + records if so_far else records

    def whole(self, key: Key, result: AccountReport) -> list[NumberRecord] | None:
        """Return what an account holds once all its pages are there; None while some are on their way."""
        pages, records = self._open[key]
        if pages < result.pages or result.outcome not in WHOLE:
            return None
        del self._open[key]
        self.settled.add(key)
        return records


class _State:
    """What is known of every account, and which of them cannot be read at present."""

    def __init__(self, listed: Iterable[str]) -> None:
        self._listed = frozenset(listed)
        self._known: dict[Key, tuple[NumberRecord, ...]] = {}
        self._unknown: set[Key] = set()
        self._surveyed: set[str] = set()
        """Backends whose list of accounts was seen: what is new on it came, also to the first look."""

    async def remember(self, store: Inventory, only: list[str], named: Mapping[str, Any]) -> None:
        """Begin where the store's last sweep of the same backends ended."""
        async with aclosing(store.last_known(only, named)) as accounts:
            async for (backend, account), records in accounts:
                if records is None:
                    self._unknown.add((backend, account))
                elif account:
                    self._known[backend, account] = tuple(records)
        backends = {backend for backend, _ in (*self._known, *self._unknown)}
        self._surveyed = {name for name in self._listed & backends if (name, "") not in self._unknown}

    def see(self, key: Key, result: AccountReport, records: list[NumberRecord], moves: Moves) -> list[Change]:
        """Take note of what came of an account; return what is settled by it."""
        if result.outcome not in WHOLE:
            return self._miss(key, str(result.error or result.outcome.value))
        was_unknown = key in self._unknown
        self._unknown.discard(key)
        known = self._known.get(key)
        self._known[key] = tuple(records)
        if known is None and (was_unknown or key[0] not in self._surveyed):
            return []  # what is seen for the first time did not come: nobody had looked
        return moves.add(compare(known or (), records))

    def _miss(self, key: Key, reason: str) -> list[Change]:
        if key in self._unknown:
            return []
        self._unknown.add(key)
        return [unknown(*key, reason)]

    def end(self, report: SweepReport, moves: Moves) -> None:
        """Let accounts go that their backend does not list any more."""
        unlisted = {failure.provider for failure in report.failures if failure.account is None}
        self._surveyed |= self._listed - unlisted
        for key in [key for key in (*self._known, *self._unknown) if key not in report.accounts]:
            if key[0] in self._listed and key[0] not in unlisted:
                self._unknown.discard(key)
                moves.add(Difference([], list(self._known.pop(key, ())), []))
