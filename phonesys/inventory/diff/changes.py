"""Comparing the records of two states, without a database or a network."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from phonesys.inventory.digits import number_key
from phonesys.record import NumberRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

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
"""The record fields that belong to each topic."""

_TOPIC_OF = {field: topic for topic, fields in TOPICS.items() for field in fields}
# The account of a number decides between added, removed and moved. The vendor's timestamps are no change.
_NOT_COMPARED = frozenset(
    {"backend", "account", "account_name", "provider", "country_derived", "created_at", "updated_at"}
)
COMPARED = tuple(name for name in NumberRecord.__struct_fields__ if name not in _NOT_COMPARED)
"""The record fields that are compared."""


class ChangeKind(StrEnum):
    """The kind of a change."""

    ADDED = "added"
    REMOVED = "removed"
    MOVED = "moved"
    """The number is in another account than before."""
    CHANGED = "changed"
    UNKNOWN = "unknown"
    """An account could not be compared, because it was not read completely on one side."""


class FieldChange(msgspec.Struct, frozen=True):
    """One field of a number, before and after, with its name on NumberRecord."""

    field: str
    old: Any
    new: Any

    @property
    def topic(self) -> str:
        """The topic of the field: `status`, `routing`, `label`, `capabilities`, … or the field's own name."""
        return _TOPIC_OF.get(self.field, self.field)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a number, or of an account for `unknown`.

    `backend` and `account` hold the number now, or held it before it was removed.
    """

    kind: ChangeKind
    backend: str
    account: str
    number: str | None = None
    """E.164, as the vendor writes it; None for `unknown`."""
    id: str | None = None
    from_backend: str | None = None
    """The earlier backend, for `moved`."""
    from_account: str | None = None
    fields: tuple[FieldChange, ...] = ()
    """The fields that differ, for `changed` and `moved`."""
    reason: str | None = None
    """The reason for `unknown`."""
    old: NumberRecord | None = None
    new: NumberRecord | None = None

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics of the changed fields, each once."""
        return tuple(dict.fromkeys(field.topic for field in self.fields))


class Comparison(list[Change]):
    """The changes between two snapshots; made by `Inventory.compare`."""

    def counts(self) -> Counter[ChangeKind]:
        """Return the number of changes of each kind."""
        return Counter(change.kind for change in self)

    def describe(self) -> str:
        """Return the counts in words."""
        counts = self.counts()
        found = [f"{counts[kind]:,} {kind.value}" for kind in ChangeKind if counts[kind]]
        return ", ".join(found) or "no changes"

    def __repr__(self) -> str:
        return f"<Comparison: {self.describe()}>"

    def _repr_html_(self) -> str:
        from phonesys import _html  # for notebooks only

        rows = [
            (one.kind.value, one.number, one.backend, one.account, one.from_account, _details(one))
            for one in self
        ]
        headings = ("change", "number", "backend", "account", "from account", "details")
        return _html.table(self.describe(), headings, rows)


def _details(change: Change) -> str:
    fields = [f"{field.field}: {field.old} → {field.new}" for field in change.fields]
    return "; ".join([*([change.reason] if change.reason else []), *fields])


class Difference(msgspec.Struct):
    """The differences within one account."""

    changed: list[Change]
    removed: list[NumberRecord]
    added: list[NumberRecord]


def compare(old: Iterable[NumberRecord], new: Iterable[NumberRecord]) -> Difference:
    """Compare two states of one account.

    Records are matched by id, then by digits. A number under another id, or in another spelling, has changed.
    """
    removed, added = list(old), list(new)
    changed: list[Change] = []
    # The first key only keeps rows with a common id apart, as of vendors whose rows are told apart by number.
    for key in (_id_and_number, _id, _number_key):
        pairs, removed, added = _match(removed, added, key)
        for before, after in pairs:
            if before != after and (fields := _changed_fields(before, after)):
                changed.append(_changed(before, after, fields))
    return Difference(changed, removed, added)


def _match(
    old: list[NumberRecord], new: list[NumberRecord], key: Callable[[NumberRecord], Hashable]
) -> tuple[list[tuple[NumberRecord, NumberRecord]], list[NumberRecord], list[NumberRecord]]:
    """Return the pairs of records with equal keys, and the other records of both sides."""
    by_key: dict[Hashable, list[NumberRecord]] = {}
    for record in old:
        by_key.setdefault(key(record), []).append(record)
    pairs: list[tuple[NumberRecord, NumberRecord]] = []
    unmatched: list[NumberRecord] = []
    for record in new:
        same = by_key.get(key(record))
        if same:
            pairs.append((same.pop(0), record))
        else:
            unmatched.append(record)
    return pairs, [record for same in by_key.values() for record in same], unmatched


def _id_and_number(record: NumberRecord) -> Hashable:
    return record.id, record.number


def _id(record: NumberRecord) -> Hashable:
    return record.id


def _number_key(record: NumberRecord) -> Hashable:
    # Numbers that have no digits yet, while they are provisioned, are not all the same number.
    return number_key(record.number) or (record.id,)


def _changed_fields(old: NumberRecord, new: NumberRecord) -> tuple[FieldChange, ...]:
    return tuple(
        FieldChange(name, before, after)
        for name in COMPARED
        if (before := getattr(old, name)) != (after := getattr(new, name))
    )


def _changed(old: NumberRecord, new: NumberRecord, fields: tuple[FieldChange, ...]) -> Change:
    return Change(
        kind=ChangeKind.CHANGED, backend=new.backend, account=new.account, number=new.number, id=new.id,
        fields=fields, old=old, new=new,
    )  # fmt: skip


def unknown_account(backend: str, account: str, reason: str | None) -> Change:
    """Return the change of an account that could not be compared."""
    return Change(kind=ChangeKind.UNKNOWN, backend=backend, account=account, reason=reason)


class MoveDetector:
    """Finds moves among numbers that were added and removed, once every account has been compared."""

    def __init__(self) -> None:
        self._removed: list[NumberRecord] = []
        self._added: list[NumberRecord] = []

    def add(self, difference: Difference) -> list[Change]:
        """Keep the numbers that may have moved, and return the other changes."""
        self._removed += difference.removed
        self._added += difference.added
        return difference.changed

    def finish(self) -> Iterator[Change]:
        """Yield moves, and the numbers that were only added or only removed."""
        pairs, removed, added = _match(self._removed, self._added, _number_key)
        for old, new in pairs:
            yield _moved(old, new)
        for record in added:
            yield _added_or_removed(ChangeKind.ADDED, record)
        for record in removed:
            yield _added_or_removed(ChangeKind.REMOVED, record)


def _added_or_removed(kind: ChangeKind, record: NumberRecord) -> Change:
    is_new = kind is ChangeKind.ADDED
    return Change(
        kind=kind, backend=record.backend, account=record.account, number=record.number, id=record.id,
        old=None if is_new else record, new=record if is_new else None,
    )  # fmt: skip


def _moved(old: NumberRecord, new: NumberRecord) -> Change:
    # Another backend or account gives another id to the same number.
    fields = tuple(field for field in _changed_fields(old, new) if field.field != "id")
    return Change(
        kind=ChangeKind.MOVED, backend=new.backend, account=new.account, number=new.number, id=new.id,
        from_backend=old.backend, from_account=old.account, fields=fields, old=old, new=new,
    )  # fmt: skip
