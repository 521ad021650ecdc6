"""Repeated sweeps that yield changes and findings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterable
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, cast

from phonesys._concurrency import wait_finished
from phonesys.errors import InvalidArgument, NotOpen, UsageError
from phonesys.inventory.diff import Change, MoveDetector
from phonesys.inventory.record import account_outcomes, page_records
from phonesys.inventory.watch.baseline import Baseline, RoundPages
from phonesys.inventory.watch.events import SweepEvent, WatchEvent
from phonesys.inventory.watch.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from phonesys.inventory.audit import Rule
    from phonesys.inventory.inventory import Inventory
    from phonesys.inventory.stored_sweep import StoredSweep
    from phonesys.inventory.watch.alerts import Alerts
    from phonesys.sweep import Accounts, Sweep, SweepReport
    from phonesys.system import PhoneSystem

_MAX_WAITING = 1000  # unread events, before the sweep waits
_MAX_UNREAD = 20


class Watch:
    """Yields changes as they are found: `async with Watch(phones, interval=60) as changes`.

    Sweeps every `interval` seconds, or immediately after a sweep that took longer. The first sweep is the
    baseline, unless `store` holds an earlier one; then changes since that one are yielded too. An account
    that cannot be read yields one change of kind `unknown`. When it can be read again, it is compared with
    its last complete state. The baseline is in memory: about a hundred bytes per number.

    `events()` yields more than changes: the end of every sweep, findings, and alerts that were sent. With a
    `store`:

    - `audit=True`, or some rules, audits every sweep. A finding is new once, also after a restart. It is
      resolved once the accounts that it names were read completely and it was not found again.
    - `ignore`: the codes of rules to leave out.
    - `alerts` sends a message per sweep.
    - `keep` deletes all but the newest snapshots after every sweep.
    """

    def __init__(
        self,
        phones: PhoneSystem,
        accounts: Mapping[str, Accounts] | None = None,
        *,
        interval: float | timedelta,
        store: Inventory | None = None,
        only: Iterable[str] | None = None,
        concurrency: int = 64,
        audit: bool | Iterable[Rule] = False,
        ignore: Collection[str] = (),
        alerts: Alerts | None = None,
        keep: int | None = None,
        **accounts_by_provider: Accounts,
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
        self._state = Baseline([name for name in names if name not in self._named])
        self._recorder = _recorder(phones, store, audit, ignore, alerts, keep)
        self._events = asyncio.Queue[WatchEvent | None](_MAX_WAITING)
        self._task: asyncio.Task[None] | None = None
        self.report: SweepReport | None = None
        """The report of the current or the last sweep."""
        self.rounds = 0
        """The number of sweeps that have ended."""

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise UsageError("a watch can be used only once; create another one")
        self._sweep()  # starts nothing, but checks the arguments
        if self._recorder is not None:
            await self._recorder.open(self._state, self._options["only"], self._named)
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
        while not isinstance(event := await self._next_event(), Change):
            if event is None:
                raise StopAsyncIteration
        return event

    async def events(self) -> AsyncGenerator[WatchEvent]:
        """Yield changes, findings, alerts, and the end of every sweep, in this place of iterating the watch.

        Within a sweep, changes come as they are found. Then come findings, alerts, and the end.
        """
        while (event := await self._next_event()) is not None:
            yield event

    async def _next_event(self) -> WatchEvent | None:
        """Return the next event, or None after the end of the watch."""
        if self._task is None:
            raise NotOpen("a watch is read inside its block: `async with phones.watch(…) as changes`")
        event = None if self._task.done() and self._events.empty() else await self._events.get()
        if event is None:
            # The task ends by an error, or with the block.
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()
        return event

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                due = loop.time() + self._interval
                async with aclosing(self._round()) as events:
                    async for event in events:
                        await self._events.put(event)
                self.rounds += 1
                await asyncio.sleep(due - loop.time())
        except Exception:
            await self._events.put(None)
            raise

    async def _round(self) -> AsyncGenerator[WatchEvent]:
        """Sweep once. Yield its changes, and then its other events."""
        sweep = self._sweep()
        self.report = report = sweep.report
        async with aclosing(self._changes(sweep)) as changes:
            async for change in changes:
                if self._recorder is not None:
                    self._recorder.add_change(change)
                yield change
        ended = await _sweep_event(report, getattr(sweep, "id", None))
        if self._recorder is None:
            yield ended
            return
        async with aclosing(self._recorder.end_sweep(ended, report)) as events:
            async for event in events:
                yield event

    async def _changes(self, sweep: Sweep | StoredSweep) -> AsyncGenerator[Change]:
        """Yield changed numbers as accounts are read, and all other changes at the end."""
        accounts = RoundPages()
        moves = MoveDetector()
        report = sweep.report
        async with sweep:
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


def _recorder(
    phones: PhoneSystem,
    store: Inventory | None,
    audit: bool | Iterable[Rule],
    ignore: Collection[str],
    alerts: Alerts | None,
    keep: int | None,
) -> Recorder | None:
    if store is not None:
        return Recorder(phones, store, audit=audit, ignore=ignore, alerts=alerts, keep=keep)
    for name, value in {"audit": audit, "alerts": alerts, "keep": keep}.items():
        if value:
            raise InvalidArgument(f"{name}: expected a store, which keeps what was found before")
    return None


async def _sweep_event(report: SweepReport, sweep_id: int | None) -> SweepEvent:
    unread = [one async for one in account_outcomes(report) if not one.is_complete]
    return SweepEvent(
        sweep_id=sweep_id,
        numbers=report.numbers,
        accounts=report.outcomes.total(),
        complete=report.complete,
        elapsed=report.elapsed,
        unread_accounts=len(unread),
        unread=tuple(unread[:_MAX_UNREAD]),
    )


def _reusable(named: Mapping[str, Any]) -> dict[str, Any]:
    """Copy account ids that can be read only once. Values that are no iterables are left to the sweep."""
    for name, ids in named.items():
        if hasattr(ids, "__anext__"):
            raise InvalidArgument(f"{name}: a watch reads its accounts again and again; give it a list")
    return {
        name: tuple(cast("Iterable[Any]", ids)) if _is_collection(ids) else ids for name, ids in named.items()
    }


def _is_collection(ids: Any) -> bool:
    return isinstance(ids, Iterable) and not isinstance(ids, str | bytes)
