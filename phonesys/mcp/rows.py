"""Rows of results, made of records, findings and changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phonesys.mcp import results

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from phonesys.inventory import AccountOutcome, Change, Snapshot
    from phonesys.inventory.audit import Finding
    from phonesys.record import NumberRecord

_MAX_ACCOUNTS = 10


def number_row(record: NumberRecord, fields: Iterable[str]) -> Any:
    """Return a number with these fields."""
    return results.NumberRow(**{name: getattr(record, name) for name in fields})


def route_row(record: NumberRecord, held: Sequence[NumberRecord]) -> results.Route:
    """Return the route of a number; `held` are the holders of the number that it forwards to."""
    return results.Route(
        number=record.number,
        backend=record.backend,
        account=record.account,
        account_name=record.account_name,
        status=record.status,
        is_routed=record.is_routed,
        inbound=record.inbound,
        summary=record.routing_summary,
        forwarding_number=record.forwarding_number,
        forwarding_number_held_by=[results.Holder(one.number, one.backend, one.account) for one in held],
        ring_users=(record.ring_users or "").split(),
        assignee=record.assignee,
        pool=record.pool,
        pool_name=record.pool_name,
        pool_route=record.pool_route,
    )


def account_row(one: AccountOutcome) -> results.AccountRow:
    """Return an account."""
    return results.AccountRow(
        backend=one.backend, account=one.account, name=one.name, outcome=one.outcome, problem=one.problem
    )


def finding_row(finding: Finding) -> results.FindingRow:
    """Return a finding."""
    return results.FindingRow(
        severity=finding.severity,
        code=finding.code,
        number=finding.number,
        accounts=[f"{backend}:{account}" for backend, account in finding.accounts[:_MAX_ACCOUNTS]],
        account_count=len(finding.accounts),
        evidence=finding.evidence,
        advice=finding.advice,
    )


def change_row(change: Change) -> results.ChangeRow:
    """Return a change."""
    return results.ChangeRow(
        kind=change.kind,
        number=change.number,
        backend=change.backend,
        account=change.account,
        from_backend=change.from_backend,
        from_account=change.from_account,
        fields=[results.FieldRow(one.field, one.old, one.new) for one in change.fields],
        reason=change.reason,
    )


def snapshot_row(snapshot: Snapshot) -> results.SnapshotRow:
    """Return a snapshot."""
    return results.SnapshotRow(
        id=snapshot.id,
        started_at=snapshot.started_at,
        finished_at=snapshot.finished_at,
        numbers=snapshot.numbers,
        complete=snapshot.complete,
        unread_accounts=snapshot.incomplete_accounts,
        backends=list(snapshot.coverage),
    )
