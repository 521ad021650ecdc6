"""The run of a plan as its consumer sees it: a block, and an iterator of results."""

from __future__ import annotations

from collections import Counter, deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self, cast

import anyio

from phonesys._concurrency import WaitQueue, run_shielded
from phonesys.changes.carry_out import ChangeWorker, LookUpOptions
from phonesys.changes.change import ChangeOutcome, ChangeResult, Risk
from phonesys.changes.journal import MemoryJournal
from phonesys.changes.schedule import run_all
from phonesys.changes.undo import undo_plan
from phonesys.changes.values import to_write
from phonesys.errors import InvalidArgument, NotOpen, NotPermitted, RunSuperseded, UnknownProvider, UsageError
from phonesys.provider import ChangesNumbers, require
from phonesys.writes import CLOCK_SKEW, GRACE_PERIOD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from anyio.abc import TaskGroup

    from phonesys.change_rules import ChangeRules
    from phonesys.changes.change import Plan, PlannedChange, RunState
    from phonesys.changes.journal import Journal
    from phonesys.provider import NumberProvider

_FINAL = frozenset({ChangeOutcome.DONE, ChangeOutcome.CONFLICT, ChangeOutcome.REJECTED})
"""Outcomes that a run which is taken up again does not look at again."""


class PlanRun:
    """Carries out a plan and yields the result of each change; made by `PhoneSystem.apply`.

    An async context manager, so that everything it started has ended when its block ends, and an async
    iterator. A run that is taken up again yields the results that its journal knows first. Leaving the block
    early leaves the other changes not reached.
    """

    def __init__(
        self,
        plan: Plan,
        providers: Mapping[str, NumberProvider],
        *,
        journal: Journal | None = None,
        concurrency: int = 16,
        max_failures: int | None = None,
        max_share: float | None = None,
        allow: Iterable[Risk | str] = (),
        grace_period: float = GRACE_PERIOD,
        clock_skew: float = CLOCK_SKEW,
    ) -> None:
        _check_count("concurrency", concurrency)
        if max_failures is not None:
            _check_count("max_failures", max_failures)
        check_permitted(plan, max_share, allow)
        self.plan = plan
        self.results: dict[int, ChangeResult] = {}
        """Results so far, by the position of their change."""
        self._providers = _providers_of(plan, providers)
        self._rules = rules_of(plan, providers)
        for change in plan.changes:
            to_write(change, self._rules[change.backend])  # raises before anything is sent
        self._journal: Journal = MemoryJournal() if journal is None else journal
        self._options = LookUpOptions(grace_period=grace_period, clock_skew=clock_skew)
        self._concurrency, self._max_failures = concurrency, max_failures
        self._previous = _previous_positions(plan)
        self._failures = 0
        self._unread: deque[ChangeResult] = deque()
        self._readers = WaitQueue()
        self._ended = False
        self._group: TaskGroup | None = None
        self._state: RunState | None = None

    @property
    def outcomes(self) -> Counter[ChangeOutcome]:
        """The number of changes per outcome so far."""
        return Counter(result.outcome for result in self.results.values())

    def undo(self) -> Plan:
        """Return the plan that takes back what this run has changed, as far as the vendors allow it.

        Its `left_out` names what cannot be taken back, and why.
        """
        return undo_plan(self.plan, self.results.values(), self._rules)

    async def __aenter__(self) -> Self:
        if self._group is not None:
            raise UsageError("a run can be used once; apply the plan again to take it up")
        self._state = state = await self._journal.open_run(self.plan)
        for result in sorted(state.results.values(), key=lambda result: result.position):
            if result.outcome in _FINAL:
                self._add(result)
        self._group = group = anyio.create_task_group()
        await group.__aenter__()
        group.start_soon(self._work, state)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        assert self._group is not None and self._state is not None  # noqa: PT018, S101 -- entered
        self._group.cancel_scope.cancel()
        try:
            return await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as failure:
            # The caller should see an exception as it was raised, and not in anyio's groups.
            first = _first_leaf(failure)
            if first is error:
                return False
            raise first from first.__cause__
        finally:
            # Another process that has taken the run up closes it.
            with suppress(RunSuperseded):
                await run_shielded(self._journal.close_run(self._state, finished=self._is_finished))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChangeResult:
        if self._group is None:
            raise NotOpen("a run is read inside its block: `async with phones.apply(…) as run`")
        while not self._unread:
            if self._ended:
                raise StopAsyncIteration
            await self._readers.wait()
        return self._unread.popleft()

    # Work

    async def _work(self, state: RunState) -> None:
        """Carry out what is left, and end the iteration."""
        worker = ChangeWorker(self._providers, self._journal, state, self._options)

        async def carry_out(change: PlannedChange) -> None:
            result = self._blocked(change) or await worker(change)
            self._failures += result.outcome is not ChangeOutcome.DONE
            self._add(result)

        left = [change for change in self.plan.changes if change.position not in self.results]
        await run_all(left, self._concurrency, carry_out, self._is_stopped)
        for change in left:
            if change.position not in self.results:
                self._add(_not_reached(change, f"the run stopped after {self._failures} failures"))
        self._ended = True
        self._readers.wake_one()

    def _blocked(self, change: PlannedChange) -> ChangeResult | None:
        """Return the result of a change that must wait for an earlier one of its number."""
        previous = self._previous.get(change.position)
        if previous is None or self.results[previous].outcome is ChangeOutcome.DONE:
            return None
        return _not_reached(change, f"change {previous} of the same number was not carried out")

    @property
    def _is_finished(self) -> bool:
        left_over = self.outcomes[ChangeOutcome.NOT_REACHED]
        return len(self.results) == len(self.plan.changes) and not left_over

    def _is_stopped(self) -> bool:
        return self._max_failures is not None and self._failures >= self._max_failures

    def _add(self, result: ChangeResult) -> None:
        self.results[result.position] = result
        self._unread.append(result)
        self._readers.wake_one()


def check_permitted(plan: Plan, max_share: float | None, allow: Iterable[Risk | str]) -> None:
    """Raise NotPermitted for a risk of the plan that is not allowed."""
    allowed = {allow} if isinstance(allow, str) else set(allow)
    if unknown := allowed - set(Risk):
        words = ", ".join(map(repr, sorted(unknown)))
        raise InvalidArgument(f"allow: expected {' or '.join(Risk)}, got {words}")
    refused = [concern for concern in plan.concerns(max_share) if concern.risk not in allowed]
    if refused:
        needed = sorted({concern.risk.value for concern in refused})
        reasons = "; ".join(concern.text for concern in refused)
        raise NotPermitted(f"the plan needs a permission ({', '.join(needed)}): {reasons}")


def _check_count(name: str, count: int) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise InvalidArgument(f"{name}: expected a whole number from 1, got {count!r}")


def rules_of(plan: Plan, providers: Mapping[str, NumberProvider]) -> dict[str, ChangeRules]:
    """Return the rules of the backends that a plan is about. Raise UnknownProvider."""
    return {name: provider.change_rules for name, provider in _providers_of(plan, providers).items()}


def _providers_of(plan: Plan, providers: Mapping[str, NumberProvider]) -> dict[str, ChangesNumbers]:
    names = {change.backend for change in plan.changes}
    if unknown := sorted(names - providers.keys()):
        known = ", ".join(map(repr, providers)) or "none"
        raise UnknownProvider(f"the plan is about backend {unknown[0]!r}; there are: {known}")
    return {name: require(providers[name], ChangesNumbers) for name in names}


def _previous_positions(plan: Plan) -> dict[int, int]:
    """Return the position of the change that comes before each on the same number, if there is one."""
    latest: dict[tuple[str, str, str], int] = {}
    previous: dict[int, int] = {}
    for change in plan.changes:
        if change.number_key in latest:
            previous[change.position] = latest[change.number_key]
        latest[change.number_key] = change.position
    return previous


def _not_reached(change: PlannedChange, reason: str) -> ChangeResult:
    return ChangeResult(
        position=change.position,
        outcome=ChangeOutcome.NOT_REACHED,
        reason=reason,
        id=change.id,
        number=change.number,
        at=datetime.now(UTC),
    )


def _first_leaf(failure: BaseExceptionGroup[Any]) -> BaseException:
    first: Any = failure.exceptions[0]
    return _first_leaf(cast("BaseExceptionGroup[Any]", first)) if hasattr(first, "exceptions") else first
