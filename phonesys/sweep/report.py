"""What was asked for and what came of it, complete: every account has exactly one outcome."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from phonesys.errors import PhonesysError


class Outcome(StrEnum):
    """What came of one account."""

    DONE = "done"
    """Read whole."""
    EMPTY = "empty"
    """Read whole; it holds no numbers."""
    NOT_CONNECTED = "not_connected"
    """It has no phone system: a state, not a failure."""
    FAILED = "failed"
    """Not read, or not read whole; the error says why. Pages that were read before it failed did count."""
    NOT_REACHED = "not_reached"
    """The sweep ended before this account was read whole."""


class AccountReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one account."""

    outcome: Outcome
    numbers: int = 0
    pages: int = 0
    rejected: int = 0
    """Rows that could not be read."""
    duplicates: int = 0
    """Rows that came more than once within one reading, and were handed on once."""
    passes: int = 1
    """How often it was read: again, and page after page, where a reading did not add up."""
    error: PhonesysError | None = None


class Failure(msgspec.Struct, frozen=True):
    """One failure; `account` is None where the list of accounts itself could not be read."""

    provider: str
    account: str | None
    error: PhonesysError


@dataclass
class SweepReport:
    """A live view while the sweep runs, and final once its `async with` has ended."""

    accounts: dict[tuple[str, str], AccountReport] = field(
        default_factory=dict[tuple[str, str], AccountReport]
    )
    """By (provider, account). Without `keep_done`, those that are done or empty are only counted."""
    outcomes: Counter[Outcome] = field(default_factory=Counter[Outcome])
    """How many accounts had each outcome so far."""
    by_provider: dict[str, Counter[Outcome]] = field(default_factory=dict[str, "Counter[Outcome]"])
    """The same for each backend."""
    numbers: int = 0
    numbers_by_provider: Counter[str] = field(default_factory=Counter[str])
    pages: int = 0
    requests: int = 0
    """Sent over HTTP by our own client, retries included."""
    retries: int = 0
    waiting: int = 0
    """Calls that wait right now, for a rate window or before a retry."""
    waits: int = 0
    """How often a call had to wait."""
    rejected: int = 0
    duplicates: int = 0
    failures: list[Failure] = field(default_factory=list[Failure])
    elapsed: float = 0.0
    """Seconds."""
    timed_out: bool = False
    """Whether the sweep's own deadline ended it."""

    # Thousands of accounts come to the same few results: one object serves them all.
    _shared: dict[AccountReport, AccountReport] = field(
        default_factory=dict[AccountReport, AccountReport], repr=False, compare=False
    )

    @property
    def complete(self) -> bool:
        """Whether every row of every account that was asked for was read, but for those not connected."""
        missing = self.failures or self.outcomes[Outcome.NOT_REACHED] or self.rejected
        return not (missing or self.timed_out)

    def record(self, provider: str, account: str, result: AccountReport, *, keep: bool = True) -> None:
        """Write down what came of an account."""
        self.outcomes[result.outcome] += 1
        self.duplicates += result.duplicates
        if (counts := self.by_provider.get(provider)) is None:
            counts = self.by_provider[provider] = Counter()
        counts[result.outcome] += 1
        if result.error is not None:
            if result.outcome is Outcome.FAILED:
                self.failures.append(Failure(provider, account, result.error))
        elif keep:
            result = self._shared.setdefault(result, result)
        if keep or result.outcome not in {Outcome.DONE, Outcome.EMPTY}:
            self.accounts[provider, account] = result
