"""The report of a sweep. Every account that was asked for has exactly one outcome."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from phonesys.errors import PhonesysError

if TYPE_CHECKING:
    from phonesys.model import Page, PhoneNumber


class Outcome(StrEnum):
    """The result of reading one account."""

    DONE = "done"
    """Read whole."""
    EMPTY = "empty"
    """Read whole; it holds no numbers."""
    NOT_CONNECTED = "not_connected"
    """The account has no phone system. This is a state, not a failure."""
    FAILED = "failed"
    """Not read, or not read whole. The error says why. Pages read before the failure are counted."""
    NOT_REACHED = "not_reached"
    """The sweep ended before this account was read whole."""


class AccountReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of reading one account."""

    outcome: Outcome
    numbers: int = 0
    pages: int = 0
    rejected: int = 0
    """Rows that could not be read."""
    duplicates: int = 0
    """Rows that came more than once within one pass, and were handed to the consumer once."""
    passes: int = 1
    """The number of times the account was read. It is read again if a pass was not consistent."""
    error: PhonesysError | None = None


class Failure(msgspec.Struct, frozen=True):
    """One failure. `account` is None if the list of accounts itself could not be read."""

    provider: str
    account: str | None
    error: PhonesysError


@dataclass
class SweepReport:
    """A live view while the sweep runs, and final once its `async with` block has ended."""

    numbers: int = 0
    """Numbers, pages and rows that were handed to the consumer."""
    pages: int = 0
    rejected: int = 0
    """Rows that could not be read."""
    accounts: dict[tuple[str, str], AccountReport] = field(
        default_factory=dict[tuple[str, str], AccountReport]
    )
    """By (provider, account). Without `keep_done`, accounts that are done or empty are only counted."""
    outcomes: Counter[Outcome] = field(default_factory=Counter[Outcome])
    """The number of accounts per outcome so far."""
    by_provider: dict[str, Counter[Outcome]] = field(default_factory=dict[str, "Counter[Outcome]"])
    """The same for each backend."""
    numbers_by_provider: Counter[str] = field(default_factory=Counter[str])
    account_names: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    """By (provider, account): the names that backends list with their accounts. Empty without `keep_done`."""
    requests: int = 0
    """HTTP requests sent by the backends' own client, retries included."""
    retries: int = 0
    waiting: int = 0
    """Calls that wait right now, for a rate window or before a retry."""
    waits: int = 0
    """The number of times a call had to wait."""
    duplicates: int = 0
    mended: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """By (provider, field): values of another type than documented. They were converted, or dropped alone."""
    failures: list[Failure] = field(default_factory=list[Failure])
    elapsed: float = 0.0
    """Seconds."""
    timed_out: bool = False
    """True if the sweep's own deadline ended it."""

    @property
    def complete(self) -> bool:
        """True if every row of every account was read; accounts that are not connected do not count."""
        missing = self.failures or self.outcomes[Outcome.NOT_REACHED] or self.rejected
        return not (missing or self.timed_out)

    def describe(self) -> str:
        """Return one line: what was read so far, and what is missing."""
        accounts = self.outcomes.total() - self.outcomes[Outcome.NOT_REACHED]
        missing = {
            "failures": len(self.failures),
            "accounts not reached": self.outcomes[Outcome.NOT_REACHED],
            "rows not read": self.rejected,
        }
        parts = [f"{count:,} {what}" for what, count in missing.items() if count]
        read = f"{self.numbers:,} numbers in {accounts:,} accounts"
        return ", ".join([read, *parts, *(["timed out"] if self.timed_out else [])])

    def __repr__(self) -> str:
        return f"<SweepReport: {'complete' if self.complete else 'incomplete'}, {self.describe()}>"

    def _repr_html_(self) -> str:
        from phonesys import _html  # for notebooks only

        return _html.table(
            f"{'Complete' if self.complete else 'Incomplete'}: {self.describe()}",
            ("backend", "accounts", *(one.replace("_", " ") for one in Outcome), "numbers"),
            [
                (
                    name,
                    counts.total(),
                    *(counts[outcome] for outcome in Outcome),
                    self.numbers_by_provider[name],
                )
                for name, counts in self.by_provider.items()
            ],
        ) + _html.table(
            "Failures",
            ("backend", "account", "error"),
            [(one.provider, one.account or "(list of accounts)", one.error) for one in self.failures],
            hide_empty=True,
        )

    def add(self, page: Page[PhoneNumber]) -> None:
        """Count a page that is handed to the consumer."""
        self.pages += 1
        self.numbers += len(page.numbers)
        self.rejected += len(page.rejected)
        for mended in page.mended:
            self.mended[page.provider, mended.field] += mended.count

    def record(self, provider: str, account: str, result: AccountReport, *, keep: bool = True) -> None:
        """Record the result of an account."""
        self.outcomes[result.outcome] += 1
        self.duplicates += result.duplicates
        if (counts := self.by_provider.get(provider)) is None:
            counts = self.by_provider[provider] = Counter()
        counts[result.outcome] += 1
        if result.error is not None:
            if result.outcome is Outcome.FAILED:
                self.failures.append(Failure(provider, account, result.error))
        elif keep:
            result = _shared(result)
        if keep or result.outcome not in {Outcome.DONE, Outcome.EMPTY}:
            self.accounts[provider, account] = result


@lru_cache(maxsize=4096)
def _shared(result: AccountReport) -> AccountReport:
    """Return one object for equal results: thousands of accounts have the same few."""
    return result
