"""The tools: each takes arguments and returns a result, over the store or live."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from phonesys._matching import NumberQuery
from phonesys.errors import InvalidArgument, UsageError
from phonesys.inventory import Inventory, sweep_records
from phonesys.inventory.audit import AuditContext, Severity, findings
from phonesys.inventory.digits import number_key
from phonesys.inventory.snapshot import NAMED
from phonesys.mcp import results
from phonesys.mcp.paging import Rows, decode_cursor, encode_cursor
from phonesys.mcp.rows import account_row, change_row, finding_row, number_row, route_row, snapshot_row
from phonesys.sweep import Outcome, Source, Sweep

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from phonesys.inventory import AccountOutcome, Snapshot
    from phonesys.inventory.audit import Finding
    from phonesys.record import NumberRecord
    from phonesys.sweep import SweepReport
    from phonesys.system import PhoneSystem

_MAX_HOLDERS = 200
_MAX_GROUPS = 50
_MAX_FORWARDS = 5
_MAX_REASONS = 3

_Place: TypeAlias = tuple[str, str, int]
"""A backend, an account, and the position of a record in it."""


class Toolbox:
    """Reads snapshots of a store, and asks the vendors of a phone system.

    `phones` is open, or None to never ask a vendor. A live answer ends after `live_timeout` seconds, and then
    says that it is incomplete. The store is opened for reading only, once for every call, so that it may be
    replaced or come into being meanwhile.
    """

    def __init__(
        self, store: str | None, phones: PhoneSystem | None = None, *, live_timeout: float = 60.0
    ) -> None:
        self._store = store
        self.phones = phones
        self._live_timeout = live_timeout
        self._audited: tuple[tuple[int, datetime], list[Finding]] | None = None

    # Numbers

    async def find_number(self, arguments: results.FindNumber) -> results.Numbers:
        """Find every account that holds a number."""
        fields = _fields(arguments.fields)
        found, source, _ = await self._holders(arguments.number, live=arguments.live)
        rows = [number_row(record, fields) for record in found[:_MAX_HOLDERS]]
        return results.Numbers(source=source, numbers=rows)

    async def get_route(self, arguments: results.GetRoute) -> results.Routes:
        """Show where calls to a number go."""
        found, source, snapshot_id = await self._holders(arguments.number, live=arguments.live)
        rows: list[results.Route] = []
        for place, record in enumerate(found[:_MAX_HOLDERS]):
            held: list[NumberRecord] = []
            if record.forwarding_number and snapshot_id is not None and place < _MAX_FORWARDS:
                held, _, _ = await self._holders(record.forwarding_number, live=False)
            rows.append(route_row(record, held))
        return results.Routes(source=source, routes=rows)

    async def _holders(
        self, number: str, *, live: bool
    ) -> tuple[list[NumberRecord], results.Source, int | None]:
        query = NumberQuery.parse(number)
        if live:
            async with self._live_sweep(match=number) as (sweep, started_at):
                found = [record async for record in sweep_records(sweep)]
            return found, _live_source(sweep.report, started_at), None
        async with self._snapshot(None) as (_, snapshot):
            async with aclosing(snapshot.records()) as records:
                found = [record async for record in records if query.matches(record.number)]
            return found, _source(snapshot), snapshot.id

    async def list_numbers(self, arguments: results.ListNumbers) -> results.Numbers:
        """List numbers that match."""
        fields = _fields(arguments.fields)
        if arguments.live:
            return await self._list_live(arguments, fields)
        position = decode_cursor(arguments, int, str, str, int)
        snapshot_id, place = (position[0], position[1:]) if position else (arguments.snapshot, None)
        async with self._snapshot(snapshot_id) as (_, snapshot):
            start = None if place is None else (place[0], place[1])
            records = snapshot.records(backend=arguments.backend, account=arguments.account, start=start)
            rows, following = await _page(records, arguments, fields, place)
            cursor = None if following is None else encode_cursor(arguments, snapshot.id, *following)
            return results.Numbers(source=_source(snapshot), numbers=rows, next_cursor=cursor)

    async def _list_live(self, arguments: results.ListNumbers, fields: Sequence[str]) -> results.Numbers:
        backend, account = arguments.backend, arguments.account
        if backend is None or account is None:
            raise InvalidArgument("live: expected backend and account too; the store lists everything")
        place = decode_cursor(arguments, str, str, int)
        async with self._live_sweep(backend, account) as (sweep, started_at):
            rows, following = await _page(sweep_records(sweep), arguments, fields, place, to_end=True)
        cursor = None if following is None else encode_cursor(arguments, *following)
        source = _live_source(sweep.report, started_at)
        return results.Numbers(source=source, numbers=rows, next_cursor=cursor)

    async def count_numbers(self, arguments: results.CountNumbers) -> results.Counts:
        """Count numbers by a field."""
        counts: Counter[str | None] = Counter()
        async with self._snapshot(arguments.snapshot) as (_, snapshot):
            records = snapshot.records(backend=arguments.backend, account=arguments.account)
            async with aclosing(records):
                async for record in records:
                    value = getattr(record, arguments.by)
                    counts[None if value is None else str(value)] += 1
            groups = [results.Group(value, count) for value, count in counts.most_common(_MAX_GROUPS)]
            return results.Counts(
                source=_source(snapshot),
                total=counts.total(),
                groups=groups,
                other_groups=len(counts) - len(groups),
            )

    # Accounts, findings, changes, snapshots

    async def list_accounts(self, arguments: results.ListAccounts) -> results.Accounts:
        """List accounts that match."""
        position = decode_cursor(arguments, int, str, str)
        page: Rows[results.AccountRow] = Rows(arguments.limit)
        async with self._snapshot(position[0] if position else arguments.snapshot) as (_, snapshot):
            cursor: str | None = None
            async with aclosing(snapshot.accounts()) as accounts:
                async for one in accounts:
                    if position and (one.backend, one.account) <= position[1:]:
                        continue
                    if not _is_wanted(one, arguments):
                        continue
                    if page.is_full:
                        last = page.rows[-1]
                        cursor = encode_cursor(arguments, snapshot.id, last.backend, last.account)
                        break
                    page.add(account_row(one))
            return results.Accounts(source=_source(snapshot), accounts=page.rows, next_cursor=cursor)

    async def list_findings(self, arguments: results.ListFindings) -> results.Findings:
        """List findings that match, the worst first."""
        position = decode_cursor(arguments, int, int)
        async with self._snapshot(position[0] if position else arguments.snapshot) as (_, snapshot):
            found = [one for one in await self._audit(snapshot) if _matches(one, arguments)]
            skip = position[1] if position else 0
            page: Rows[results.FindingRow] = Rows(arguments.limit)
            for one in found[skip:]:
                if page.is_full:
                    break
                page.add(finding_row(one))
            end = skip + len(page.rows)
            by_severity = Counter(one.severity.value for one in found)
            return results.Findings(
                source=_source(snapshot),
                total=len(found),
                by_severity=dict(by_severity),
                findings=page.rows,
                next_cursor=encode_cursor(arguments, snapshot.id, end) if end < len(found) else None,
            )

    async def _audit(self, snapshot: Snapshot) -> list[Finding]:
        """Return the findings of a snapshot, which is audited once."""
        key = snapshot.id, snapshot.started_at
        if self._audited is None or self._audited[0] != key:
            found = await findings(snapshot.records(), context=AuditContext(), accounts=snapshot.accounts())
            self._audited = key, found
        return self._audited[1]

    async def list_changes(self, arguments: results.ListChanges) -> results.Changes:
        """List changes between two snapshots."""
        position = decode_cursor(arguments, int, int, int)
        older, newer, skip = position or (arguments.older, arguments.newer, 0)
        async with self._snapshot(newer) as (inventory, new):
            old = await (inventory.previous(new) if older is None else inventory.snapshot(older))
            page: Rows[results.ChangeRow] = Rows(arguments.limit)
            cursor: str | None = None
            seen = 0
            async with aclosing(inventory.diff(old, new)) as changes:
                async for change in changes:
                    row = change_row(change)
                    if not _is_shown(row, arguments):
                        continue
                    seen += 1
                    if seen <= skip:
                        continue
                    if page.is_full:
                        cursor = encode_cursor(arguments, old.id, new.id, seen - 1)
                        break
                    page.add(row)
            return results.Changes(
                source=_source(new),
                older_snapshot=old.id,
                older_taken_at=old.started_at,
                changes=page.rows,
                next_cursor=cursor,
            )

    async def list_snapshots(self, arguments: results.ListSnapshots) -> results.Snapshots:
        """List snapshots, the newest first."""
        position = decode_cursor(arguments, int)
        async with self._inventory() as inventory:
            every = [one for one in await inventory.snapshots() if not position or one.id < position[0]]
        page: Rows[results.SnapshotRow] = Rows(arguments.limit)
        for one in every:
            if page.is_full:
                break
            page.add(snapshot_row(one))
        more = len(page.rows) < len(every)
        cursor = encode_cursor(arguments, page.rows[-1].id) if more else None
        return results.Snapshots(snapshots=page.rows, next_cursor=cursor)

    # Sources

    @asynccontextmanager
    async def _inventory(self) -> AsyncGenerator[Inventory]:
        if self._store is None:
            raise UsageError("there is no store; start the server with --store, or pass live")
        async with Inventory(self._store, read_only=True) as inventory:
            yield inventory

    @asynccontextmanager
    async def _snapshot(self, snapshot_id: int | None) -> AsyncGenerator[tuple[Inventory, Snapshot]]:
        async with self._inventory() as inventory:
            yield inventory, await inventory.snapshot(snapshot_id)

    @asynccontextmanager
    async def _live_sweep(
        self, backend: str | None = None, account: str | None = None, *, match: str | None = None
    ) -> AsyncGenerator[tuple[Sweep, datetime]]:
        phones = self.phones
        if phones is None:
            raise UsageError("no vendor can be asked: no backend is configured, or --no-live was given")
        sources = [
            Source(
                name, phones[name], phones.configured_accounts.get(name) if account is None else (account,)
            )
            for name in phones.select(backend)
        ]
        started_at = datetime.now(UTC)
        async with Sweep(sources, match=match, deadline=self._live_timeout) as sweep:
            yield sweep, started_at


async def _page(
    records: AsyncGenerator[NumberRecord],
    arguments: results.ListNumbers,
    fields: Sequence[str],
    start: _Place | None,
    *,
    to_end: bool = False,
) -> tuple[list[Any], _Place | None]:
    """Return the rows of a page, and the place at which the next one starts, or None at the end.

    `to_end` reads on after the page is full, so that the report of a sweep is whole.
    """
    page: Rows[Any] = Rows(arguments.limit)
    accepts = _number_filter(arguments)
    here, index = ("", ""), 0
    following: _Place | None = None
    async with aclosing(records):
        async for record in records:
            key = record.backend, record.account
            index = index + 1 if key == here else 0
            here = key
            if following is not None or (start is not None and (*key, index) < start) or not accepts(record):
                continue
            if not page.is_full:
                page.add(number_row(record, fields))
                continue
            following = (*key, index)
            if not to_end:
                break
    return page.rows, following


def _number_filter(arguments: results.ListNumbers) -> Callable[[NumberRecord], bool]:
    statuses = frozenset(arguments.status or ())
    countries = frozenset(code.upper() for code in arguments.country or ())
    routed, text = arguments.routed, (arguments.text or "").casefold()
    digits = number_key(text) if text else ""

    def accepts(record: NumberRecord) -> bool:
        if statuses and record.status not in statuses:
            return False
        if countries and (record.country or "").upper() not in countries:
            return False
        if routed is not None and record.is_routed is not routed:
            return False
        names = (record.label, record.account_name)
        return not text or any(text in (name or "").casefold() for name in names) or digits in record.number

    return accepts


def _is_wanted(one: AccountOutcome, arguments: results.ListAccounts) -> bool:
    text = (arguments.text or "").casefold()
    return (
        (arguments.backend is None or one.backend == arguments.backend)
        and not (arguments.unread_only and one.is_complete)
        and (text in one.account.casefold() or text in (one.name or "").casefold())
    )


def _matches(finding: Finding, arguments: results.ListFindings) -> bool:
    worst = Severity(arguments.severity or Severity.NOTICE)
    return (
        finding.severity.rank <= worst.rank
        and (arguments.code is None or finding.code == arguments.code)
        and any(_is_of(*account, arguments) for account in finding.accounts)
    )


def _is_of(backend: str, account: str, arguments: results.ListFindings | results.ListChanges) -> bool:
    return arguments.backend in {None, backend} and arguments.account in {None, account}


def _is_shown(row: results.ChangeRow, arguments: results.ListChanges) -> bool:
    if arguments.kind and row.kind not in arguments.kind:
        return False
    is_from = row.from_account is not None and _is_of(row.from_backend or "", row.from_account, arguments)
    return is_from or _is_of(row.backend, row.account, arguments)


def _fields(names: list[str] | None) -> tuple[str, ...]:
    """Return the fields to show, and always those that say which number it is."""
    if names is None:
        return results.DEFAULT_FIELDS
    for name in names:
        if name not in results.FIELDS:
            raise InvalidArgument(f"fields: no field {name!r:.60}; there are: {', '.join(results.FIELDS)}")
    return tuple(dict.fromkeys(("number", "backend", "account", *names)))


def _source(snapshot: Snapshot) -> results.Source:
    age = (datetime.now(UTC) - snapshot.started_at).total_seconds()
    named = [name for name, how in snapshot.coverage.items() if how == NAMED]
    notes = [] if snapshot.complete else ["some accounts were not read completely: see list_accounts"]
    notes += [f"only the configured accounts of {', '.join(named)} are included"] if named else []
    return results.Source(
        kind="snapshot",
        snapshot=snapshot.id,
        taken_at=snapshot.started_at,
        age_seconds=max(0, round(age)),
        complete=snapshot.complete,
        unread_accounts=snapshot.incomplete_accounts,
        note="; ".join(notes) or None,
    )


def _live_source(report: SweepReport, started_at: datetime) -> results.Source:
    unread = len(report.failures) + report.outcomes[Outcome.NOT_REACHED]
    reasons = [str(failure.error) for failure in report.failures[:_MAX_REASONS]]
    if report.timed_out:
        reasons.append("the time for a live answer was over")
    return results.Source(
        kind="live",
        snapshot=None,
        taken_at=started_at,
        age_seconds=max(0, round((datetime.now(UTC) - started_at).total_seconds())),
        complete=report.complete,
        unread_accounts=unread,
        note="; ".join(reasons) or None,
    )
