"""Values of fields: read from numbers and records, parsed from text, compared, and sent."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from phonesys.backends.reconcile import same_number, same_text
from phonesys.changes.reading.cells import Cell
from phonesys.errors import InvalidArgument
from phonesys.record import NumberRecord, to_record
from phonesys.writes import Action, Write

if TYPE_CHECKING:
    from datetime import datetime

    from phonesys.change_rules import ChangeRules, FieldRule, NewNumberRule
    from phonesys.changes.change import PlannedChange
    from phonesys.model import PhoneNumber
    from phonesys.writes import Value

T = TypeVar("T")

COLUMNS = frozenset(NumberRecord.__struct_fields__)
IDENTITY = frozenset({"backend", "account", "id", "number"})
"""Columns that identify a number."""
OBSERVED = frozenset({"provider", "account_name", "country_derived", "created_at", "updated_at"})
"""Columns that change by themselves, or say where the others come from. They are never compared."""

_FLAGS = {
    "true": True, "yes": True, "1": True, "wahr": True, "vrai": True,
    "false": False, "no": False, "0": False, "falsch": False, "faux": False,
}  # fmt: skip
_MISSING = object()


def values_of(number: PhoneNumber, backend: str, rules: ChangeRules) -> dict[str, Value]:
    """Return the fields of a vendor's number that can be set, as far as the vendor states them."""
    return record_values(to_record(number, backend), rules, number)


def record_values(
    record: NumberRecord, rules: ChangeRules, number: PhoneNumber | None = None
) -> dict[str, Value]:
    """Return the same of a record, with fields that are no columns only if the number is given."""
    values: dict[str, Value] = {}
    for name in rules.update:
        rule = rules.fields[name]
        value: Any
        if rule.attribute is not None:
            value = getattr(number, rule.attribute, _MISSING)
        else:
            value = getattr(record, name)
        if value is _MISSING or value == "unknown" or (value is None and not rule.nullable):
            continue
        values[name] = value.value if isinstance(value, Enum) else encodable(value)
    return values


def encodable(value: T) -> T:
    """Return a text with `?` for half a surrogate pair, as in a label that was cut too early."""
    if not isinstance(value, str) or value.isascii():
        return value
    return cast("T", value.encode(errors="replace").decode())


def same_value(one: Value, other: Value) -> bool:
    """Compare values of a field as vendors keep them."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return same_text(one, other)


def same_cell(text: Value, value: Any) -> bool:
    """Compare the text of a cell with the value of a record, as a spreadsheet may have rewritten it."""
    if isinstance(text, Cell):
        return text.is_held(value)
    if isinstance(value, bool):
        return _FLAGS.get(str(text).strip().casefold()) is value
    if value is None or text is None:
        return value is None and not str(text or "").strip()
    written = str(value.value if isinstance(value, Enum) else value)
    return same_text(text, written) or _same_digits(str(text), written) or _same_amount(str(text), written)


def _same_digits(one: str, other: str) -> bool:
    """Compare phone numbers, whose `+` a spreadsheet drops."""
    return other.startswith("+") and other[1:].isdigit() and same_number(one, other)


def _same_amount(one: str, other: str) -> bool:
    try:
        return Decimal(one) == Decimal(other)
    except InvalidOperation:
        return False


def parse_value(raw: Any, name: str, rule: FieldRule) -> Value:
    """Return the value that a field is to be set to. Raise InvalidArgument, which says what is accepted."""
    text = str(raw).strip() if raw is not None else ""
    if not text:
        if not rule.clearable:
            raise InvalidArgument(f"{name} cannot be cleared")
        return None
    if rule.type == "flag":
        if text.casefold() not in _FLAGS:
            raise InvalidArgument(f"{name}: expected true or false, got {text!r:.80}")
        return _FLAGS[text.casefold()]
    if rule.words:
        if text.casefold() not in rule.words:
            raise InvalidArgument(f"{name}: expected {' or '.join(rule.words)}, got {text!r:.80}")
        return text.casefold()
    if rule.max_length is not None and len(text) > rule.max_length:
        raise InvalidArgument(f"{name}: expected at most {rule.max_length} characters, got {len(text)}")
    if not text.isprintable():
        raise InvalidArgument(f"{name}: expected one line of printable text, got {text!r:.80}")
    return text


def new_number_rule(rules: ChangeRules, action: Action) -> NewNumberRule | None:
    """Return the rule by which a backend creates or buys a number."""
    return {Action.CREATE: rules.create, Action.BUY: rules.buy}.get(action)


def to_write(change: PlannedChange, rules: ChangeRules, version: datetime | None = None) -> Write:
    """Return the write of a planned change. Raise InvalidArgument if the backend cannot make it.

    `version` is the time of the number's last change, if it is known.
    """
    if change.action is Action.DELETE:
        if not rules.deletes or change.id is None:
            raise InvalidArgument(f"{rules.vendor} cannot delete {change.number or 'a number without an id'}")
        return Write(kind="delete", account=change.account, number_id=change.id, version=version)
    new = new_number_rule(rules, change.action)
    allowed = rules.update if change.action is Action.UPDATE else () if new is None else new.fields
    unknown = change.new.keys() - set(allowed)
    if unknown or not allowed:
        what = f"set {', '.join(sorted(unknown))}" if allowed else change.action.value
        raise InvalidArgument(f"{rules.vendor} cannot {what}, as change {change.position} of the plan asks")
    fields = [(rules.fields[name], value) for name, value in change.new.items()]
    wanted = {rule.parameter: _encode(value, rule) for rule, value in fields}
    if new is None:
        return Write(
            kind="update", account=change.account, number_id=change.id, wanted=wanted, version=version
        )
    return Write(kind=new.kind, account=change.account, number=change.number, wanted=wanted)


def _encode(value: Value, rule: FieldRule) -> Value:
    return rule.words.get(value, value) if isinstance(value, str) else value


def restamped(write: Write, now: datetime) -> Write:
    """Return the write as it is about to be sent."""
    return msgspec.structs.replace(write, started_at=now, ended_at=now)
