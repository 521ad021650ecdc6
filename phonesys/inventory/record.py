"""Records of sweeps, and the outcomes of the accounts that they come from."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar, cast

from anyio.lowlevel import checkpoint

from phonesys.model import PhoneNumber
from phonesys.record import NumberRecord, as_record, to_columns
from phonesys.sweep import Outcome

if TYPE_CHECKING:
    from phonesys.model import Page
    from phonesys.sweep import SweepReport


def page_records(
    page: Page[PhoneNumber], names: Mapping[AccountKey, str] | None = None
) -> list[NumberRecord]:
    """Return the records of a page: as `to_record`, but faster for large pages."""
    name = None if names is None else names.get((page.provider, page.account))
    numbers = page.numbers
    columns = to_columns(numbers)
    fields, rows = tuple(columns), zip(*columns.values(), strict=True)
    return [
        NumberRecord(
            backend=page.provider or number.provider,
            account=number.account,
            account_name=name,
            **dict(zip(fields, row, strict=True)),
        )
        for number, row in zip(numbers, rows, strict=True)
    ]


Records: TypeAlias = Iterable[NumberRecord | PhoneNumber] | AsyncIterable[NumberRecord | PhoneNumber]
"""A source of records: `sweep_records(sweep)`, `records()` of a snapshot, or any numbers, such as those of
`PhoneSystem.numbers` and `Sweep.numbers`."""

T = TypeVar("T")


async def sweep_records(
    pages: AsyncIterable[Page[PhoneNumber]], names: Mapping[AccountKey, str] | None = None
) -> AsyncGenerator[NumberRecord]:
    """Yield the record of every number of a sweep, or of other pages.

    `names` are the names of accounts, by default those in the report of a sweep.
    """
    if names is None:
        names = getattr(getattr(pages, "report", None), "account_names", None)
    async for page in pages:
        for record in page_records(page, names):
            yield record


AccountKey: TypeAlias = tuple[str, str]
"""The name of a backend, and one of its accounts."""

COMPLETE_OUTCOMES = frozenset({Outcome.DONE, Outcome.EMPTY, Outcome.NOT_CONNECTED})
"""The outcomes of accounts that were read to the end."""


class AccountOutcome(NamedTuple):
    """The result of reading one account."""

    backend: str
    account: str
    """Empty for the backend's list of accounts, if that could not be read."""
    outcome: str
    """A value of `Outcome`."""
    error: str | None = None
    rejected: int = 0
    """The number of rows that could not be read."""
    name: str | None = None
    """The name of the account, if its backend lists names."""

    @property
    def is_complete(self) -> bool:
        """True if every number of the account is known."""
        return self.outcome in COMPLETE_OUTCOMES and not self.rejected

    @property
    def problem(self) -> str | None:
        """The reason why numbers are missing, or None for a complete account."""
        return missing_reason(self.outcome, self.error, self.rejected)


def missing_reason(outcome: str, error: str | None, rejected: int) -> str | None:
    """Return the reason why numbers of an account are missing, or None if it was read completely."""
    if outcome not in COMPLETE_OUTCOMES:
        return error or outcome.replace("_", " ")
    return f"{rejected:,} row{'' if rejected == 1 else 's'} could not be read" if rejected else None


async def account_outcomes(report: SweepReport) -> AsyncGenerator[AccountOutcome]:
    """Yield the outcome of every account in a report. May be created before the sweep, and read after it.

    The account is empty if a backend's list of accounts could not be read. The report of a sweep without
    `keep_done` omits accounts that are done or empty.
    """
    for (backend, account), result in report.accounts.items():
        error = None if result.error is None else str(result.error)
        name = report.account_names.get((backend, account))
        yield AccountOutcome(backend, account, result.outcome.value, error, result.rejected, name)
    for failure in report.failures:
        if failure.account is None:
            yield AccountOutcome(failure.provider, "", Outcome.FAILED.value, str(failure.error))


async def incomplete_accounts(
    accounts: Iterable[AccountOutcome] | AsyncIterable[AccountOutcome],
) -> list[AccountOutcome]:
    """Return the accounts whose numbers are not all known."""
    return [one async for some in batches(accounts, 256) for one in some if not one.is_complete]


async def batches(items: Iterable[T] | AsyncIterable[T], size: int) -> AsyncGenerator[list[T]]:
    """Yield lists of at most `size` items. Other tasks can run between two lists.

    A generator passed in is closed with this one, since it may contain a sweep.
    """
    batch: list[T] = []
    async with aclosing(_iterate(items)) as each:
        async for item in each:
            batch.append(item)
            if len(batch) >= size:
                yield batch
                batch = []
                await checkpoint()
    if batch:
        yield batch


async def record_batches(records: Records, size: int) -> AsyncGenerator[list[NumberRecord]]:
    """Yield lists of at most `size` records. Numbers of any backend become records."""
    async with aclosing(batches(records, size)) as reading:
        async for some in reading:
            yield list(map(as_record, some))


async def _iterate(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T]:
    if not isinstance(items, AsyncIterable):
        for item in items:
            yield item
        return
    try:
        async for item in items:
            yield item
    finally:
        if isinstance(items, AsyncGenerator):
            await cast("AsyncGenerator[T]", items).aclose()
