"""Filters and columns of lists of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

from phonesys._validation import suggestion
from phonesys.cli.rows import NumberRow
from phonesys.errors import UsageError
from phonesys.model import NumberStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phonesys.inventory import Change
    from phonesys.model import Page, PhoneNumber
    from phonesys.record import NumberRecord
    from phonesys.sweep import SweepReport


@dataclass(frozen=True)
class NumberFilter:
    """Statuses, countries, accounts and backends of the numbers to list; every number if there are none."""

    statuses: frozenset[str] = frozenset()
    countries: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()
    backends: frozenset[str] = frozenset()

    @classmethod
    def parse(
        cls,
        statuses: Iterable[str] | None,
        countries: Iterable[str] | None = None,
        accounts: Iterable[str] | None = None,
        backends: Iterable[str] | None = None,
    ) -> NumberFilter:
        """Return the filter of options; raise UsageError for a status that does not exist."""
        wanted = frozenset(status.lower() for status in statuses or ())
        for status in wanted - set(NumberStatus):
            raise UsageError(
                f"--status {status}: no such status{suggestion(status, [str(one) for one in NumberStatus])}"
            )
        return cls(
            wanted,
            frozenset(country.upper() for country in countries or ()),
            frozenset(accounts or ()),
            frozenset(backends or ()),
        )

    def __bool__(self) -> bool:
        return bool(self.statuses or self.countries or self.accounts or self.backends)

    def accepts(self, number: PhoneNumber | NumberRecord) -> bool:
        """Return True for a number to list."""
        status_fits = not self.statuses or number.status in self.statuses
        country_fits = not self.countries or (number.country or "") in self.countries
        return status_fits and country_fits and self.covers(number.backend, number.account)

    def covers(self, backend: str, account: str) -> bool:
        """Return True for an account whose numbers may be listed."""
        return self.covers_backend(backend) and (not self.accounts or account in self.accounts)

    def covers_backend(self, backend: str) -> bool:
        """Return True for a backend whose numbers may be listed."""
        return not self.backends or backend in self.backends

    def accepts_change(self, change: Change) -> bool:
        """Return True for a change to or from a number to list, or of a covered account."""
        sides = [side for side in (change.old, change.new) if side is not None]
        if not sides:
            return self.covers(change.backend, change.account)
        return any(map(self.accepts, sides))


class PageWriter(Protocol):
    """Receives the pages of a sweep as they arrive."""

    async def page(self, page: Page[PhoneNumber]) -> None:
        """Write or collect one page."""

    async def close(self, report: SweepReport) -> None:
        """Write what had to wait for the end."""


class FilterWriter:
    """Passes the numbers that a filter accepts to another writer."""

    def __init__(self, writer: PageWriter, accepted: NumberFilter) -> None:
        self._writer = writer
        self._filter = accepted

    async def page(self, page: Page[PhoneNumber]) -> None:
        """Write the accepted numbers of a page."""
        if numbers := tuple(filter(self._filter.accepts, page.numbers)):
            await self._writer.page(msgspec.structs.replace(page, numbers=numbers))

    async def close(self, report: SweepReport) -> None:
        """Close the other writer."""
        await self._writer.close(report)


EVERYTHING = NumberFilter()


def parse_columns(text: str | None, kind: type[msgspec.Struct] = NumberRow) -> tuple[str, ...]:
    """Return the columns of `--columns`; raise UsageError for one that these rows do not have."""
    names = tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))
    for name in names:
        if name not in kind.__struct_fields__:
            hint = suggestion(name, kind.__struct_fields__)
            raise UsageError(f"--columns: no such column {name!r}{hint}")
    if text is not None and not names:
        raise UsageError("--columns: expected names of columns, with commas between them")
    return names
