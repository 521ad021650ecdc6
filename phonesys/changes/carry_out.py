"""One change, carried out: look, record the intent, write, and look up a lost response."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from phonesys import _slot
from phonesys._concurrency import run_shielded
from phonesys.changes.change import ChangeOutcome, ChangeResult
from phonesys.changes.look import Look, is_as_wanted
from phonesys.changes.values import restamped, to_write, values_of
from phonesys.errors import (
    BackendFault,
    CallError,
    DeadlineExceeded,
    NotFound,
    OutcomeUnknown,
    PhonesysError,
    QuotaExhausted,
    Unauthorized,
)
from phonesys.writes import Action, Reconciled, WriteOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phonesys.changes.change import PlannedChange, RunState
    from phonesys.changes.journal import Journal
    from phonesys.changes.look import Sight
    from phonesys.model import PhoneNumber
    from phonesys.provider import ChangesNumbers
    from phonesys.writes import Write

_MAX_TRIES = 5
_LONGEST_CALL = timedelta(seconds=300)
"""Time after which the request of an earlier process is over: the default of `HttpOptions.deadline`."""

DONE, CONFLICT, REJECTED = ChangeOutcome.DONE, ChangeOutcome.CONFLICT, ChangeOutcome.REJECTED
UNCLEAR, NOT_REACHED = ChangeOutcome.UNCLEAR, ChangeOutcome.NOT_REACHED


class LookUpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of looking up a write whose response was lost."""

    grace_period: float
    clock_skew: float


class ChangeWorker:
    """Carries out the changes of one run, each at most once."""

    def __init__(
        self,
        providers: Mapping[str, ChangesNumbers],
        journal: Journal,
        state: RunState,
        options: LookUpOptions,
    ) -> None:
        self._providers = providers
        self._rules = {name: provider.change_rules for name, provider in providers.items()}
        self._journal, self._state, self._options = journal, state, options
        self._look = Look(providers, self._rules)

    async def __call__(self, change: PlannedChange) -> ChangeResult:
        """Carry out a change, and record its outcome."""
        intent = self._state.intents.get(change.position)
        result = None if intent is None else await self._take_up(change, intent)
        return await self.record(result or await self._carry_out(change))

    async def record(self, result: ChangeResult) -> ChangeResult:
        """Record an outcome, even while the run is being cancelled: the journal is to be true."""
        await run_shielded(self._journal.record_result(self._state, result))
        return result

    async def _take_up(self, change: PlannedChange, intent: Write) -> ChangeResult | None:
        """Return the outcome of a write that an earlier process may have sent; None if it was lost."""
        latest = intent.started_at + _LONGEST_CALL
        sent = msgspec.structs.replace(intent, ended_at=max(intent.ended_at, min(latest, datetime.now(UTC))))
        return await self._find_out(change, sent)

    async def _carry_out(self, change: PlannedChange) -> ChangeResult:
        sent = 0
        while sent < _MAX_TRIES:
            try:
                result = await self._attempt(change, sent)
            except DeadlineExceeded as full:
                async with _slot.waiting():
                    await asyncio.sleep(full.retry_after or 0.0)
                continue
            if result is not None:
                return result
            sent += 1
        return _result(change, NOT_REACHED, f"lost {_MAX_TRIES} times, without any effect")

    async def _attempt(self, change: PlannedChange, sent: int) -> ChangeResult | None:
        """Look, and send the write if it is still to be made. Return None if it was lost on its way.

        Raise DeadlineExceeded if a rate window is full for longer than a call may wait: nothing was sent.
        """
        try:
            sight = await self._look(change, fresh=sent > 0)
        except PhonesysError as error:
            if _is_window_full(error):
                raise
            return _result(change, NOT_REACHED, f"could not be looked at: {error}")
        if sight.outcome is not None:
            return self._seen(change, sight, written=sent > 0)
        return await self._send(change, sight)

    async def _send(self, change: PlannedChange, sight: Sight) -> ChangeResult | None:
        """Send the write once. Return None if it was lost on its way, and may be sent again."""
        write = restamped(to_write(change, self._rules[change.backend], sight.version), datetime.now(UTC))
        await self._journal.record_intent(self._state, change.position, write)
        try:
            number = await self._providers[change.backend].carry_out(write)
        except OutcomeUnknown as lost:
            return await self._find_out(change, write if lost.write is None else lost.write)
        except CallError as error:
            if _is_window_full(error):
                raise
            if error.not_executed:
                return _refused(change, error)
            return await self._find_out(change, _ended(write))
        except PhonesysError as error:  # the backend refused the arguments, before any request
            return _result(change, REJECTED, str(error))
        except Exception as error:  # noqa: BLE001 -- a bug in a backend leaves the outcome unknown
            fault = BackendFault(repr(error)).with_call(
                backend=change.backend, operation=change.action, account=change.account
            )
            fault.__cause__ = error
            return await self._find_out(change, _ended(write))
        return await self._written(change, number)

    async def _written(self, change: PlannedChange, number: PhoneNumber | None) -> ChangeResult:
        """Return the outcome of a write that the vendor accepted, after a look at what it made."""
        if number is None or change.action is not Action.UPDATE:
            return self._done(change, number)
        values = values_of(number, change.backend, self._rules[change.backend])
        if is_as_wanted(change, values) or (seen := await self._look_again(change)) is None:
            return self._done(change, number)
        if is_as_wanted(change, seen.values):
            return self._done(change, seen.number)
        text = ", ".join(f"{name} {seen.values.get(name)}" for name in change.new)
        return _result(
            change, UNCLEAR, f"the vendor accepted the change, but the number has {text}", now=seen.values
        )

    async def _find_out(self, change: PlannedChange, write: Write) -> ChangeResult | None:
        """Look up a write whose response was lost. Return None if it was not executed."""
        provider = self._providers[change.backend]
        try:
            found = await provider.reconcile(
                write, grace_period=self._options.grace_period, clock_skew=self._options.clock_skew
            )
        except PhonesysError as error:
            return _result(change, UNCLEAR, f"the response was lost, and could not be looked up: {error}")
        if found.outcome is WriteOutcome.DONE:
            return self._done(change, found.number)
        if found.outcome is WriteOutcome.NOT_DONE or await self._is_untouched(change):
            return None
        return _unclear(change, found)

    async def _is_untouched(self, change: PlannedChange) -> bool:
        """Return True for an update whose number has every field as planned.

        The backend's look-up cannot conclude that where the vendor gives no times. To set the same fields
        again is safe: the result is the planned one, whatever became of the first request.
        """
        if change.action is not Action.UPDATE:
            return False
        seen = await self._look_again(change)
        return seen is not None and seen.outcome is None and change.old.keys() <= seen.values.keys()

    async def _look_again(self, change: PlannedChange) -> Sight | None:
        try:
            return await self._look(change)
        except PhonesysError:
            return None

    def _seen(self, change: PlannedChange, sight: Sight, *, written: bool) -> ChangeResult:
        """Return the outcome of a change that needs no write any more, or must not be made."""
        assert sight.outcome is not None  # noqa: S101 -- the caller looked
        number = sight.number
        return _result(
            change,
            sight.outcome,
            sight.reason,
            id=change.id if number is None else number.id,
            number=change.number if number is None else number.number,
            now=sight.values,
            written=written and sight.outcome is DONE,
        )

    def _done(self, change: PlannedChange, number: PhoneNumber | None) -> ChangeResult:
        values = {} if number is None else values_of(number, change.backend, self._rules[change.backend])
        return _result(
            change,
            DONE,
            id=change.id if number is None else number.id,
            number=(None if number is None else number.number) or change.number,
            now={**change.old, **values, **change.new} if change.action is Action.UPDATE else values,
            written=True,
        )


def _result(change: PlannedChange, outcome: ChangeOutcome, reason: str = "", **facts: object) -> ChangeResult:
    known = {"id": change.id, "number": change.number, **facts}
    return ChangeResult(
        position=change.position,
        outcome=outcome,
        reason=reason,
        at=datetime.now(UTC),
        **known,  # type: ignore[arg-type]
    )


def _is_window_full(error: PhonesysError) -> bool:
    return isinstance(error, DeadlineExceeded) and error.not_executed and error.retry_after is not None


def _refused(change: PlannedChange, error: CallError) -> ChangeResult:
    """Return the outcome of a change that was provably not made."""
    if change.action is Action.DELETE and isinstance(error, NotFound):
        return _result(change, DONE, "the number does not exist any more")
    passing = error.transient or isinstance(error, QuotaExhausted | DeadlineExceeded | Unauthorized)
    return _result(change, NOT_REACHED if passing else REJECTED, str(error))


def _unclear(change: PlannedChange, found: Reconciled[PhoneNumber]) -> ChangeResult:
    candidates = tuple(number.id for number in found.candidates)
    return _result(change, UNCLEAR, found.reason, candidates=candidates)


def _ended(write: Write) -> Write:
    return msgspec.structs.replace(write, ended_at=datetime.now(UTC))
