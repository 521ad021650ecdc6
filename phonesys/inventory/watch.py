"""Repeated sweeps that yield changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, cast

from phonesys._concurrency import wait_finished
from phonesys.errors import InvalidArgument, NotOpen, UsageError
from phonesys.inventory.diff import Change, Difference, MoveDetector, compare, unknown_account
from phonesys.inventory.record import COMPLETE_OUTCOMES, missing_reason, page_records

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from phonesys.inventory.inventory import Inventory
    from phonesys.inventory.record import AccountKey
    from phonesys.inventory.stored_sweep import StoredSweep
    from phonesys.record import NumberRecord
    from phonesys.sweep import AccountReport, Sweep, SweepReport
    from phonesys.system import PhoneSystem

_MAX_WAITING = 1000  # unread changes, before the sweep waits


class Watch:
    """Yields changes as they are found: `async with Watch(phones, interval=60) as changes`.

    Sweeps every `interval` seconds, or immediately after a sweep that took longer. The first sweep is the
    baseline, unless `store` holds an earlier one; then changes since that one are yielded too. An account
    that cannot be read yields one change of kind `unknown`. When it can be read again, it is compared with
    its last complete state. The baseline is in memory: about a kilobyte per number.
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
        names = phones.select(only)
        configured = {name: ids for name, ids in phones.configured_accounts.items() if name in names}
        self._named = configured | _reusable({**(accounts or {}), **accounts_by_provider})
        self._options: dict[str, Any] = {"only": names, "concurrency": concurrency}
        self._state = _Baseline([name for name in names if name not in self._named])
        self._changes = asyncio.Queue[Change | None](_MAX_WAITING)
        self._task: asyncio.Task[None] | None = None
        self.report: SweepReport | None = None
        """The report of the current or the last sweep."""
        self.rounds = 0
        """The number of sweeps that have ended."""

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise UsageError("a watch can be used only once; create another one")
        self._sweep()  # starts nothing, but checks the arguments
        if self._store is not None:
            await self._state.load(self._store, self._options["only"], self._named)
        # A task of its own, so that the block can await a change under any time-out.
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
            raise NotOpen("a watch is read inside its block: `async with phones.watch(…) as changes`")
        change = None if self._task.done() and self._changes.empty() else await self._changes.get()
        if change is None:
            # The task ends by an error, or with the block.
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
        """Sweep once. Yield changed numbers as accounts are read, and all other changes at the end."""
        accounts = _RoundPages()
        moves = MoveDetector()
        async with self._sweep() as sweep:
            self.report = report = sweep.report
            async for page in sweep:
                key = page.provider, page.account
                accounts.add(key, page_records(page, report.account_names))
                result = report.accounts.get(key)
                if result is not None and (records := accounts.complete_records(key, result)) is not None:
                    for change in self._state.update(key, result, records, moves):
                        yield change
        for key, result in report.accounts.items():
            if key not in accounts.compared:
                for change in self._state.update(key, result, [], moves):
                    yield change
        self._state.drop_unlisted(report, moves)
        for change in moves.finish():
            yield change

    def _sweep(self) -> Sweep | StoredSweep:
        if self._store is None:
            return self._phones.sweep(self._named, **self._options)
        return self._store.sweep(self._phones, self._named, resume=False, **self._options)


def _reusable(named: Mapping[str, Any]) -> dict[str, Any]:
    """Copy account ids that can be read only once. Values that are no iterables are left to the sweep."""
    for name, ids in named.items():
        if hasattr(ids, "__aiter__"):
            raise InvalidArgument(f"{name}: a watch reads its accounts again and again; give it a list")
    return {
        name: tuple(cast("Iterable[Any]", ids)) if _is_collection(ids) else ids for name, ids in named.items()
    }


def _is_collection(ids: Any) -> bool:
    return isinstance(ids, Iterable) and not isinstance(ids, str | bytes)


class _RoundPages:
    """The pages of one round, by account, until each account is complete."""

    def __init__(self) -> None:
        self.compared: set[AccountKey] = set()
        self._open: dict[AccountKey, tuple[int, list[NumberRecord]]] = {}

    def add(self, key: AccountKey, records: list[NumberRecord]) -> None:
        """Add a page."""
        pages, so_far = self._open.get(key, (0, []))
        self._open[key] = pages + 1, so_far + records if so_far else records

    def complete_records(self, key: AccountKey, result: AccountReport) -> list[NumberRecord] | None:
        """Return the records of an account once all its pages have arrived, and None before."""
        pages, records = self._open[key]
        if pages < result.pages or result.outcome not in COMPLETE_OUTCOMES:
            return None
        del self._open[key]
        self.compared.add(key)
        return records


class _Baseline:
    """The last complete state of every account, and the accounts that cannot be read at present."""

    def __init__(self, listed: Iterable[str]) -> None:
        self._listed = frozenset(listed)
        self._known: dict[AccountKey, tuple[NumberRecord, ...]] = {}
        self._unknown: set[AccountKey] = set()
        self._surveyed: set[str] = set()
        """Backends whose list of accounts has been read. An account that is new on the list was added."""

    async def load(self, store: Inventory, only: list[str], named: Mapping[str, Any]) -> None:
        """Start from the store's last sweep of the same backends."""
        async with aclosing(store.last_known(only, named)) as accounts:
            async for (backend, account), records in accounts:
                if records is None:
                    self._unknown.add((backend, account))
                elif account:
                    self._known[backend, account] = tuple(records)
        backends = {backend for backend, _ in (*self._known, *self._unknown)}
        self._surveyed = {name for name in self._listed & backends if (name, "") not in self._unknown}

    def update(
        self, key: AccountKey, result: AccountReport, records: list[NumberRecord], moves: MoveDetector
    ) -> list[Change]:
        """Compare an account with its last complete state. Return its changes, except possible moves."""
        problem = missing_reason(result.outcome, str(result.error) if result.error else None, result.rejected)
        if problem is not None:
            return self._mark_unknown(key, problem)
        was_unknown = key in self._unknown
        self._unknown.discard(key)
        known = self._known.get(key)
        self._known[key] = tuple(records)
        if known is None and (was_unknown or key[0] not in self._surveyed):
            return []  # the first sight of an account is its baseline
        return moves.add(compare(known or (), records))

    def _mark_unknown(self, key: AccountKey, reason: str) -> list[Change]:
        if key in self._unknown:
            return []
        self._unknown.add(key)
        return [unknown_account(*key, reason)]

    def drop_unlisted(self, report: SweepReport, moves: MoveDetector) -> None:
        """Remove the accounts that their backends no longer list."""
        unlisted = {failure.provider for failure in report.failures if failure.account is None}
        self._surveyed |= self._listed - unlisted
        for key in [key for key in (*self._known, *self._unknown) if key not in report.accounts]:
            if key[0] in self._listed and key[0] not in unlisted:
                self._unknown.discard(key)
                moves.add(Difference([], list(self._known.pop(key, ())), []))
