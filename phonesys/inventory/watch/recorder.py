"""The part of a watch that outlives its process: how far it is, findings, and alerts."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from phonesys.inventory.diff import ChangeKind
from phonesys.inventory.watch.findings import (
    Coverage,
    SweepAudit,
    finding_events,
    new_event,
    now,
    resolved_event,
)
from phonesys.inventory.watch.messages import change_alert, finding_alert, more_changes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
    from datetime import datetime

    from phonesys.inventory.audit import Finding, Rule
    from phonesys.inventory.diff import Change
    from phonesys.inventory.inventory import Inventory
    from phonesys.inventory.store.watch_rows import Alert, OpenFinding
    from phonesys.inventory.store.watching import WatchState
    from phonesys.inventory.watch.alerts import Alerts
    from phonesys.inventory.watch.baseline import Baseline
    from phonesys.inventory.watch.events import FindingEvent, SweepEvent, WatchEvent
    from phonesys.sweep import SweepReport
    from phonesys.system import PhoneSystem

_MAX_LINES = 200
"""Changes of a sweep with a line of their own, which is more than any message shows."""
_INCOMPLETE = "incomplete-account"


class Recorder:
    """Records the sweeps of a watch in its store, after each one.

    A sweep counts once its changes and findings are in the store, together with the alerts about them. A
    watch that is killed before starts from the sweep that was recorded last.
    """

    def __init__(
        self,
        phones: PhoneSystem,
        store: Inventory,
        *,
        audit: bool | Iterable[Rule],
        ignore: Collection[str],
        alerts: Alerts | None,
        keep: int | None,
    ) -> None:
        self._store = store
        rules = None if isinstance(audit, bool) else audit
        self._audit = SweepAudit(phones, rules, ignore) if audit is not False else None
        self._alerts = alerts if alerts and alerts.names else None
        self._keep = keep
        self._state: WatchState | None = None
        self._backends: tuple[str, ...] = ()
        self._named: Mapping[str, Any] = {}
        self._changes: list[Alert] = []
        self._more_changes = 0

    async def open(self, baseline: Baseline, backends: Iterable[str], named: Mapping[str, Any]) -> None:
        """Load the baseline, and begin to keep alerts."""
        self._backends, self._named = tuple(backends), named
        self._state = self._store.watch_state(self._backends, named)
        await baseline.load(self._store, self._backends, named, await self._state.last_sweep())
        if baseline.is_empty:  # that sweep was pruned, or there was none
            await baseline.load(self._store, self._backends, named, None)
        if self._alerts is not None:
            await self._state.register(self._alerts.names)

    def add_change(self, change: Change) -> None:
        """Remember a change for the message about its sweep."""
        # An account that cannot be read is a finding already, which knows when it ends.
        is_finding = change.kind is ChangeKind.UNKNOWN and self._audit and _INCOMPLETE in self._audit.codes
        if self._alerts is None or not self._alerts.changes or is_finding:
            return
        if len(self._changes) < _MAX_LINES:
            self._changes.append(change_alert(change))
        else:
            self._more_changes += 1

    async def end_sweep(self, ended: SweepEvent, report: SweepReport) -> AsyncGenerator[WatchEvent]:
        """Record a sweep, and yield its findings, the alerts that were sent, and its end."""
        assert self._state is not None  # noqa: S101 -- `open` was called on entry
        open_count, found = await self._record(self._state, ended, report)
        for event in found:
            yield event
        if self._alerts is not None:
            async with aclosing(self._alerts.send(self._state, ended)) as sent:
                async for one in sent:
                    yield one
        pruned = 0 if self._keep is None else await self._store.prune(keep=self._keep)
        yield msgspec.structs.replace(ended, open_findings=open_count, pruned=pruned)

    async def _record(
        self, state: WatchState, ended: SweepEvent, report: SweepReport
    ) -> tuple[int | None, list[FindingEvent]]:
        """Store a sweep's findings and alerts. Return the number of open findings, and those that changed."""
        moment = now()
        new: dict[str, Finding] = {}
        gone: dict[str, OpenFinding] = {}
        count: int | None = None
        if self._audit is not None:
            known = await state.open_findings()
            coverage = Coverage(report, self._backends, self._named)
            snapshot = await self._store.snapshot(ended.sweep_id)
            new, gone = await self._audit.compare(snapshot, coverage, known)
            count = len(known) + len(new) - len(gone)
        lines = [*self._finding_lines(new, gone, moment), *self._change_lines()]
        assert ended.sweep_id is not None  # noqa: S101 -- a stored sweep has one
        await state.record(ended.sweep_id, new=new, found_at=moment, resolved=gone.keys(), lines=lines)
        return count, finding_events(new, gone, moment)

    def _finding_lines(
        self, new: dict[str, Finding], gone: dict[str, OpenFinding], moment: datetime
    ) -> list[Alert]:
        alerts = self._alerts
        if alerts is None:
            return []
        events = [(key, new_event(one, moment)) for key, one in new.items()]
        events += [(key, resolved_event(one)) for key, one in gone.items()]
        return [
            finding_alert(event, key)
            for key, event in events
            if event.finding.severity.rank <= alerts.severity.rank
        ]

    def _change_lines(self) -> list[Alert]:
        """Return the lines of the sweep's changes, and forget them."""
        lines, more = self._changes, self._more_changes
        self._changes, self._more_changes = [], 0
        return [*lines, more_changes(more)] if more else lines
