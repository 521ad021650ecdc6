"""The look at a number before it is changed: as planned, already as wanted, or a conflict."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping  # noqa: TC003 -- NamedTuple evaluates the annotations
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from phonesys._matching import NumberQuery
from phonesys.backends.reconcile import same_number, same_text
from phonesys.changes.change import ChangeOutcome
from phonesys.changes.holdings import number_key
from phonesys.changes.values import same_value, values_of
from phonesys.errors import NotFound, SweepIncomplete
from phonesys.provider import SearchesNumbers
from phonesys.sweep import Source, Sweep
from phonesys.writes import Action

if TYPE_CHECKING:
    from datetime import datetime

    from phonesys.change_rules import ChangeRules
    from phonesys.changes.change import PlannedChange
    from phonesys.model import PhoneNumber
    from phonesys.provider import NumberProvider
    from phonesys.writes import Value

_FRESH = 60.0
"""Seconds for which the list of an account is used whose vendor cannot search for a number."""


class Sight(NamedTuple):
    """The result of a look."""

    outcome: ChangeOutcome | None
    """Done or conflict; None if the change is to be carried out."""
    reason: str = ""
    number: PhoneNumber | None = None
    values: Mapping[str, Value] = MappingProxyType({})

    @property
    def version(self) -> datetime | None:
        """Time of the number's last change, if the vendor says."""
        return None if self.number is None else self.number.updated_at or self.number.created_at


class Look:
    """Looks at the numbers of a run."""

    def __init__(self, providers: Mapping[str, Any], rules: Mapping[str, ChangeRules]) -> None:
        self._providers, self._rules = providers, rules
        self._lists: dict[tuple[str, str], _AccountList] = {}

    async def __call__(self, change: PlannedChange, *, fresh: bool = False) -> Sight:
        """Look at the number of a change. Raise PhonesysError if it cannot be read.

        `fresh` if the list of an account must not be older than the call.
        """
        if change.id is None:
            return await self._look_for_new(change, fresh=fresh)
        try:
            number: PhoneNumber = await self._providers[change.backend].get(change.id, account=change.account)
        except NotFound:
            if change.action is Action.DELETE:
                return Sight(ChangeOutcome.DONE, "the number does not exist any more")
            return Sight(ChangeOutcome.CONFLICT, "the number is not held any more")
        values = values_of(number, change.backend, self._rules[change.backend])
        return compare(change, number, values)

    async def _look_for_new(self, change: PlannedChange, *, fresh: bool) -> Sight:
        for number in await self._holders(change, fresh=fresh):
            values = values_of(number, change.backend, self._rules[change.backend])
            shared = change.new.keys() & values.keys()
            if all(same_value(change.new[name], values[name]) for name in shared):
                return Sight(ChangeOutcome.DONE, "such a number is held already", number, values)
            return Sight(ChangeOutcome.CONFLICT, "the number is held already", number, values)
        return Sight(None)

    async def _holders(self, change: PlannedChange, *, fresh: bool) -> list[PhoneNumber]:
        """Return the numbers of the account that may be the new one."""
        provider = self._providers[change.backend]
        if change.number is not None and isinstance(provider, SearchesNumbers):
            source = Source(change.backend, self._providers[change.backend], [change.account])
            return await read_all(Sweep([source], match=change.number))
        where = change.backend, change.account
        numbers = self._lists.setdefault(where, _AccountList(provider, *where))
        await numbers.refresh(0.0 if fresh else _FRESH)
        return numbers.find(change.number, change.new.get("label"))


def compare(change: PlannedChange, number: PhoneNumber, values: dict[str, Value]) -> Sight:
    """Compare a number with the change that is planned for it."""
    if change.number is not None and not same_number(change.number, number.number):
        return Sight(ChangeOutcome.CONFLICT, f"the id is that of {number.number} now", number, values)
    if change.action is Action.UPDATE and is_as_wanted(change, values):
        return Sight(ChangeOutcome.DONE, "the number is as planned already", number, values)
    differing = [
        f"{name} is {values[name]}, and not {old}"
        for name, old in change.old.items()
        if name in values and not same_value(old, values[name])
    ]
    if differing:
        return Sight(ChangeOutcome.CONFLICT, "; ".join(differing), number, values)
    return Sight(None, number=number, values=values)


def is_as_wanted(change: PlannedChange, values: Mapping[str, Value]) -> bool:
    """Return True if every field has the value that it is to be set to."""
    return all(name in values and same_value(value, values[name]) for name, value in change.new.items())


async def read_all(sweep: Sweep) -> list[PhoneNumber]:
    """Return all numbers of a sweep. Raise SweepIncomplete if one may be missing."""
    found: list[PhoneNumber] = []
    async with sweep:
        async for page in sweep:
            found.extend(page.numbers)
    if not sweep.report.complete:
        reasons = [str(failure.error) for failure in sweep.report.failures] or ["rows could not be read"]
        raise SweepIncomplete(f"the account could not be read: {'; '.join(reasons)}", report=sweep.report)
    return found


class _AccountList:
    """All numbers of one account, read again once they are too old."""

    def __init__(self, provider: NumberProvider, backend: str, account: str) -> None:
        self._source = Source(backend, provider, [account])
        self._lock = asyncio.Lock()
        self._read_at: float | None = None
        self._numbers: list[PhoneNumber] = []

    async def refresh(self, max_age: float) -> None:
        """Read the list, unless it was read less than `max_age` seconds before this call."""
        clock = asyncio.get_running_loop().time
        oldest = clock() - max_age
        async with self._lock:
            if self._read_at is None or self._read_at < oldest:
                began = clock()
                self._numbers = await read_all(Sweep([self._source]))
                self._read_at = began

    def find(self, number: str | None, label: Value) -> list[PhoneNumber]:
        """Return the numbers with this number, or without one, with this label."""
        if number is None:
            return [one for one in self._numbers if same_text(one.label, label)]
        key, query = number_key(number), NumberQuery.parse(number)
        return [one for one in self._numbers if number_key(one.number) == key and query.matches(one.number)]
