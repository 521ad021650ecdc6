"""Lines and messages of alerts: short, grouped, and harmless wherever they are shown."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from phonesys._text import escape_controls, shorten
from phonesys.inventory.diff import ChangeKind
from phonesys.inventory.store.watch_rows import Alert
from phonesys.inventory.watch.events import FindingState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phonesys.inventory.audit import Finding
    from phonesys.inventory.diff import Change
    from phonesys.inventory.record import AccountKey
    from phonesys.inventory.watch.events import FindingEvent, SweepEvent

_MAX_LINE = 200
_MAX_VALUE = 40
_MAX_FIELDS = 4
_MAX_ACCOUNTS = 2
_CHANGE = 5
"""The sort key of changes: after findings of any severity."""
_RESOLVED = 7

# A label with "@everyone" must not wake a whole channel, and one with "<!here>" neither.
_MENTIONS = str.maketrans(
    {"@": "\N{FULLWIDTH COMMERCIAL AT}", "<": "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}"}
)


class Message(NamedTuple):
    """A title and a body, as text."""

    title: str
    body: str
    items: int


def finding_alert(event: FindingEvent, key: str) -> Alert:
    """Return the line of a finding."""
    finding = event.finding
    if event.state is FindingState.RESOLVED:
        return Alert("resolved", _line(f"resolved {finding_line(finding)}"), _RESOLVED, key)
    return Alert("finding", _line(finding_line(finding)), finding.severity.rank, key)


def finding_line(finding: Finding) -> str:
    """Return a finding in one line, without its advice."""
    number = f" {finding.number}" if finding.number else ""
    problem = f"{finding.severity.value} {finding.code}:{number}"
    return f"{problem} in {_accounts(finding.accounts)}: {finding.evidence}"


def _accounts(accounts: Sequence[AccountKey]) -> str:
    shown = ", ".join(f"{backend} {account}".strip() for backend, account in accounts[:_MAX_ACCOUNTS])
    more = len(accounts) - _MAX_ACCOUNTS
    return f"{shown} and {more:,} more" if more > 0 else shown


def change_alert(change: Change) -> Alert:
    """Return the line of a change."""
    return Alert("change", _line(change_line(change)), _CHANGE)


def more_changes(count: int) -> Alert:
    """Return the line that stands for changes without lines of their own."""
    return Alert("change", "of the same sweep, not listed one by one", _CHANGE, items=count)


def change_line(change: Change) -> str:
    """Return a change in one line."""
    place = f"{change.backend} {change.account}".strip()
    if change.kind is ChangeKind.UNKNOWN:
        return f"unknown: {place}: {change.reason}"
    if change.kind is ChangeKind.MOVED:
        place = f"{change.from_backend} {change.from_account} to {place}"
    line = (
        f"{change.kind.value} {change.number} {'from' if change.kind is ChangeKind.MOVED else 'in'} {place}"
    )
    shown = [f"{one.field}: {_value(one.old)} → {_value(one.new)}" for one in change.fields[:_MAX_FIELDS]]
    more = [f"{len(change.fields) - _MAX_FIELDS} more fields"] if len(change.fields) > _MAX_FIELDS else []
    return f"{line}: {'; '.join([*shown, *more])}" if shown else line


def _value(value: Any) -> str:
    if value is None:
        return "none"
    return ("yes" if value else "no") if isinstance(value, bool) else shorten(str(value), _MAX_VALUE)


def _line(text: str) -> str:
    return shorten(escape_controls(text).translate(_MENTIONS), _MAX_LINE)


def fold(alerts: Sequence[Alert], *, with_resolved: bool) -> list[Alert]:
    """Return alerts without findings that were resolved before anyone heard of them."""
    found: dict[str, Alert] = {}
    folded: set[int | None] = set()
    for alert in alerts:
        if alert.kind == "finding" and alert.key is not None:
            found[alert.key] = alert
        elif alert.kind == "resolved" and (first := found.pop(alert.key or "", None)) is not None:
            folded |= {first.id, alert.id}
    return [one for one in alerts if one.id not in folded and (with_resolved or one.kind != "resolved")]


def message_of(
    alerts: Sequence[Alert],
    sweep: SweepEvent | None,
    uncertain: int,
    *,
    max_items: int,
    max_length: int,
) -> Message:
    """Group alerts in one message, the worst first, with at most `max_items` lines of them."""
    items = sum(alert.items for alert in alerts)
    notes = _notes(sweep, uncertain)
    room = max_length - sum(len(note) + 1 for note in notes) - len(_more(items)) - 1
    lines: list[str] = []
    listed = 0
    for alert in sorted(alerts, key=lambda one: one.severity):
        if alert.items > 1 or len(lines) >= max_items or len(alert.text) >= room:
            continue
        lines.append(alert.text)
        room -= len(alert.text) + 1
        listed += 1
    rest = [_more(items - listed)] if items > listed else []
    return Message(f"phonesys: {_title(alerts)}", "\n".join([*lines, *rest, *notes]), items)


def _more(count: int) -> str:
    return f"and {count:,} more"


def _title(alerts: Sequence[Alert]) -> str:
    counts: Counter[str] = Counter()
    for alert in alerts:
        counts[alert.kind] += alert.items
    words = {
        "finding": "new finding",
        "change": "change",
        "resolved": "resolved finding",
        "old": "older item",
    }
    return ", ".join(
        f"{counts[kind]:,} {word}{'' if counts[kind] == 1 else 's'}"
        for kind, word in words.items()
        if counts[kind]
    )


def _notes(sweep: SweepEvent | None, uncertain: int) -> list[str]:
    notes: list[str] = []
    if sweep is not None and not sweep.complete:
        unread = f"{sweep.unread_accounts:,} of {sweep.accounts:,} accounts were not read completely"
        notes.append(f"The sweep was incomplete: {unread}. Their numbers do not count as removed.")
    if uncertain:
        what = f"{uncertain:,} item{'' if uncertain == 1 else 's'}"
        notes.append(
            f"An earlier message with {what} may not have arrived, because the program was killed. "
            "`phonesys audit` lists what is open."
        )
    return notes
