"""Changes as plain data: the desired states, the plan that reaches them, and the outcome of each change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, NamedTuple, Self
from uuid import uuid4

import msgspec

from phonesys.errors import InvalidArgument
from phonesys.writes import Action, Value, Write

VERSION = 1
"""Version of the format in which plans are written. It changes if a field is removed or changes its type."""


class ChangeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A desired state of one number.

    `fields` are named by the columns of an export, such as `label`, `assignee`, `status` or `is_enabled`, and
    by the words that a backend adds to them. Values may be text, as in a CSV file: flags are then `true` or
    `false`. None clears a field. A field that already has its value is no change, so that whole rows of an
    export may be given.
    """

    number: str | None = None
    """In any spelling. With an `id`, both must be of the same number."""
    id: str | None = None
    backend: str | None = None
    """Needed where several backends hold the number."""
    account: str | None = None
    """Needed where several accounts hold the number, and to create or buy one."""
    fields: Mapping[str, Value] = {}
    action: Action = Action.UPDATE
    line: int | None = None
    """Line of the file from which it was read."""


class PlannedChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change of one number, as it will be carried out."""

    position: int
    """Place in the plan, from 1. Changes of one number are carried out in this order."""
    action: Action
    backend: str
    account: str
    id: str | None = None
    """None for a number that does not exist yet."""
    number: str | None = None
    """E.164, as the vendor writes it. None for one that the vendor chooses."""
    label: str | None = None
    account_name: str | None = None
    old: dict[str, Value] = {}
    """Every field that could be changed, as it was read. The number must still be so when it is changed."""
    new: dict[str, Value] = {}
    """The fields to set."""
    names: dict[str, str] = {}
    """The names of agents in `old` and `new`, by id, as far as they are known."""
    irreversible: dict[str, str] = {}
    """Reasons why a change cannot be taken back, by field; under `number`, the number as a whole."""
    cost: str | None = None
    """Costs of the change in words; None if none are known."""
    reroutes: str | None = None
    """New route of live calls, in words; None if the change does not move them."""
    unroutes: bool = False
    """True if calls to the number have no route afterwards."""
    line: int | None = None
    """Line of the file from which it was read."""

    @property
    def number_key(self) -> tuple[str, str, str]:
        """Identify the number among those of the plan."""
        return self.backend, self.account, self.number or self.id or f"new {self.position}"

    def named(self, value: Value) -> str | None:
        """Return a value of a field as text, an agent's id with its name."""
        name = self.names.get(value) if isinstance(value, str) else None
        return f"{value} ({name})" if name else None if value is None else str(value)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the person who decides: what is final, what costs money, what moves live calls."""
        final = [
            f"cannot be undone: {reason}" if field == "number" else f"{field} cannot be undone: {reason}"
            for field, reason in self.irreversible.items()
        ]
        cost = [f"costs money: {self.cost}"] if self.cost else []
        calls = [f"reroutes live calls: {self.reroutes}"] if self.reroutes else []
        return (*final, *cost, *calls)


class Reading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of the numbers on which a plan is based."""

    source: Literal["live", "snapshot", "run"]
    """Read from the vendors, from a snapshot in a store, or from the outcomes of a run that is taken back."""
    read_at: datetime
    """Time at which reading began."""
    snapshot: int | None = None
    """Id of the snapshot."""
    missing: tuple[str, ...] = ()
    """Accounts and rows that could not be read, and why."""

    @property
    def complete(self) -> bool:
        """True if every number of every account that was asked for is known."""
        return not self.missing


class AccountShare(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an account that a plan touches."""

    backend: str
    account: str
    held: int
    """Numbers that were read in the account."""
    touched: int
    """Those among them that the plan changes or deletes."""

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.touched / self.held if self.held else 0.0


class LeftOut(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A change that a plan does not contain, though it was asked for, and the reason."""

    backend: str
    account: str
    reason: str
    id: str | None = None
    number: str | None = None
    label: str | None = None


class Risk(StrEnum):
    """A kind of plan that needs an explicit permission."""

    SHARE = "share"
    """It touches more of an account's numbers than `max_share`."""
    UNROUTE = "unroute"
    """It takes the last inbound route from a number."""


class Concern(NamedTuple):
    """A risk of a plan, in words."""

    risk: Risk
    text: str


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Changes that were validated against the state of the numbers, and not carried out yet.

    Plain data without secrets. A plan is carried out once: a journal knows it by its `id`.
    """

    id: str = msgspec.field(default_factory=lambda: uuid4().hex)
    created_at: datetime
    reading: Reading
    changes: tuple[PlannedChange, ...] = ()
    unchanged: int = 0
    """Numbers that are already as they should be."""
    ignored: tuple[str, ...] = ()
    """Columns whose differences were ignored, since they only follow from others."""
    shares: tuple[AccountShare, ...] = ()
    undoes: str | None = None
    """Id of the plan that this one takes back."""
    left_out: tuple[LeftOut, ...] = ()

    def __repr__(self) -> str:
        found = ", ".join(f"{count:,} {action.value}" for action, count in self.counts().items())
        return f"<Plan {self.id}: {found or 'no changes'}>"

    def counts(self) -> Counter[Action]:
        """Return the number of changes of each kind."""
        return Counter(change.action for change in self.changes)

    def concerns(self, max_share: float | None = None) -> tuple[Concern, ...]:
        """Return the risks that need a permission. `max_share` is from 0 to 1; None permits any."""
        if max_share is not None and not 0 <= max_share <= 1:
            raise InvalidArgument(f"max_share: expected a part from 0 to 1, got {max_share!r}")
        shares = [
            Concern(
                Risk.SHARE,
                f"{one.touched} of the {one.held} numbers of {one.backend} {one.account} are touched, "
                f"more than {max_share:.0%}",
            )
            for one in self.shares
            if max_share is not None and one.share > max_share
        ]
        unrouted = [change.number or change.id or "" for change in self.changes if change.unroutes]
        if not unrouted:
            return tuple(shares)
        more = f" and {len(unrouted) - 3} more" if len(unrouted) > 3 else ""  # noqa: PLR2004 -- as shown
        text = f"no calls reach {', '.join(unrouted[:3])}{more} afterwards"
        return (*shares, Concern(Risk.UNROUTE, text))

    def to_jsonl(self) -> bytes:
        """Encode the plan as JSON Lines: a header, then a line for each change."""
        header = {
            "phonesys_plan": VERSION,
            "count": len(self.changes),
            **{key: value for key, value in msgspec.to_builtins(self).items() if key != "changes"},
        }
        return msgspec.json.Encoder().encode_lines([header, *self.changes])

    @classmethod
    def from_jsonl(cls, data: bytes | str) -> Self:
        """Decode a plan. Raise InvalidArgument if it is none, is cut short, or is of a newer version."""
        lines = (data.encode() if isinstance(data, str) else data).split(b"\n")
        lines = [line for line in lines if line.strip()]
        header = _decode_header(lines[0] if lines else b"")
        changes = _decode_changes(lines[1:])
        if (count := header.pop("count", None)) != len(changes):
            raise InvalidArgument(f"the plan is not whole: expected {count} changes, got {len(changes)}")
        try:
            return msgspec.convert({**header, "changes": changes}, cls)
        except msgspec.ValidationError as error:
            raise InvalidArgument(f"the plan cannot be read: line 1: {error}") from None


def _decode_header(line: bytes) -> dict[str, Any]:
    try:
        header = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        header = {}
    version = header.pop("phonesys_plan", None)
    if not isinstance(version, int) or version < 1:
        raise InvalidArgument("expected a plan of phonesys, as `phonesys plan --output` writes it")
    if version > VERSION:
        raise InvalidArgument(
            f"the plan has version {version}, this phonesys reads up to {VERSION}: upgrade it"
        )
    return header


_decode_change = msgspec.json.Decoder(PlannedChange).decode


def _decode_changes(lines: Iterable[bytes]) -> list[PlannedChange]:
    changes: list[PlannedChange] = []
    for place, line in enumerate(lines, 2):
        try:
            changes.append(_decode_change(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidArgument(f"the plan cannot be read: line {place}: {error}") from None
    return changes


class ChangeOutcome(StrEnum):
    """The result of one change."""

    DONE = "done"
    """The number is as planned."""
    CONFLICT = "conflict"
    """The number was not as the plan read it, and was left untouched."""
    REJECTED = "rejected"
    """The vendor refused the change, which was not carried out."""
    UNCLEAR = "unclear"
    """The response was lost, and the number does not show what became of the change. A person must decide."""
    NOT_REACHED = "not_reached"
    """The change was not carried out, and applying the plan again carries it out."""


class ChangeResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The outcome of one planned change."""

    position: int
    """That of the planned change."""
    outcome: ChangeOutcome
    reason: str = ""
    """Grounds in words; the vendor's own where it refused the change."""
    id: str | None = None
    """Id of the number afterwards, such as that of a number that was bought."""
    number: str | None = None
    """The number afterwards, such as one that the vendor chose."""
    now: dict[str, Value] = {}
    """The fields that could be changed, as they are afterwards, or as they were found in a conflict."""
    candidates: tuple[str, ...] = ()
    """Ids of numbers that the change may have made, if that is unclear."""
    written: bool = False
    """True if the run changed the number itself; False if it found it as planned."""
    at: datetime
    """Time of the outcome."""


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """The knowledge of a journal about the run of one plan."""

    plan_id: str
    writer: str
    """Identifies the process that may write now. An earlier one is refused."""
    started_at: datetime
    finished_at: datetime | None = None
    """Time at which every change had an outcome other than `not_reached`."""
    intents: dict[int, Write] = {}
    """The last `Write` of each change, by position, whose outcome is not known, or is `unclear`."""
    results: dict[int, ChangeResult] = {}
    """By position."""


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One run in a list of runs."""

    plan_id: str
    created_at: datetime
    """Time of the plan."""
    started_at: datetime
    finished_at: datetime | None = None
    changes: int
    outcomes: dict[ChangeOutcome, int] = {}
    """The number of changes per outcome. One without a result counts as `unclear` if its request may have
    been sent, and as `not_reached` otherwise."""
    undoes: str | None = None
    """Id of the plan that this run takes back."""
