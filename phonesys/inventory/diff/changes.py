"""What changed between two states of the inventory, as values; no database and no network in here."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from phonesys.inventory.record import NumberRecord
from phonesys.sweep import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WHOLE = frozenset({Outcome.DONE, Outcome.EMPTY, Outcome.NOT_CONNECTED})
"""Of accounts with these outcomes it is known what they hold."""

TOPICS: dict[str, tuple[str, ...]] = {
    "status": ("status", "vendor_status", "inventory_state", "is_enabled"),
    "routing": (
        "inbound", "is_routed", "routing_summary", "forwarding_number", "ring_users", "pool", "pool_name",
        "pool_active", "pool_route", "is_default",
    ),
    "label": ("label",),
    "capabilities": ("voice", "sms", "mms", "fax", "sms_ready", "voice_ready"),
    "assignee": ("assignee",),
    "registration": ("ten_dlc_registered", "ten_dlc_status", "ten_dlc_failure"),
    "warmup": ("warmup_state", "warmup_health", "warmup_reason"),
    "billing": ("billed", "monthly_amount"),
}  # fmt: skip
"""What people ask for, and the record's fields that say it."""

_TOPIC_OF = {field: topic for topic, fields in TOPICS.items() for field in fields}
# Where a number is makes it come, go or move; when the vendor touched a row says nothing of the number.
_NOT_COMPARED = frozenset({"backend", "account", "number", "provider", "created_at", "updated_at"})
_COMPARED = tuple(name for name in NumberRecord.__struct_fields__ if name not in _NOT_COMPARED)


class ChangeKind(StrEnum):
    """What happened."""

    ADDED = "added"
    REMOVED = "removed"
    MOVED = "moved"
    """It went from one account and came in another."""
    CHANGED = "changed"
    UNKNOWN = "unknown"
    """An account could not be compared: it was not read whole on one side. Nothing is said of its numbers."""


class FieldChange(msgspec.Struct, frozen=True):
    """One field of a number, before and after; named as on NumberRecord."""

    field: str
    old: Any
    new: Any

    @property
    def topic(self) -> str:
        """What it is about: `status`, `routing`, `label`, `capabilities`, … or the field's own name."""
        return _TOPIC_OF.get(self.field, self.field)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a number; for `unknown`, to an account.

    `backend` and `account` are where the number is now, or was when it went.
    """

    kind: ChangeKind
    backend: str
    account: str
    number: str | None = None
    """E.164, as the vendor writes it; None for `unknown`."""
    id: str | None = None
    from_backend: str | None = None
    """Where it was, for `moved`."""
    from_account: str | None = None
    fields: tuple[FieldChange, ...] = ()
    """What is not as it was, for `changed`, and for `moved` beside the account."""
    reason: str | None = None
    """Why it is unknown."""
    old: NumberRecord | None = None
    new: NumberRecord | None = None

    @property
    def topics(self) -> tuple[str, ...]:
        """What the changed fields are about, each once."""
        return tuple(dict.fromkeys(field.topic for field in self.fields))


class Difference(msgspec.Struct):
    """What differs within one account."""

    changed: list[Change]
    removed: list[NumberRecord]
    added: list[NumberRecord]


def compare(old: Iterable[NumberRecord], new: Iterable[NumberRecord]) -> Difference:
    """Compare what an account held with what it holds.

    A number is the same if its id is; one of which only the number is the same was made anew, which is a
    change of its `id`.
    """
    before = {record.id: record for record in old}
    changed: list[Change] = []
    came: list[NumberRecord] = []
    for record in new:
        was = before.pop(record.id, None)
        if was is None or was.number != record.number:
            came.append(record)
            if was is not None:
                before[record.id] = was
        elif was != record and (fields := _fields(was, record)):
            changed.append(_changed(was, record, fields))
    return _made_anew(changed, list(before.values()), came)


def _made_anew(changed: list[Change], went: list[NumberRecord], came: list[NumberRecord]) -> Difference:
    gone = {record.number: record for record in went}
    still: list[NumberRecord] = []
    for record in came:
        was = gone.pop(record.number, None)
        if was is None:
            still.append(record)
        else:
            went.remove(was)
            if fields := _fields(was, record):
                changed.append(_changed(was, record, fields))
    return Difference(changed, went, still)


def _fields(old: NumberRecord, new: NumberRecord) -> tuple[FieldChange, ...]:
    return tuple(
        FieldChange(name, before, after)
        for name in _COMPARED
        if (before := getattr(old, name)) != (after := getattr(new, name))
    )


def _changed(old: NumberRecord, new: NumberRecord, fields: tuple[FieldChange, ...]) -> Change:
    return Change(
        kind=ChangeKind.CHANGED, backend=new.backend, account=new.account, number=new.number, id=new.id,
        fields=fields, old=old, new=new,
    )  # fmt: skip


def unknown(backend: str, account: str, reason: str | None) -> Change:
    """Say that nothing is known of an account."""
    return Change(kind=ChangeKind.UNKNOWN, backend=backend, account=account, reason=reason)


class Moves:
    """Numbers that went or came; only at the end it is known which of them moved."""

    def __init__(self) -> None:
        self._went: list[NumberRecord] = []
        self._came: list[NumberRecord] = []

    def add(self, difference: Difference) -> list[Change]:
        """Keep what may have moved, and return what is settled."""
        self._went += difference.removed
        self._came += difference.added
        return difference.changed

    def settle(self) -> Iterator[Change]:
        """Yield moves, and what only went or only came."""
        gone: dict[str, list[NumberRecord]] = {}
        for record in self._went:
            gone.setdefault(record.number, []).append(record)
        for record in self._came:
            was = gone.get(record.number)
            yield _moved(was.pop(0), record) if was else _one(ChangeKind.ADDED, record)
        for records in gone.values():
            for record in records:
                yield _one(ChangeKind.REMOVED, record)


def _one(kind: ChangeKind, record: NumberRecord) -> Change:
    is_new = kind is ChangeKind.ADDED
    return Change(
        kind=kind, backend=record.backend, account=record.account, number=record.number, id=record.id,
        old=None if is_new else record, new=record if is_new else None,
    )  # fmt: skip


def _moved(old: NumberRecord, new: NumberRecord) -> Change:
    # Another backend or account gives another id to the same number.
    fields = tuple(field for field in _fields(old, new) if field.field != "id")
    return Change(
        kind=ChangeKind.MOVED, backend=new.backend, account=new.account, number=new.number, id=new.id,
        from_backend=old.backend, from_account=old.account, fields=fields, old=old, new=new,
    )  # fmt: skip
