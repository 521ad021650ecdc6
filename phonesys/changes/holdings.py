"""The numbers that are held, as far as a plan is about them."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from phonesys._matching import NumberQuery
from phonesys.changes.change import Reading
from phonesys.changes.values import record_values
from phonesys.errors import InvalidArgument
from phonesys.record import NumberRecord, to_record
from phonesys.sweep import Outcome, Sweep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from phonesys.change_rules import ChangeRules
    from phonesys.changes.change import ChangeRequest
    from phonesys.model import PhoneNumber
    from phonesys.sweep import SweepReport
    from phonesys.writes import Value

_TAIL = 7
_READ_WHOLE = frozenset({Outcome.DONE, Outcome.EMPTY, Outcome.NOT_CONNECTED})


class SnapshotAccount(Protocol):
    """The result of reading one account of a snapshot."""

    @property
    def backend(self) -> str:
        """Name of the backend."""
        ...

    @property
    def account(self) -> str:
        """Empty for the backend's list of accounts, if that could not be read."""
        ...

    @property
    def name(self) -> str | None:
        """Name of the account."""
        ...

    @property
    def problem(self) -> str | None:
        """Reason why numbers are missing."""
        ...


class SnapshotSource(Protocol):
    """A snapshot to plan with, such as that of `Inventory.snapshot`."""

    @property
    def id(self) -> int:
        """Its id in the store."""
        ...

    @property
    def started_at(self) -> datetime:
        """Time at which its sweep began."""
        ...

    def records(self) -> AsyncIterator[NumberRecord]:
        """Yield every record."""
        ...

    def accounts(self) -> AsyncIterator[SnapshotAccount]:
        """Yield the outcome of every account."""
        ...


class Held(NamedTuple):
    """A number that is held, and its fields that can be set."""

    record: NumberRecord
    values: dict[str, Value]


AccountsByBackend = dict[str, set[str] | None]
"""The accounts to read, by backend; None for all that the backend lists."""


class Holdings:
    """The held numbers that some changes may be about, and the number of all others."""

    def __init__(self, changes: Iterable[ChangeRequest], rules: Mapping[str, ChangeRules]) -> None:
        wanted = list(changes)
        self._rules = rules
        self._ids = {change.id for change in wanted if change.id}
        self._keys = {number_key(change.number) for change in wanted if change.number}
        self._labels = {str(label) for change in wanted if (label := change.fields.get("label"))}
        self._by_id: defaultdict[str, list[Held]] = defaultdict(list)
        self._by_number: defaultdict[str, list[Held]] = defaultdict(list)
        self._labelled: defaultdict[tuple[str, str, str], list[Held]] = defaultdict(list)
        self.counts: Counter[tuple[str, str]] = Counter()
        """Numbers by backend and account."""
        self.names: dict[tuple[str, str], str] = {}
        """Names of accounts."""
        self.missing: dict[tuple[str, str], str] = {}
        """Reasons why numbers are missing, by backend and account; without an account, for all of them."""
        self.read: set[tuple[str, str]] = set()
        """Accounts that were read, completely or not."""

    def add(self, backend: str, number: PhoneNumber) -> None:
        """Count a number that was read, and keep it if a change may be about it."""
        if self._count(backend, number):
            record = to_record(number, backend)
            self._keep(Held(record, record_values(record, self._rules[backend], number)))

    def add_record(self, record: NumberRecord) -> None:
        """Count a record, and keep it if a change may be about it."""
        if record.backend in self._rules and self._count(record.backend, record):
            self._keep(Held(record, record_values(record, self._rules[record.backend])))

    def _count(self, backend: str, number: PhoneNumber | NumberRecord) -> bool:
        self.counts[backend, number.account] += 1
        return (
            number.id in self._ids
            or number_key(number.number) in self._keys
            or (number.label is not None and number.label in self._labels)
        )

    def _keep(self, held: Held) -> None:
        record = held.record
        self._by_id[record.id].append(held)
        self._by_number[number_key(record.number)].append(held)
        self._labelled[record.backend, record.account, record.label or ""].append(held)

    def find(self, change: ChangeRequest) -> list[Held]:
        """Return the numbers that a change may mean: by its id if it has one, else by its number."""
        if change.id:
            found = self._by_id.get(change.id, [])
        else:
            query = NumberQuery.parse(change.number or "")
            found = [one for one in self._by_number.get(number_key(change.number or ""), [])
                     if query.matches(one.record.number)]  # fmt: skip
        return [
            one
            for one in found
            if change.backend in {None, one.record.backend} and change.account in {None, one.record.account}
        ]

    def labelled(self, backend: str, account: str, label: str) -> list[Held]:
        """Return the numbers of an account that bear this label."""
        return self._labelled.get((backend, account, label), [])

    def gaps(self, backend: str | None, account: str | None) -> list[str]:
        """Describe what could not be read where a number may be held."""
        return [
            describe_gap(where, reason)
            for where, reason in self.missing.items()
            if backend in {None, where[0]} and (account is None or where[1] in {"", account})
        ]


def describe_gap(where: tuple[str, str], reason: str) -> str:
    """Return a sentence about an account that could not be read."""
    return f"{' '.join(filter(None, where))}: {reason}"


def number_key(spelling: str) -> str:
    """Return a key that all spellings of a number share. Different numbers may share it, too."""
    if len(spelling) <= 16 and spelling[:1] == "+" and spelling[1:].isdecimal():  # noqa: PLR2004 -- E.164
        return spelling[-_TAIL:]
    try:
        query = NumberQuery.parse(spelling)
    except InvalidArgument:
        return spelling
    return query.text if query.digits is None or len(query.digits) < _TAIL else query.digits[-_TAIL:]


async def read_live(holdings: Holdings, sweep: Sweep) -> Reading:
    """Read the accounts of a sweep from their vendors."""
    began = datetime.now(UTC)
    async with sweep:
        async for page in sweep:
            for number in page.numbers:
                holdings.add(page.provider, number)
    _note_report(holdings, sweep.report)
    missing = tuple(describe_gap(where, reason) for where, reason in holdings.missing.items())
    return Reading(source="live", read_at=began, missing=missing)


def _note_report(holdings: Holdings, report: SweepReport) -> None:
    holdings.names.update(report.account_names)
    for where, result in report.accounts.items():
        holdings.read.add(where)
        if result.outcome not in _READ_WHOLE:
            holdings.missing[where] = str(result.error or result.outcome.value.replace("_", " "))
        elif result.rejected:
            holdings.missing[where] = f"{result.rejected} rows could not be read"
    for failure in report.failures:
        if failure.account is None:
            holdings.missing[failure.provider, ""] = f"its accounts could not be listed: {failure.error}"


async def read_snapshot(holdings: Holdings, snapshot: SnapshotSource, scope: AccountsByBackend) -> Reading:
    """Read the accounts of the scope from a snapshot. Those that it lacks are missing."""
    async for account in snapshot.accounts():
        where = account.backend, account.account
        if account.backend not in scope:
            continue
        holdings.read.add(where)
        if account.name is not None:
            holdings.names[where] = account.name
        if account.problem is not None:
            holdings.missing[where] = account.problem
    for backend, accounts in scope.items():
        for wanted in {""} if accounts is None else accounts:
            if not any(where[0] == backend and wanted in {"", where[1]} for where in holdings.read):
                holdings.missing[backend, wanted] = f"snapshot {snapshot.id} does not contain it"
    records = snapshot.records()
    async for record in records:
        if record.backend in scope:
            holdings.add_record(record)
    missing = tuple(describe_gap(where, reason) for where, reason in holdings.missing.items())
    return Reading(source="snapshot", snapshot=snapshot.id, read_at=snapshot.started_at, missing=missing)
