"""Lookup of writes whose response was lost: validation, polling, and evaluation of what is found."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta
from enum import Enum
from math import isfinite
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from phonesys.errors import InvalidArgument, NotFound, OutcomeUnknown, UsageError
from phonesys.writes import Reconciled, Write, WriteOutcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

_FIRST_PAUSE = 1.0


class Timestamped(Protocol):
    """A number's times."""

    @property
    def created_at(self) -> datetime | None:
        """Time of creation, if the vendor says."""
        ...

    @property
    def updated_at(self) -> datetime | None:
        """Time of the last change, if the vendor says."""
        ...


class AccountNumber(Timestamped, Protocol):
    """A number whose account and backend are filled in by its backend."""

    account: str
    backend: str


N = TypeVar("N", bound=Timestamped)


def write_of(lost: OutcomeUnknown | Write, backend: str, kinds: Sequence[str]) -> Write:
    """Return the write to look up. Raises UsageError if this backend could not have sent it."""
    if isinstance(lost, OutcomeUnknown):
        if lost.backend != backend:
            raise UsageError(f"backend {lost.backend!r} lost this response, not {backend!r}")
        if lost.write is None:
            raise UsageError(
                f"the outcome of {lost.operation or 'this call'} cannot be looked up; "
                f"to find out: {lost.recovery_hint or 'look at the vendor'}"
            )
        lost = lost.write
    if lost.kind not in kinds:
        raise UsageError(f"backend {backend!r} has no {lost.kind!r}; it has {', '.join(kinds)}")
    _validate_write(lost)
    return lost


def _validate_write(write: Write) -> None:
    """Raise InvalidArgument for a write, perhaps made by hand, that identifies no number."""
    identifies = {
        "create": write.number or write.wanted.get("name"),
        "assign": write.number and write.wanted.get("agent_id"),
        "purchase": write.number,
        "update": write.number_id,
        "delete": write.number_id,
    }
    if not identifies[write.kind]:
        raise InvalidArgument(f"write: expected a number, number_id or wanted to look for, got {write!r}")
    if write.started_at.tzinfo is None or write.ended_at.tzinfo is None:
        raise InvalidArgument("write: expected times with a time zone, as in datetime.now(UTC)")


def drop_none(**fields: Any) -> dict[str, Any]:
    """Return the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


async def poll_until_done(
    look_up: Callable[[bool], Awaitable[Reconciled[N]]], write: Write, grace_period: float
) -> Reconciled[N]:
    """Look up until the write is done, or `grace_period` seconds after its response was lost.

    `look_up` is called with True for the last time, whose result is final.
    """
    if not (isfinite(grace_period) and grace_period >= 0):
        raise InvalidArgument(f"grace_period: expected seconds, 0 or more, got {grace_period!r}")
    clock = asyncio.get_running_loop().time
    passed = (datetime.now(UTC) - write.ended_at).total_seconds()
    until = clock() + grace_period - min(max(passed, 0.0), grace_period)
    pause = _FIRST_PAUSE
    while (left := until - clock()) > 0:
        found = await look_up(False)
        if found.outcome is WriteOutcome.DONE:
            return found
        await asyncio.sleep(min(pause, left))
        pause *= 2
    return await look_up(True)


class WriteLookup(ABC, Generic[N]):
    """One lookup of one write; base of each backend's own."""

    def __init__(self, evaluator: OutcomeEvaluator, get: Callable[[str], Awaitable[N]]) -> None:
        self._evaluator, self._write = evaluator, evaluator.write
        self._get = get

    async def __call__(self, is_last: bool) -> Reconciled[N]:
        """Look up the write once."""
        if self._write.kind not in {"update", "delete"}:
            return await self._look_up_new(is_last=is_last)
        number = await self._get_or_none(self._write.number_id or "")
        if self._write.kind == "delete":
            return deleted() if number is None else self._evaluator.evaluate_remaining(number)
        if number is None:
            return unclear("the number does not exist any more")
        return self._evaluator.evaluate_updated(number, matches_request=self._matches_request(number))

    @abstractmethod
    async def _look_up_new(self, *, is_last: bool) -> Reconciled[N]:
        """Look up a number that was to be created or assigned."""

    @abstractmethod
    def _matches_request(self, number: N) -> bool:
        """Return True if the number is as the write asked for."""

    async def _get_or_none(self, number_id: str) -> N | None:
        try:
            return await self._get(number_id)
        except NotFound:
            return None


class Timing(Enum):
    """When something happened, relative to the start of a write."""

    BEFORE = 1
    SINCE = 2
    UNKNOWN = 3


class Candidate(NamedTuple, Generic[N]):
    """A number that a write may have made, and whether it is as the write asked for."""

    number: N
    matches_request: bool


class OutcomeEvaluator:
    """Concludes from the vendor's numbers whether a write was executed."""

    def __init__(self, write: Write, clock_skew: float) -> None:
        if not (isfinite(clock_skew) and clock_skew >= 0):
            raise InvalidArgument(f"clock_skew: expected seconds, 0 or more, got {clock_skew!r}")
        self.write = write
        self._skew = timedelta(seconds=clock_skew)

    def timing_of(self, moment: datetime | None) -> Timing:
        """Return when a vendor's time is; unknown within the clocks' difference."""
        if moment is None:
            return Timing.UNKNOWN
        start = self.write.started_at
        if moment >= _truncate(start, like=moment):
            return Timing.SINCE if moment <= datetime.now(UTC) + self._skew else Timing.UNKNOWN
        return Timing.BEFORE if moment < _truncate(start - self._skew, like=moment) else Timing.UNKNOWN

    def creation_timing(self, number: Timestamped) -> Timing:
        """Return when a number became what it is: before only if it was not changed since either."""
        created = self.timing_of(number.created_at)
        if created is Timing.BEFORE and number.updated_at is not None:
            changed = self.timing_of(number.updated_at)
            return Timing.BEFORE if changed is Timing.BEFORE else Timing.UNKNOWN
        return created

    def evaluate_created(self, candidates: Sequence[Candidate[N]], *, complete: bool) -> Reconciled[N]:
        """Evaluate numbers that may have been created; `complete` if there can be no other candidate."""
        recent = [one for one in candidates if self.creation_timing(one.number) is not Timing.BEFORE]
        matching = [one for one in recent if one.matches_request]
        if len(matching) == 1 and self.creation_timing(matching[0].number) is Timing.SINCE:
            return Reconciled(
                outcome=WriteOutcome.DONE,
                number=matching[0].number,
                reason="a number as requested exists, and was created since",
            )
        if recent:
            return unclear(
                f"{len(recent)} numbers may be the requested one, created by others or changed since",
                *(one.number for one in recent),
            )
        if not complete:
            return unclear("not every number that may be the requested one could be read")
        reason = "such a number exists, but from before" if candidates else "no such number exists"
        return Reconciled(outcome=WriteOutcome.NOT_DONE, reason=reason)

    def evaluate_updated(self, number: N, *, matches_request: bool) -> Reconciled[N]:
        """Evaluate a number that was to be changed."""
        if matches_request:
            return Reconciled(outcome=WriteOutcome.DONE, number=number, reason="all fields are as requested")
        changed = max(filter(None, (number.created_at, number.updated_at)), default=None)
        # Two changes within a second look like one where the vendor writes whole seconds.
        untouched = changed is not None and changed == self.write.version and changed.microsecond != 0
        if untouched or self.timing_of(changed) is Timing.BEFORE:
            return Reconciled(outcome=WriteOutcome.NOT_DONE, reason="nothing has changed it since")
        return unclear("its fields are not as requested, but others may have changed them since", number)

    def evaluate_remaining(self, number: N) -> Reconciled[N]:
        """Evaluate a number that was to be deleted and exists."""
        if self.timing_of(number.created_at) is Timing.SINCE:
            return unclear("the number exists, but was created since", number)
        return Reconciled(outcome=WriteOutcome.NOT_DONE, reason="the number still exists")


def _truncate(moment: datetime, *, like: datetime) -> datetime:
    """Cut fractions of a second to the precision of a vendor that writes times like `like`."""
    kept = 1_000_000 if like.microsecond == 0 else 1000 if like.microsecond % 1000 == 0 else 1
    return moment.replace(microsecond=moment.microsecond // kept * kept)


def unclear(reason: str, *candidates: N) -> Reconciled[N]:
    """Return an outcome that people have to decide."""
    return Reconciled(outcome=WriteOutcome.UNCLEAR, reason=reason, candidates=candidates)


def deleted() -> Reconciled[Any]:
    """Return the outcome of a deletion whose number does not exist."""
    return Reconciled(outcome=WriteOutcome.DONE, reason="the number does not exist")


def same_text(one: object, other: object) -> bool:
    """Compare words as vendors keep them: surrounding white space is ignored, and empty equals none."""
    return _collapse_spaces(one) == _collapse_spaces(other)


def _collapse_spaces(text: object) -> str:
    return " ".join(str(text or "").split())


def same_number(one: str, other: str | None) -> bool:
    """Compare phone numbers by their digits: E.164 that was sent may come back in another spelling."""
    return other is not None and _digits(one) == _digits(other)


_MIN_TAIL = 4


def may_be_number(found: str, wanted: str | None) -> bool:
    """Return True if a vendor's number may be the wanted one, in E.164, in any spelling.

    National spellings are its last digits. A number that is being provisioned has none yet.
    """
    if wanted is None:
        return False
    digits, whole = _digits(found).lstrip("0"), _digits(wanted)
    return not digits or (len(digits) >= _MIN_TAIL and whole.endswith(digits))


def _digits(number: str) -> str:
    return "".join(filter(str.isdecimal, number))
