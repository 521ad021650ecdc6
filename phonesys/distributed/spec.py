"""The work of one shard as plain data, and what comes back."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import msgspec

from phonesys.errors import PhonesysError
from phonesys.inventory.shard import Shard
from phonesys.model import Page, PhoneNumber
from phonesys.sweep import AccountReport, Failure, Outcome

if TYPE_CHECKING:
    from phonesys.sweep import SweepReport


class ShardSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One shard, as plain data for a worker. It holds no credentials.

    - `system`: `package.module:function`, which makes the PhoneSystem from the worker's own configuration.
    - `arguments`: keyword arguments of that function.
    - `accounts`: by backend; None for all that the backend lists. Other backends are not swept.
    - `names`: the names of accounts that were listed already, by backend and account.
    - `store`: a path, or a URL without a password; None for the store in the worker's own environment.
    - `folder`: write Parquet files here instead.
    - `options`: keyword arguments of `PhoneSystem.sweep`.
    """

    snapshot: str
    index: int
    count: int
    coverage: dict[str, str]
    system: str
    arguments: dict[str, Any] = {}
    accounts: dict[str, tuple[str, ...] | None]
    names: dict[str, dict[str, str]] = {}
    store: str | None = None
    folder: str | None = None
    options: dict[str, Any] = {}
    keep_done: bool = False
    """Send back a report of accounts that are done or empty too, instead of their number."""
    count_numbers: bool = False
    """Count numbers by country and by status."""

    @property
    def shard(self) -> Shard:
        """The shard."""
        return Shard(self.index, self.count)


class ShardProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of a shard that is under way."""

    index: int
    numbers: int
    requests: int
    retries: int
    waits: int
    numbers_by_provider: dict[str, int]
    outcomes: dict[str, dict[Outcome, int]]
    """By backend."""

    @classmethod
    def of(cls, spec: ShardSpec, report: SweepReport) -> Self:
        """Return the counts of a report so far."""
        return cls(
            index=spec.index,
            numbers=report.numbers,
            requests=report.requests,
            retries=report.retries,
            waits=report.waits,
            numbers_by_provider=dict(report.numbers_by_provider),
            outcomes={backend: dict(outcomes) for backend, outcomes in report.by_provider.items()},
        )

    def add_to(self, report: SweepReport, sign: int = 1) -> None:
        """Add the counts to the report of the whole sweep; subtract them with -1."""
        report.numbers += sign * self.numbers
        report.requests += sign * self.requests
        report.retries += sign * self.retries
        report.waits += sign * self.waits
        for backend, count in self.numbers_by_provider.items():
            report.numbers_by_provider[backend] += sign * count
        for backend, outcomes in self.outcomes.items():
            counts = report.by_provider.setdefault(backend, Counter())
            for outcome, count in outcomes.items():
                report.outcomes[outcome] += sign * count
                counts[outcome] += sign * count


class ShardSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a shard: counts, and the accounts that are more than a count."""

    index: int
    numbers: int
    pages: int
    rejected: int
    requests: int
    retries: int
    waits: int
    resumed: int
    """Accounts that an earlier run had read. They are counted here too."""
    elapsed: float
    counted: dict[str, dict[Outcome, int]]
    """By backend: how many accounts are done or empty, unless `accounts` holds them."""
    accounts: tuple[tuple[str, str, AccountReport], ...]
    numbers_by_provider: dict[str, int]
    mended: dict[tuple[str, str], int]
    list_failures: tuple[Failure, ...]
    """Lists of accounts that could not be read."""
    problems: tuple[Page[PhoneNumber], ...]
    """Pages with unreadable rows or fields, without their numbers: the first few of them."""
    countries: dict[str, int]
    statuses: dict[str, int]
    unfinished: tuple[int, ...]
    """Shards of the snapshot that were not finished when this one was."""

    def add_to(self, report: SweepReport) -> None:
        """Add the shard to the report of the whole sweep."""
        report.numbers += self.numbers
        report.pages += self.pages
        report.rejected += self.rejected
        report.requests += self.requests
        report.retries += self.retries
        report.waits += self.waits
        report.numbers_by_provider.update(self.numbers_by_provider)
        report.mended.update(self.mended)
        for backend, account, result in self.accounts:
            report.record(backend, account, result)
        for backend, outcomes in self.counted.items():
            report.outcomes.update(outcomes)
            report.by_provider.setdefault(backend, Counter()).update(outcomes)
        report.failures.extend(self.list_failures)


class WorkerLost(PhonesysError):
    """The worker of a shard died."""


class ShardGivenUp(WorkerLost):
    """So many workers of this shard died that the shard must be at fault."""
