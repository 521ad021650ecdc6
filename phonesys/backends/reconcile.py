"""How backends look up what became of a write: the facts, the waiting, and the judging of what is found."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from enum import Enum
from math import isfinite
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from phonesys.errors import InvalidArgument, OutcomeUnknown, UsageError
from phonesys.writes import Reconciled, Write, WriteOutcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

N = TypeVar("N", bound="Dated")

_FIRST_PAUSE = 1.0


def write_of(lost: OutcomeUnknown | Write, backend: str, kinds: Sequence[str]) -> Write:
    """Return what is to be looked up; raises UsageError for what this backend could not have written."""
    if isinstance(lost, OutcomeUnknown):
        if lost.backend != backend:
            raise UsageError(f"it was backend {lost.backend!r} that lost this answer, not {backend!r}")
        if lost.write is None:
            raise UsageError(
                f"the outcome of {lost.operation or 'this call'} cannot be looked up; "
                f"to find out: {lost.recovery_hint or 'look at the vendor'}"
            )
        lost = lost.write
    if lost.kind not in kinds:
        raise UsageError(f"backend {backend!r} has no {lost.kind!r}; it has {', '.join(kinds)}")
    _check(lost)
    return lost


def _check(write: Write) -> None:
    """Raise InvalidArgument for facts, perhaps somebody's own, that nothing can be found by."""
    enough = {
        "create": write.number or write.wanted.get("name"),
        "assign": write.number and write.wanted.get("agent_id"),
        "update": write.number_id,
        "delete": write.number_id,
    }
    if not enough[write.kind]:
        raise InvalidArgument(f"write: number, number_id or wanted must say what to look for, got {write!r}")
    if write.started_at.tzinfo is None or write.ended_at.tzinfo is None:
        raise InvalidArgument("write: expected times with a time zone, as in datetime.now(UTC)")


def drop_none(**fields: Any) -> dict[str, Any]:
    """Keep the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


async def look_up_until_settled(
    look: Callable[[bool], Awaitable[Reconciled[N]]], write: Write, grace_period: float
) -> Reconciled[N]:
    """Look until it is done, or until the request is taken to be over: `grace_period` seconds after its end.

    `look` is told whether it is the last one, which what is found must then be judged by.
    """
    if not (isfinite(grace_period) and grace_period >= 0):
        raise InvalidArgument(f"grace_period: expected seconds, 0 or more, got {grace_period!r}")
    clock = asyncio.get_running_loop().time
    passed = (datetime.now(UTC) - write.ended_at).total_seconds()
    until = clock() + grace_period - min(max(passed, 0.0), grace_period)
    pause = _FIRST_PAUSE
    while (left := until - clock()) > 0:
        found = await look(False)
        if found.outcome is WriteOutcome.DONE:
            return found
        await asyncio.sleep(min(pause, left))
        pause *= 2
    return await look(True)


class Dated(Protocol):
    """A number, of which the times count here."""

    @property
    def created_at(self) -> datetime | None:
        """When the vendor says that it was created."""
        ...

    @property
    def updated_at(self) -> datetime | None:
        """When the vendor says that it was changed last."""
        ...


class Age(Enum):
    """Whether something happened before the write began, or since."""

    BEFORE = 1
    SINCE = 2
    UNKNOWN = 3


class OutcomeEvaluator:
    """Says what the numbers that are there now mean for a write."""

    def __init__(self, write: Write, clock_skew: float) -> None:
        if not (isfinite(clock_skew) and clock_skew >= 0):
            raise InvalidArgument(f"clock_skew: expected seconds, 0 or more, got {clock_skew!r}")
        self.write = write
        self._skew = timedelta(seconds=clock_skew)

    def age(self, moment: datetime | None) -> Age:
        """Say whether a vendor's time is before the write began; unknown where clocks may err."""
        if moment is None:
            return Age.UNKNOWN
        start = self.write.started_at
        if moment >= _cut(start, like=moment):
            return Age.SINCE if moment <= datetime.now(UTC) + self._skew else Age.UNKNOWN
        return Age.BEFORE if moment < _cut(start - self._skew, like=moment) else Age.UNKNOWN

    def made(self, number: Dated) -> Age:
        """Say when a number came to be as it is: before only where it was not changed since either."""
        created = self.age(number.created_at)
        if created is Age.BEFORE and number.updated_at is not None:
            return Age.BEFORE if self.age(number.updated_at) is Age.BEFORE else Age.UNKNOWN
        return created

    def of_new(self, candidates: Sequence[Candidate[N]], *, whole: bool) -> Reconciled[N]:
        """Judge what may have been created: `whole` says that no other candidate can be there."""
        recent = [one for one in candidates if self.made(one.number) is not Age.BEFORE]
        alike = [one for one in recent if one.as_wanted]
        if len(alike) == 1 and self.made(alike[0].number) is Age.SINCE:
            return Reconciled(
                outcome=WriteOutcome.DONE,
                number=alike[0].number,
                reason="it is there as it was asked for, and was created since",
            )
        if recent:
            return unclear(
                f"{len(recent)} numbers may be it, created by somebody else or changed since",
                *(one.number for one in recent),
            )
        if not whole:
            return unclear("not every number that may be it could be read")
        reason = "such a number is there, but from before" if candidates else "no such number is there"
        return Reconciled(outcome=WriteOutcome.NOT_DONE, reason=reason)

    def of_changed(self, number: N, *, as_wanted: bool) -> Reconciled[N]:
        """Judge a number that was to be changed."""
        if as_wanted:
            return Reconciled(
                outcome=WriteOutcome.DONE, number=number, reason="all fields are as they were asked for"
            )
        changed = max(filter(None, (number.created_at, number.updated_at)), default=None)
        # Two changes within a second look like one where the vendor writes whole seconds.
        untouched = changed is not None and changed == self.write.version and changed.microsecond != 0
        if untouched or self.age(changed) is Age.BEFORE:
            return Reconciled(outcome=WriteOutcome.NOT_DONE, reason="nothing has changed it since")
        return unclear("its fields are not as asked for, but somebody may have changed them since", number)

    def of_left(self, number: N) -> Reconciled[N]:
        """Judge a number that was to be deleted and is there."""
        if self.age(number.created_at) is Age.SINCE:
            return unclear("it is there, but was created since", number)
        return Reconciled(outcome=WriteOutcome.NOT_DONE, reason="it is still there")


def _cut(moment: datetime, *, like: datetime) -> datetime:
    """Cut off what a vendor cuts off that writes times like this one: of seconds, or of milliseconds."""
    kept = 1_000_000 if like.microsecond == 0 else 1000 if like.microsecond % 1000 == 0 else 1
    return moment.replace(microsecond=moment.microsecond // kept * kept)


class Candidate(NamedTuple, Generic[N]):
    """A number that a write may have made, and whether all that was asked for is true of it."""

    number: N
    as_wanted: bool


def unclear(reason: str, *candidates: N) -> Reconciled[N]:
    """Say that it cannot be told."""
    return Reconciled(outcome=WriteOutcome.UNCLEAR, reason=reason, candidates=candidates)


def gone() -> Reconciled[Any]:
    """Say that what was to be deleted is not there."""
    return Reconciled(outcome=WriteOutcome.DONE, reason="it is not there")


def same_text(one: object, other: object) -> bool:
    """Compare words as vendors keep them: without white space around, and empty as good as none."""
    return _plain(one) == _plain(other)


def _plain(text: object) -> str:
    return " ".join(str(text or "").split())


def same_number(one: str, other: str | None) -> bool:
    """Compare phone numbers by their digits: what was sent as E.164 may come back otherwise."""
    return other is not None and _digits(one) == _digits(other)


def _digits(number: str) -> str:
    return "".join(filter(str.isdecimal, number))
