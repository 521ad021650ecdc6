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

    from phonesys.model import Page, PhoneNumber
    from phonesys.sweep import SweepReport


@dataclass(frozen=True)
class NumberFilter:
    """Statuses and countries of the numbers to list; every number if there are none."""

    statuses: frozenset[str] = frozenset()
    countries: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, statuses: Iterable[str] | None, countries: Iterable[str] | None) -> NumberFilter:
        """Return the filter of options; raise UsageError for a status that does not exist."""
        wanted = frozenset(status.lower() for status in statuses or ())
        for status in wanted - set(NumberStatus):
            raise UsageError(
                f"--status {status}: no such status{suggestion(status, [str(one) for one in NumberStatus])}"
            )
        return cls(wanted, frozenset(country.upper() for country in countries or ()))

    def __bool__(self) -> bool:
        return bool(self.statuses or self.countries)

    def accepts(self, number: PhoneNumber) -> bool:
        """Return True for a number to list."""
        status_fits = not self.statuses or number.status in self.statuses
        return status_fits and (not self.countries or (number.country or "") in self.countries)


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


def parse_columns(text: str | None) -> tuple[str, ...]:
    """Return the columns of `--columns`; raise UsageError for one that does not exist."""
    names = tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))
    for name in names:
        if name not in NumberRow.__struct_fields__:
            hint = suggestion(name, NumberRow.__struct_fields__)
            raise UsageError(f"--columns: no such column {name!r}{hint}")
    if text is not None and not names:
        raise UsageError("--columns: expected names of columns, with commas between them")
    return names
