"""Lines of `phonesys watch`, for people and as JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from phonesys._text import escape_controls
from phonesys.cli import rows
from phonesys.cli.progress import pluralize
from phonesys.inventory import AlertEvent, Change, FindingEvent, FindingState
from phonesys.inventory.watch.messages import change_line, finding_line

if TYPE_CHECKING:
    from phonesys.inventory import AccountOutcome, SweepEvent, WatchEvent

_MAX_REASONS = 3


class ChangeLine(rows.ChangeRow, frozen=True, tag="change", tag_field="event"):
    """A change, with the columns of `diff`."""

    time: str


class FindingLine(rows.FindingRow, frozen=True, tag="finding", tag_field="event"):
    """A finding that is new or resolved, with the columns of `audit`."""

    state: FindingState
    found_at: str
    time: str


class SweepLine(msgspec.Struct, frozen=True, tag="sweep", tag_field="event"):
    """The end of a sweep, after its changes, findings and alerts."""

    sweep: int | None
    complete: bool
    numbers: int
    accounts: int
    unread_accounts: int
    unread: tuple[rows.FailureRow, ...]
    """The first of them."""
    open_findings: int | None
    pruned: int
    elapsed: float
    time: str


class AlertLine(msgspec.Struct, frozen=True, tag="alert", tag_field="event"):
    """A message that was sent, or could not be sent."""

    destination: str
    sent: bool
    items: int
    uncertain: int
    problem: str | None
    time: str


def json_line(event: WatchEvent) -> bytes:
    """Encode an event as one line of JSON."""
    return rows.json_line(_row(event, _timestamp(datetime.now(UTC))))


def _row(event: WatchEvent, time: str) -> msgspec.Struct:
    if isinstance(event, Change):
        return ChangeLine(**msgspec.structs.asdict(rows.change_row(event)), time=time)
    if isinstance(event, FindingEvent):
        columns = msgspec.structs.asdict(rows.finding_row(event.finding))
        return FindingLine(**columns, state=event.state, found_at=_timestamp(event.found_at), time=time)
    if isinstance(event, AlertEvent):
        return AlertLine(event.destination, event.sent, event.items, event.uncertain, event.problem, time)
    return SweepLine(
        event.sweep_id,
        event.complete,
        event.numbers,
        event.accounts,
        event.unread_accounts,
        tuple(map(_failure, event.unread)),
        event.open_findings,
        event.pruned,
        round(event.elapsed, 3),
        time,
    )


def _failure(one: AccountOutcome) -> rows.FailureRow:
    return rows.FailureRow(one.backend, one.account or None, one.outcome, None, one.problem or "")


def text_lines(event: WatchEvent) -> bytes:
    """Return an event as lines of text, each with the time in UTC."""
    time = _timestamp(datetime.now(UTC))
    return "".join(f"{time} {escape_controls(text)}\n" for text in _texts(event)).encode()


def _texts(event: WatchEvent) -> list[str]:
    if isinstance(event, Change):
        return [change_line(event)]
    if isinstance(event, FindingEvent):
        word = "finding" if event.state is FindingState.NEW else "resolved"
        return [f"{word}: {finding_line(event.finding)}"]
    if isinstance(event, AlertEvent):
        return _alert_texts(event)
    return _sweep_texts(event)


def _sweep_texts(event: SweepEvent) -> list[str]:
    name = "sweep" if event.sweep_id is None else f"sweep {event.sweep_id}"
    counts = f"{pluralize(event.numbers, 'number')} in {pluralize(event.accounts, 'account')}"
    still_open = "" if event.open_findings is None else f", {pluralize(event.open_findings, 'finding')} open"
    pruned = f", {pluralize(event.pruned, 'old snapshot')} deleted" if event.pruned else ""
    lines = [f"{name}: {counts} in {event.elapsed:.1f} s{still_open}{pruned}"]
    if not event.complete:
        shown = [f"{one.backend} {one.account}".strip() + f" ({one.problem})" for one in event.unread]
        more = event.unread_accounts - _MAX_REASONS
        rest = f"; and {more:,} more" if more > 0 else ""
        unread = pluralize(event.unread_accounts, "account")
        lines.append(f"incomplete: {unread} not read: {'; '.join(shown[:_MAX_REASONS])}{rest}")
    return lines


def _alert_texts(event: AlertEvent) -> list[str]:
    items = pluralize(event.items, "item")
    lines = [
        f"alert: {items} sent to {event.destination}"
        if event.sent
        else f"alert: {items} not sent to {event.destination}: {event.problem}; "
        "tried again after the next sweep"
    ]
    if event.uncertain:
        uncertain = pluralize(event.uncertain, "item")
        lines.append(
            f"alert: an earlier message to {event.destination} with {uncertain} may not have arrived, "
            "and is not sent again"
        )
    return lines


def _timestamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"
